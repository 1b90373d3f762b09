//! The circuit breaker of one instance or account: calls that fail in a row because the other side
//! cannot be reached make a pause, after which one conversation tries alone.

/// So many failures in a row open it.
pub(crate) const FAILURES_TO_OPEN: u32 = 5;

/// Counts failures in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Breaker {
    n_in_a_row: u32,
}

impl Breaker {
    /// A call succeeded, or was answered sensibly. Says whether the breaker was open.
    pub(crate) fn close(&mut self) -> bool {
        let was_open = self.is_open();
        self.n_in_a_row = 0;
        was_open
    }

    /// The other side could not be reached, or did not answer. Gives which pause in a row is due: 1 for
    /// the first.
    pub(crate) fn count_failure(&mut self) -> Option<u32> {
        self.n_in_a_row = self.n_in_a_row.saturating_add(1);
        self.is_open().then(|| self.n_in_a_row - FAILURES_TO_OPEN + 1)
    }

    /// Whether only one conversation at a time may try.
    pub(crate) fn is_open(self) -> bool {
        self.n_in_a_row >= FAILURES_TO_OPEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_and_closes_with_one_success() {
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES_TO_OPEN {
            assert_eq!(breaker.count_failure(), None);
        }
        assert!(!breaker.close());
        for _ in 1..FAILURES_TO_OPEN {
            assert_eq!(breaker.count_failure(), None);
        }
        assert_eq!(breaker.count_failure(), Some(1));
        assert_eq!(breaker.count_failure(), Some(2));
        assert!(breaker.is_open());
        assert!(breaker.close());
        assert!(!breaker.is_open());
    }
}
