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
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgConnection, PgPool, SqliteConnection, SqlitePool};

#[macro_use]
mod dialect;

pub(crate) mod accounts;
pub(crate) mod app_budgets;
pub(crate) mod batch;
pub(crate) mod conversations;
pub(crate) mod copy;
pub(crate) mod deliveries;
pub(crate) mod errands;
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
pub(crate) mod shards;
pub(crate) mod tokens;
pub(crate) mod users;

#[cfg(test)]
pub(crate) mod suite;

pub(crate) use dialect::Sql;

/// Why the store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is full or too busy. Nothing was stored; try again later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Another transaction was in the way, and this one was given up for it. Nothing was stored; try again.
    #[error("another transaction was in the way; try again")]
    Contended,
    /// A value that must be unique stands in another row already.
    #[error("a row with the same unique value exists")]
    Duplicate,
    /// A row that this one belongs to is gone.
    #[error("a row that this one belongs to does not exist any more")]
    Orphan,
    /// Not all of another database was copied into this one yet. Nothing may work on it before.
    #[error(
        "a copy into this database is unfinished: run the same `casewire database copy` again, or take an empty database"
    )]
    HalfCopied,
    /// Another process serves it.
    #[error("another process serves {0} already: stop that one first, or use PostgreSQL to run several")]
    Served(String),
    /// Connections to the database are not sessions, because of what stands before it.
    #[error(
        "a pooler in transaction mode is in front of the database: use session mode (pgbouncer: pool_mode = session), or connect to PostgreSQL itself"
    )]
    SharedSessions,
    /// The database refused the statement: a bug here, or a schema that is not this program's.
    #[error("the database refused a statement: {0}")]
    Refused(String),
}

impl StoreError {
    /// Whether the same may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Contended)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let Some(refusal) = error.as_database_error() else { return Self::Unavailable(error.to_string()) };
        if refusal.is_unique_violation() {
            return Self::Duplicate;
        }
        if refusal.is_foreign_key_violation() {
            return Self::Orphan;
        }
        match refusal.code().as_deref() {
            // SQLite: busy, locked, I/O error, full, cannot open. PostgreSQL: connection, resources,
            // operator intervention, system error, serialization failure, read-only transaction.
            Some("5" | "6" | "10" | "13" | "14" | "517" | "261" | "778" | "25006") => {
                Self::Unavailable(refusal.message().to_owned())
            }
            // Serialization failure and deadlock.
            Some("40001" | "40P01") => Self::Contended,
            Some(code) if is_transient_postgres(code) => Self::Unavailable(refusal.message().to_owned()),
            _ => Self::Refused(refusal.message().to_owned()),
        }
    }
}

fn is_transient_postgres(code: &str) -> bool {
    code.len() == 5 && ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
}

/// How long one question to the store may take before it counts as not available: a server that is cut off
/// may never answer at all.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);

/// Waits for the store, but not for ever.
pub(crate) async fn in_time<T>(asking: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let late = |_| Err(StoreError::Unavailable("it did not answer in time".to_owned()));
    tokio::time::timeout(ANSWER_LIMIT, asking).await.unwrap_or_else(late)
}

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

/// From this length of the write-ahead log on (64 MiB) a commit moves it into the file by itself.
const LONGEST_LOG_PAGES: &str = "16384";

const HAS_MIGRATIONS: Sql = Sql {
    sqlite: "SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'",
    postgres: "SELECT COUNT(*) FROM pg_tables WHERE tablename = '_sqlx_migrations' AND schemaname = current_schema()",
};
const MIGRATIONS: Sql =
    Sql { sqlite: "SELECT version FROM _sqlx_migrations", postgres: "SELECT version FROM _sqlx_migrations" };

static SQLITE_MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/sqlite");
static POSTGRES_MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/postgres");

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
            .map_err(|error| StoreError::Refused(format!("database.url is not usable: {error}")))?
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
        pooler::refuse_shared_sessions(&options).await?;
        let pool = session_pool()
            .max_connections(16)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(options)
            .await?;
        Ok(Self::Postgres(pool))
    }

    /// Whether this is the embedded database.
    pub(crate) fn is_embedded(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    /// Applies the missing migrations. Returns how many there were. Safe from several processes at once.
    pub(crate) async fn migrate(&self) -> Result<usize, StoreError> {
        let missing = match self.migrations().await? {
            SchemaState::Current => return Ok(0),
            SchemaState::Behind(missing) => missing,
            SchemaState::Ahead => {
                let text = "the schema is newer than this program; run a newer casewire";
                return Err(StoreError::Refused(text.to_owned()));
            }
        };
        let migrated = match self {
            Self::Sqlite(db) => {
                // Two processes may start on a new file at the same moment: the lock makes one wait.
                let mut conn = db.writes.acquire().await?;
                sqlx::query("BEGIN IMMEDIATE").execute(&mut *conn).await?;
                sqlx::query("COMMIT").execute(&mut *conn).await?;
                SQLITE_MIGRATIONS.run(&mut *conn).await
            }
            Self::Postgres(pool) => POSTGRES_MIGRATIONS.run(pool).await,
        };
        match migrated {
            Ok(()) => Ok(missing),
            Err(MigrateError::Execute(error)) => {
                // Another process may have been faster.
                if self.migrations().await? == SchemaState::Current { Ok(0) } else { Err(error.into()) }
            }
            Err(error) => {
                if self.migrations().await? == SchemaState::Current {
                    return Ok(0);
                }
                Err(StoreError::Refused(format!("migration failed: {error}")))
            }
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

/// Compares the schema behind a connection with this program's migrations.
async fn migrations_in(conn: &mut Conn<'_>) -> Result<SchemaState, StoreError> {
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
    let n_missing = known.iter().filter(|migration| !applied.contains(&migration.version)).count();
    Ok(if n_missing == 0 { SchemaState::Current } else { SchemaState::Behind(n_missing) })
}

/// Said at the start of every session, not as options of the connection: poolers do not pass those on.
///
/// A process that is stopped in the middle of a transaction must not keep what it locked. And every statement
/// here finds its rows by an index, in few steps: a server that planned it while a table was nearly empty must
/// not go on reading the whole of it when it is full.
const SESSION: &str = "SET idle_in_transaction_session_timeout = '2s'; SET lock_timeout = '10s'; \
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off";

/// Options of a pool whose sessions begin as they must.
pub(crate) fn session_pool() -> PgPoolOptions {
    PgPoolOptions::new().after_connect(|conn, _| {
        Box::pin(async move { sqlx::raw_sql(SESSION).execute(conn).await.map(drop) })
    })
}

fn postgres_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| StoreError::Refused("the url is not a usable postgres:// address".to_owned()))?;
    // Poolers refuse this one unless they are told otherwise, and no column here is a float.
    Ok(options.extra_float_digits(None))
}

/// What sessions of this program are called on a server, so that others of the same database can be told
/// from those of another schema, which the URL's `options` choose.
fn session_name(what: &str, options: &PgConnectOptions) -> String {
    let Some(options) = options.get_options() else { return what.to_owned() };
    let digest = Sha256::digest(options);
    format!("{what} {:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3])
}
