//! The circuit breaker of one instance or account: calls that fail in a row because the other side
//! cannot be reached make a pause, after which one conversation tries alone.

use prometheus_client::metrics::gauge::Gauge;

/// So many failures in a row open it.
pub(crate) const FAILURES_TO_OPEN: u32 = 5;

/// Counts failures in a row. While it is open, the gauge counts it; one that ceases to exist is not open.
#[derive(Debug)]
pub(crate) struct Breaker {
    n_in_a_row: u32,
    n_open: Gauge,
}

impl Breaker {
    /// A closed one, to be counted by this gauge.
    pub(crate) fn new(n_open: Gauge) -> Self {
        Self { n_in_a_row: 0, n_open }
    }

    /// A call succeeded, or was answered sensibly.
    pub(crate) fn close(&mut self) {
        if self.is_open() {
            self.n_open.dec();
        }
        self.n_in_a_row = 0;
    }

    /// The other side could not be reached, or did not answer. Gives which pause in a row is due: 1 for
    /// the first.
    pub(crate) fn count_failure(&mut self) -> Option<u32> {
        self.n_in_a_row = self.n_in_a_row.saturating_add(1);
        if self.n_in_a_row == FAILURES_TO_OPEN {
            self.n_open.inc();
        }
        self.is_open().then(|| self.n_in_a_row - FAILURES_TO_OPEN + 1)
    }

    /// Whether only one conversation at a time may try.
    pub(crate) fn is_open(&self) -> bool {
        self.n_in_a_row >= FAILURES_TO_OPEN
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail_often(breaker: &mut Breaker, n_failures: u32) -> Option<u32> {
        (0..n_failures).map(|_| breaker.count_failure()).last().flatten()
    }

    #[test]
    fn opens_after_failures_in_a_row_and_closes_with_one_success() {
        let n_open = Gauge::default();
        let mut breaker = Breaker::new(n_open.clone());
        assert_eq!(fail_often(&mut breaker, FAILURES_TO_OPEN - 1), None);
        breaker.close();
        assert_eq!(fail_often(&mut breaker, FAILURES_TO_OPEN - 1), None);
        assert!(!breaker.is_open());
        assert_eq!(n_open.get(), 0);
        assert_eq!(breaker.count_failure(), Some(1));
        assert_eq!(breaker.count_failure(), Some(2));
        assert!(breaker.is_open());
        assert_eq!(n_open.get(), 1);
        breaker.close();
        assert!(!breaker.is_open());
        assert_eq!(n_open.get(), 0);
    }

    #[test]
    fn one_that_ends_open_is_not_counted_any_more() {
        let n_open = Gauge::default();
        let (mut ends, mut stays) = (Breaker::new(n_open.clone()), Breaker::new(n_open.clone()));
        fail_often(&mut ends, FAILURES_TO_OPEN);
        fail_often(&mut stays, FAILURES_TO_OPEN);
        assert_eq!(n_open.get(), 2);
        drop(ends);
        assert_eq!(n_open.get(), 1);
    }
}
