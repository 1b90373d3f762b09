//! One group of requests: written together, or, where one of them is refused, each by itself.

use std::rc::Rc;
use std::time::Instant;

use futures_util::future::LocalBoxFuture;
use tokio::sync::oneshot;

use super::{Change, Claim};
use crate::cluster::leases::Leases;
use crate::metrics::Metrics;
use crate::store::batch::{Batch, Written};
use crate::store::deliveries::{Admission, NewDelivery};
use crate::store::lanes::{Begin, Settle};
use crate::store::{Conn, Db, StoreError, in_time};

/// How often a commit that lost against another is written again.
const MAX_DEADLOCKS: usize = 4;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;
/// What became of one request; those of a group share what was written together.
type Outcome = Result<Rc<Written>, StoreError>;

/// What a caller wants written.
pub(super) enum Request {
    Admit(Vec<NewDelivery>, Reply<Vec<(NewDelivery, Admission)>>),
    Intent(Box<Begin>, Reply<Claim>),
    Outcome(Box<Settle>, Reply<Claim>),
    Other(Box<dyn PendingChange>),
    Flush(Reply<()>),
}

/// Commits a group and answers its callers.
pub(super) async fn commit(db: Db, metrics: Metrics, leases: Leases, mut group: Vec<Request>) {
    let begun = Instant::now();
    let outcomes = if db.is_embedded() {
        // Never cut short: it would leave its transaction open.
        write(&db, leases.replica(), &mut group).await
    } else {
        let written = in_time(async { Ok(write(&db, leases.replica(), &mut group).await) }).await;
        // Whoever asked may ask again: the same rows written twice are there once.
        written.unwrap_or_else(|late| vec![Err(late); group.len()])
    };
    metrics.ingest_commit_seconds.observe(begun.elapsed().as_secs_f64());
    let n_requests = u32::try_from(group.len()).unwrap_or(u32::MAX);
    metrics.ingest_batch_size.observe(f64::from(n_requests));
    for (request, outcome) in group.into_iter().zip(outcomes) {
        request.answer(outcome);
    }
}

async fn write(db: &Db, replica: Option<&str>, group: &mut [Request]) -> Vec<Outcome> {
    let n_requests = group.len();
    let all = |outcome: Outcome| vec![outcome; n_requests];
    match write_together(db, replica, group).await {
        Ok(written) => all(Ok(Rc::new(written))),
        Err(error @ (StoreError::Unavailable(_) | StoreError::Contended)) => all(Err(error)),
        // One of them was refused, and with it the whole transaction.
        Err(_) => write_one_by_one(db, replica, group).await.unwrap_or_else(|error| all(Err(error))),
    }
}

async fn write_together(
    db: &Db,
    replica: Option<&str>,
    group: &mut [Request],
) -> Result<Written, StoreError> {
    if !group.iter().any(Request::is_other) {
        return commit_batch(db, &batch(replica, group)).await;
    }
    let mut transaction = db.begin().await?;
    let written = batch(replica, group).write(&mut transaction.conn()).await?;
    for request in group {
        if let Request::Other(change) = request {
            apply(change.as_mut(), &mut transaction.conn()).await?;
        }
    }
    transaction.commit().await?;
    Ok(written)
}

/// Two commits that wait for each other's rows are told apart by the server, which gives up one of them:
/// that one is written again.
async fn commit_batch(db: &Db, batch: &Batch<'_>) -> Result<Written, StoreError> {
    for _ in 0..MAX_DEADLOCKS {
        match batch.commit(db).await {
            Err(StoreError::Contended) => {}
            ended => return ended,
        }
    }
    batch.commit(db).await
}

/// One that is refused leaves the others untouched.
async fn write_one_by_one(
    db: &Db,
    replica: Option<&str>,
    group: &mut [Request],
) -> Result<Vec<Outcome>, StoreError> {
    let mut transaction = db.begin().await?;
    let mut outcomes = Vec::with_capacity(group.len());
    for request in group {
        let conn = &mut transaction.conn();
        if let Request::Other(change) = request {
            apply(change.as_mut(), conn).await?;
            outcomes.push(Ok(Rc::default()));
            continue;
        }
        savepoint(conn, SET_SAVEPOINT).await?;
        let written = batch(replica, std::slice::from_ref(request)).write(conn).await;
        savepoint(conn, if written.is_ok() { RELEASE_SAVEPOINT } else { ROLL_BACK_TO_SAVEPOINT }).await?;
        outcomes.push(written.map(Rc::new));
    }
    transaction.commit().await?;
    Ok(outcomes)
}

async fn apply(change: &mut dyn PendingChange, conn: &mut Conn<'_>) -> Result<(), StoreError> {
    savepoint(conn, SET_SAVEPOINT).await?;
    let is_applied = change.apply(conn).await;
    savepoint(conn, if is_applied { RELEASE_SAVEPOINT } else { ROLL_BACK_TO_SAVEPOINT }).await
}

statements! {
    SET_SAVEPOINT = "SAVEPOINT request";
    RELEASE_SAVEPOINT = "RELEASE SAVEPOINT request";
    ROLL_BACK_TO_SAVEPOINT = "ROLLBACK TO SAVEPOINT request";
}

async fn savepoint(conn: &mut Conn<'_>, statement: crate::store::Sql) -> Result<(), StoreError> {
    on_conn!(conn, |conn, sql| sqlx::query(sql(statement)).execute(&mut **conn).await.map(drop))?;
    Ok(())
}

fn batch<'a>(replica: Option<&'a str>, group: &'a [Request]) -> Batch<'a> {
    let mut batch = Batch { replica, ..Batch::default() };
    for request in group {
        match request {
            Request::Admit(rows, _) => batch.news.extend(rows),
            Request::Intent(begin, _) => batch.begins.push(begin),
            Request::Outcome(settle, _) => batch.settles.push(settle),
            Request::Other(_) | Request::Flush(_) => {}
        }
    }
    batch
}

impl Request {
    fn is_other(&self) -> bool {
        matches!(self, Self::Other(_))
    }

    /// A caller that left is not told.
    fn answer(self, outcome: Outcome) {
        let claim = |is_held: bool| if is_held { Claim::Held } else { Claim::Lost };
        match self {
            Self::Admit(rows, reply) => {
                drop(reply.send(outcome.map(|written| admissions(&written, rows))));
            }
            Self::Intent(begin, reply) => {
                drop(reply.send(outcome.map(|written| claim(written.begun.contains(&begin.id)))));
            }
            Self::Outcome(settle, reply) => {
                drop(reply.send(outcome.map(|written| claim(written.settled.contains(&settle.id)))));
            }
            Self::Other(change) => change.answer(outcome.map(drop)),
            Self::Flush(reply) => drop(reply.send(outcome.map(drop))),
        }
    }
}

fn admissions(written: &Written, rows: Vec<NewDelivery>) -> Vec<(NewDelivery, Admission)> {
    let admit = |row: NewDelivery| {
        let admission = match written.added.get(&row.id) {
            None => Admission::Duplicate,
            Some(&n_pending) => Admission::Accepted { is_alone: n_pending == 1 },
        };
        (row, admission)
    };
    rows.into_iter().map(admit).collect()
}

/// A [`Change`] of any kind, with its caller.
pub(super) trait PendingChange: Send {
    /// Applies it; says whether it worked. The result is kept for the answer.
    fn apply<'a>(&'a mut self, conn: &'a mut Conn<'_>) -> LocalBoxFuture<'a, bool>;
    /// Answers the caller.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A [`Change`] that waits for its commit.
pub(super) struct Pending<C: Change> {
    change: Option<C>,
    result: Option<Result<C::Output, StoreError>>,
    reply: Reply<C::Output>,
}

impl<C: Change> Pending<C> {
    pub(super) fn new(change: C, reply: Reply<C::Output>) -> Self {
        Self { change: Some(change), result: None, reply }
    }
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

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let unapplied = || Err(StoreError::Unavailable("the transaction ended early".to_owned()));
        let Self { result, reply, .. } = *self;
        drop(reply.send(committed.and_then(|()| result.unwrap_or_else(unapplied))));
    }
}
