//! The record of the calls that a simulated world received.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::clock;

/// One call as the simulated side saw it.
#[derive(Clone, Debug, Serialize)]
pub struct CallRecord {
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// The path without the query.
    pub path: String,
    /// The raw query string, without the question mark.
    pub query: String,
    /// When the whole request had arrived, on the monotonic clock.
    #[serde(skip)]
    pub received: Instant,
    /// When the whole request had arrived, epoch milliseconds.
    pub received_ms: i64,
    /// The status sent; 0 while unanswered, and for good if the connection was dropped.
    pub status: u16,
}

struct Records {
    /// Number of the first call still held; calls before it were cleared.
    first: u64,
    calls: Vec<CallRecord>,
}

pub(crate) struct CallLog {
    keeps: AtomicBool,
    n_calls: AtomicU64,
    n_in_flight: AtomicUsize,
    max_in_flight: AtomicUsize,
    records: Mutex<Records>,
}

impl CallLog {
    pub(crate) fn new(keeps: bool) -> Arc<Self> {
        Arc::new(Self {
            keeps: AtomicBool::new(keeps),
            n_calls: AtomicU64::new(0),
            n_in_flight: AtomicUsize::new(0),
            max_in_flight: AtomicUsize::new(0),
            records: Mutex::new(Records { first: 0, calls: Vec::new() }),
        })
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call in; it counts as in flight until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>, method: &'static str, path: &str, query: &str) -> CallGuard {
        self.n_calls.fetch_add(1, Ordering::Relaxed);
        let n_now = self.n_in_flight.fetch_add(1, Ordering::AcqRel) + 1;
        self.max_in_flight.fetch_max(n_now, Ordering::AcqRel);
        let mut number = None;
        if self.keeps.load(Ordering::Relaxed) {
            let (path, query) = (path.to_owned(), query.to_owned());
            let mut records = self.records();
            number = Some(records.first + records.calls.len() as u64);
            // The time is taken under the lock so that the records are in the order of their times.
            let (received, received_ms) = (Instant::now(), clock::now_ms());
            records.calls.push(CallRecord { method, path, query, received, received_ms, status: 0 });
        }
        CallGuard { log: self.clone(), number }
    }

    pub(crate) fn calls(&self) -> Vec<CallRecord> {
        self.records().calls.clone()
    }

    pub(crate) fn clear(&self) {
        let mut records = self.records();
        records.first += records.calls.len() as u64;
        records.calls.clear();
        self.max_in_flight.store(self.n_in_flight.load(Ordering::Acquire), Ordering::Release);
    }

    pub(crate) fn n_calls(&self) -> u64 {
        self.n_calls.load(Ordering::Relaxed)
    }

    pub(crate) fn n_in_flight(&self) -> usize {
        self.n_in_flight.load(Ordering::Acquire)
    }

    pub(crate) fn max_in_flight(&self) -> usize {
        self.max_in_flight.load(Ordering::Acquire)
    }

    pub(crate) fn max_calls_in_any(&self, window: Duration) -> usize {
        let times: Vec<Instant> = self.records().calls.iter().map(|call| call.received).collect();
        max_in_any(&times, window)
    }
}

/// The largest number of `times` (ascending) within any half-open period of that length.
fn max_in_any(times: &[Instant], window: Duration) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, time) in times.iter().enumerate() {
        while time.duration_since(times[first]) >= window && first < last {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

/// A call in flight.
pub(crate) struct CallGuard {
    log: Arc<CallLog>,
    number: Option<u64>,
}

impl CallGuard {
    pub(crate) fn answered(&self, status: u16) {
        let Some(number) = self.number else { return };
        let mut records = self.log.records();
        let Some(at) = number.checked_sub(records.first).and_then(|at| usize::try_from(at).ok()) else {
            return;
        };
        if let Some(call) = records.calls.get_mut(at) {
            call.status = status;
        }
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.log.n_in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_densest_period() {
        let start = Instant::now();
        let at = |ms: &[u64]| ms.iter().map(|ms| start + Duration::from_millis(*ms)).collect::<Vec<_>>();
        for (times, expected) in [
            (&[][..], 0),
            (&[0][..], 1),
            (&[0, 0, 0][..], 3),
            (&[0, 999, 1000, 1001][..], 3),
            (&[0, 1000, 2000][..], 1),
            (&[0, 10, 20, 5000, 5001][..], 3),
        ] {
            assert_eq!(max_in_any(&at(times), Duration::from_secs(1)), expected, "{times:?}");
        }
    }

    #[test]
    fn an_answer_after_clearing_is_not_written_to_another_call() {
        let log = CallLog::new(true);
        let old = log.begin("GET", "/old", "");
        log.clear();
        let new = log.begin("GET", "/new", "");
        old.answered(500);
        assert_eq!(log.calls()[0].status, 0);
        new.answered(200);
        assert_eq!(log.calls()[0].status, 200);
        assert_eq!(log.max_in_flight(), 2);
        drop((old, new));
        assert_eq!(log.n_in_flight(), 0);
    }
}
