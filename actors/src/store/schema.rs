//! The schema: how it stands against this program, and bringing it up to date.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use super::batch::postgres as write_batch;
use super::{Conn, Db, Sql, StoreError, copy};

/// How the schema stands against this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SchemaState {
    /// All migrations are applied.
    Current,
    /// So many are missing.
    Behind(usize),
    /// It was made by a newer version of this program.
    Ahead,
}

const HAS_MIGRATIONS: Sql = Sql {
    sqlite: "SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'",
    postgres: "SELECT COUNT(*) FROM pg_tables WHERE tablename = '_sqlx_migrations' AND schemaname = current_schema()",
};
const MIGRATIONS: Sql =
    Sql { sqlite: "SELECT version FROM _sqlx_migrations", postgres: "SELECT version FROM _sqlx_migrations" };

/// Taken by whoever migrates, until its session ends ("case" as a number). The migrator has a lock of its own
/// inside, but whoever waited for that would not know what was left to do.
const LOCK: Sql =
    Sql { sqlite: "", postgres: "SELECT pg_advisory_lock(1667330917, hashtext(current_schema()))" };

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("../migrations/postgres");

impl Db {
    /// Applies the missing migrations. Returns how many there were. Safe from several processes at once: on a
    /// server one applies them and the others wait for it, however long it takes.
    pub(crate) async fn migrate(&self) -> Result<usize, StoreError> {
        let n_missing = match self.migrations().await? {
            SchemaState::Current => return Ok(0),
            SchemaState::Behind(n_missing) => n_missing,
            SchemaState::Ahead => {
                let text = "the schema is newer than this program: run a newer casewire";
                return Err(StoreError::Unfit(text.to_owned()));
            }
        };
        match self {
            Self::Sqlite(db) => {
                // Two processes may start on a new file at the same moment: the lock makes one wait.
                let mut conn = db.writes.acquire().await?;
                sqlx::query("BEGIN IMMEDIATE").execute(&mut *conn).await?;
                sqlx::query("COMMIT").execute(&mut *conn).await?;
                let Err(error) = SQLITE_MIGRATIONS.run(&mut *conn).await else { return Ok(n_missing) };
                drop(conn);
                // Another process may have been faster.
                if self.migrations().await? == SchemaState::Current { Ok(0) } else { Err(refusal(error)) }
            }
            Self::Postgres(pool) => loop {
                if let Some(n_applied) = migrate_server(pool).await? {
                    return Ok(n_applied);
                }
                tracing::info!("another process is migrating the database; waiting for it");
            },
        }
    }

    /// Compares the schema with this program's migrations. Refuses a database that a copy was left unfinished in.
    pub(crate) async fn schema(&self) -> Result<SchemaState, StoreError> {
        let state = self.migrations().await?;
        match self {
            Self::Postgres(pool) if state == SchemaState::Current => {
                copy::refuse_unfinished(&mut *pool.acquire().await?).await?;
            }
            _ => {}
        }
        Ok(state)
    }

    async fn migrations(&self) -> Result<SchemaState, StoreError> {
        match self {
            Self::Sqlite(db) => migrations_in(&mut Conn::Sqlite(&mut *db.writes.acquire().await?)).await,
            Self::Postgres(pool) => migrations_in(&mut Conn::Postgres(&mut *pool.acquire().await?)).await,
        }
    }
}

/// Applies the missing migrations; `None` when another process went on with that for longer than a session waits
/// for any lock.
async fn migrate_server(pool: &PgPool) -> Result<Option<usize>, StoreError> {
    // A connection that ends with it: after an error it may hold a lock still under which nobody else could
    // apply any.
    let mut conn = pool.acquire().await?.detach();
    let migrated = migrate_alone(&mut conn).await;
    drop(conn.close().await);
    migrated
}

async fn migrate_alone(conn: &mut PgConnection) -> Result<Option<usize>, StoreError> {
    match sqlx::query(LOCK.postgres).execute(&mut *conn).await.map_err(StoreError::from) {
        Err(StoreError::Contended) => return Ok(None),
        locked => locked.map(drop)?,
    }
    let SchemaState::Behind(n_missing) = migrations_in(&mut Conn::Postgres(&mut *conn)).await? else {
        return Ok(Some(0));
    };
    match migrate_postgres(conn).await {
        Ok(()) => Ok(Some(n_missing)),
        Err(MigrateError::Execute(error)) => match error.into() {
            // A process of an earlier version takes the inner lock only.
            StoreError::Contended => Ok(None),
            error => Err(error),
        },
        Err(error) => Err(refusal(error)),
    }
}

/// Applies the missing migrations to a server, and makes the function that this program writes by.
pub(super) async fn migrate_postgres(conn: &mut PgConnection) -> Result<(), MigrateError> {
    POSTGRES_MIGRATIONS.run(&mut *conn).await?;
    Ok(sqlx::raw_sql(AssertSqlSafe(write_batch::DEFINITION.as_str())).execute(conn).await.map(drop)?)
}

/// Why migrations were not applied.
pub(super) fn refusal(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        error => StoreError::Unfit(format!(
            "migration failed: {error}; the database was migrated by another build of casewire: use that one"
        )),
    }
}

/// Compares the schema behind a connection with this program's migrations.
pub(super) async fn migrations_in(conn: &mut Conn<'_>) -> Result<SchemaState, StoreError> {
    let known = match conn {
        Conn::Sqlite(_) => &SQLITE_MIGRATIONS,
        Conn::Postgres(_) => &POSTGRES_MIGRATIONS,
    };
    let has_table: i64 =
        on_conn!(conn, |conn, sql| sqlx::query_scalar(sql(HAS_MIGRATIONS)).fetch_one(&mut **conn).await)?;
    if has_table == 0 {
        return Ok(SchemaState::Behind(known.iter().count()));
    }
    let applied: Vec<i64> =
        on_conn!(conn, |conn, sql| sqlx::query_scalar(sql(MIGRATIONS)).fetch_all(&mut **conn).await)?;
    if applied.iter().any(|&version| known.iter().all(|migration| migration.version != version)) {
        return Ok(SchemaState::Ahead);
    }
    let mut n_missing = known.iter().filter(|migration| !applied.contains(&migration.version)).count();
    if let (0, Conn::Postgres(conn)) = (n_missing, conn)
        && !write_batch::is_defined(conn).await?
    {
        n_missing = 1;
    }
    Ok(if n_missing == 0 { SchemaState::Current } else { SchemaState::Behind(n_missing) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::suite::postgres_url;

    /// A session in a new schema of the server, which waits for locks no longer than a moment.
    async fn impatient(url: &str) -> Db {
        let pool = sqlx::postgres::PgPoolOptions::new().max_connections(2).after_connect(|conn, _| {
            Box::pin(async move { sqlx::raw_sql("SET lock_timeout = '50ms'").execute(conn).await.map(drop) })
        });
        Db::Postgres(pool.connect(url).await.expect("a connection"))
    }

    #[tokio::test]
    async fn a_second_migrate_waits_for_a_long_one() {
        let Some(url) = postgres_url().await else { return };
        let Db::Postgres(holder) = impatient(&url).await else { unreachable!("it is on a server") };
        // Nobody can make this table before the transaction ends.
        let mut held = holder.begin().await.expect("a transaction");
        sqlx::raw_sql("CREATE TABLE users (id TEXT)").execute(&mut *held).await.expect("a table");
        let first = Db::Postgres(PgPool::connect(&url).await.expect("a connection"));
        let second = impatient(&url).await;
        let later = async |after_ms| tokio::time::sleep(Duration::from_millis(after_ms)).await;
        let (first_ended, second_ended, ()) = futures_util::future::join3(
            first.migrate(),
            async {
                // By now the first waits for the table, with the lock of all who migrate.
                later(200).await;
                second.migrate().await
            },
            async {
                later(500).await;
                held.rollback().await.expect("the table is not made");
            },
        )
        .await;
        assert_eq!(first_ended, Ok(POSTGRES_MIGRATIONS.iter().count()));
        assert_eq!(second_ended, Ok(0));
    }

    #[tokio::test]
    async fn a_migration_that_waits_too_long_for_others_says_so_and_can_be_run_again() {
        let Some(url) = postgres_url().await else { return };
        let db = impatient(&url).await;
        let Db::Postgres(pool) = &db else { unreachable!("it is on a server") };
        let mut held = pool.begin().await.expect("a transaction");
        sqlx::raw_sql("CREATE TABLE users (id TEXT)").execute(&mut *held).await.expect("a table");
        assert_eq!(db.migrate().await, Err(StoreError::Contended));
        held.rollback().await.expect("the table is not made");
        assert_eq!(db.migrate().await, Ok(POSTGRES_MIGRATIONS.iter().count()));
    }
}
