//! The checkpointer: moves what was committed from the write-ahead log of an embedded database into its
//! file, beside the writer.
//!
//! Left to `SQLite`, every thousandth page a commit does it, and all that is written meanwhile waits for some
//! milliseconds. A passive checkpoint on a connection of its own stops nobody
//! (<https://sqlite.org/pragma.html#pragma_wal_checkpoint>). The commit still does it when the log has grown
//! far, which is when this actor could not.

use std::time::Duration;

use actix::prelude::*;

use crate::store::{Db, SqliteDb};

/// How often it is done.
const EVERY: Duration = Duration::from_millis(500);

/// The actor.
pub(crate) struct Checkpointer {
    db: SqliteDb,
    is_at_work: bool,
}

impl Checkpointer {
    /// One for an embedded database; a server has its own.
    pub(crate) fn for_db(db: &Db) -> Option<Self> {
        match db {
            Db::Sqlite(db) => Some(Self { db: db.clone(), is_at_work: false }),
            Db::Postgres(_) => None,
        }
    }

    fn checkpoint(&mut self, context: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_at_work, true) {
            return;
        }
        let db = self.db.clone();
        let moving = async move { db.checkpoint().await };
        context.spawn(moving.into_actor(self).map(|moved, checkpointer, _| {
            checkpointer.is_at_work = false;
            if let Err(error) = moved {
                tracing::warn!(%error, "the write-ahead log could not be moved into the database; trying again");
            }
        }));
    }
}

impl Actor for Checkpointer {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.run_interval(EVERY, Self::checkpoint);
    }
}

impl Supervised for Checkpointer {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.is_at_work = false;
    }
}

#[cfg(test)]
crate::kernel::panic_matrix::panics_when_told!(Checkpointer);
