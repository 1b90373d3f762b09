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
use crate::store::shards::{self, Held, Renewed};
use crate::store::{StoreError, within};

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
/// How fast a database answers that is reached well.
const PROMPT: Duration = Duration::from_secs(1);
/// So long a replica must hold too much before it gives up any, about a round: one that is slow for a moment
/// does not make the shards wander.
const PATIENCE: Duration = Duration::from_secs(2);
/// One that does not reach the database steadily takes only what nobody wanted for so long.
const UNWANTED_MS: i64 = 5000;
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
    steadiness: Steadiness,
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
    /// How many share, this one among them.
    n_replicas: i64,
    /// How many shards are this replica's due.
    n_due: usize,
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
            steadiness: Steadiness::default(),
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
        let is_steady = self.steadiness.is_steady();
        let asking = async move { within(QUESTION, ask(&pool, &leases, &sources, is_steady)).await };
        context.spawn(asking.into_actor(self).map(|round, keeper, context| {
            keeper.is_asking = false;
            keeper.tell_if_stopped();
            keeper.steadiness.note(round.is_ok());
            keeper.metrics.count_renewal(if round.is_ok() { "ok" } else { "failed" });
            match round {
                Ok(_) if keeper.is_stopped => {}
                Ok(round) => keeper.take(&round, context),
                Err(error) => tracing::warn!(%error, "leases could not be renewed; trying again"),
            }
        }));
    }

    fn take(&mut self, round: &Round, context: &mut Context<Self>) {
        self.metrics.set_replicas(round.n_replicas);
        let gained = self.leases.take(&round.held, round.asked_at, round.asked_at + BELIEF);
        if !gained.is_empty() {
            tracing::info!(n_shards = gained.len(), n_due = round.n_due, "took over shards");
            let fleet = self.fleet.clone();
            context.spawn(async move { fleet.sweep().await }.into_actor(self));
        }
        let n_held = self.leases.n_held();
        if n_held <= round.n_due {
            self.too_much_since = None;
            return;
        }
        let since = *self.too_much_since.get_or_insert(round.asked_at);
        if round.asked_at.saturating_duration_since(since) >= PATIENCE && !self.is_leaving {
            self.leave(n_held - round.n_due, context);
        }
    }

    /// Gives shards up once nothing is under way for them.
    fn leave(&mut self, n: usize, context: &mut Context<Self>) {
        self.is_leaving = true;
        let (fleet, pool, leases) = (self.fleet.clone(), self.pool.clone(), self.leases.clone());
        let signals = self.signals.clone();
        let leaving = async move { give_up(&pool, &leases, &fleet, &signals, leases.leave(n)).await };
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
            self.steadiness.note(false);
            self.fleet.resign(&lapsed);
        }
    }
}

/// Gives up these shards, which are being left, each as soon as nothing is under way for it: one whose instance
/// hangs does not hold up the others.
pub(super) async fn give_up(
    pool: &PgPool,
    leases: &Leases,
    fleet: &Fleet,
    signals: &Signals,
    leaving: Vec<usize>,
) {
    let replica = leases.replica().unwrap_or_default();
    let draining = leaving.into_iter().map(|shard| async move {
        let drained = tokio::time::timeout(LEAVE_LIMIT, fleet.leave(&[shard])).await;
        if drained.is_err() {
            fleet.resign(&[shard]);
        }
        shard
    });
    let draining: FuturesUnordered<_> = draining.collect();
    let mut free = draining.ready_chunks(N_SHARDS);
    while let Some(mut shards) = free.next().await {
        shards.sort_unstable();
        // Some may have lapsed meanwhile, or been given up by another round.
        let held = leases.remove(&shards);
        if held.is_empty() {
            continue;
        }
        match shards::release(pool, replica, &held).await {
            Ok(()) => tracing::info!(n_shards = held.len(), "gave shards up for another replica"),
            // Nothing renews them any more.
            Err(error) => tracing::warn!(%error, "shards could not be given up; their leases run out"),
        }
        signals.send(Signal::Shards);
    }
}

async fn ask(
    pool: &PgPool,
    leases: &Leases,
    sources: &Sources,
    is_steady: bool,
) -> Result<Round, StoreError> {
    let replica = leases.replica().unwrap_or_default();
    let asked_at = Instant::now();
    let begun = sources.reading();
    if !is_steady {
        // A renewal that is answered too late to be believed in keeps the shards from everybody all the same.
        within(PROMPT, shards::is_there(pool)).await?;
    }
    let believed = leases.believed(asked_at);
    let Renewed { there_ms, mut held, n_others, n_before } =
        shards::renew(pool, replica, LEASE_MS, &believed, is_steady).await?;
    sources.follow(there_ms, &begun);
    let n_due = fair_share(n_others + 1, n_before);
    let n_missing = i64::try_from(n_due.saturating_sub(held.len())).unwrap_or_default();
    if n_missing > 0 {
        let left_for_ms = if is_steady { 0 } else { UNWANTED_MS };
        held.extend(shards::claim(pool, replica, LEASE_MS, n_missing, left_for_ms).await?);
    }
    Ok(Round { held, n_replicas: n_others + 1, n_due, asked_at })
}

/// How many shards a replica may hold that comes behind so many of them in their order. Together they hold all.
fn fair_share(n_replicas: i64, n_before: i64) -> usize {
    let n_replicas = usize::try_from(n_replicas).unwrap_or(1).max(1);
    let n_before = usize::try_from(n_before).unwrap_or_default();
    N_SHARDS / n_replicas + usize::from(n_before < N_SHARDS % n_replicas)
}

/// Whether the database is reached well enough to take on more. A replica that reaches it only now and then keeps
/// what it can renew, but neither counts among those who share nor competes with them: else its share would wander
/// to and fro, or belong to nobody.
#[derive(Debug)]
struct Steadiness {
    n_rounds_in_a_row: u32,
}

impl Steadiness {
    /// So many rounds must have come to their end since one did not.
    const ENOUGH: u32 = 2;

    fn note(&mut self, is_complete: bool) {
        self.n_rounds_in_a_row = if is_complete { self.n_rounds_in_a_row.saturating_add(1) } else { 0 };
    }

    fn is_steady(&self) -> bool {
        self.n_rounds_in_a_row >= Self::ENOUGH
    }
}

impl Default for Steadiness {
    /// Nothing has gone wrong yet.
    fn default() -> Self {
        Self { n_rounds_in_a_row: Self::ENOUGH }
    }
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
        for (n_replicas, expected) in
            [(1, vec![256]), (2, vec![128, 128]), (3, vec![86, 85, 85]), (5, vec![52, 51, 51, 51, 51])]
        {
            let shares: Vec<usize> =
                (0..n_replicas).map(|n_before| fair_share(n_replicas, n_before)).collect();
            assert_eq!(shares, expected);
        }
        for n_replicas in 1..400 {
            let n_shared: usize = (0..n_replicas).map(|n_before| fair_share(n_replicas, n_before)).sum();
            assert_eq!(n_shared, N_SHARDS, "{n_replicas}");
        }
    }

    #[test]
    fn one_that_reaches_the_database_now_and_then_is_not_steady() {
        let mut steadiness = Steadiness::default();
        for (is_complete, is_steady) in [
            (true, true),
            (false, false),
            (true, false),
            (false, false),
            (true, false),
            (true, true),
            (true, true),
        ] {
            steadiness.note(is_complete);
            assert_eq!(steadiness.is_steady(), is_steady);
        }
    }
}

#[cfg(test)]
crate::kernel::panic_matrix::panics_when_told!(LeaseKeeper);
