//! What a commit writes of the frequent kinds: new deliveries, intents and outcomes, each kind as one JSON
//! parameter, and all of them with one question to the database.

use std::collections::{HashMap, HashSet};

use serde::de::DeserializeOwned;

use super::conversations::Seen;
use super::deliveries::NewDelivery;
use super::lanes::{Begin, Settle};
use super::{Conn, Db, Session, StoreError};

pub(super) mod postgres;
mod sqlite;

/// Rows of one commit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch<'a> {
    /// Who writes, when several replicas do: intents and outcomes count only under a lease that it holds.
    pub(crate) replica: Option<&'a str>,
    pub(crate) news: Vec<&'a NewDelivery>,
    pub(crate) begins: Vec<&'a Begin>,
    pub(crate) settles: Vec<&'a Settle>,
}

/// What became of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// By the id of a delivery that was added: how many are pending in its lane now, and whose lane that is.
    pub(crate) added: HashMap<String, (i64, String)>,
    /// Deliveries whose intent stands.
    pub(crate) begun: HashSet<String>,
    /// Deliveries whose outcome stands.
    pub(crate) settled: HashSet<String>,
}

impl Batch<'_> {
    /// Writes the batch in a transaction of its own; on a server over the session that is `kept`, if there is one,
    /// and keeps it for the next.
    ///
    /// It is not cut short by its caller giving up: whoever calls it must poll it to its end.
    pub(crate) async fn commit(&self, db: &Db, kept: &mut Option<Session>) -> Result<Written, StoreError> {
        match db {
            Db::Sqlite(db) => sqlite::commit(self, db).await,
            Db::Postgres(pool) => {
                let mut session = Session::resume(kept.take(), pool).await?;
                let written = postgres::write(self, session.conn()).await;
                // A session that may be broken is ended.
                *kept = Some(session).filter(|_| !matches!(written, Err(StoreError::Unavailable(_))));
                written
            }
        }
    }

    /// Writes the batch inside a transaction that its caller ends.
    pub(crate) async fn write(&self, conn: &mut Conn<'_>) -> Result<Written, StoreError> {
        match conn {
            Conn::Sqlite(conn) => sqlite::write(self, conn).await,
            Conn::Postgres(conn) => postgres::write(self, conn).await,
        }
    }

    fn seen(&self) -> Vec<Seen<'_>> {
        let of_begins = self.begins.iter().filter_map(|begin| {
            let conversation = begin.conversation.as_ref()?;
            Some(Seen { delivery_id: &begin.id, fence: begin.mark, conversation })
        });
        let of_settles = self.settles.iter().filter_map(|settle| {
            let conversation = settle.conversation.as_ref()?;
            Some(Seen { delivery_id: &settle.id, fence: settle.end_mark, conversation })
        });
        of_begins.chain(of_settles).collect()
    }
}

fn added_of(json: &str) -> Result<HashMap<String, (i64, String)>, StoreError> {
    Ok(read::<Vec<(String, (i64, String))>>(json)?.into_iter().collect())
}

pub(super) fn read<T: DeserializeOwned>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::Refused(format!("a statement's answer: {error}")))
}
