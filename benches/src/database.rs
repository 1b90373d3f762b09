//! The hub's database seen from outside: what no API offers, such as a million queued messages at once.
//!
//! Rows are made as copies of one that the hub itself has stored, so that the schema stays its own affair.

use std::fmt::Write as _;
use std::fs::File;

use anyhow::{Context as _, Result};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, SqliteConnection};

/// A connection beside the hub's.
pub(crate) enum Database {
    /// To the file of an embedded one.
    Sqlite(SqliteConnection),
    /// To a server.
    Postgres(PgConnection),
}

/// Columns of a delivery that stay empty until it is tried.
const UNTRIED: [&str; 8] = [
    "journal",
    "begun_at",
    "error_class",
    "error_detail",
    "message_id",
    "case_sys_id",
    "case_number",
    "delivered_at",
];

/// A stored row: its columns with their values as text, without those that are `NULL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row(Vec<(String, String)>);

/// What stands in a copy in place of a text of the original: an SQL expression.
#[derive(Clone, Debug)]
pub(crate) struct Swap {
    pub(crate) text: String,
    pub(crate) sql: String,
}

impl Swap {
    /// `text` becomes `sql`.
    pub(crate) fn new(text: impl Into<String>, sql: impl Into<String>) -> Self {
        Self { text: text.into(), sql: sql.into() }
    }
}

impl Row {
    /// The value of a column; empty where it is `NULL`.
    pub(crate) fn get(&self, column: &str) -> &str {
        self.0.iter().find(|(name, _)| name == column).map_or("", |(_, value)| value)
    }

    /// Makes a column `NULL`.
    pub(crate) fn clear(&mut self, column: &str) {
        self.0.retain(|(name, _)| name != column);
    }

    /// Gives a column another value.
    pub(crate) fn set(&mut self, column: &str, value: &str) {
        self.clear(column);
        self.0.push((column.to_owned(), value.to_owned()));
    }

    /// Makes a delivery one that has just been queued.
    pub(crate) fn rewind(&mut self) {
        for column in UNTRIED {
            self.clear(column);
        }
        self.set("status", "queued");
        self.set("attempts", "0");
        self.set("fence", "0");
        let created_at = self.get("created_at").to_owned();
        self.set("next_attempt_at", &created_at);
    }

    /// The columns, and for each the expression that gives its value in a copy.
    pub(crate) fn copy(&self, swaps: &[Swap]) -> (String, String) {
        let columns: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        let values: Vec<String> = self.0.iter().map(|(_, value)| expression(value, swaps)).collect();
        (columns.join(", "), values.join(", "))
    }
}

/// The SQL expression of a text in which the swaps are made; where two begin at the same place, the first.
fn expression(value: &str, swaps: &[Swap]) -> String {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = value;
    while let Some(next) = rest.chars().next() {
        let swap = swaps.iter().find(|swap| !swap.text.is_empty() && rest.starts_with(&swap.text));
        if let Some(swap) = swap {
            if !literal.is_empty() {
                parts.push(quoted(&std::mem::take(&mut literal)));
            }
            parts.push(swap.sql.clone());
            rest = &rest[swap.text.len()..];
        } else {
            literal.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    if !literal.is_empty() || parts.is_empty() {
        parts.push(quoted(&literal));
    }
    parts.join(" || ")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Database {
    /// Connects.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        if url.starts_with("sqlite:") {
            return Ok(Self::Sqlite(SqliteConnection::connect(url).await?));
        }
        Ok(Self::Postgres(PgConnection::connect(url).await?))
    }

    /// Runs statements that give no rows.
    pub(crate) async fn run(&mut self, sql: impl Into<String>) -> Result<()> {
        let sql = sql.into();
        let start: String = sql.chars().take(200).collect();
        let statements = sqlx::raw_sql(AssertSqlSafe(sql));
        let done = match self {
            Self::Sqlite(conn) => statements.execute(conn).await.map(drop),
            Self::Postgres(conn) => statements.execute(conn).await.map(drop),
        };
        done.with_context(|| format!("the database refused {start}"))
    }

    /// The rows of a query whose columns are all text.
    pub(crate) async fn texts(&mut self, sql: impl Into<String>) -> Result<Vec<Vec<Option<String>>>> {
        let sql = AssertSqlSafe(sql.into());
        let mut rows = Vec::new();
        match self {
            Self::Sqlite(conn) => {
                for row in sqlx::query(sql).fetch_all(conn).await? {
                    rows.push((0..row.len()).map(|at| row.try_get(at)).collect::<Result<_, _>>()?);
                }
            }
            Self::Postgres(conn) => {
                for row in sqlx::query(sql).fetch_all(conn).await? {
                    rows.push((0..row.len()).map(|at| row.try_get(at)).collect::<Result<_, _>>()?);
                }
            }
        }
        Ok(rows)
    }

    /// The number that a query gives as text; 0 where it gives none.
    pub(crate) async fn number(&mut self, sql: impl Into<String>) -> Result<f64> {
        let rows = self.texts(sql).await?;
        let text = rows.into_iter().flatten().flatten().next();
        text.map_or(Ok(0.0), |text| text.parse().with_context(|| format!("{text} is not a number")))
    }

    /// Some row of a table.
    pub(crate) async fn row(&mut self, table: &str, filter: &str) -> Result<Row> {
        let columns = match self {
            Self::Sqlite(_) => format!("SELECT name FROM pragma_table_info('{table}')"),
            Self::Postgres(_) => format!(
                "SELECT CAST(column_name AS TEXT) FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = '{table}' ORDER BY ordinal_position"
            ),
        };
        let names: Vec<String> = self.texts(columns).await?.into_iter().flatten().flatten().collect();
        let casts: Vec<String> = names.iter().map(|name| format!("CAST({name} AS TEXT)")).collect();
        let select = format!("SELECT {} FROM {table} WHERE {filter} LIMIT 1", casts.join(", "));
        let values = self.texts(select).await?.into_iter().next();
        let values = values.with_context(|| format!("there is no row in {table} with {filter}"))?;
        let known = names.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?)));
        Ok(Row(known.collect()))
    }

    /// Adds a copy of a row for each number from `first` on; the swaps may use it as `n`.
    pub(crate) async fn add_copies(
        &mut self,
        table: &str,
        row: &Row,
        swaps: &[Swap],
        first: u64,
        n_copies: u64,
    ) -> Result<()> {
        let (columns, values) = row.copy(swaps);
        let last = first + n_copies.saturating_sub(1);
        self.run(format!(
            "INSERT INTO {table} ({columns})
            WITH RECURSIVE numbers (n) AS (SELECT CAST({first} AS BIGINT) UNION ALL SELECT n + 1 FROM numbers WHERE n < {last})
            SELECT {values} FROM numbers"
        ))
        .await
    }

    /// Makes the connection fit for many rows at a time, while nobody else uses the database. Returns what
    /// makes the indexes again that are gone meanwhile.
    pub(crate) async fn begin_filling(&mut self, tables: &[&str]) -> Result<String> {
        let tables: Vec<String> = tables.iter().map(|table| format!("'{table}'")).collect();
        let tables = tables.join(", ");
        let indexes = match self {
            Self::Sqlite(_) => {
                self.run("PRAGMA foreign_keys = OFF; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -400000")
                    .await?;
                format!(
                    "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ({tables})"
                )
            }
            Self::Postgres(_) => {
                self.run("SET session_replication_role = replica; SET synchronous_commit = off; SET maintenance_work_mem = '256MB'")
                    .await?;
                format!(
                    "SELECT CAST(indexname AS TEXT), indexdef FROM pg_indexes WHERE schemaname = current_schema() AND tablename IN ({tables})
                    AND indexname NOT IN (SELECT conname FROM pg_constraint)"
                )
            }
        };
        let mut again = String::new();
        for index in self.texts(indexes).await? {
            let [Some(name), Some(sql)] = &index[..] else { continue };
            self.run(format!("DROP INDEX {name}")).await?;
            let _infallible = writeln!(again, "{sql};");
        }
        Ok(again)
    }

    /// Makes the indexes again and brings everything to the disk, so that nothing of it is left to be done.
    pub(crate) async fn end_filling(mut self, indexes: String) -> Result<()> {
        self.run(indexes).await?;
        match self {
            Self::Sqlite(mut conn) => {
                sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut conn).await?;
                let file: String =
                    sqlx::query_scalar("SELECT file FROM pragma_database_list").fetch_one(&mut conn).await?;
                conn.close().await?;
                File::open(file)?.sync_all()?;
            }
            Self::Postgres(mut conn) => {
                for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
                    sqlx::raw_sql(statement).execute(&mut conn).await?;
                }
                conn.close().await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_differ_where_they_are_told_to() {
        let swaps = [Swap::new("1900", "a"), Swap::new("90", "b"), Swap::new("", "never")];
        for (value, expected) in [
            ("", "''"),
            ("it's", "'it''s'"),
            ("1900", "a"),
            ("90", "b"),
            ("01900:90", "'0' || a || ':' || b"),
            ("190", "'1' || b"),
            ("é1900é", "'é' || a || 'é'"),
        ] {
            assert_eq!(expression(value, &swaps), expected, "{value}");
        }
    }

    #[test]
    fn a_row_gives_columns_and_values_in_one_order() {
        let mut row = Row(vec![
            ("id".to_owned(), "7".to_owned()),
            ("journal".to_owned(), "{}".to_owned()),
            ("status".to_owned(), "sending".to_owned()),
        ]);
        row.clear("journal");
        row.set("status", "queued");
        assert_eq!(row.get("status"), "queued");
        assert_eq!(row.get("journal"), "");
        let (columns, values) = row.copy(&[Swap::new("7", "n")]);
        assert_eq!((columns.as_str(), values.as_str()), ("id, status", "n, 'queued'"));
    }

    #[tokio::test]
    async fn copies_are_added_with_their_indexes() {
        let mut database = Database::open("sqlite::memory:").await.unwrap();
        database.run("CREATE TABLE t (id TEXT PRIMARY KEY, x INTEGER NOT NULL, y TEXT) STRICT; CREATE INDEX t_x ON t (x)").await.unwrap();
        database.run("INSERT INTO t VALUES ('id 5', 3, NULL)").await.unwrap();
        let row = database.row("t", "x = 3").await.unwrap();
        assert_eq!((row.get("id"), row.get("x"), row.get("y")), ("id 5", "3", ""));
        let indexes = database.begin_filling(&["t"]).await.unwrap();
        assert_eq!(indexes, "CREATE INDEX t_x ON t (x);\n");
        let swaps = [Swap::new("5", "CAST(n AS TEXT)")];
        database.add_copies("t", &row, &swaps, 10, 3).await.unwrap();
        database.run(indexes).await.unwrap();
        let ids = database.texts("SELECT id FROM t WHERE x = 3 ORDER BY id").await.unwrap();
        let ids: Vec<String> = ids.into_iter().flatten().flatten().collect();
        assert_eq!(ids, ["id 10", "id 11", "id 12", "id 5"]);
        assert!((database.number("SELECT CAST(COUNT(*) AS TEXT) FROM t").await.unwrap() - 4.0).abs() < 1e-9);
    }
}
