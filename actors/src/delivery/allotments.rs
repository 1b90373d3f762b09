//! Rates over more than a few seconds: what an instance has had of them is kept in the store, so that whoever
//! delivers for it next, after a crash, a pause or a move to another replica, goes on counting.
//!
//! The owner takes a part of the rate for itself, stores that it did, and makes so many calls before it takes
//! the next. A new owner knows when each part was used up; the last one counts as used at this moment.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::rate_window::counted_ms;
use super::run::{lost_lease, store_failure};
use crate::domain::failure::Failure;
use crate::domain::lease::Lease;
use crate::domain::rate::Rate;
use crate::shared::Shared;
use crate::store::StoreError;
use crate::store::rate_allotments::{self, TakeAllotment};
use crate::store::shards::Fenced;
use crate::writer::{Apply, WriteError};

/// After a change of owner a rate with a period up to this simply counts as used up: that is as short a wait.
const SHORT_PERIOD_MS: i64 = 10_000;
/// A rate is taken in so many parts: so much of it may be lost to a change of owner.
const N_PARTS: u32 = 50;

/// Whether what was used of the rate is kept in the store.
pub(crate) fn is_kept(rate: Rate) -> bool {
    rate.period_ms() > SHORT_PERIOD_MS
}

/// What an owner has taken for an instance. Clones share it.
#[derive(Clone)]
pub(crate) struct Allotments {
    shared: Shared,
    instance_id: String,
    lease: Lease,
    current: Rc<RefCell<Option<String>>>,
    n_left: Rc<Cell<u32>>,
}

impl Allotments {
    /// Nothing is taken yet.
    pub(crate) fn new(shared: Shared, instance_id: &str, lease: Lease) -> Self {
        let instance_id = instance_id.to_owned();
        Self { shared, instance_id, lease, current: Rc::default(), n_left: Rc::default() }
    }

    /// Takes one call, out of what is stored as taken. One caller at a time.
    pub(crate) async fn take_one(&self, rate: Rate) -> Result<(), Failure> {
        if self.n_left.get() == 0 {
            let n_calls = (rate.n_calls() / N_PARTS).max(1);
            self.take(rate, n_calls).await?;
            self.n_left.set(n_calls);
        }
        self.n_left.set(self.n_left.get() - 1);
        Ok(())
    }

    /// Adds so many calls that were made already, when nothing was stored of them.
    pub(crate) async fn add_used(&self, rate: Rate, n_calls: u32) -> Result<(), Failure> {
        self.take(rate, n_calls).await
    }

    async fn take(&self, rate: Rate, n_calls: u32) -> Result<(), Failure> {
        let now_ms = self.shared.sources.now_ms();
        let id = self.shared.sources.id();
        let previous = self.current.borrow().clone();
        let taking = TakeAllotment {
            id: id.clone(),
            instance_id: self.instance_id.clone(),
            n_calls,
            previous,
            now_ms,
            forget_until_ms: now_ms - counted_ms(rate),
        };
        let taking = Fenced::new(self.shared.leases.replica(), self.lease, taking);
        let taken = match self.shared.writer.ask(Apply(taking)).await {
            Ok(taken) => taken.map_err(WriteError::from),
            Err(error) => Err(error.into()),
        };
        taken.map_err(|error| store_failure(&error.to_string()))?.ok_or_else(lost_lease)?;
        self.current.replace(Some(id));
        Ok(())
    }

    /// Gives back a call that was not made.
    pub(crate) fn give_back(&self) {
        self.n_left.set(self.n_left.get() + 1);
    }

    /// When calls started that count still, by what owners of before have stored; the oldest first.
    pub(crate) async fn starts(&self, rate: Rate) -> Result<Vec<i64>, StoreError> {
        let now_ms = self.shared.sources.now_ms();
        let since_ms = now_ms - counted_ms(rate);
        let mut taken = rate_allotments::since(&self.shared.db, &self.instance_id, since_ms).await?;
        taken.sort_unstable_by_key(|(_, closed_at)| closed_at.unwrap_or(now_ms));
        let of_each = taken.into_iter().flat_map(|(n_calls, closed_at)| {
            let n_calls = usize::try_from(n_calls).unwrap_or_default();
            std::iter::repeat_n(closed_at.unwrap_or(now_ms), n_calls)
        });
        Ok(of_each.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::super::gate::Gate;
    use super::*;
    use crate::domain::failure::ErrorClass;
    use crate::kernel::Sources;
    use crate::kernel::sources::ManualClock;
    use crate::store::Db;
    use crate::store::suite::deliveries::furnish;

    const MINUTE_MS: i64 = 60_000;

    struct Bench {
        shared: Shared,
        clock: Arc<ManualClock>,
        _folder: tempfile::TempDir,
    }

    impl Bench {
        async fn start() -> Self {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let db = Db::connect(&format!("sqlite://{}/hub.db", folder.path().display())).await;
            let db = db.expect("an embedded database");
            db.migrate().await.expect("migrations apply");
            furnish(&db).await;
            let clock = Arc::new(ManualClock::at(1_700_000_000_000));
            Self { shared: Shared::start(db, Sources::seeded(clock.clone(), 1)), clock, _folder: folder }
        }

        /// The gate of a new owner, who goes on counting.
        async fn owner(&self, rate: &str) -> Gate {
            let lease = self.shared.leases.lease_of("i1").expect("this process is alone");
            let rate = rate.parse().expect("a rate");
            let gate = Gate::new(self.shared.clone(), "i1", rate, lease, Arc::default());
            gate.recount().await.expect("the store answers");
            gate
        }
    }

    #[actix::test]
    async fn a_new_owner_goes_on_counting() {
        let bench = Bench::start().await;
        let first = bench.owner("100 per 1h").await;
        for _ in 0..41 {
            first.pass().await.expect("a start");
            bench.clock.advance(MINUTE_MS);
        }
        // Calls are taken by twos: of the last two one was not made, and counts as made now all the same.
        let second = bench.owner("100 per 1h").await;
        for _ in 0..58 {
            second.pass().await.expect("a start");
        }
        assert!(second.would_wait(), "42 and 58");

        // The first two were over when the next two were taken, two minutes after the first.
        bench.clock.advance((60 - 41 + 2) * MINUTE_MS + 1000);
        assert!(!second.would_wait());
        let third = bench.owner("100 per 1h").await;
        for _ in 0..2 {
            assert!(!third.would_wait());
            third.pass().await.expect("a start");
        }
        assert!(third.would_wait());
    }

    #[actix::test]
    async fn a_call_that_was_not_made_is_given_back() {
        let bench = Bench::start().await;
        let gate = bench.owner("2 per 1h").await;
        drop(gate.reserve().await.expect("a place"));
        for _ in 0..2 {
            gate.pass().await.expect("a start");
        }
        assert!(gate.would_wait());
        assert!(bench.owner("2 per 1h").await.would_wait());
    }

    #[actix::test]
    async fn nothing_starts_that_the_store_does_not_know_of() {
        let bench = Bench::start().await;
        let gate = bench.owner("2 per 1h").await;
        bench.shared.db.close().await;
        let refused = gate.pass().await.expect_err("the store is closed");
        assert_eq!(refused.class, ErrorClass::Unavailable);
        assert!(!gate.would_wait(), "it does not count");
        assert!(gate.pass().now_or_never().is_none_or(|passed| passed.is_err()));
    }
}
