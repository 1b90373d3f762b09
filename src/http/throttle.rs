//! How many requests one user may make: what is more gets 429 before it costs the others anything.
//!
//! The words are those of Django REST framework's throttles, and so is the order: after authentication and
//! permission, before the handler. Each replica counts by itself.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use casewire_actors::domain::rate::Rate;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::auth::Caller;
use super::problem::Problem;

/// After so many requests those users are forgotten who have made none for a while.
const TIDY_EVERY: u32 = 4096;

/// Counts the requests of each user.
pub(crate) struct Throttle {
    users: Option<DefaultKeyedRateLimiter<String>>,
    clock: DefaultClock,
    n_checked: AtomicU32,
}

impl Throttle {
    /// Lets each user make so many requests: all of them at once, or spread over the period. `None` counts nothing.
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        let users = rate.and_then(quota).map(RateLimiter::keyed);
        Self { users, clock: DefaultClock::default(), n_checked: AtomicU32::default() }
    }

    /// Counts a request of this user, or refuses it.
    pub(crate) fn check(&self, caller: &Caller) -> Result<(), Problem> {
        let Some(users) = &self.users else { return Ok(()) };
        if self.n_checked.fetch_add(1, Ordering::Relaxed) % TIDY_EVERY == TIDY_EVERY - 1 {
            users.retain_recent();
            users.shrink_to_fit();
        }
        let refused = users.check_key(&caller.user.id).err();
        refused.map_or(Ok(()), |until| Err(Problem::throttled(until.wait_time_from(self.clock.now()))))
    }
}

fn quota(rate: Rate) -> Option<Quota> {
    let n_requests = NonZeroU32::new(rate.n_calls())?;
    let period = Duration::from_millis(rate.period_ms().unsigned_abs());
    // Within bounds of a rate, a share of a period is at least 100 ns.
    Quota::with_period(period / n_requests.get()).map(|quota| quota.allow_burst(n_requests))
}
