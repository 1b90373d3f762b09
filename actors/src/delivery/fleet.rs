//! All delivery actors: started on demand, woken when there is work, told when settings change.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix::prelude::*;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::account_delivery::{AccountDelivery, AccountTarget, OpenAccount};
use super::arrivals::Arrivals;
use super::backoff::Backoff;
use super::engine::{Delivery, Drain, Reload, Target};
use super::instance_delivery::{InstanceDelivery, InstanceTarget, OpenInstance};
use super::lane_run::Run;
use super::waiters::Waiters;
use crate::kernel::{Mailbox, Terms, start};
use crate::shared::Shared;
use crate::store::deliveries::{Delivery as Row, Direction, NewDelivery};
use crate::store::routing::is_unrouted;

/// How often ready lanes are looked for that nobody was woken for.
const SWEEP: Duration = Duration::from_secs(1);

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
    next_arbiter: AtomicUsize,
    open_instance: OpenInstance,
    open_account: OpenAccount,
    is_stopping: Arc<AtomicBool>,
    instances: DashMap<String, Member<InstanceTarget>>,
    accounts: DashMap<String, Member<AccountTarget>>,
}

/// An actor of the fleet. The number tells it from an earlier one for the same target.
struct Member<T: Target> {
    mailbox: Mailbox<Delivery<T>>,
    arrivals: Arc<Arrivals>,
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
            next_arbiter: AtomicUsize::new(0),
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

    /// Says that there is something to deliver to a target; starts its actor if there is none.
    pub(crate) fn wake(&self, direction: Direction, target_id: &str) {
        self.tell(direction, target_id, None);
    }

    /// Says that a delivery was stored; `is_alone` when nothing else is pending in its lane.
    pub(crate) fn accepted(&self, new: NewDelivery, is_alone: bool) {
        let (direction, target_id) = (new.direction, new.target_id.clone());
        self.tell(direction, &target_id, is_alone.then(|| new.into()));
    }

    fn tell(&self, direction: Direction, target_id: &str, row: Option<Row>) {
        // What has no instance yet waits until it gets one.
        if self.inner.is_stopping.load(Ordering::Acquire) || is_unrouted(target_id) {
            return;
        }
        match direction {
            Direction::ToServicenow => self.tell_instance(target_id, row),
            Direction::ToX => self.tell_account(target_id, row),
        }
    }

    fn tell_instance(&self, id: &str, row: Option<Row>) {
        if self.inner.instances.get(id).is_some_and(|member| member.tell(row)) {
            return;
        }
        let Entry::Vacant(vacant) = Self::vacancy(&self.inner.instances, id) else { return };
        let open = Arc::clone(&self.inner.open_instance);
        let fleet = self.clone();
        let on_end: Ended = Arc::new(move |id| drop(fleet.inner.instances.remove(id)));
        let target = InstanceTarget { id: id.to_owned(), open };
        vacant.insert(self.launch("instance_delivery", Direction::ToServicenow, id, target, on_end));
    }

    fn tell_account(&self, id: &str, row: Option<Row>) {
        if self.inner.accounts.get(id).is_some_and(|member| member.tell(row)) {
            return;
        }
        let Entry::Vacant(vacant) = Self::vacancy(&self.inner.accounts, id) else { return };
        let open = Arc::clone(&self.inner.open_account);
        let fleet = self.clone();
        let on_end: Ended = Arc::new(move |id| drop(fleet.inner.accounts.remove(id)));
        let target = AccountTarget { id: id.to_owned(), open };
        vacant.insert(self.launch("account_delivery", Direction::ToX, id, target, on_end));
    }

    /// The place of a target, free if its actor is gone: one that nobody can reach any more gives way.
    fn vacancy<'a, T: Target>(
        members: &'a DashMap<String, Member<T>>,
        id: &str,
    ) -> Entry<'a, String, Member<T>> {
        members.remove_if(id, |_, member| !member.is_alive());
        members.entry(id.to_owned())
    }

    fn launch<T: Target + Send + Sync>(
        &self,
        kind: &'static str,
        direction: Direction,
        id: &str,
        target: T,
        on_end: Ended,
    ) -> Member<T> {
        let inner = &self.inner;
        let arrivals = Arc::<Arrivals>::default();
        let timeout_ms = match direction {
            Direction::ToServicenow => inner.settings.servicenow_timeout_ms,
            Direction::ToX => inner.settings.x_timeout_ms,
        };
        let run = Run {
            shared: inner.shared.clone(),
            direction,
            backoff: inner.settings.backoff,
            timeout_ms,
            waiters: inner.waiters.clone(),
            arrivals: Arc::clone(&arrivals),
            is_stopping: Arc::clone(&inner.is_stopping),
        };
        let nth = inner.next_arbiter.fetch_add(1, Ordering::Relaxed) % inner.arbiters.len();
        // A drain waits for the calls under way.
        let deadline = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or_default() * 2);
        let terms = Terms { kind, key: id.to_owned(), capacity: 16, deadline };
        let mailbox = start(&inner.arbiters[nth], &inner.shared.registry, terms, move |_| {
            Delivery::new(Rc::new(target), run, on_end)
        });
        Member { mailbox, arrivals }
    }

    /// Says that settings or credentials of an instance changed.
    pub(crate) async fn reload_instance(&self, id: &str) {
        let mailbox = self.inner.instances.get(id).map(|member| member.mailbox.clone());
        if let Some(mailbox) = mailbox {
            // An actor that is out of service has nothing to reload.
            let _refused = mailbox.ask(Reload).await;
        }
        self.wake(Direction::ToServicenow, id);
    }

    /// Says that settings or credentials of an account changed.
    pub(crate) async fn reload_account(&self, id: &str) {
        let mailbox = self.inner.accounts.get(id).map(|member| member.mailbox.clone());
        if let Some(mailbox) = mailbox {
            let _refused = mailbox.ask(Reload).await;
        }
        self.wake(Direction::ToX, id);
    }

    /// The actor of an instance, for tests that make it panic.
    #[cfg(test)]
    pub(crate) fn instance_for_tests(&self, id: &str) -> Mailbox<InstanceDelivery> {
        self.inner.instances.get(id).expect("an actor").mailbox.clone()
    }

    /// Begins nothing new, and waits until what is under way has ended.
    pub(crate) async fn drain(&self) {
        self.inner.is_stopping.store(true, Ordering::Release);
        let instances: Vec<Mailbox<InstanceDelivery>> =
            self.inner.instances.iter().map(|member| member.mailbox.clone()).collect();
        let accounts: Vec<Mailbox<AccountDelivery>> =
            self.inner.accounts.iter().map(|member| member.mailbox.clone()).collect();
        for mailbox in instances {
            let _gone = mailbox.ask(Drain).await;
        }
        for mailbox in accounts {
            let _gone = mailbox.ask(Drain).await;
        }
    }
}

impl<T: Target> Member<T> {
    /// Hands a row over, or says that there is something to look for. `false` when the actor is gone; the
    /// next one looks at the store when it starts.
    fn tell(&self, row: Option<Row>) -> bool {
        match row {
            Some(row) => self.arrivals.hand(row),
            None => self.arrivals.note(),
        }
        self.mailbox.nudge()
    }

    fn is_alive(&self) -> bool {
        use crate::kernel::ActorState;
        // One out of service keeps its place: it is not started again behind the operator's back.
        self.mailbox.card().state() != ActorState::Stopped
    }
}

/// Looks every second for lanes that are ready and wakes their actors: the safety net behind all wake-ups,
/// and the timer of those whose actor has ended.
pub(crate) struct Sweeper {
    fleet: Fleet,
    is_sweeping: bool,
}

impl Sweeper {
    pub(crate) fn new(fleet: Fleet) -> Self {
        Self { fleet, is_sweeping: false }
    }

    fn sweep(&mut self, context: &mut Context<Self>) {
        if self.is_sweeping {
            return;
        }
        self.is_sweeping = true;
        let fleet = self.fleet.clone();
        let sweeping = async move {
            let shared = &fleet.inner.shared;
            match crate::store::lanes::ready_targets(&shared.db, shared.sources.now_ms()).await {
                Ok(targets) => {
                    for (direction, target_id) in targets {
                        let direction = if direction == Direction::ToX.as_str() {
                            Direction::ToX
                        } else {
                            Direction::ToServicenow
                        };
                        fleet.wake(direction, &target_id);
                    }
                }
                Err(error) => tracing::warn!(%error, "ready lanes could not be read"),
            }
        };
        context.spawn(sweeping.into_actor(self).map(|(), sweeper, _| sweeper.is_sweeping = false));
    }
}

impl Actor for Sweeper {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        self.sweep(context);
        context.run_interval(SWEEP, Self::sweep);
    }
}

impl Supervised for Sweeper {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.is_sweeping = false;
    }
}

#[cfg(test)]
crate::kernel::panic_matrix::panics_when_told!(Sweeper);
