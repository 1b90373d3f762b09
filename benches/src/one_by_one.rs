//! What an embedded database does with the hub's rows when each message has a commit of its own: one loop in
//! this process, without a hub around it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection};

use crate::database::Database;
use crate::stats::per_second;
use crate::stored::Stored;

/// A copy of a hub's file, opened as the hub opens its own.
pub(crate) struct OneByOne {
    conn: SqliteConnection,
    inserts: [Arc<str>; 2],
    n_customers: i64,
    n_done: i64,
}

impl OneByOne {
    /// Copies the database of a hub, which may be in use, where at least one message was accepted.
    pub(crate) async fn prepare(url: &str, copy: &Path, n_customers: usize) -> Result<Self> {
        let mut original = Database::open(url).await?;
        let inserts = Stored::any(&mut original).await?.inserts("?1", "?2", &[]).map(Arc::from);
        original.run(format!("VACUUM INTO '{}'", copy.display())).await?;
        let options = SqliteConnectOptions::new()
            .filename(copy)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("cache_size", "-8000")
            .pragma("wal_autocheckpoint", "16384");
        let conn = options.connect().await?;
        Ok(Self { conn, inserts, n_customers: i64::try_from(n_customers)?, n_done: 0 })
    }

    /// Transactions a second for that long.
    pub(crate) async fn transactions_per_second(&mut self, span: Duration) -> Result<f64> {
        // The hub moves the log beside its commits; here that is left out of the time.
        sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.conn).await?;
        let (begun, mut n_now) = (Instant::now(), 0);
        while begun.elapsed() < span {
            self.store_one().await?;
            n_now += 1;
        }
        Ok(per_second(n_now, begun.elapsed()))
    }

    /// A delivery and its lane, in a transaction.
    async fn store_one(&mut self) -> Result<()> {
        let mut transaction = self.conn.begin_with("BEGIN IMMEDIATE").await?;
        for insert in &self.inserts {
            sqlx::query(AssertSqlSafe(insert.clone()))
                .bind(self.n_done)
                .bind(self.n_done % self.n_customers)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        self.n_done += 1;
        Ok(())
    }
}
