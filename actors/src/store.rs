//! The store: SQLite inside for one machine, PostgreSQL when that is outgrown.
//!
//! Every statement is a named constant, written once for both databases; where they must differ it is
//! a pair under one name. Reads go through [`Db`] directly; writes go through the
//! [`Writer`](crate::writer::Writer), which commits those that wait at the same moment together.
//! Nothing outside this crate sees any of it.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, PgConnection, PgPool, SqliteConnection, SqlitePool};

#[macro_use]
mod dialect;

pub(crate) mod accounts;
pub(crate) mod app_budgets;
pub(crate) mod batch;
mod change;
pub(crate) mod conversations;
pub(crate) mod copy;
pub(crate) mod deliveries;
pub(crate) mod errands;
mod error;
pub(crate) mod instances;
pub(crate) mod lanes;
pub(crate) mod lock;
pub(crate) mod marks;
mod pooler;
pub(crate) mod rate_allotments;
pub(crate) mod records;
pub(crate) mod replays;
pub(crate) mod retention;
pub(crate) mod routing;
mod schema;
pub(crate) mod sealed;
pub(crate) mod server;
mod session;
pub(crate) mod shards;
pub(crate) mod tokens;
pub(crate) mod turns;
pub(crate) mod users;

#[cfg(test)]
pub(crate) mod suite;

pub(crate) use change::Change;
pub(crate) use dialect::Sql;
pub use error::StoreError;
pub(crate) use error::{in_time, within};
pub(crate) use schema::SchemaState;
use schema::migrations_in;
pub(crate) use session::{Session, session_pool};
use session::{postgres_options, session_name};

/// The database, for reading. Clones share their connections.
#[derive(Clone)]
pub(crate) enum Db {
    /// The embedded database.
    Sqlite(SqliteDb),
    /// A server.
    Postgres(PgPool),
}

/// An embedded database: many readers, one writer.
#[derive(Clone)]
pub(crate) struct SqliteDb {
    pub(crate) reads: SqlitePool,
    pub(crate) writes: SqlitePool,
    checkpoints: SqlitePool,
    /// Its file.
    path: PathBuf,
}

impl SqliteDb {
    /// Moves what was committed from the write-ahead log into the file, without stopping anybody.
    /// Returns how many pages of the log were not moved yet.
    pub(crate) async fn checkpoint(&self) -> Result<i64, StoreError> {
        let (_is_busy, n_pages, n_moved): (i64, i64, i64) =
            sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&self.checkpoints).await?;
        Ok(n_pages - n_moved)
    }
}

/// A connection inside a transaction of the writer.
pub(crate) enum Conn<'c> {
    /// To the embedded database.
    Sqlite(&'c mut SqliteConnection),
    /// To a server.
    Postgres(&'c mut PgConnection),
}

/// A transaction of the writer. Dropped without a commit, it is rolled back.
pub(crate) enum Transaction {
    /// In the embedded database.
    Sqlite(sqlx::SqliteTransaction<'static>),
    /// In a server.
    Postgres(sqlx::PgTransaction<'static>),
}

impl Transaction {
    /// Its connection.
    pub(crate) fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(transaction) => Conn::Sqlite(transaction),
            Self::Postgres(transaction) => Conn::Postgres(transaction),
        }
    }

    /// Makes everything in it last.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(transaction) => Ok(transaction.commit().await?),
            Self::Postgres(transaction) => Ok(transaction.commit().await?),
        }
    }
}

/// From this length of the write-ahead log on (64 MiB) a commit moves it into the file by itself.
const LONGEST_LOG_PAGES: &str = "16384";

impl Db {
    /// Opens the database; makes an embedded one that does not exist.
    ///
    /// The embedded one is opened for durability: write-ahead log, `synchronous=FULL` (a commit is on
    /// disk when it returns), foreign keys enforced, a busy time-out for commands that run beside.
    pub(crate) async fn connect(url: &str) -> Result<Self, StoreError> {
        if url.starts_with("sqlite:") {
            Self::connect_sqlite(url).await
        } else {
            Self::connect_postgres(url).await
        }
    }

    async fn connect_sqlite(url: &str) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|error| StoreError::Unfit(format!("database.url is not usable: {error}")))?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5))
            .pragma("cache_size", "-8000")
            .pragma("wal_autocheckpoint", LONGEST_LOG_PAGES)
            .pragma("journal_size_limit", "67108864");
        let path = options.get_filename().to_owned();
        let writes = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            // A commit that fails, for lack of space for instance, has ended its transaction inside SQLite; outside
            // it counts as open for ever. Such a connection is exchanged for a new one.
            .before_acquire(|conn, _| Box::pin(async move { Ok(!conn.is_in_transaction()) }))
            .connect_with(options.clone())
            .await?;
        let checkpoints = SqlitePoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .connect_lazy_with(options.clone());
        let reads = SqlitePoolOptions::new()
            .max_connections(3)
            .min_connections(1)
            .test_before_acquire(false)
            .connect_with(options.pragma("query_only", "ON"))
            .await?;
        Ok(Self::Sqlite(SqliteDb { reads, writes, checkpoints, path }))
    }

    async fn connect_postgres(url: &str) -> Result<Self, StoreError> {
        let options = postgres_options(url)?;
        let options = options.clone().application_name(&session_name("casewire", &options));
        server::refuse_unfit(&options).await?;
        let pool = session_pool()
            .max_connections(12)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(options)
            .await?;
        Ok(Self::Postgres(pool))
    }

    /// Whether this is the embedded database.
    pub(crate) fn is_embedded(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// Begins a transaction that may write.
    pub(crate) async fn begin(&self) -> Result<Transaction, StoreError> {
        Ok(match self {
            Self::Sqlite(db) => Transaction::Sqlite(db.writes.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Transaction::Postgres(pool.begin().await?),
        })
    }

    /// Ends all connections, after what they are doing.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(db) => {
                db.checkpoints.close().await;
                db.reads.close().await;
                db.writes.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Eight digits that tell texts apart.
fn short_digest(text: &str) -> String {
    let digest = Sha256::digest(text);
    format!("{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3])
}
