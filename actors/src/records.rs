//! The records of deliveries: what was accepted, what became of it, and the replay of dead letters.
//!
//! A replay puts a dead letter back into its lane: attempts counted from zero, a new deadline, the
//! journal kept, so what may have been done is looked up before it is repeated. What was delivered, or
//! still waits, is never put back: the change itself takes rows only while they are dead.

mod replays;

use actix::prelude::*;

pub use self::replays::{
    BulkReplayed, CancelReplay, GetReplay, ListReplays, ReplayList, ReplayRecords, Replayed,
};
use crate::directory::{ChangeKind, OnChanged, Target, TargetChange};
use crate::domain::record::{Attempt, Record, RecordPage};
use crate::domain::requester::Requester;
use crate::kernel::{AskError, Mailbox, start};
use crate::replayer::Replayer;
use crate::shared::Shared;
use crate::store::records::{self, Revive, Revived};
use crate::store::routing::is_unrouted;
use crate::store::{StoreError, deliveries, instances};
use crate::writer::Apply;

/// How many questions may wait.
const CAPACITY: usize = 1024;

/// Lists records, the newest first.
#[derive(Debug, Message)]
#[rtype(result = "Result<RecordList, RecordsError>")]
pub struct ListRecords {
    /// Whose, or all; the caller sees to it that the requester may.
    pub user_id: Option<String>,
    /// Which.
    pub page: RecordPage,
}

/// Looks at one record and its attempts.
#[derive(Debug, Message)]
#[rtype(result = "Result<(Record, Vec<Attempt>), RecordsError>")]
pub struct GetRecord {
    /// Who asks.
    pub requester: Requester,
    /// Its id.
    pub id: String,
}

/// Puts one dead letter back.
#[derive(Debug, Message)]
#[rtype(result = "Result<Record, RecordsError>")]
pub struct ReplayRecord {
    /// Who asks.
    pub requester: Requester,
    /// Its id.
    pub id: String,
}

/// A page of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordList {
    /// The records, the newest first.
    pub records: Vec<Record>,
    /// How many there are on all pages; not counted over all users.
    pub n_total: Option<i64>,
    /// The cursor of the next page, if there is one.
    pub next_cursor: Option<String>,
}

/// Finds the instances with a URL. For the command line, which knows no owner.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<String>, RecordsError>")]
pub struct FindInstances {
    /// As it is stored: no trailing slash.
    pub instance_url: String,
}

/// Why the records did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// There is no such record, or it is another owner's.
    #[error("there is no such delivery")]
    NotFound,
    /// It is not a dead letter, but this.
    #[error("only dead letters can be replayed; this delivery is {0}")]
    NotDead(String),
    /// Retention erased its text.
    #[error("the text of this delivery was erased after its retention time; it cannot be replayed")]
    Erased,
    /// There is no such bulk replay, or it is another owner's.
    #[error("there is no such replay")]
    NoSuchReplay,
    /// It has come to its end, and cannot be cancelled any more.
    #[error("this replay is done; it cannot be cancelled any more")]
    ReplayDone,
    /// As many run already as one user may have.
    #[error("too many replays are running; wait until one of them is done, or cancel one")]
    TooManyReplays,
    /// The store cannot be reached; try again later.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// A bug here.
    #[error("the records failed: {0}")]
    Internal(String),
}

impl From<StoreError> for RecordsError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(detail) => Self::Unavailable(detail),
            error @ StoreError::Contended => Self::Unavailable(error.to_string()),
            error => Self::Internal(error.to_string()),
        }
    }
}

impl From<AskError> for RecordsError {
    fn from(error: AskError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What the records work with. Clones share it. The command line works with one of its own.
#[derive(Clone)]
pub(crate) struct Archive {
    pub(crate) shared: Shared,
    /// `delivery.retry_for`: how long a replayed delivery may fail.
    pub(crate) retry_for_ms: i64,
    pub(crate) on_changed: OnChanged,
    /// Who carries bulk replays on, if it is this process.
    pub(crate) replayer: Option<Mailbox<Replayer>>,
}

/// The actor.
pub struct Records(Archive);

/// Starts the records.
pub(crate) fn start_records(archive: Archive) -> Mailbox<Records> {
    let arbiter = archive.shared.front.clone();
    let registry = archive.shared.registry.clone();
    start(&arbiter, &registry, Shared::front_terms("records", CAPACITY), move |_| Records(archive))
}

impl Archive {
    /// Records of a user, or of all, the newest first, and the cursor of the next page.
    pub(crate) async fn list(
        &self,
        user_id: Option<&str>,
        page: &RecordPage,
    ) -> Result<(Vec<Record>, Option<String>), StoreError> {
        let cursor = page.cursor.as_deref();
        // One more than asked for tells whether there is a next page.
        let limit = page.limit.saturating_add(1);
        let db = &self.shared.db;
        let mut records = records::page(db, user_id, &page.filter, cursor, limit).await?;
        let n_asked = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let has_next = records.len() > n_asked;
        records.truncate(n_asked);
        let next_cursor = records.last().filter(|_| has_next).map(|record| record.id.clone());
        Ok((records, next_cursor))
    }

    /// One record with its owner's id and its attempts.
    pub(crate) async fn get(&self, id: &str) -> Result<Option<(String, Record, Vec<Attempt>)>, StoreError> {
        let Some((owner_id, record)) = records::by_id(&self.shared.db, id).await? else { return Ok(None) };
        let attempts = records::attempts(&self.shared.db, id).await?;
        Ok(Some((owner_id, record, attempts)))
    }

    /// Puts one dead letter back.
    pub(crate) async fn replay(&self, id: &str) -> Result<(), RecordsError> {
        let revived = self.revive(vec![id.to_owned()]).await?;
        if revived.n == 1 {
            return Ok(());
        }
        let stored = deliveries::by_id(&self.shared.db, id).await?.ok_or(RecordsError::NotFound)?;
        let is_erased = stored.status == "dead" && stored.payload.is_none();
        Err(if is_erased { RecordsError::Erased } else { RecordsError::NotDead(stored.status) })
    }

    async fn revive(&self, ids: Vec<String>) -> Result<Revived, RecordsError> {
        let now_ms = self.shared.sources.now_ms();
        let change = Revive { ids, now_ms, deadline_ms: now_ms.saturating_add(self.retry_for_ms) };
        let revived = self.shared.writer.ask(Apply(change)).await??;
        tell(&self.on_changed, &revived);
        Ok(revived)
    }
}

/// Says whose actors have work after a replay.
pub(crate) fn tell(on_changed: &OnChanged, revived: &Revived) {
    for (direction, target_id) in &revived.targets {
        let target = match direction.as_str() {
            // Its account feeds no instance: nobody works on it.
            "to_servicenow" if is_unrouted(target_id) => continue,
            "to_servicenow" => Target::Instance(target_id.clone()),
            _ => Target::Account(target_id.clone()),
        };
        on_changed(TargetChange { target, kind: ChangeKind::Work });
    }
}

impl Actor for Records {
    type Context = Context<Self>;
}

impl Supervised for Records {}

impl Handler<ListRecords> for Records {
    type Result = ResponseFuture<Result<RecordList, RecordsError>>;

    fn handle(&mut self, message: ListRecords, _: &mut Context<Self>) -> Self::Result {
        let archive = self.0.clone();
        Box::pin(async move {
            let ListRecords { user_id, page } = message;
            let _turn = archive.shared.turns.take().await?;
            let (records, next_cursor) = archive.list(user_id.as_deref(), &page).await?;
            let n_total = match &user_id {
                Some(user_id) => Some(records::count(&archive.shared.db, user_id, &page.filter).await?),
                None => None,
            };
            Ok(RecordList { records, n_total, next_cursor })
        })
    }
}

impl Handler<GetRecord> for Records {
    type Result = ResponseFuture<Result<(Record, Vec<Attempt>), RecordsError>>;

    fn handle(&mut self, message: GetRecord, _: &mut Context<Self>) -> Self::Result {
        let archive = self.0.clone();
        Box::pin(async move {
            let found = archive.get(&message.id).await?;
            let found = found.filter(|(owner_id, _, _)| message.requester.may_see(owner_id));
            found.map(|(_, record, attempts)| (record, attempts)).ok_or(RecordsError::NotFound)
        })
    }
}

impl Handler<ReplayRecord> for Records {
    type Result = ResponseFuture<Result<Record, RecordsError>>;

    fn handle(&mut self, message: ReplayRecord, _: &mut Context<Self>) -> Self::Result {
        let archive = self.0.clone();
        Box::pin(async move {
            let found = records::by_id(&archive.shared.db, &message.id).await?;
            if !found.is_some_and(|(owner_id, _)| message.requester.may_see(&owner_id)) {
                return Err(RecordsError::NotFound);
            }
            archive.replay(&message.id).await?;
            let replayed = records::by_id(&archive.shared.db, &message.id).await?;
            replayed.map(|(_, record)| record).ok_or(RecordsError::NotFound)
        })
    }
}

impl Handler<FindInstances> for Records {
    type Result = ResponseFuture<Result<Vec<String>, RecordsError>>;

    fn handle(&mut self, message: FindInstances, _: &mut Context<Self>) -> Self::Result {
        let archive = self.0.clone();
        Box::pin(async move { Ok(instances::by_url(&archive.shared.db, &message.instance_url).await?) })
    }
}

#[cfg(test)]
mod tests;
