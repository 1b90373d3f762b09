//! The lease keeper: renews this replica's leases, takes its fair share of the shards, gives up what is more.
//!
//! A lease lasts [`LEASE_MS`] by the database's clock, and a little less by our own, counted from before the
//! question was sent: whoever was paused or cut off stops believing in time. A replica that dies is replaced
//! within [`LEASE_MS`] and one round; one that ends in order gives everything up at once.

use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use sqlx::PgPool;
use tokio::sync::oneshot;

use super::leases::{Leases, N_SHARDS};
use super::signals::{Signal, Signals};
use crate::delivery::fleet::Fleet;
use crate::kernel::Sources;
use crate::kernel::mailbox::Nudge;
use crate::metrics::Metrics;
use crate::shared::Shared;
use crate::store::StoreError;
use crate::store::shards::{self, Held};

/// How long a lease lasts from its last renewal, in milliseconds.
const LEASE_MS: i64 = 10_000;
/// How long its holder believes in it.
const BELIEF: Duration = Duration::from_secs(9);
/// How often leases are renewed.
const ROUND: Duration = Duration::from_millis(2500);
/// How often it is looked whether one has run out.
const WATCH: Duration = Duration::from_millis(250);
/// How long one question to the database may take.
const QUESTION: Duration = Duration::from_secs(3);
/// So long a replica must hold too much before it gives up any, about a round: one that is slow for a moment
/// does not make the shards wander.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long what is under way may take to end before its shard is given up all the same: whoever follows
/// looks up what became of it.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// The actor.
pub(crate) struct LeaseKeeper {
    pool: PgPool,
    leases: Leases,
    sources: Sources,
    metrics: Metrics,
    fleet: Fleet,
    signals: Signals,
    is_asking: bool,
    is_leaving: bool,
    too_much_since: Option<Instant>,
    is_stopped: bool,
    /// Who waits for the round under way to end.
    stopping: Vec<oneshot::Sender<()>>,
}

/// Claims and renews nothing more. Answers when no question to the database is under way.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;

/// What a round found.
struct Round {
    held: Vec<Held>,
    n_replicas: i64,
    asked_at: Instant,
}

impl LeaseKeeper {
    pub(crate) fn new(pool: PgPool, shared: &Shared, fleet: Fleet) -> Self {
        Self {
            pool,
            leases: shared.leases.clone(),
            sources: shared.sources.clone(),
            metrics: shared.metrics.clone(),
            fleet,
            signals: shared.signals.clone(),
            is_asking: false,
            is_leaving: false,
            too_much_since: None,
            is_stopped: false,
            stopping: Vec::new(),
        }
    }

    fn round(&mut self, context: &mut Context<Self>) {
        if self.is_stopped || std::mem::replace(&mut self.is_asking, true) {
            return;
        }
        let (pool, leases, sources) = (self.pool.clone(), self.leases.clone(), self.sources.clone());
        let asking = async move { tokio::time::timeout(QUESTION, ask(&pool, &leases, &sources)).await };
        context.spawn(asking.into_actor(self).map(|round, keeper, context| {
            keeper.is_asking = false;
            keeper.tell_if_stopped();
            keeper.metrics.count_renewal(match &round {
                Ok(Ok(_)) => "ok",
                Ok(Err(_)) => "failed",
                Err(_) => "late",
            });
            match round {
                Ok(Ok(_)) if keeper.is_stopped => {}
                Ok(Ok(round)) => keeper.take(&round, context),
                Ok(Err(error)) => tracing::warn!(%error, "leases could not be renewed; trying again"),
                Err(_) => tracing::warn!("leases could not be renewed in time; trying again"),
            }
        }));
    }

    fn take(&mut self, round: &Round, context: &mut Context<Self>) {
        self.metrics.set_replicas(round.n_replicas);
        let gained = self.leases.take(&round.held, round.asked_at, round.asked_at + BELIEF);
        if !gained.is_empty() {
            tracing::info!(n_shards = gained.len(), n_replicas = round.n_replicas, "took over shards");
            let fleet = self.fleet.clone();
            context.spawn(async move { fleet.sweep().await }.into_actor(self));
        }
        let n_held = self.leases.n_held();
        let n_due = fair_share(round.n_replicas);
        if n_held <= n_due {
            self.too_much_since = None;
            return;
        }
        let since = *self.too_much_since.get_or_insert(round.asked_at);
        if round.asked_at.saturating_duration_since(since) >= PATIENCE && !self.is_leaving {
            self.leave(n_held - n_due, context);
        }
    }

    /// Gives shards up once nothing is under way for them.
    fn leave(&mut self, n: usize, context: &mut Context<Self>) {
        self.is_leaving = true;
        let (fleet, pool, leases) = (self.fleet.clone(), self.pool.clone(), self.leases.clone());
        let signals = self.signals.clone();
        let leaving = async move { give_up(&pool, &leases, &fleet, &signals, n).await };
        context.spawn(leaving.into_actor(self).map(|(), keeper, _| keeper.is_leaving = false));
    }

    fn tell_if_stopped(&mut self) {
        if self.is_stopped && !self.is_asking {
            for waiting in self.stopping.drain(..) {
                let _gave_up = waiting.send(());
            }
        }
    }

    fn watch(&mut self, _: &mut Context<Self>) {
        let lapsed = self.leases.drop_lapsed(Instant::now());
        if !lapsed.is_empty() {
            tracing::warn!(
                n_shards = lapsed.len(),
                "leases ran out; what is under way for them is left alone"
            );
            self.fleet.resign(&lapsed);
        }
    }
}

/// Gives up `n` shards, each as soon as nothing is under way for it: one whose instance hangs does not hold
/// up the others.
pub(super) async fn give_up(pool: &PgPool, leases: &Leases, fleet: &Fleet, signals: &Signals, n: usize) {
    let replica = leases.replica().unwrap_or_default();
    let draining = leases.leave(n).into_iter().map(|shard| async move {
        let drained = tokio::time::timeout(LEAVE_LIMIT, fleet.leave(&[shard])).await;
        if drained.is_err() {
            fleet.resign(&[shard]);
        }
        shard
    });
    let draining: FuturesUnordered<_> = draining.collect();
    let mut free = draining.ready_chunks(N_SHARDS);
    while let Some(shards) = free.next().await {
        leases.remove(&shards);
        let ids: Vec<i64> = shards.iter().filter_map(|&shard| i64::try_from(shard).ok()).collect();
        match shards::release(pool, replica, &ids).await {
            Ok(()) => tracing::info!(n_shards = ids.len(), "gave shards up for another replica"),
            Err(error) => {
                tracing::warn!(%error, "shards could not be given up; trying again");
                leases.keep(&shards);
            }
        }
        signals.send(Signal::Shards);
    }
}

async fn ask(pool: &PgPool, leases: &Leases, sources: &Sources) -> Result<Round, StoreError> {
    let replica = leases.replica().unwrap_or_default();
    let asked_at = Instant::now();
    let begun = sources.reading();
    let there_ms = shards::tell_alive(pool, replica, LEASE_MS).await?;
    sources.follow(there_ms, &begun);
    let (mut held, n_replicas) = shards::renew(pool, replica, LEASE_MS).await?;
    let n_missing = fair_share(n_replicas).saturating_sub(held.len());
    if n_missing > 0 {
        let n_missing = i64::try_from(n_missing).unwrap_or_default();
        held.extend(shards::claim(pool, replica, LEASE_MS, n_missing).await?);
    }
    Ok(Round { held, n_replicas, asked_at })
}

/// How many shards each of so many replicas may hold.
fn fair_share(n_replicas: i64) -> usize {
    N_SHARDS.div_ceil(usize::try_from(n_replicas).unwrap_or(1).max(1))
}

impl Actor for LeaseKeeper {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        self.round(context);
        context.run_interval(ROUND, Self::round);
        context.run_interval(WATCH, Self::watch);
    }
}

impl Supervised for LeaseKeeper {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.is_asking = false;
        self.is_leaving = false;
    }
}

impl Handler<Nudge> for LeaseKeeper {
    type Result = ();

    fn handle(&mut self, nudge: Nudge, context: &mut Context<Self>) {
        drop(nudge);
        self.round(context);
    }
}

impl Handler<Stop> for LeaseKeeper {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Stop, _: &mut Context<Self>) -> Self::Result {
        let (sender, stopped) = oneshot::channel();
        self.is_stopped = true;
        self.stopping.push(sender);
        self.tell_if_stopped();
        Box::pin(async move {
            let _interrupted = stopped.await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_shared_fairly() {
        for (n_replicas, expected) in [(0, 256), (1, 256), (2, 128), (3, 86), (255, 2), (256, 1), (900, 1)] {
            assert_eq!(fair_share(n_replicas), expected, "{n_replicas}");
        }
    }
}

#[cfg(test)]
crate::kernel::panic_matrix::panics_when_told!(LeaseKeeper);
