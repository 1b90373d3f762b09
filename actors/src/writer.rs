//! The writer: every change to the store goes through it, and those that wait at the same moment share
//! one commit.
//!
//! While a commit runs, requests gather; the next commit takes them all. A caller is answered after the
//! commit that holds its rows. Disk flushes a second are the limit, not requests a second.

use std::time::Instant;

use actix::prelude::*;
use futures_util::future::LocalBoxFuture;
use tokio::sync::oneshot;

use crate::kernel::mailbox::AskError;
use crate::metrics::Metrics;
use crate::store::deliveries::{Admission, NewDelivery};
use crate::store::lanes::{Begin, Settle};
use crate::store::{Conn, Db, StoreError, deliveries, lanes};

/// How many requests one commit takes at most, so that none waits long for others' work.
const MAX_GROUP: usize = 512;

/// Why a write was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The store refused it; nothing was stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The writer gave no answer. After [`AskError::Overloaded`] nothing was stored; else it may have been.
    #[error(transparent)]
    Ask(#[from] AskError),
}

impl WriteError {
    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => matches!(error, StoreError::Unavailable(_)),
            Self::Ask(_) => true,
        }
    }
}

/// A change that is not one of the frequent ones. Applied in the group's transaction, under a savepoint.
pub(crate) trait Change: Send + 'static {
    /// What the caller gets after the commit.
    type Output: Send + 'static;
    /// Applies the change.
    fn apply(self, conn: &mut Conn<'_>) -> impl Future<Output = Result<Self::Output, StoreError>>;
}

/// Applies a [`Change`].
#[derive(Message)]
#[rtype(result = "Result<C::Output, StoreError>")]
pub(crate) struct Apply<C: Change>(pub(crate) C);

/// Stores new deliveries; says of each whether it is new.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Admission>, StoreError>")]
pub(crate) struct Admit(pub(crate) Vec<NewDelivery>);

/// Stores the intent before a call that is not idempotent.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub(crate) struct RecordIntent(pub(crate) Begin);

/// Stores how an attempt ended.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub(crate) struct RecordOutcome(pub(crate) Settle);

/// Answers when everything queued before it is committed and the database takes writes.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub(crate) struct Flush;

/// The actor.
pub(crate) struct Writer {
    db: Db,
    metrics: Metrics,
    waiting: Vec<Request>,
    is_committing: bool,
}

enum Request {
    Admit(Vec<NewDelivery>, oneshot::Sender<Result<Vec<Admission>, StoreError>>),
    Intent(Box<Begin>, oneshot::Sender<Result<(), StoreError>>),
    Outcome(Box<Settle>, oneshot::Sender<Result<(), StoreError>>),
    Other(Box<dyn PendingChange>),
    Flush(oneshot::Sender<Result<(), StoreError>>),
}

impl Writer {
    /// A writer with nothing waiting.
    pub(crate) fn new(db: Db, metrics: Metrics) -> Self {
        Self { db, metrics, waiting: Vec::new(), is_committing: false }
    }

    fn enqueue<T: 'static>(
        &mut self,
        context: &mut Context<Self>,
        make: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> ResponseFuture<Result<T, StoreError>> {
        let (reply, committed) = oneshot::channel();
        self.waiting.push(make(reply));
        self.commit_waiting(context);
        Box::pin(async move {
            let lost = || StoreError::Unavailable("the writer was interrupted".to_owned());
            committed.await.unwrap_or_else(|_| Err(lost()))
        })
    }

    fn commit_waiting(&mut self, context: &mut Context<Self>) {
        if self.is_committing || self.waiting.is_empty() {
            return;
        }
        let n_taken = self.waiting.len().min(MAX_GROUP);
        let group: Vec<Request> = self.waiting.drain(..n_taken).collect();
        self.is_committing = true;
        let commit = commit(self.db.clone(), self.metrics.clone(), group);
        context.spawn(commit.into_actor(self).map(|(), writer, context| {
            writer.is_committing = false;
            writer.commit_waiting(context);
        }));
    }
}

/// Commits a group and answers its callers.
async fn commit(db: Db, metrics: Metrics, group: Vec<Request>) {
    let begun = Instant::now();
    let mut group = Group::sort(group);
    metrics.ingest_batch_size.observe(group.n_requests);
    let committed = match &db {
        Db::Sqlite(db) => group.commit_sqlite(&db.writes).await,
        Db::Postgres(pool) => group.commit_postgres(pool).await,
    };
    metrics.ingest_commit_seconds.observe(begun.elapsed().as_secs_f64());
    group.answer(&committed);
}

/// One transaction's requests, by kind.
#[derive(Default)]
struct Group {
    n_requests: f64,
    admits: Frequent<Vec<NewDelivery>, Vec<Admission>>,
    intents: Frequent<Begin, ()>,
    outcomes: Frequent<Settle, ()>,
    others: Vec<Box<dyn PendingChange>>,
    flushes: Vec<oneshot::Sender<Result<(), StoreError>>>,
}

impl Group {
    fn sort(requests: Vec<Request>) -> Self {
        let mut group = Self::default();
        for request in requests {
            group.n_requests += 1.0;
            match request {
                Request::Admit(rows, reply) => group.admits.push(rows, reply),
                Request::Intent(begin, reply) => group.intents.push(*begin, reply),
                Request::Outcome(settle, reply) => group.outcomes.push(*settle, reply),
                Request::Other(change) => group.others.push(change),
                Request::Flush(reply) => group.flushes.push(reply),
            }
        }
        group
    }

    async fn commit_sqlite(&mut self, pool: &sqlx::SqlitePool) -> Result<(), StoreError> {
        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
        self.apply(&mut Conn::Sqlite(&mut transaction)).await?;
        Ok(transaction.commit().await?)
    }

    async fn commit_postgres(&mut self, pool: &sqlx::PgPool) -> Result<(), StoreError> {
        let mut transaction = pool.begin().await?;
        self.apply(&mut Conn::Postgres(&mut transaction)).await?;
        Ok(transaction.commit().await?)
    }

    async fn apply(&mut self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        self.admits.apply(conn, &AdmitRows).await?;
        self.intents.apply(conn, &IntentRows).await?;
        self.outcomes.apply(conn, &OutcomeRows).await?;
        for change in &mut self.others {
            savepoint(conn, Savepoint::Set).await?;
            let is_applied = change.apply(conn).await;
            savepoint(conn, if is_applied { Savepoint::Release } else { Savepoint::RollBack }).await?;
        }
        Ok(())
    }

    fn answer(self, committed: &Result<(), StoreError>) {
        self.admits.answer(committed);
        self.intents.answer(committed);
        self.outcomes.answer(committed);
        for change in self.others {
            change.answer(committed);
        }
        for reply in self.flushes {
            let _caller_left = reply.send(committed.clone());
        }
    }
}

/// Requests of one frequent kind: applied by one statement for all, or, where that is refused because of
/// one of them, one by one.
struct Frequent<I, O> {
    items: Vec<I>,
    replies: Vec<oneshot::Sender<Result<O, StoreError>>>,
    results: Vec<Result<O, StoreError>>,
}

impl<I, O> Default for Frequent<I, O> {
    fn default() -> Self {
        Self { items: Vec::new(), replies: Vec::new(), results: Vec::new() }
    }
}

/// How a frequent kind is written.
trait Rows<I, O> {
    /// Writes all items; gives one result for each, in order.
    async fn write(&self, conn: &mut Conn<'_>, items: &[I]) -> Result<Vec<O>, StoreError>;
}

impl<I, O> Frequent<I, O> {
    fn push(&mut self, item: I, reply: oneshot::Sender<Result<O, StoreError>>) {
        self.items.push(item);
        self.replies.push(reply);
    }

    async fn apply(&mut self, conn: &mut Conn<'_>, rows: &impl Rows<I, O>) -> Result<(), StoreError> {
        if self.items.is_empty() {
            return Ok(());
        }
        savepoint(conn, Savepoint::Set).await?;
        match rows.write(conn, &self.items).await {
            Ok(results) => {
                self.results = results.into_iter().map(Ok).collect();
                return savepoint(conn, Savepoint::Release).await;
            }
            Err(error @ StoreError::Unavailable(_)) => return Err(error),
            Err(_one_of_them) => savepoint(conn, Savepoint::RollBack).await?,
        }
        for item in self.items.chunks(1) {
            savepoint(conn, Savepoint::Set).await?;
            let written = rows.write(conn, item).await.map(|mut results| results.pop());
            let end = if written.is_ok() { Savepoint::Release } else { Savepoint::RollBack };
            savepoint(conn, end).await?;
            let missing = || StoreError::Refused("a write gave no result".to_owned());
            self.results.push(written.and_then(|result| result.ok_or_else(missing)));
        }
        Ok(())
    }

    fn answer(self, committed: &Result<(), StoreError>) {
        let mut results = self.results.into_iter();
        for reply in self.replies {
            let result = match (committed, results.next()) {
                (Ok(()), Some(result)) => result,
                (Ok(()), None) => Err(StoreError::Refused("a write gave no result".to_owned())),
                (Err(error), _) => Err(error.clone()),
            };
            let _caller_left = reply.send(result);
        }
    }
}

struct AdmitRows;

impl Rows<Vec<NewDelivery>, Vec<Admission>> for AdmitRows {
    async fn write(
        &self,
        conn: &mut Conn<'_>,
        items: &[Vec<NewDelivery>],
    ) -> Result<Vec<Vec<Admission>>, StoreError> {
        deliveries::admit(conn, items).await
    }
}

struct IntentRows;

impl Rows<Begin, ()> for IntentRows {
    async fn write(&self, conn: &mut Conn<'_>, items: &[Begin]) -> Result<Vec<()>, StoreError> {
        lanes::begin(conn, items).await?;
        Ok(vec![(); items.len()])
    }
}

struct OutcomeRows;

impl Rows<Settle, ()> for OutcomeRows {
    async fn write(&self, conn: &mut Conn<'_>, items: &[Settle]) -> Result<Vec<()>, StoreError> {
        lanes::settle(conn, items).await?;
        Ok(vec![(); items.len()])
    }
}

#[derive(Debug, Clone, Copy)]
enum Savepoint {
    Set,
    Release,
    RollBack,
}

statements! {
    SET_SAVEPOINT = "SAVEPOINT request";
    RELEASE_SAVEPOINT = "RELEASE SAVEPOINT request";
    ROLL_BACK_TO_SAVEPOINT = "ROLLBACK TO SAVEPOINT request";
}

async fn savepoint(conn: &mut Conn<'_>, action: Savepoint) -> Result<(), StoreError> {
    let statement = match action {
        Savepoint::Set => SET_SAVEPOINT,
        Savepoint::Release => RELEASE_SAVEPOINT,
        Savepoint::RollBack => ROLL_BACK_TO_SAVEPOINT,
    };
    on_conn!(conn, |conn, sql| sqlx::query(sql(statement)).execute(&mut **conn).await.map(drop))?;
    Ok(())
}

/// A [`Change`] of any kind, with its caller.
trait PendingChange: Send {
    /// Applies it; says whether it worked. The result is kept for the answer.
    fn apply<'a>(&'a mut self, conn: &'a mut Conn<'_>) -> LocalBoxFuture<'a, bool>;
    /// Answers the caller.
    fn answer(self: Box<Self>, committed: &Result<(), StoreError>);
}

struct Pending<C: Change> {
    change: Option<C>,
    result: Option<Result<C::Output, StoreError>>,
    reply: oneshot::Sender<Result<C::Output, StoreError>>,
}

impl<C: Change> PendingChange for Pending<C> {
    fn apply<'a>(&'a mut self, conn: &'a mut Conn<'_>) -> LocalBoxFuture<'a, bool> {
        Box::pin(async move {
            let Some(change) = self.change.take() else { return false };
            let result = change.apply(conn).await;
            let is_applied = result.is_ok();
            self.result = Some(result);
            is_applied
        })
    }

    fn answer(self: Box<Self>, committed: &Result<(), StoreError>) {
        let unapplied = || Err(StoreError::Unavailable("the transaction ended early".to_owned()));
        let result = match committed {
            Ok(()) => self.result.unwrap_or_else(unapplied),
            Err(error) => Err(error.clone()),
        };
        let _caller_left = self.reply.send(result);
    }
}

impl Actor for Writer {
    type Context = Context<Self>;
}

impl Supervised for Writer {
    fn restarting(&mut self, _: &mut Context<Self>) {
        *self = Self::new(self.db.clone(), self.metrics.clone());
    }
}

impl<C: Change> Handler<Apply<C>> for Writer {
    type Result = ResponseFuture<Result<C::Output, StoreError>>;

    fn handle(&mut self, Apply(change): Apply<C>, context: &mut Context<Self>) -> Self::Result {
        self.enqueue(context, |reply| {
            Request::Other(Box::new(Pending { change: Some(change), result: None, reply }))
        })
    }
}

impl Handler<Admit> for Writer {
    type Result = ResponseFuture<Result<Vec<Admission>, StoreError>>;

    fn handle(&mut self, Admit(rows): Admit, context: &mut Context<Self>) -> Self::Result {
        self.enqueue(context, |reply| Request::Admit(rows, reply))
    }
}

impl Handler<RecordIntent> for Writer {
    type Result = ResponseFuture<Result<(), StoreError>>;

    fn handle(&mut self, RecordIntent(begin): RecordIntent, context: &mut Context<Self>) -> Self::Result {
        self.enqueue(context, |reply| Request::Intent(Box::new(begin), reply))
    }
}

impl Handler<RecordOutcome> for Writer {
    type Result = ResponseFuture<Result<(), StoreError>>;

    fn handle(&mut self, RecordOutcome(settle): RecordOutcome, context: &mut Context<Self>) -> Self::Result {
        self.enqueue(context, |reply| Request::Outcome(Box::new(settle), reply))
    }
}

impl Handler<Flush> for Writer {
    type Result = ResponseFuture<Result<(), StoreError>>;

    fn handle(&mut self, _: Flush, context: &mut Context<Self>) -> Self::Result {
        self.enqueue(context, Request::Flush)
    }
}

#[cfg(test)]
crate::kernel::panic_matrix::panics_when_told!(Writer);
