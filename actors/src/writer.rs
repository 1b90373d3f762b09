//! The writer: every change to the store goes through it, and those that wait at the same moment share
//! one commit.
//!
//! While a commit runs, requests gather; the next commit takes them all. A caller is answered after the
//! commit that holds its rows. Disk flushes a second are the limit, not requests a second.

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::cluster::leases::Leases;
use crate::kernel::mailbox::AskError;
use crate::metrics::Metrics;
use crate::store::deliveries::{Admission, NewDelivery};
use crate::store::lanes::{Begin, Settle};
use crate::store::{Change, Db, Session, StoreError};
use crate::writer::group::{Pending, Request, commit};

mod group;
#[cfg(test)]
pub(crate) use group::ALL;

/// How many requests one commit takes at most, so that none waits long for others' work.
const MAX_GROUP: usize = 512;

/// How many requests are worth a commit beside so many others that run, on a server, where each waits for the
/// network and the disk. What waits less than that shares the next one.
const WORTH_A_COMMIT: [usize; 4] = [1, 6, 24, 48];

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
            Self::Store(error) => error.is_transient(),
            Self::Ask(_) => true,
        }
    }
}

/// Applies a [`Change`].
#[derive(Message)]
#[rtype(result = "Result<C::Output, StoreError>")]
pub(crate) struct Apply<C: Change>(pub(crate) C);

/// Stores new deliveries; gives each back and says whether it is new.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<(NewDelivery, Admission)>, StoreError>")]
pub(crate) struct Admit(pub(crate) Vec<NewDelivery>);

/// Whether an attempt still holds the delivery that it writes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// What was written stands.
    Held,
    /// Somebody else has written for the delivery meanwhile, or it is gone; nothing was changed.
    Lost,
}

/// Stores the intent before a call that is not idempotent.
#[derive(Debug, Message)]
#[rtype(result = "Result<Claim, StoreError>")]
pub(crate) struct RecordIntent(pub(crate) Begin);

/// Stores how an attempt ended. Storing the same outcome again changes nothing.
#[derive(Debug, Message)]
#[rtype(result = "Result<Claim, StoreError>")]
pub(crate) struct RecordOutcome(pub(crate) Settle);

/// Answers when everything queued before it is committed and the database takes writes.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub(crate) struct Flush;

/// The actor.
pub(crate) struct Writer {
    db: Db,
    metrics: Metrics,
    leases: Leases,
    waiting: Vec<Request>,
    n_committing: usize,
    /// Sessions with a server that nothing is committed over at the moment, the one used last at the end.
    kept: Vec<Session>,
}

impl Writer {
    /// A writer with nothing waiting.
    pub(crate) fn new(db: Db, metrics: Metrics, leases: Leases) -> Self {
        Self { db, metrics, leases, waiting: Vec::new(), n_committing: 0, kept: Vec::new() }
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
        // An embedded database takes one at a time.
        let worth = if self.db.is_embedded() { &WORTH_A_COMMIT[..1] } else { &WORTH_A_COMMIT };
        if worth.get(self.n_committing).is_none_or(|n_worth| self.waiting.len() < *n_worth) {
            return;
        }
        let n_taken = self.waiting.len().min(MAX_GROUP);
        let group: Vec<Request> = self.waiting.drain(..n_taken).collect();
        self.n_committing += 1;
        // A task of its own: should the actor panic, the transaction under way still comes to its end.
        let (db, metrics, leases) = (self.db.clone(), self.metrics.clone(), self.leases.clone());
        let commit = actix_rt::spawn(commit(db, metrics, leases, group, self.kept.pop()));
        context.spawn(commit.into_actor(self).map(|kept, writer, context| {
            writer.kept.extend(kept.ok().flatten());
            writer.n_committing -= 1;
            writer.commit_waiting(context);
        }));
    }
}

impl Actor for Writer {
    type Context = Context<Self>;
}

impl Supervised for Writer {
    fn restarting(&mut self, _: &mut Context<Self>) {
        *self = Self::new(self.db.clone(), self.metrics.clone(), self.leases.clone());
    }
}

impl<C: Change> Handler<Apply<C>> for Writer {
    type Result = ResponseFuture<Result<C::Output, StoreError>>;

    fn handle(&mut self, Apply(change): Apply<C>, context: &mut Context<Self>) -> Self::Result {
        self.enqueue(context, |reply| Request::Other(Box::new(Pending::new(change, reply))))
    }
}

impl Handler<Admit> for Writer {
    type Result = ResponseFuture<Result<Vec<(NewDelivery, Admission)>, StoreError>>;

    fn handle(&mut self, Admit(rows): Admit, context: &mut Context<Self>) -> Self::Result {
        self.enqueue(context, |reply| Request::Admit(rows, reply))
    }
}

impl Handler<RecordIntent> for Writer {
    type Result = ResponseFuture<Result<Claim, StoreError>>;

    fn handle(&mut self, RecordIntent(begin): RecordIntent, context: &mut Context<Self>) -> Self::Result {
        self.enqueue(context, |reply| Request::Intent(Box::new(begin), reply))
    }
}

impl Handler<RecordOutcome> for Writer {
    type Result = ResponseFuture<Result<Claim, StoreError>>;

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
