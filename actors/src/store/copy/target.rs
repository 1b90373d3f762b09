//! The database on a server that everything is copied into.

use std::time::Duration;

use sqlx::{ConnectOptions, Connection, PgConnection};

use super::rows::{Cell, Read, Row};
use super::tables::{
    BEGIN_ANEW, FORGET_MARKS, HELD_MARK, MARK, MARKS, SESSIONS, SET_MARK, Table, count, next_page,
};
use crate::copy::CopyError;
use crate::store::deliveries::to_json;
use crate::store::server::refuse_unfit;
use crate::store::{Conn, SchemaState, StoreError, migrations_in, postgres_options, schema, session_name};

/// How long sessions that are ending, such as those of a copy that was killed, may take: so many looks, so
/// far apart.
const N_LOOKS: u32 = 15;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// The target.
pub(super) struct Target {
    conn: PgConnection,
    /// How sessions of a hub, and of a copy, on this database are called.
    sessions: [String; 2],
}

/// The fingerprint of the source whose copy is unfinished, if there is one.
pub(super) async fn mark(conn: &mut PgConnection) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar(MARK.postgres).fetch_optional(conn).await?)
}

impl Target {
    /// Brings it to the newest schema and makes sure that no other session of this program is connected.
    pub(super) async fn open(url: &str) -> Result<Self, CopyError> {
        let options = postgres_options(url).map_err(CopyError::Target)?;
        let sessions = ["casewire", "casewire copy"].map(|what| session_name(what, &options));
        let options = options.application_name(&sessions[1]);
        refuse_unfit(&options).await.map_err(CopyError::Target)?;
        let conn = options.connect().await.map_err(failed)?;
        let mut target = Self { conn, sessions };
        target.refuse_company().await?;
        target.migrate().await?;
        Ok(target)
    }

    async fn migrate(&mut self) -> Result<(), CopyError> {
        let state = migrations_in(&mut Conn::Postgres(&mut self.conn)).await;
        match state.map_err(CopyError::Target)? {
            SchemaState::Current => Ok(()),
            SchemaState::Ahead => Err(CopyError::TargetAhead),
            SchemaState::Behind(_) => {
                let migrated = schema::migrate_postgres(&mut self.conn).await;
                migrated.map_err(|error| CopyError::Target(schema::refusal(error)))
            }
        }
    }

    /// Refuses to go on while a hub, a command or another copy is connected.
    pub(super) async fn refuse_company(&mut self) -> Result<(), CopyError> {
        let mut n_sessions = 0;
        for _ in 0..N_LOOKS {
            let query = sqlx::query_scalar(SESSIONS.postgres).bind(&self.sessions[0]).bind(&self.sessions[1]);
            n_sessions = query.fetch_one(&mut self.conn).await.map_err(failed)?;
            if n_sessions == 0 {
                return Ok(());
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Err(CopyError::TargetInUse(n_sessions))
    }

    /// The fingerprint of the source whose copy is unfinished, if there is one.
    pub(super) async fn mark(&mut self) -> Result<Option<i64>, CopyError> {
        mark(&mut self.conn).await.map_err(CopyError::Target)
    }

    /// Marks it as unfinished.
    pub(super) async fn begin(&mut self, fingerprint: i64) -> Result<(), CopyError> {
        let marking = sqlx::query(SET_MARK.postgres).bind(fingerprint);
        marking.execute(&mut self.conn).await.map(drop).map_err(failed)
    }

    /// Discards an unfinished copy and marks it as another one.
    pub(super) async fn begin_anew(&mut self, fingerprint: i64) -> Result<(), CopyError> {
        let mut transaction = self.conn.begin().await.map_err(failed)?;
        sqlx::query(BEGIN_ANEW.postgres).execute(&mut *transaction).await.map_err(failed)?;
        let marking = sqlx::query(SET_MARK.postgres).bind(fingerprint);
        marking.execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// How many rows a table has.
    pub(super) async fn count(&mut self, table: &Table) -> Result<u64, CopyError> {
        count(&mut Conn::Postgres(&mut self.conn), table).await.map_err(CopyError::Target)
    }

    /// The next rows of a table, in the order of their keys as the server sorts them.
    pub(super) async fn next_page(
        &mut self,
        table: &Table,
        after: &mut Vec<Cell>,
        limit: i64,
    ) -> Result<Vec<Row>, CopyError> {
        next_page(&mut Conn::Postgres(&mut self.conn), table, after, limit).await.map_err(CopyError::Target)
    }

    /// The key of a table that the source sorts last.
    pub(super) async fn last_key(&mut self, table: &Table) -> Result<Option<Vec<Cell>>, CopyError> {
        let row = sqlx::query(table.last.postgres).fetch_optional(&mut self.conn).await.map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        let row = row.read().map_err(CopyError::Target)?;
        table.key_of(&row).map(Some).map_err(CopyError::Target)
    }

    /// Adds rows in a transaction of their own, if the copy with this fingerprint still holds the target.
    pub(super) async fn add(
        &mut self,
        table: &Table,
        rows: &[Row],
        fingerprint: i64,
    ) -> Result<(), CopyError> {
        refuse_nul(table, rows)?;
        let json = to_json(&rows).map_err(CopyError::Source)?;
        let mut transaction = self.conn.begin().await.map_err(failed)?;
        refuse_other_mark(&mut transaction, fingerprint).await?;
        insert(&mut transaction, table, &json, rows.len()).await?;
        transaction.commit().await.map_err(failed)
    }

    /// Puts the marks of the source in the place of its own, that of the unfinished copy among them: from
    /// then on it is a hub's database. Only if the copy with this fingerprint still holds the target.
    pub(super) async fn finish(&mut self, marks: &[Row], fingerprint: i64) -> Result<(), CopyError> {
        refuse_nul(&MARKS, marks)?;
        let json = to_json(&marks).map_err(CopyError::Source)?;
        let mut transaction = self.conn.begin().await.map_err(failed)?;
        refuse_other_mark(&mut transaction, fingerprint).await?;
        sqlx::query(FORGET_MARKS.postgres).execute(&mut *transaction).await.map_err(failed)?;
        insert(&mut transaction, &MARKS, &json, marks.len()).await?;
        transaction.commit().await.map_err(failed)
    }
}

/// Refuses when another copy put its mark where that of this one stood; holds the mark until the transaction ends.
async fn refuse_other_mark(conn: &mut PgConnection, fingerprint: i64) -> Result<(), CopyError> {
    let held: Option<i64> =
        sqlx::query_scalar(HELD_MARK.postgres).fetch_optional(conn).await.map_err(failed)?;
    if held == Some(fingerprint) { Ok(()) } else { Err(CopyError::Displaced) }
}

async fn insert(conn: &mut PgConnection, table: &Table, json: &str, n_rows: usize) -> Result<(), CopyError> {
    let done = sqlx::query(table.add.postgres).bind(json).execute(conn).await.map_err(failed)?;
    if done.rows_affected() == n_rows as u64 {
        return Ok(());
    }
    let text = format!("{} of {n_rows} rows of {} were written", done.rows_affected(), table.name);
    Err(CopyError::Target(StoreError::Unfit(text)))
}

fn refuse_nul(table: &Table, rows: &[Row]) -> Result<(), CopyError> {
    for row in rows {
        for (column, cell) in row {
            if matches!(cell, Cell::Text(text) if text.contains('\0')) {
                let key =
                    to_json(&table.key_of(row).map_err(CopyError::Source)?).map_err(CopyError::Source)?;
                return Err(CopyError::Unstorable { table: table.name, column: column.clone(), key });
            }
        }
    }
    Ok(())
}

fn failed(error: sqlx::Error) -> CopyError {
    CopyError::Target(error.into())
}
