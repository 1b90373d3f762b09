//! Which tables are copied, in which order, and every statement of the copy.

use super::rows::{Cell, Read, Row};
use crate::store::{Conn, Sql, StoreError};

statements! {
    /// Nobody else may read or write from then on.
    LOCK = sqlite "BEGIN EXCLUSIVE";
    UNLOCK = sqlite "COMMIT";
    /// Left in a source when everything of it has arrived: no hub serves it then.
    SET_MOVED = sqlite "INSERT INTO marks (name, value) VALUES ('moved', 1) ON CONFLICT (name) DO NOTHING";
    IS_MOVED = sqlite "SELECT COUNT(*) FROM marks WHERE name = 'moved'";
    FORGET_MOVED = sqlite "DELETE FROM marks WHERE name = 'moved'";
    MARK = postgres "SELECT value FROM marks WHERE name = 'copy_unfinished'";
    HELD_MARK = postgres "SELECT value FROM marks WHERE name = 'copy_unfinished' FOR SHARE";
    SET_MARK = postgres "INSERT INTO marks (name, value) VALUES ('copy_unfinished', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    /// Only where the mark stands: no hub has ever worked on such rows.
    BEGIN_ANEW = postgres "TRUNCATE users, tokens, instances, accounts, conversations, cases, lanes, deliveries, attempts, replays, app_calls, app_budgets, rate_allotments, errands CASCADE";
    FORGET_MARKS = postgres "DELETE FROM marks";
    SESSIONS = postgres "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name IN ($1, $2) AND pid <> pg_backend_pid()";
    USERS_PAGE = "SELECT * FROM users WHERE id > $1 ORDER BY id LIMIT CAST($2 AS BIGINT)";
    USERS_COUNT = "SELECT COUNT(*) FROM users";
    USERS_LAST = postgres "SELECT * FROM users ORDER BY id COLLATE \"C\" DESC LIMIT 1";
    USERS_ADD = postgres "INSERT INTO users SELECT * FROM json_populate_recordset(CAST(NULL AS users), CAST(CAST($1 AS TEXT) AS JSON))";
    TOKENS_PAGE = "SELECT * FROM tokens WHERE id > $1 ORDER BY id LIMIT CAST($2 AS BIGINT)";
    TOKENS_COUNT = "SELECT COUNT(*) FROM tokens";
    TOKENS_LAST = postgres "SELECT * FROM tokens ORDER BY id COLLATE \"C\" DESC LIMIT 1";
    TOKENS_ADD = postgres "INSERT INTO tokens SELECT * FROM json_populate_recordset(CAST(NULL AS tokens), CAST(CAST($1 AS TEXT) AS JSON))";
    INSTANCES_PAGE = "SELECT * FROM instances WHERE id > $1 ORDER BY id LIMIT CAST($2 AS BIGINT)";
    INSTANCES_COUNT = "SELECT COUNT(*) FROM instances";
    INSTANCES_LAST = postgres "SELECT * FROM instances ORDER BY id COLLATE \"C\" DESC LIMIT 1";
    INSTANCES_ADD = postgres "INSERT INTO instances SELECT * FROM json_populate_recordset(CAST(NULL AS instances), CAST(CAST($1 AS TEXT) AS JSON))";
    ACCOUNTS_PAGE = "SELECT * FROM accounts WHERE id > $1 ORDER BY id LIMIT CAST($2 AS BIGINT)";
    ACCOUNTS_COUNT = "SELECT COUNT(*) FROM accounts";
    ACCOUNTS_LAST = postgres "SELECT * FROM accounts ORDER BY id COLLATE \"C\" DESC LIMIT 1";
    ACCOUNTS_ADD = postgres "INSERT INTO accounts SELECT * FROM json_populate_recordset(CAST(NULL AS accounts), CAST(CAST($1 AS TEXT) AS JSON))";
    CONVERSATIONS_PAGE = "SELECT * FROM conversations WHERE (account_id, customer_id) > ($1, $2) ORDER BY account_id, customer_id LIMIT CAST($3 AS BIGINT)";
    CONVERSATIONS_COUNT = "SELECT COUNT(*) FROM conversations";
    CONVERSATIONS_LAST = postgres "SELECT * FROM conversations ORDER BY account_id COLLATE \"C\" DESC, customer_id COLLATE \"C\" DESC LIMIT 1";
    CONVERSATIONS_ADD = postgres "INSERT INTO conversations SELECT * FROM json_populate_recordset(CAST(NULL AS conversations), CAST(CAST($1 AS TEXT) AS JSON))";
    CASES_PAGE = "SELECT * FROM cases WHERE (sys_id, instance_id) > ($1, $2) ORDER BY sys_id, instance_id LIMIT CAST($3 AS BIGINT)";
    CASES_COUNT = "SELECT COUNT(*) FROM cases";
    CASES_LAST = postgres "SELECT * FROM cases ORDER BY sys_id COLLATE \"C\" DESC, instance_id COLLATE \"C\" DESC LIMIT 1";
    CASES_ADD = postgres "INSERT INTO cases SELECT * FROM json_populate_recordset(CAST(NULL AS cases), CAST(CAST($1 AS TEXT) AS JSON))";
    LANES_PAGE = "SELECT * FROM lanes WHERE id > $1 ORDER BY id LIMIT CAST($2 AS BIGINT)";
    LANES_COUNT = "SELECT COUNT(*) FROM lanes";
    LANES_LAST = postgres "SELECT * FROM lanes ORDER BY id COLLATE \"C\" DESC LIMIT 1";
    LANES_ADD = postgres "INSERT INTO lanes SELECT * FROM json_populate_recordset(CAST(NULL AS lanes), CAST(CAST($1 AS TEXT) AS JSON))";
    DELIVERIES_PAGE = "SELECT * FROM deliveries WHERE id > $1 ORDER BY id LIMIT CAST($2 AS BIGINT)";
    DELIVERIES_COUNT = "SELECT COUNT(*) FROM deliveries";
    DELIVERIES_LAST = postgres "SELECT * FROM deliveries ORDER BY id COLLATE \"C\" DESC LIMIT 1";
    DELIVERIES_ADD = postgres "INSERT INTO deliveries SELECT * FROM json_populate_recordset(CAST(NULL AS deliveries), CAST(CAST($1 AS TEXT) AS JSON))";
    ATTEMPTS_PAGE = "SELECT * FROM attempts WHERE (delivery_id, n) > ($1, $2) ORDER BY delivery_id, n LIMIT CAST($3 AS BIGINT)";
    ATTEMPTS_COUNT = "SELECT COUNT(*) FROM attempts";
    ATTEMPTS_LAST = postgres "SELECT * FROM attempts ORDER BY delivery_id COLLATE \"C\" DESC, n DESC LIMIT 1";
    ATTEMPTS_ADD = postgres "INSERT INTO attempts SELECT * FROM json_populate_recordset(CAST(NULL AS attempts), CAST(CAST($1 AS TEXT) AS JSON))";
    REPLAYS_PAGE = "SELECT * FROM replays WHERE id > $1 ORDER BY id LIMIT CAST($2 AS BIGINT)";
    REPLAYS_COUNT = "SELECT COUNT(*) FROM replays";
    REPLAYS_LAST = postgres "SELECT * FROM replays ORDER BY id COLLATE \"C\" DESC LIMIT 1";
    REPLAYS_ADD = postgres "INSERT INTO replays SELECT * FROM json_populate_recordset(CAST(NULL AS replays), CAST(CAST($1 AS TEXT) AS JSON))";
    APP_CALLS_PAGE = "SELECT * FROM app_calls WHERE id > $1 ORDER BY id LIMIT CAST($2 AS BIGINT)";
    APP_CALLS_COUNT = "SELECT COUNT(*) FROM app_calls";
    APP_CALLS_LAST = postgres "SELECT * FROM app_calls ORDER BY id DESC LIMIT 1";
    APP_CALLS_ADD = postgres "INSERT INTO app_calls SELECT * FROM json_populate_recordset(CAST(NULL AS app_calls), CAST(CAST($1 AS TEXT) AS JSON))";
    APP_BUDGETS_PAGE = "SELECT * FROM app_budgets WHERE budget > $1 ORDER BY budget LIMIT CAST($2 AS BIGINT)";
    APP_BUDGETS_COUNT = "SELECT COUNT(*) FROM app_budgets";
    APP_BUDGETS_LAST = postgres "SELECT * FROM app_budgets ORDER BY budget COLLATE \"C\" DESC LIMIT 1";
    APP_BUDGETS_ADD = postgres "INSERT INTO app_budgets SELECT * FROM json_populate_recordset(CAST(NULL AS app_budgets), CAST(CAST($1 AS TEXT) AS JSON))";
    ALLOTMENTS_PAGE = "SELECT * FROM rate_allotments WHERE id > $1 ORDER BY id LIMIT CAST($2 AS BIGINT)";
    ALLOTMENTS_COUNT = "SELECT COUNT(*) FROM rate_allotments";
    ALLOTMENTS_LAST = postgres "SELECT * FROM rate_allotments ORDER BY id COLLATE \"C\" DESC LIMIT 1";
    ALLOTMENTS_ADD = postgres "INSERT INTO rate_allotments SELECT * FROM json_populate_recordset(CAST(NULL AS rate_allotments), CAST(CAST($1 AS TEXT) AS JSON))";
    ERRANDS_PAGE = "SELECT * FROM errands WHERE (kind, subject_id) > ($1, $2) ORDER BY kind, subject_id LIMIT CAST($3 AS BIGINT)";
    ERRANDS_COUNT = "SELECT COUNT(*) FROM errands";
    ERRANDS_LAST = postgres "SELECT * FROM errands ORDER BY kind COLLATE \"C\" DESC, subject_id COLLATE \"C\" DESC LIMIT 1";
    ERRANDS_ADD = postgres "INSERT INTO errands SELECT * FROM json_populate_recordset(CAST(NULL AS errands), CAST(CAST($1 AS TEXT) AS JSON))";
    MARKS_PAGE = "SELECT * FROM marks WHERE name > $1 AND name NOT IN ('copy_unfinished', 'moved') ORDER BY name LIMIT CAST($2 AS BIGINT)";
    MARKS_COUNT = "SELECT COUNT(*) FROM marks WHERE name NOT IN ('copy_unfinished', 'moved')";
    MARKS_LAST = postgres "SELECT * FROM marks ORDER BY name COLLATE \"C\" DESC LIMIT 1";
    MARKS_ADD = postgres "INSERT INTO marks SELECT * FROM json_populate_recordset(CAST(NULL AS marks), CAST(CAST($1 AS TEXT) AS JSON))";
}

/// A table that is copied. The two databases may list its columns in another order: they go by name.
pub(in crate::store) struct Table {
    pub(in crate::store) name: &'static str,
    /// The primary key, each column with a value that stands before all others.
    pub(in crate::store) key: &'static [(&'static str, Cell)],
    page: Sql,
    count: Sql,
    /// The row whose key the embedded database sorts last: byte by byte, whatever the server's language.
    pub(in crate::store) last: Sql,
    /// `$1`: an array of rows.
    pub(in crate::store) add: Sql,
}

const BEFORE_TEXT: Cell = Cell::Text(String::new());
const BEFORE_NUMBERS: Cell = Cell::Integer(i64::MIN);

/// What is copied, those that others refer to first. The users come first of all.
pub(in crate::store) static TABLES: [Table; 14] = [
    Table {
        name: "users",
        key: &[("id", BEFORE_TEXT)],
        page: USERS_PAGE,
        count: USERS_COUNT,
        last: USERS_LAST,
        add: USERS_ADD,
    },
    Table {
        name: "tokens",
        key: &[("id", BEFORE_TEXT)],
        page: TOKENS_PAGE,
        count: TOKENS_COUNT,
        last: TOKENS_LAST,
        add: TOKENS_ADD,
    },
    Table {
        name: "instances",
        key: &[("id", BEFORE_TEXT)],
        page: INSTANCES_PAGE,
        count: INSTANCES_COUNT,
        last: INSTANCES_LAST,
        add: INSTANCES_ADD,
    },
    Table {
        name: "accounts",
        key: &[("id", BEFORE_TEXT)],
        page: ACCOUNTS_PAGE,
        count: ACCOUNTS_COUNT,
        last: ACCOUNTS_LAST,
        add: ACCOUNTS_ADD,
    },
    Table {
        name: "conversations",
        key: &[("account_id", BEFORE_TEXT), ("customer_id", BEFORE_TEXT)],
        page: CONVERSATIONS_PAGE,
        count: CONVERSATIONS_COUNT,
        last: CONVERSATIONS_LAST,
        add: CONVERSATIONS_ADD,
    },
    Table {
        name: "cases",
        key: &[("sys_id", BEFORE_TEXT), ("instance_id", BEFORE_TEXT)],
        page: CASES_PAGE,
        count: CASES_COUNT,
        last: CASES_LAST,
        add: CASES_ADD,
    },
    Table {
        name: "lanes",
        key: &[("id", BEFORE_TEXT)],
        page: LANES_PAGE,
        count: LANES_COUNT,
        last: LANES_LAST,
        add: LANES_ADD,
    },
    Table {
        name: "deliveries",
        key: &[("id", BEFORE_TEXT)],
        page: DELIVERIES_PAGE,
        count: DELIVERIES_COUNT,
        last: DELIVERIES_LAST,
        add: DELIVERIES_ADD,
    },
    Table {
        name: "attempts",
        key: &[("delivery_id", BEFORE_TEXT), ("n", BEFORE_NUMBERS)],
        page: ATTEMPTS_PAGE,
        count: ATTEMPTS_COUNT,
        last: ATTEMPTS_LAST,
        add: ATTEMPTS_ADD,
    },
    Table {
        name: "replays",
        key: &[("id", BEFORE_TEXT)],
        page: REPLAYS_PAGE,
        count: REPLAYS_COUNT,
        last: REPLAYS_LAST,
        add: REPLAYS_ADD,
    },
    Table {
        name: "app_calls",
        key: &[("id", BEFORE_NUMBERS)],
        page: APP_CALLS_PAGE,
        count: APP_CALLS_COUNT,
        last: APP_CALLS_LAST,
        add: APP_CALLS_ADD,
    },
    Table {
        name: "app_budgets",
        key: &[("budget", BEFORE_TEXT)],
        page: APP_BUDGETS_PAGE,
        count: APP_BUDGETS_COUNT,
        last: APP_BUDGETS_LAST,
        add: APP_BUDGETS_ADD,
    },
    Table {
        name: "rate_allotments",
        key: &[("id", BEFORE_TEXT)],
        page: ALLOTMENTS_PAGE,
        count: ALLOTMENTS_COUNT,
        last: ALLOTMENTS_LAST,
        add: ALLOTMENTS_ADD,
    },
    Table {
        name: "errands",
        key: &[("kind", BEFORE_TEXT), ("subject_id", BEFORE_TEXT)],
        page: ERRANDS_PAGE,
        count: ERRANDS_COUNT,
        last: ERRANDS_LAST,
        add: ERRANDS_ADD,
    },
];

/// Copied last of all, with the mark of the unfinished copy taken away in the same moment.
pub(in crate::store) static MARKS: Table = Table {
    name: "marks",
    key: &[("name", BEFORE_TEXT)],
    page: MARKS_PAGE,
    count: MARKS_COUNT,
    last: MARKS_LAST,
    add: MARKS_ADD,
};

/// What is left out: they tell which processes run on a database, and none runs on this one yet.
#[cfg(test)]
pub(in crate::store) const LEFT_OUT: [&str; 2] = ["replicas", "shards"];

impl Table {
    /// A key that stands before all others.
    pub(in crate::store) fn before_all(&self) -> Vec<Cell> {
        self.key.iter().map(|(_, before)| before.clone()).collect()
    }

    /// The key of a row.
    pub(in crate::store) fn key_of(&self, row: &Row) -> Result<Vec<Cell>, StoreError> {
        let cells = self.key.iter().map(|(name, _)| row.get(*name).cloned());
        let key: Option<Vec<Cell>> = cells.collect();
        key.ok_or_else(|| StoreError::Unfit(format!("{} lacks its primary key", self.name)))
    }
}

/// The next rows of a table behind a key, in the order of their keys; none at its end. Moves the key.
pub(in crate::store) async fn next_page(
    conn: &mut Conn<'_>,
    table: &Table,
    after: &mut Vec<Cell>,
    limit: i64,
) -> Result<Vec<Row>, StoreError> {
    let rows: Vec<Row> = on_conn!(conn, |conn, sql| {
        let mut query = sqlx::query(sql(table.page));
        for cell in after.iter() {
            query = match cell {
                Cell::Integer(n) => query.bind(*n),
                Cell::Text(text) => query.bind(text.clone()),
                Cell::Null | Cell::Bytes(_) => return Err(unusable(table)),
            };
        }
        let rows = query.bind(limit).fetch_all(&mut **conn).await?;
        rows.iter().map(Read::read).collect::<Result<_, _>>()?
    });
    if let Some(last) = rows.last() {
        *after = table.key_of(last)?;
    }
    Ok(rows)
}

/// How many rows a table has.
pub(in crate::store) async fn count(conn: &mut Conn<'_>, table: &Table) -> Result<u64, StoreError> {
    let n_rows: i64 =
        on_conn!(conn, |conn, sql| sqlx::query_scalar(sql(table.count)).fetch_one(&mut **conn).await)?;
    Ok(u64::try_from(n_rows).unwrap_or_default())
}

fn unusable(table: &Table) -> StoreError {
    StoreError::Unfit(format!("a key of {} is neither a text nor a number", table.name))
}
