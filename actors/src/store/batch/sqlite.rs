//! A batch in an embedded database: all its statements, and the transaction around them, are one command. The
//! thread that owns the connection is called once, whatever the batch holds.

use std::sync::LazyLock;

use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::{Batch, Written, added_of, read};
use crate::store::deliveries::{self, to_json};
use crate::store::{Sql, SqliteDb, StoreError, conversations, lanes};

/// What is run for a batch: each statement with the parameter that takes the place of its `$1`. The last column
/// of those that give a row is the answer.
const SCRIPT: [(Sql, &str); 11] = [
    (deliveries::ADD, "$1"),
    (deliveries::ADD_TO_LANES, "$1"),
    (deliveries::ADDED, "$1"),
    (lanes::BEGIN, "$2"),
    (lanes::BEGUN, "$2"),
    (lanes::ADD_ATTEMPTS, "$3"),
    (lanes::SETTLE_LANES, "$3"),
    (lanes::SETTLE, "$3"),
    (lanes::SETTLED, "$3"),
    (conversations::SAVE, "$4"),
    (conversations::SAVE_CASES, "$4"),
];

static INSIDE: LazyLock<String> = LazyLock::new(|| {
    let statements = SCRIPT.map(|(sql, parameter)| sql.sqlite.replace("$1", parameter));
    statements.join(";\n")
});
static WHOLE: LazyLock<String> = LazyLock::new(|| format!("BEGIN IMMEDIATE;\n{};\nCOMMIT", *INSIDE));

/// Writes it in a transaction of its own.
pub(super) async fn commit(batch: &Batch<'_>, db: &SqliteDb) -> Result<Written, StoreError> {
    let mut conn = db.writes.acquire().await?;
    let written = run(&mut conn, &WHOLE, batch).await;
    if written.is_err() {
        // After some errors SQLite has rolled back by itself, and refuses to do it again.
        let rolled_back = sqlx::query("ROLLBACK").execute(&mut *conn).await;
        if rolled_back.is_err_and(|error| error.as_database_error().is_none()) {
            drop(conn.close().await);
        }
    }
    written
}

/// Writes it inside the transaction that is open.
pub(super) async fn write(batch: &Batch<'_>, conn: &mut SqliteConnection) -> Result<Written, StoreError> {
    run(conn, &INSIDE, batch).await
}

async fn run(
    conn: &mut SqliteConnection,
    script: &'static LazyLock<String>,
    batch: &Batch<'_>,
) -> Result<Written, StoreError> {
    let answers = sqlx::query(AssertSqlSafe(script.as_str()))
        .bind(to_json(&batch.news)?)
        .bind(to_json(&batch.begins)?)
        .bind(to_json(&batch.settles)?)
        .bind(to_json(&batch.seen())?)
        .fetch_all(conn)
        .await?;
    let [added, begun, settled] = answers.as_slice() else {
        return Err(StoreError::Refused(format!("a batch gave {} answers instead of 3", answers.len())));
    };
    Ok(Written {
        added: added_of(added.try_get(0)?)?,
        begun: read(begun.try_get(0)?)?,
        settled: read(settled.try_get(0)?)?,
    })
}
