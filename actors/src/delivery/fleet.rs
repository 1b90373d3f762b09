//! All delivery actors: started on demand, woken when there is work, told when settings change.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use actix::prelude::*;
use dashmap::DashMap;
use dashmap::mapref::entry::{Entry, VacantEntry};

use super::account_delivery::{AccountTarget, OpenAccount};
use super::arrivals::{Arrival, Arrivals};
use super::backoff::Backoff;
use super::engine::{Delivery, Drain, Reload};
use super::instance_delivery::{InstanceTarget, OpenInstance};
use super::run::Run;
use super::standing::Standing;
use super::target::Target;
use super::waiters::Waiters;
use crate::cluster::signals::Signal;
use crate::domain::lease::Lease;
use crate::kernel::{Mailbox, Terms, start};
use crate::shared::Shared;
use crate::store::deliveries::{Direction, NewDelivery};
use crate::store::lanes;
use crate::store::routing::{self, FollowAccount, is_unrouted};
use crate::writer::{Apply, WriteError};

/// A commit that does not know of an account's new instance has ended so long after the change at the latest.
const STRAYS_MS: i64 = 60_000;

/// Called by a delivery actor that has ended, with the id of its target.
pub(crate) type Ended = Arc<dyn Fn(&str) + Send + Sync>;

/// How delivery behaves.
#[derive(Debug, Clone)]
pub(crate) struct DeliverySettings {
    /// Pauses between attempts.
    pub backoff: Backoff,
    /// How long a message is tried, in milliseconds.
    pub retry_for_ms: i64,
    /// How long one call to ServiceNow may take, in milliseconds.
    pub servicenow_timeout_ms: i64,
    /// How long one call to X may take, in milliseconds.
    pub x_timeout_ms: i64,
    /// How long texts are kept after they were accepted, in milliseconds.
    pub texts_ms: i64,
}

/// Clones share the actors.
#[derive(Clone)]
pub(crate) struct Fleet {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Shared,
    settings: DeliverySettings,
    waiters: Waiters,
    arbiters: Vec<ArbiterHandle>,
    n_launched: AtomicU64,
    open_instance: OpenInstance,
    open_account: OpenAccount,
    is_stopping: Arc<AtomicBool>,
    instances: DashMap<String, Member<InstanceTarget>>,
    accounts: DashMap<String, Member<AccountTarget>>,
}

/// An actor of the fleet.
struct Member<T: Target> {
    /// Tells it from an earlier one for the same target.
    number: u64,
    mailbox: Mailbox<Delivery<T>>,
    arrivals: Arc<Arrivals>,
    lease: Lease,
    standing: Arc<Standing>,
    /// Of the settings that it works with.
    version: Arc<AtomicI64>,
}

impl Fleet {
    /// A fleet without actors; they come with the first message for each target.
    pub(crate) fn new(
        shared: Shared,
        settings: DeliverySettings,
        arbiters: Vec<ArbiterHandle>,
        open_instance: OpenInstance,
        open_account: OpenAccount,
    ) -> Self {
        let inner = Inner {
            shared,
            settings,
            waiters: Waiters::default(),
            arbiters,
            n_launched: AtomicU64::new(0),
            open_instance,
            open_account,
            is_stopping: Arc::default(),
            instances: DashMap::new(),
            accounts: DashMap::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Who waits for outcomes.
    pub(crate) fn waiters(&self) -> &Waiters {
        &self.inner.waiters
    }

    /// How long a message is tried, in milliseconds.
    pub(crate) fn retry_for_ms(&self) -> i64 {
        self.inner.settings.retry_for_ms
    }

    /// Says that there is something to deliver to a target; starts its actor if there is none, here or at
    /// the replica that delivers for it.
    pub(crate) fn wake(&self, direction: Direction, target_id: &str) {
        self.tell(direction, target_id, Arrival::Somewhere);
    }

    /// The same, if this process delivers for the target.
    pub(crate) fn wake_here(&self, direction: Direction, target_id: &str) {
        if self.inner.shared.leases.lease_of(target_id).is_some() {
            self.wake(direction, target_id);
        }
    }

    /// Says that a delivery was stored; `is_alone` when nothing else is pending in its lane.
    pub(crate) fn accepted(&self, new: NewDelivery, is_alone: bool) {
        let (direction, target_id) = (new.direction, new.target_id.clone());
        let arrival =
            if is_alone { Arrival::Alone(Box::new(new.into())) } else { Arrival::Behind(new.lane_id) };
        self.tell(direction, &target_id, arrival);
    }

    fn tell(&self, direction: Direction, target_id: &str, arrival: Arrival) {
        // What has no instance yet waits until it gets one.
        if self.inner.is_stopping.load(Ordering::Acquire) || is_unrouted(target_id) {
            return;
        }
        let Some(lease) = self.inner.shared.leases.lease_of(target_id) else {
            self.inner.shared.signals.send(Signal::Work(direction, target_id.to_owned()));
            return;
        };
        match direction {
            Direction::ToServicenow => self.tell_instance(target_id, lease, arrival),
            Direction::ToX => self.tell_account(target_id, lease, arrival),
        }
    }

    fn tell_instance(&self, id: &str, lease: Lease, arrival: Arrival) {
        if self.inner.instances.get(id).is_some_and(|member| member.lease == lease && member.tell(arrival)) {
            return;
        }
        let Some(vacant) = Self::vacancy(&self.inner.instances, id, lease) else { return };
        let open = Arc::clone(&self.inner.open_instance);
        let (fleet, number) = (self.clone(), self.next_number());
        let on_end: Ended = Arc::new(move |id| {
            let _successor = fleet.inner.instances.remove_if(id, |_, member| member.number == number);
        });
        let target = InstanceTarget { id: id.to_owned(), open };
        vacant.insert(self.launch(
            "instance_delivery",
            Direction::ToServicenow,
            lease,
            number,
            target,
            on_end,
        ));
    }

    fn tell_account(&self, id: &str, lease: Lease, arrival: Arrival) {
        if self.inner.accounts.get(id).is_some_and(|member| member.lease == lease && member.tell(arrival)) {
            return;
        }
        let Some(vacant) = Self::vacancy(&self.inner.accounts, id, lease) else { return };
        let open = Arc::clone(&self.inner.open_account);
        let (fleet, number) = (self.clone(), self.next_number());
        let on_end: Ended = Arc::new(move |id| {
            let _successor = fleet.inner.accounts.remove_if(id, |_, member| member.number == number);
        });
        let target = AccountTarget { id: id.to_owned(), open };
        vacant.insert(self.launch("account_delivery", Direction::ToX, lease, number, target, on_end));
    }

    fn next_number(&self) -> u64 {
        self.inner.n_launched.fetch_add(1, Ordering::Relaxed)
    }

    /// The place of a target, if it is free. An actor that nobody can reach any more, or that works under a
    /// lease of before, gives way.
    fn vacancy<'a, T: Target>(
        members: &'a DashMap<String, Member<T>>,
        id: &str,
        lease: Lease,
    ) -> Option<VacantEntry<'a, String, Member<T>>> {
        let outdated = members.remove_if(id, |_, member| member.lease != lease || !member.is_alive());
        if let Some((_, member)) = outdated {
            member.end();
        }
        match members.entry(id.to_owned()) {
            Entry::Vacant(vacant) => Some(vacant),
            Entry::Occupied(_) => None,
        }
    }

    fn launch<T: Target + Send + Sync>(
        &self,
        kind: &'static str,
        direction: Direction,
        lease: Lease,
        number: u64,
        target: T,
        on_end: Ended,
    ) -> Member<T> {
        let inner = &self.inner;
        let arrivals = Arc::<Arrivals>::default();
        let standing = Arc::<Standing>::default();
        let version = Arc::<AtomicI64>::default();
        let timeout_ms = match direction {
            Direction::ToServicenow => inner.settings.servicenow_timeout_ms,
            Direction::ToX => inner.settings.x_timeout_ms,
        };
        let run = Run {
            shared: inner.shared.clone(),
            direction,
            backoff: inner.settings.backoff,
            timeout_ms,
            retry_for_ms: inner.settings.retry_for_ms,
            texts_ms: inner.settings.texts_ms,
            waiters: inner.waiters.clone(),
            arrivals: Arc::clone(&arrivals),
            lease,
            standing: Arc::clone(&standing),
            version: Arc::clone(&version),
        };
        let nth = usize::try_from(number).unwrap_or_default() % inner.arbiters.len();
        // A drain waits for the calls under way.
        let deadline = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or_default() * 2);
        let terms = Terms { kind, key: target.id().to_owned(), capacity: 16, deadline };
        let mailbox = start(&inner.arbiters[nth], &inner.shared.registry, terms, move |_| {
            Delivery::new(Rc::new(target), run, on_end)
        });
        Member { number, mailbox, arrivals, lease, standing, version }
    }

    /// Says that settings or credentials of an instance or account changed.
    pub(crate) async fn reload(&self, direction: Direction, id: &str) {
        self.inner.shared.signals.send(Signal::Settings(direction, id.to_owned()));
        if self.inner.shared.leases.lease_of(id).is_none() {
            return;
        }
        match direction {
            Direction::ToServicenow => reload(&self.inner.instances, id).await,
            Direction::ToX => reload(&self.inner.accounts, id).await,
        }
        // Nobody is started for the sake of settings alone.
        let next_at = lanes::next_ready_at(&self.inner.shared.db, id, 0).await;
        if !matches!(next_at, Ok(None)) {
            self.wake(direction, id);
        }
    }

    /// Lets the actor of a target, if there is one here, look whether its settings were changed.
    pub(crate) fn recheck_target(&self, direction: Direction, id: &str) {
        match direction {
            Direction::ToServicenow => drop(self.inner.instances.get(id).map(|member| member.recheck())),
            Direction::ToX => drop(self.inner.accounts.get(id).map(|member| member.recheck())),
        }
    }

    /// Lets those actors look for their settings that work with others than are stored, because somebody who
    /// changed them could not tell.
    pub(crate) async fn recheck(&self) {
        match routing::versions(&self.inner.shared.db).await {
            Ok(versions) => {
                recheck(&self.inner.instances, &versions);
                recheck(&self.inner.accounts, &versions);
            }
            Err(error) => {
                tracing::warn!(%error, "versions of settings could not be read; every actor looks by itself");
                recheck(&self.inner.instances, &HashMap::new());
                recheck(&self.inner.accounts, &HashMap::new());
            }
        }
    }

    /// Finds the targets with ready lanes, and wakes the actors of those that this process delivers for.
    pub(crate) async fn sweep(&self) {
        let shared = &self.inner.shared;
        if let Err(error) = self.follow_accounts().await {
            tracing::warn!(%error, "what waits for an account's new instance could not be moved there");
        }
        match lanes::ready_targets(&shared.db, shared.sources.now_ms()).await {
            Ok(targets) => {
                for (direction, target_id) in targets {
                    let is_answer = direction == Direction::ToX.as_str();
                    let direction = if is_answer { Direction::ToX } else { Direction::ToServicenow };
                    self.wake_here(direction, &target_id);
                }
            }
            Err(error) => tracing::warn!(%error, "ready lanes could not be read"),
        }
    }

    /// Moves what was admitted for the instance of before while an account got another.
    async fn follow_accounts(&self) -> Result<(), WriteError> {
        let shared = &self.inner.shared;
        if shared.db.is_embedded() {
            return Ok(());
        }
        let now_ms = shared.sources.now_ms();
        let deadline_ms = now_ms + self.retry_for_ms();
        for account_id in routing::with_strays(&shared.db, now_ms - STRAYS_MS).await? {
            shared.writer.ask(Apply(FollowAccount { account_id, now_ms, deadline_ms })).await??;
        }
        Ok(())
    }

    /// Leaves everything alone that belongs to these shards: another replica has taken over.
    pub(crate) fn resign(&self, shards: &[usize]) {
        resign(&self.inner.instances, shards);
        resign(&self.inner.accounts, shards);
    }

    /// Begins nothing new for these shards, waits until what is under way has ended, and lets them go.
    pub(crate) async fn leave(&self, shards: &[usize]) {
        let inner = &self.inner;
        futures_util::future::join(drain(&inner.instances, |member| member.is_in(shards)), async {
            drain(&inner.accounts, |member| member.is_in(shards)).await;
        })
        .await;
        self.resign(shards);
    }

    /// The actor of an instance, for tests that make it panic.
    #[cfg(test)]
    pub(crate) fn instance_for_tests(&self, id: &str) -> Mailbox<Delivery<InstanceTarget>> {
        self.inner.instances.get(id).expect("an actor").mailbox.clone()
    }

    /// Wakes nobody any more.
    pub(crate) fn begin_nothing(&self) {
        self.inner.is_stopping.store(true, Ordering::Release);
    }

    /// Begins nothing new, and waits until what is under way has ended.
    pub(crate) async fn drain(&self) {
        self.begin_nothing();
        let inner = &self.inner;
        futures_util::future::join(drain(&inner.instances, |_| true), drain(&inner.accounts, |_| true)).await;
    }
}

fn recheck<T: Target>(members: &DashMap<String, Member<T>>, versions: &HashMap<String, i64>) {
    let is_current = |member: &Member<T>, id: &str| {
        versions.get(id).is_some_and(|version| *version == member.version.load(Ordering::Acquire))
    };
    members.iter().filter(|member| !is_current(member, member.key())).for_each(|member| member.recheck());
}

/// Lets what is under way end at those members, and nothing begin.
async fn drain<T: Target>(members: &DashMap<String, Member<T>>, is_meant: impl Fn(&Member<T>) -> bool) {
    let mailboxes: Vec<Mailbox<Delivery<T>>> = members
        .iter()
        .filter(|member| is_meant(member))
        .map(|member| {
            member.standing.leave();
            member.mailbox.clone()
        })
        .collect();
    // One that is gone has nothing under way.
    let draining = mailboxes.iter().map(|mailbox| mailbox.ask(Drain));
    let _gone = futures_util::future::join_all(draining).await;
}

fn resign<T: Target>(members: &DashMap<String, Member<T>>, shards: &[usize]) {
    members.retain(|_, member| {
        let is_lost = member.is_in(shards);
        if is_lost {
            member.end();
        }
        !is_lost
    });
}

async fn reload<T: Target>(members: &DashMap<String, Member<T>>, id: &str) {
    let mailbox = members.get(id).map(|member| member.mailbox.clone());
    if let Some(mailbox) = mailbox {
        // An actor that is out of service has nothing to reload.
        let _refused = mailbox.ask(Reload).await;
    }
}

impl<T: Target> Member<T> {
    /// Hands a row over, or says that there is something to look for. `false` when the actor is gone; the
    /// next one looks at the store when it starts.
    fn tell(&self, arrival: Arrival) -> bool {
        self.arrivals.add(arrival);
        self.mailbox.nudge()
    }

    fn recheck(&self) {
        self.arrivals.ask_to_recheck();
        self.mailbox.nudge();
    }

    fn is_in(&self, shards: &[usize]) -> bool {
        usize::try_from(self.lease.shard).is_ok_and(|shard| shards.contains(&shard))
    }

    fn end(&self) {
        self.standing.end();
        self.mailbox.nudge();
    }

    fn is_alive(&self) -> bool {
        use crate::kernel::ActorState;
        // One out of service keeps its place: it is not started again behind the operator's back.
        self.mailbox.card().state() != ActorState::Stopped
    }
}
