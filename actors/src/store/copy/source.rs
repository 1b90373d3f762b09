//! The embedded database that is copied, locked for as long as it is open.

use std::str::FromStr;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteLockingMode};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::rows::{Cell, Row};
use super::tables::{FORGET_MOVED, IS_MOVED, LOCK, SET_MOVED, Table, UNLOCK, count, next_page};
use crate::copy::CopyError;
use crate::store::{Conn, SchemaState, Sql, SqliteDb, StoreError, migrations_in};

/// How long another process may take to let go of it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The source.
pub(in crate::store) struct Source(SqliteConnection);

impl Source {
    /// Opens it for nobody else.
    ///
    /// Every connection with a write-ahead log holds a shared lock on the file for as long as it is open, so
    /// the exclusive one is refused while a hub runs, even one that does nothing. While it is held nobody else
    /// can open the database, and it is gone with this process however that ends.
    pub(in crate::store) async fn open(url: &str) -> Result<Self, CopyError> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|error| source(StoreError::Unfit(format!("database.url is not usable: {error}"))))?
            .locking_mode(SqliteLockingMode::Exclusive)
            .busy_timeout(PATIENCE);
        let mut conn =
            options.connect().await.map_err(|error| refusal(&error).unwrap_or_else(|| failed(error)))?;
        let locked = sqlx::query(LOCK.sqlite).execute(&mut conn).await;
        locked.map_err(|error| refusal(&error).unwrap_or_else(|| failed(error)))?;
        match migrations_in(&mut Conn::Sqlite(&mut conn)).await.map_err(source)? {
            SchemaState::Current => Ok(Self(conn)),
            SchemaState::Behind(n_missing) => Err(CopyError::SourceBehind(n_missing)),
            SchemaState::Ahead => Err(CopyError::SourceAhead),
        }
    }

    /// The next rows of a table, in the order of their keys.
    pub(super) async fn next_page(
        &mut self,
        table: &Table,
        after: &mut Vec<Cell>,
        limit: i64,
    ) -> Result<Vec<Row>, CopyError> {
        next_page(&mut Conn::Sqlite(&mut self.0), table, after, limit).await.map_err(source)
    }

    /// Refuses a table that holds more rows than its pages showed: one with an empty key comes in none.
    pub(super) async fn refuse_hidden_rows(&mut self, table: &Table, n_seen: u64) -> Result<(), CopyError> {
        let n_rows = count(&mut Conn::Sqlite(&mut self.0), table).await.map_err(source)?;
        if n_rows == n_seen {
            return Ok(());
        }
        let text = format!("{} has {n_rows} rows, of which {n_seen} have a key", table.name);
        Err(source(StoreError::Unfit(text)))
    }

    /// Marks it as moved and lets go of it: no hub serves it from then on.
    pub(super) async fn leave_moved(self) -> Result<(), CopyError> {
        self.leave(SET_MOVED).await.map(drop)
    }

    /// Takes the mark of a moved one away and lets go of it. Whether it was there.
    pub(super) async fn reopen(self) -> Result<bool, CopyError> {
        self.leave(FORGET_MOVED).await
    }

    async fn leave(mut self, change: Sql) -> Result<bool, CopyError> {
        let changed = sqlx::query(change.sqlite).execute(&mut self.0).await.map_err(failed)?;
        sqlx::query(UNLOCK.sqlite).execute(&mut self.0).await.map_err(failed)?;
        self.close().await?;
        Ok(changed.rows_affected() > 0)
    }

    /// Lets go of it.
    pub(in crate::store) async fn close(self) -> Result<(), CopyError> {
        self.0.close().await.map_err(failed)
    }
}

/// Refuses an embedded database that was moved.
pub(super) async fn refuse_moved(db: &SqliteDb) -> Result<(), StoreError> {
    let n_marks: i64 = sqlx::query_scalar(IS_MOVED.sqlite).fetch_one(&db.reads).await?;
    if n_marks == 0 { Ok(()) } else { Err(StoreError::Moved) }
}

fn source(error: StoreError) -> CopyError {
    CopyError::Source(error)
}

fn failed(error: sqlx::Error) -> CopyError {
    CopyError::Source(error.into())
}

/// What a code of `SQLite`, plain or extended, means here: `SQLITE_BUSY`, `SQLITE_LOCKED`, `SQLITE_CANTOPEN`.
fn refusal(error: &sqlx::Error) -> Option<CopyError> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    match code & 0xff {
        5 | 6 => Some(CopyError::SourceInUse),
        14 => Some(CopyError::SourceMissing),
        _ => None,
    }
}
