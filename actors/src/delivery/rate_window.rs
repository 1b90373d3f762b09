//! The window that keeps a rate exactly.

use std::collections::VecDeque;

use crate::domain::rate::Rate;

/// No start is free yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    /// How long until one is.
    pub(super) wait_ms: i64,
}

/// An exact sliding window: in any period of the rate's length at most so many starts. All of them
/// may come at once; then nothing until the first has left the window, so there is no double burst.
///
/// A start may be reserved before it is made: until then it counts as made now, whenever now is.
#[derive(Debug, Clone)]
pub(super) struct RateWindow {
    rate: Rate,
    /// When calls started, oldest first; never longer than the rate's number.
    starts_ms: VecDeque<i64>,
    n_reserved: usize,
}

/// How long a start is counted. Longer than the period: calls that leave at a steady pace arrive at an
/// unsteady one, and the other side must not see more than allowed either.
pub(super) fn counted_ms(rate: Rate) -> i64 {
    let period_ms = rate.period_ms();
    period_ms + (period_ms / 20).clamp(5, 1000)
}

/// How long to wait when everything is reserved and nothing has started.
const RESERVED_WAIT_MS: i64 = 5;

impl RateWindow {
    /// A window in which nothing has started.
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, starts_ms: VecDeque::new(), n_reserved: 0 }
    }

    /// A window in which calls have started at these times, the oldest first.
    pub(super) fn with_starts(rate: Rate, starts_ms: impl IntoIterator<Item = i64>) -> Self {
        let mut starts_ms: VecDeque<i64> = starts_ms.into_iter().collect();
        let n_forgotten = starts_ms.len().saturating_sub(rate.n_calls() as usize);
        starts_ms.drain(..n_forgotten);
        Self { rate, starts_ms, n_reserved: 0 }
    }

    /// A window that counts as used up at `now_ms`: for one who takes an instance over and cannot
    /// know what the owner before has just sent.
    pub(super) fn used_up(rate: Rate, now_ms: i64) -> Self {
        Self::with_starts(rate, (0..rate.n_calls()).map(|_| now_ms))
    }

    /// The rate that is kept.
    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// How many calls have started of late.
    pub(super) fn n_started(&self) -> u32 {
        u32::try_from(self.starts_ms.len()).unwrap_or(u32::MAX)
    }

    /// Keeps another rate from now on; what has started stays counted. Starts that were forgotten
    /// already are taken to be as late as the oldest one known, so a change never allows too much.
    pub(super) fn set_rate(&mut self, rate: Rate) {
        let n_calls = rate.n_calls() as usize;
        let was_full = self.starts_ms.len() == self.rate.n_calls() as usize;
        self.rate = rate;
        // A rate of fewer calls looks back at the newest ones.
        while self.starts_ms.len() > n_calls {
            self.starts_ms.pop_front();
        }
        let Some(oldest_ms) = self.starts_ms.front().copied() else { return };
        while was_full && self.starts_ms.len() < n_calls {
            self.starts_ms.push_front(oldest_ms);
        }
    }

    /// Starts a call, or tells how long none may start.
    #[cfg(test)]
    fn try_start(&mut self, now_ms: i64) -> Result<(), Wait> {
        self.try_reserve(now_ms)?;
        self.start_reserved(now_ms);
        Ok(())
    }

    /// Reserves a start that may be made at once, or tells how long none may be. A clock that went back counts
    /// as standing still.
    pub(super) fn try_reserve(&mut self, now_ms: i64) -> Result<(), Wait> {
        let now_ms = self.starts_ms.back().map_or(now_ms, |last_ms| now_ms.max(*last_ms));
        let n_free = (self.rate.n_calls() as usize).saturating_sub(self.n_reserved);
        if n_free == 0 {
            return Err(Wait { wait_ms: RESERVED_WAIT_MS });
        }
        // So many of the latest starts may lie within the window, and one fewer when this one is made.
        if let Some(at) = self.starts_ms.len().checked_sub(n_free) {
            let free_at_ms = self.starts_ms[at] + counted_ms(self.rate);
            if now_ms < free_at_ms {
                return Err(Wait { wait_ms: free_at_ms - now_ms });
            }
        }
        self.n_reserved += 1;
        Ok(())
    }

    /// Makes a start that was reserved.
    pub(super) fn start_reserved(&mut self, now_ms: i64) {
        let now_ms = self.starts_ms.back().map_or(now_ms, |last_ms| now_ms.max(*last_ms));
        self.n_reserved = self.n_reserved.saturating_sub(1);
        self.starts_ms.push_back(now_ms);
        while self.starts_ms.len() > self.rate.n_calls() as usize {
            self.starts_ms.pop_front();
        }
    }

    /// Gives up a start that was reserved.
    pub(super) fn release_reserved(&mut self) {
        self.n_reserved = self.n_reserved.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_reserved_start_counts_as_made_now_until_it_is_made() {
        let rate = Rate::new(2, 1000).unwrap();
        let mut window = RateWindow::new(rate);
        window.try_reserve(0).unwrap();
        window.try_reserve(0).unwrap();
        assert_eq!(window.try_reserve(5000), Err(Wait { wait_ms: RESERVED_WAIT_MS }));
        window.start_reserved(4000);
        window.release_reserved();
        window.try_start(4500).unwrap();
        // The call of 4000 was reserved at 0; it is counted from when it started.
        assert_eq!(window.try_start(4600), Err(Wait { wait_ms: 4000 + counted_ms(rate) - 4600 }));
    }

    #[test]
    fn a_full_burst_and_no_second_one() {
        let mut window = RateWindow::new("3 per 1s".parse().unwrap());
        let cases = [
            (0, Ok(())),
            (0, Ok(())),
            (500, Ok(())),
            (500, Err(550)),
            (999, Err(51)),
            (1049, Err(1)),
            (1050, Ok(())),
            (1050, Ok(())),
            (1050, Err(500)),
            (900, Err(500)),
            (1550, Ok(())),
        ];
        for (now_ms, outcome) in cases {
            assert_eq!(window.try_start(now_ms).map_err(|wait| wait.wait_ms), outcome, "at {now_ms}");
        }
    }

    #[test]
    fn a_takeover_starts_with_nothing_left() {
        let mut window = RateWindow::used_up("2 per 100ms".parse().unwrap(), 0);
        assert_eq!(window.try_start(0), Err(Wait { wait_ms: 105 }));
        assert_eq!(window.try_start(105), Ok(()));
        assert_eq!(window.try_start(105), Ok(()));
        assert_eq!(window.try_start(105), Err(Wait { wait_ms: 105 }));
    }

    #[test]
    fn another_rate_keeps_what_started() {
        let mut window = RateWindow::new("2 per 1s".parse().unwrap());
        assert!(window.try_start(0).is_ok() && window.try_start(10).is_ok());
        window.set_rate("1 per 1s".parse().unwrap());
        assert_eq!(window.try_start(10), Err(Wait { wait_ms: 1050 }));
        window.set_rate("2 per 1s".parse().unwrap());
        assert_eq!(window.try_start(10), Err(Wait { wait_ms: 1050 }));
        assert_eq!((window.try_start(1060), window.try_start(1060)), (Ok(()), Ok(())));

        let mut window = RateWindow::new("2 per 1s".parse().unwrap());
        assert_eq!(window.try_start(0), Ok(()));
        window.set_rate("3 per 1s".parse().unwrap());
        assert_eq!((window.try_start(0), window.try_start(0)), (Ok(()), Ok(())));
        assert!(window.try_start(0).is_err());
    }

    proptest! {
        #[test]
        fn never_more_in_any_period(
            n_calls in 1_u32..8,
            period_ms in 10_i64..400,
            steps in prop::collection::vec(0_i64..120, 1..300),
        ) {
            let mut window = RateWindow::new(Rate::new(n_calls, period_ms).unwrap());
            let mut now_ms = 0;
            let mut starts: Vec<i64> = Vec::new();
            for step_ms in steps {
                now_ms += step_ms;
                match window.try_start(now_ms) {
                    Ok(()) => starts.push(now_ms),
                    Err(wait) => {
                        prop_assert!(wait.wait_ms > 0);
                        // The wait is exact: one millisecond less is too early, then it is free.
                        let mut later = window.clone();
                        prop_assert!(later.try_start(now_ms + wait.wait_ms - 1).is_err());
                        prop_assert!(later.try_start(now_ms + wait.wait_ms).is_ok());
                    }
                }
            }
            for pair in starts.windows(n_calls as usize + 1) {
                prop_assert!(pair[n_calls as usize] - pair[0] > period_ms);
            }
        }

        #[test]
        fn a_saturated_window_is_used_fully(n_calls in 1_u32..8, period_ms in 10_i64..400) {
            let rate = Rate::new(n_calls, period_ms).unwrap();
            let mut window = RateWindow::new(rate);
            let n_rounds = 5;
            let n_started = (0..counted_ms(rate) * n_rounds).filter(|now| window.try_start(*now).is_ok()).count();
            prop_assert_eq!(i64::try_from(n_started).unwrap(), i64::from(n_calls) * n_rounds);
        }
    }
}
