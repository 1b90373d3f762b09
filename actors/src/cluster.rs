//! Several replicas on one database: who delivers for whom, and what they tell each other.
//!
//! Each instance and each account has at most one owner, fenced: every write of an attempt names the lease
//! under which it was made, and the store refuses it when that lease is gone. A process that was paused or
//! cut off past its lease can neither store an outcome nor the intent without which no call starts.

pub(crate) mod keeper;
pub(crate) mod leases;
#[cfg(test)]
pub(crate) mod model;
pub(crate) mod signals;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use self::keeper::LeaseKeeper;
use self::leases::Leases;
use self::signals::{OnSignal, Outgoing, Signal, Signals, Switchboard};
use crate::delivery::fleet::Fleet;
use crate::hub::traffic::Traffic;
use crate::kernel::{Mailbox, Sources, start};
use crate::shared::Shared;
use crate::store::{Db, StoreError, session_pool, shards, within};

/// How long a connection is waited for.
const ACQUIRE: Duration = Duration::from_secs(3);
/// How long the last word to the database may take.
const END_LIMIT: Duration = Duration::from_secs(2);

/// This process as one of several. Clones share the actors.
#[derive(Clone)]
pub(crate) struct Cluster {
    pool: sqlx::PgPool,
    leases: Leases,
    keeper: Mailbox<LeaseKeeper>,
    fleet: Fleet,
    signals: Signals,
    _switchboard: Mailbox<Switchboard>,
}

impl Cluster {
    /// Joins the others; `None` on an embedded database, which has no others.
    pub(crate) fn start(shared: &Shared, traffic: &Traffic, outgoing: Outgoing) -> Option<Self> {
        let Db::Postgres(pool) = &shared.db else { return None };
        tracing::info!(replica = shared.leases.replica(), "joining the replicas that share this database");
        // Connections of its own: leases are renewed whatever the others wait for.
        let options = pool.connect_options().as_ref().clone();
        let pool = session_pool().max_connections(4).acquire_timeout(ACQUIRE).connect_lazy_with(options);
        let keeper = LeaseKeeper::new(pool.clone(), shared, traffic.fleet.clone());
        let terms = Shared::front_terms("lease_keeper", 8);
        let keeper = start(&shared.front, &shared.registry, terms, move |_| keeper);
        let switchboard =
            Switchboard::new(pool.clone(), outgoing, on_signal(shared, traffic, keeper.clone()));
        let terms = Shared::front_terms("switchboard", 8);
        let switchboard = start(&shared.front, &shared.registry, terms, move |_| switchboard);
        Some(Self {
            pool,
            leases: shared.leases.clone(),
            keeper,
            _switchboard: switchboard,
            fleet: traffic.fleet.clone(),
            signals: shared.signals.clone(),
        })
    }

    /// Gives up all shards, each as soon as what is under way for it has ended, so that the others need not
    /// wait for the leases to run out.
    pub(crate) async fn leave(&self) {
        let Some(replica) = self.leases.replica() else { return };
        let _stopped = self.keeper.ask(keeper::Stop).await;
        self.fleet.begin_nothing();
        if let Err(error) = shards::forget(&self.pool, replica).await {
            tracing::warn!(%error, "the others could not be told that this replica ends");
        }
        let all = self.leases.leave_all();
        keeper::give_up(&self.pool, &self.leases, &self.fleet, &self.signals, all).await;
    }

    /// Lets go of what [`Cluster::leave`] had no time for, and of shards that were claimed without this replica
    /// hearing of it. No call starts for them any more.
    pub(crate) async fn end(&self) {
        let Some(replica) = self.leases.replica() else { return };
        let all = self.leases.leave_all();
        self.leases.remove(&all);
        self.fleet.resign(&all);
        if let Err(error) = within(END_LIMIT, shards::leave(&self.pool, replica)).await {
            tracing::warn!(%error, "shards could not be given up; their leases run out");
            return;
        }
        signals::send_now(&self.pool, &BTreeSet::from([Signal::Shards])).await;
    }
}

/// Goes by the clock of a server, which all who share a database go by: what one stores, others compare with
/// the time of theirs.
pub(crate) async fn follow_clock(db: &Db, sources: &Sources) -> Result<(), StoreError> {
    let Db::Postgres(pool) = db else { return Ok(()) };
    let begun = sources.reading();
    sources.follow(shards::now_ms(pool).await?, &begun);
    Ok(())
}

/// What this replica does when it hears from another.
fn on_signal(shared: &Shared, traffic: &Traffic, keeper: Mailbox<LeaseKeeper>) -> OnSignal {
    let (fleet, routes, db) = (traffic.fleet.clone(), traffic.routes.clone(), shared.db.clone());
    Arc::new(move |signal| match signal {
        Some(Signal::Work(direction, target_id)) => fleet.wake_here(direction, &target_id),
        Some(Signal::Outcome(delivery_id)) => fleet.waiters().tell(&delivery_id),
        Some(Signal::Shards) => drop(keeper.nudge()),
        Some(Signal::Settings(direction, target_id)) => {
            fleet.recheck_target(direction, &target_id);
            let (routes, db) = (routes.clone(), db.clone());
            // Polling sees to what fails here.
            actix_rt::spawn(async move { routes.refresh(&db).await });
        }
        None => {
            let fleet = fleet.clone();
            actix_rt::spawn(async move { fleet.sweep().await });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::sources::{Clock, ManualClock, SystemClock};
    use crate::store::suite::on_every_database;

    #[tokio::test]
    async fn who_works_on_a_server_goes_by_its_clock() {
        on_every_database(|db| async move {
            let ten_minutes_ms = 600_000;
            let fast = Arc::new(ManualClock::at(SystemClock.now_ms() + ten_minutes_ms));
            let sources = Sources::seeded(fast, 1);
            follow_clock(&db, &sources).await.expect("an answer");
            let ahead_ms = sources.now_ms() - SystemClock.now_ms();
            let expected_ms = if db.is_embedded() { ten_minutes_ms } else { 0 };
            assert!((ahead_ms - expected_ms).abs() < 60_000, "{ahead_ms}");
        })
        .await;
    }
}
