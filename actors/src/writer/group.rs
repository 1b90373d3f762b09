//! One group of requests: written together, or, where one of them is refused, each by itself.

use std::rc::Rc;
use std::time::Instant;

use futures_util::future::LocalBoxFuture;
use tokio::sync::oneshot;

use super::Claim;
use crate::cluster::leases::Leases;
use crate::metrics::Metrics;
use crate::store::batch::{Batch, Written};
use crate::store::deliveries::{Admission, NewDelivery};
use crate::store::lanes::{Begin, Settle};
use crate::store::{Change, Conn, Db, Session, StoreError, in_time};

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

/// Commits a group and answers its callers. Returns the session that the next group may be committed over.
pub(super) async fn commit(
    db: Db,
    metrics: Metrics,
    leases: Leases,
    mut group: Vec<Request>,
    mut kept: Option<Session>,
) -> Option<Session> {
    let begun = Instant::now();
    let outcomes = if db.is_embedded() {
        // Never cut short: it would leave its transaction open.
        write(&db, leases.replica(), &mut group, &mut kept).await
    } else {
        let writing = Box::pin(write(&db, leases.replica(), &mut group, &mut kept));
        let written = in_time(async { Ok(writing.await) }).await;
        // Whoever asked may ask again: the same rows written twice are there once.
        written.unwrap_or_else(|late| vec![Err(late); group.len()])
    };
    metrics.ingest_commit_seconds.observe(begun.elapsed().as_secs_f64());
    let n_requests = u32::try_from(group.len()).unwrap_or(u32::MAX);
    metrics.ingest_batch_size.observe(f64::from(n_requests));
    for (request, outcome) in group.into_iter().zip(outcomes) {
        request.answer(outcome);
    }
    kept
}

/// Two commits that wait for each other's rows are told apart by the server, which gives up one of them:
/// that one is written again.
async fn write(
    db: &Db,
    replica: Option<&str>,
    group: &mut [Request],
    kept: &mut Option<Session>,
) -> Vec<Outcome> {
    for _ in 0..MAX_DEADLOCKS {
        match try_write(db, replica, group, kept).await {
            Err(StoreError::Contended) => {}
            ended => return ended.unwrap_or_else(|error| vec![Err(error); group.len()]),
        }
    }
    vec![Err(StoreError::Contended); group.len()]
}

async fn try_write(
    db: &Db,
    replica: Option<&str>,
    group: &mut [Request],
    kept: &mut Option<Session>,
) -> Result<Vec<Outcome>, StoreError> {
    match write_together(db, replica, group, kept).await {
        Ok(written) => Ok(vec![Ok(Rc::new(written)); group.len()]),
        Err(error) if error.is_transient() => Err(error),
        // One of them was refused, and with it the whole transaction.
        Err(_) => write_one_by_one(db, replica, group).await,
    }
}

async fn write_together(
    db: &Db,
    replica: Option<&str>,
    group: &mut [Request],
    kept: &mut Option<Session>,
) -> Result<Written, StoreError> {
    if !group.iter().any(Request::is_other) {
        return batch(replica, group).commit(db, kept).await;
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
        if let Err(error @ StoreError::Contended) = written {
            return Err(error);
        }
        outcomes.push(written.map(Rc::new));
    }
    transaction.commit().await?;
    Ok(outcomes)
}

/// A change that is refused is undone, and its caller told; one that lost against another commit makes the
/// whole transaction begin anew.
async fn apply(change: &mut dyn PendingChange, conn: &mut Conn<'_>) -> Result<(), StoreError> {
    savepoint(conn, SET_SAVEPOINT).await?;
    match change.apply(conn).await {
        Ok(()) => savepoint(conn, RELEASE_SAVEPOINT).await,
        Err(StoreError::Contended) => Err(StoreError::Contended),
        Err(_) => savepoint(conn, ROLL_BACK_TO_SAVEPOINT).await,
    }
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
    let admit = |mut row: NewDelivery| {
        let Some((n_pending, target_id)) = written.added.get(&row.id) else {
            return (row, Admission::Duplicate);
        };
        // One that goes elsewhere than was thought is read from the store there.
        let is_alone = *n_pending == 1 && row.target_id == *target_id;
        row.target_id.clone_from(target_id);
        (row, Admission::Accepted { is_alone })
    };
    rows.into_iter().map(admit).collect()
}

/// A [`Change`] of any kind, with its caller.
pub(super) trait PendingChange: Send {
    /// Applies it. The result is kept for the answer, until it is applied again.
    fn apply<'a>(&'a mut self, conn: &'a mut Conn<'_>) -> LocalBoxFuture<'a, Result<(), StoreError>>;
    /// Answers the caller.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A [`Change`] that waits for its commit.
pub(super) struct Pending<C: Change> {
    change: C,
    result: Option<Result<C::Output, StoreError>>,
    reply: Reply<C::Output>,
}

impl<C: Change> Pending<C> {
    pub(super) fn new(change: C, reply: Reply<C::Output>) -> Self {
        Self { change, result: None, reply }
    }
}

impl<C: Change> PendingChange for Pending<C> {
    fn apply<'a>(&'a mut self, conn: &'a mut Conn<'_>) -> LocalBoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let result = self.change.clone().apply(conn).await;
            let applied = result.as_ref().map(drop).map_err(StoreError::clone);
            self.result = Some(result);
            applied
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let unapplied = || Err(StoreError::Unavailable("the transaction ended early".to_owned()));
        let Self { result, reply, .. } = *self;
        drop(reply.send(committed.and_then(|()| result.unwrap_or_else(unapplied))));
    }
}
