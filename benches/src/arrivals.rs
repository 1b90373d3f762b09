//! When which message became a comment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::{Notify, Semaphore};

/// Stands before the number of a message in its text.
const MARK: &str = "bench message ";

/// The text of a message; its number is found again by [`number_in`].
pub(crate) fn text(number: u64) -> String {
    format!("Where is my parcel? It should have come on Monday. {MARK}{number:010}")
}

fn number_in(comment: &str) -> Option<u64> {
    let (_, rest) = comment.rsplit_once(MARK)?;
    rest.get(..10)?.parse().ok()
}

/// The record of one world, filled from the threads of its instances.
pub(crate) struct Arrivals {
    begun: Instant,
    /// Nanoseconds after `begun`, by number; 0 for those that have not arrived.
    at_ns: Vec<AtomicU64>,
    n_arrived: AtomicU64,
    n_repeated: AtomicU64,
    /// One permit for each arrival: closed loops send by them.
    pub(crate) permits: Semaphore,
    changed: Notify,
}

impl Arrivals {
    /// A record for messages with numbers below `capacity`.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            begun: Instant::now(),
            at_ns: (0..capacity).map(|_| AtomicU64::new(0)).collect(),
            n_arrived: AtomicU64::new(0),
            n_repeated: AtomicU64::new(0),
            permits: Semaphore::new(0),
            changed: Notify::new(),
        }
    }

    /// Notes a comment.
    pub(crate) fn note(&self, comment: &str) {
        let slot = number_in(comment).and_then(|number| self.at_ns.get(usize::try_from(number).ok()?));
        let Some(slot) = slot else { return };
        let now_ns = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1);
        if slot.compare_exchange(0, now_ns, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            self.n_repeated.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.n_arrived.fetch_add(1, Ordering::Release);
        self.permits.add_permits(1);
        self.changed.notify_one();
    }

    /// How many have arrived.
    pub(crate) fn n_arrived(&self) -> u64 {
        self.n_arrived.load(Ordering::Acquire)
    }

    /// How many came a second time, which none may.
    pub(crate) fn n_repeated(&self) -> u64 {
        self.n_repeated.load(Ordering::Relaxed)
    }

    /// When that message arrived.
    pub(crate) fn at(&self, number: u64) -> Option<Instant> {
        let at_ns = self.at_ns.get(usize::try_from(number).ok()?)?.load(Ordering::Relaxed);
        (at_ns > 0).then(|| self.begun + Duration::from_nanos(at_ns))
    }

    /// Waits until so many have arrived in all.
    pub(crate) async fn wait_for(&self, n_expected: u64, limit: Duration) -> Result<()> {
        let all = async {
            while self.n_arrived() < n_expected {
                self.changed.notified().await;
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            bail!("{} of {n_expected} messages arrived within {limit:?}", self.n_arrived());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_arrival_counts_once() {
        let arrivals = Arrivals::new(3);
        for comment in [
            text(0),
            format!("Dana (@dana), X direct message 1\n{}\n", text(2)),
            text(2),
            text(3),
            "hello".to_owned(),
        ] {
            arrivals.note(&comment);
        }
        assert_eq!((arrivals.n_arrived(), arrivals.n_repeated()), (2, 1));
        assert!(arrivals.at(0).is_some() && arrivals.at(1).is_none() && arrivals.at(2).is_some());
        assert_eq!(arrivals.permits.available_permits(), 2);
    }
}
