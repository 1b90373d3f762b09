//! The gate that every call to one instance or account passes: its rate, and its pauses.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::allotments::{Allotments, is_kept};
use super::rate_window::{RateWindow, Wait};
use super::run::lost_lease;
use super::standing::Standing;
use crate::domain::failure::{Effect, ErrorClass, Failure};
use crate::domain::lease::Lease;
use crate::domain::rate::Rate;
use crate::shared::Shared;
use crate::store::StoreError;

/// How long a caller sleeps at most before it looks up whether it still has to wait.
const LOOK_UP: Duration = Duration::from_millis(250);

/// Clones share one window. Lives on the actor's arbiter.
#[derive(Clone)]
pub(crate) struct Gate {
    shared: Shared,
    window: Rc<RefCell<RateWindow>>,
    // Held while waiting: callers pass in the order in which they came.
    line: Rc<Mutex<()>>,
    paused_until: Rc<Cell<i64>>,
    n_passed: Rc<Cell<u64>>,
    lease: Lease,
    standing: Arc<Standing>,
    allotments: Allotments,
}

/// A place in the rate for a call that is about to start; given back when it does not.
pub(crate) struct Reservation {
    gate: Gate,
    is_started: bool,
    /// Out of what is stored as taken.
    is_allotted: bool,
}

impl Reservation {
    /// The call starts now. Gives the time, in epoch milliseconds.
    pub(crate) fn start(mut self) -> i64 {
        self.is_started = true;
        let sources = &self.gate.shared.sources;
        self.gate.window.borrow_mut().start_reserved(sources.steady_ms());
        sources.now_ms()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.is_started {
            self.gate.window.borrow_mut().release_reserved();
            if self.is_allotted {
                self.gate.allotments.give_back();
            }
        }
    }
}

impl Gate {
    /// A gate with nothing passed yet, for who may make calls under a lease and as long as it stands.
    pub(crate) fn new(
        shared: Shared,
        target_id: &str,
        rate: Rate,
        lease: Lease,
        standing: Arc<Standing>,
    ) -> Self {
        let window = Rc::new(RefCell::new(RateWindow::new(rate)));
        let allotments = Allotments::new(shared.clone(), target_id, lease);
        Self {
            shared,
            window,
            line: Rc::default(),
            paused_until: Rc::default(),
            n_passed: Rc::default(),
            lease,
            standing,
            allotments,
        }
    }

    /// Keeps another rate from now on; what has started stays counted.
    pub(crate) fn set_rate(&self, rate: Rate) {
        self.window.borrow_mut().set_rate(rate);
    }

    /// Whether nothing has passed yet.
    pub(crate) fn is_new(&self) -> bool {
        self.n_passed.get() == 0
    }

    fn rate(&self) -> Rate {
        self.window.borrow().rate()
    }

    /// Before another rate is kept: one that the store is to know of goes on from what has started.
    pub(crate) async fn count_for(&self, rate: Rate) -> Result<(), Failure> {
        let n_started = self.window.borrow().n_started();
        if is_kept(rate) && !is_kept(self.rate()) && n_started > 0 {
            self.allotments.add_used(rate, n_started).await?;
        }
        Ok(())
    }

    /// Goes on counting a kept rate where owners of before have stopped.
    pub(crate) async fn recount(&self) -> Result<(), StoreError> {
        let rate = self.rate();
        let starts = self.allotments.starts(rate).await?.into_iter().map(|at_ms| self.steadily(at_ms));
        *self.window.borrow_mut() = RateWindow::with_starts(rate, starts);
        Ok(())
    }

    /// Counts as used up at that time: for one who cannot know what others sent until then.
    pub(crate) fn use_up(&self, at_ms: i64) {
        self.n_passed.set(self.n_passed.get() + 1);
        let at_ms = self.steadily(at_ms);
        let mut window = self.window.borrow_mut();
        *window = RateWindow::used_up(window.rate(), at_ms);
    }

    /// A time of day, in epoch milliseconds, by the clock that the window goes by: one that is not set meanwhile.
    fn steadily(&self, at_ms: i64) -> i64 {
        let sources = &self.shared.sources;
        sources.steady_ms() - (sources.now_ms() - at_ms)
    }

    /// Whether a call may be made: the lease under which this process delivers holds still.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.leases.holds(self.lease)
    }

    /// Waits for the rate. Gives the time of the start, in epoch milliseconds; refuses during a pause.
    pub(crate) async fn pass(&self) -> Result<i64, Failure> {
        Ok(self.reserve().await?.start())
    }

    /// Waits for the rate, for a call that has something to be done before it starts. Whatever ends the wait
    /// early, such as another rate, a pause or the end of the process, is seen within [`LOOK_UP`].
    pub(crate) async fn reserve(&self) -> Result<Reservation, Failure> {
        let _turn = self.line.lock().await;
        let mut waited = Duration::ZERO;
        loop {
            let now_ms = self.shared.sources.now_ms();
            if now_ms < self.paused_until.get() {
                return Err(self.pause_as_failure());
            }
            if !self.is_open() {
                return Err(lost_lease());
            }
            if !waited.is_zero() && !self.standing.may_begin() {
                return Err(Self::stopped(now_ms));
            }
            let started = self.window.borrow_mut().try_reserve(self.shared.sources.steady_ms());
            let Err(Wait { wait_ms }) = started else {
                self.shared.metrics.rate_limited(waited);
                self.n_passed.set(self.n_passed.get() + 1);
                return self.take_reserved().await;
            };
            let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or_default().max(1)).min(LOOK_UP);
            waited += wait;
            tokio::time::sleep(wait).await;
        }
    }

    /// What is reserved in the window; of a kept rate, once the store knows of it.
    async fn take_reserved(&self) -> Result<Reservation, Failure> {
        let rate = self.rate();
        let is_allotted = is_kept(rate);
        if is_allotted && let Err(failure) = self.allotments.take_one(rate).await {
            self.window.borrow_mut().release_reserved();
            return Err(failure);
        }
        let reservation = Reservation { gate: self.clone(), is_started: false, is_allotted };
        // Storing it may have taken long.
        if self.is_open() { Ok(reservation) } else { Err(lost_lease()) }
    }

    /// Whether the rate lets nothing start now.
    #[cfg(test)]
    pub(crate) fn would_wait(&self) -> bool {
        self.window.borrow().clone().try_reserve(self.shared.sources.steady_ms()).is_err()
    }

    /// Nothing failed: whoever goes on, this process after its next start perhaps, does so at once.
    fn stopped(now_ms: i64) -> Failure {
        Failure {
            class: ErrorClass::RateLimited,
            effect: Effect::NotTried,
            http_status: None,
            detail: "this process ended while the call waited for its turn".to_owned(),
            retry_at_ms: Some(now_ms),
        }
    }

    fn pause_as_failure(&self) -> Failure {
        Failure {
            class: ErrorClass::RateLimited,
            effect: Effect::NotTried,
            http_status: None,
            detail: "a pause began before this call".to_owned(),
            retry_at_ms: Some(self.paused_until.get()),
        }
    }

    /// Lets nothing pass until then. A pause never shortens another.
    pub(crate) fn pause_until(&self, until_ms: i64) {
        self.paused_until.set(self.paused_until.get().max(until_ms));
    }

    /// Ends any pause.
    pub(crate) fn resume(&self) {
        self.paused_until.set(0);
    }

    /// Until when nothing passes; in the past when there is no pause.
    pub(crate) fn paused_until(&self) -> i64 {
        self.paused_until.get()
    }
}
