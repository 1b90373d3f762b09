//! How many calls may start within a time: the setting, and the window that keeps it exactly.
#![allow(clippy::doc_markdown, reason = "ServiceNow is a name, not an item")]

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MAX_CALLS: u32 = 100_000;
const MIN_PERIOD_MS: i64 = 10;
/// Ten years: what is longer is a slip, and times that are added up must not overflow.
const MAX_DURATION_MS: i64 = 3650 * 24 * 60 * 60 * 1000;
const MAX_PERIOD_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// Units of durations, the longest first.
const UNITS: &[(&str, i64)] =
    &[("d", 24 * 60 * 60 * 1000), ("h", 60 * 60 * 1000), ("m", 60 * 1000), ("s", 1000), ("ms", 1)];

/// At most so many calls within any period of that length. Written `20 per 1s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    n_calls: u32,
    period_ms: i64,
}

/// What is wrong with a rate or a duration. The text is fit to show to whoever entered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Not of the form.
    #[error("write a rate as calls per time, such as \"20 per 1s\" or \"500 per 1h\"")]
    Form,
    /// No such number of calls.
    #[error("the number of calls must be 1 to {MAX_CALLS}")]
    Calls,
    /// The time is not written as one.
    #[error("{0}")]
    Duration(#[from] DurationError),
    /// No such time.
    #[error("the time must be 10ms to 30d")]
    Period,
}

/// A duration that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a number with a unit.
    #[error("write a duration as a whole number with a unit, such as 250ms, 2s, 15m, 1h or 30d")]
    Form,
    /// Longer than anything here lasts.
    #[error("the duration must be at most 3650d")]
    TooLong,
}

/// Reads `250ms`, `2s`, `15m`, `1h`, `30d`, in milliseconds. No sign, no fraction, no blanks.
pub fn parse_duration_ms(text: &str) -> Result<i64, DurationError> {
    let n_digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(n_digits);
    let &(_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(DurationError::Form)?;
    if number.is_empty() {
        return Err(DurationError::Form);
    }
    let n_units: i64 = number.parse().map_err(|_| DurationError::TooLong)?;
    let duration_ms = n_units.checked_mul(unit_ms).ok_or(DurationError::TooLong)?;
    if duration_ms > MAX_DURATION_MS { Err(DurationError::TooLong) } else { Ok(duration_ms) }
}

/// Writes a duration in the longest unit that fits it whole; [`parse_duration_ms`] reads it back.
pub fn format_duration_ms(duration_ms: i64) -> String {
    let fits = |unit_ms: i64| duration_ms != 0 && duration_ms % unit_ms == 0;
    let &(unit, unit_ms) = UNITS.iter().find(|(_, unit_ms)| fits(*unit_ms)).unwrap_or(&("ms", 1));
    format!("{}{unit}", duration_ms / unit_ms)
}

/// For `#[serde(with = "…")]`: milliseconds that settings write as `2s`.
pub mod duration_text {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes a duration as text.
    pub fn serialize<S: Serializer>(duration_ms: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_duration_ms(*duration_ms))
    }

    /// Reads a duration from text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_duration_ms(&text).map_err(serde::de::Error::custom)
    }
}

impl Rate {
    /// A rate within bounds: 1 to 100,000 calls, 10 ms to 30 days.
    pub fn new(n_calls: u32, period_ms: i64) -> Result<Self, RateError> {
        if !(1..=MAX_CALLS).contains(&n_calls) {
            return Err(RateError::Calls);
        }
        if !(MIN_PERIOD_MS..=MAX_PERIOD_MS).contains(&period_ms) {
            return Err(RateError::Period);
        }
        Ok(Self { n_calls, period_ms })
    }

    /// The number of calls.
    pub fn n_calls(self) -> u32 {
        self.n_calls
    }

    /// The length of the period in milliseconds.
    pub fn period_ms(self) -> i64 {
        self.period_ms
    }

    /// How long a start is counted. Longer than the period: a call that leaves at a steady pace
    /// arrives at an unsteady one, and the other side must not see more than allowed either.
    fn counted_ms(self) -> i64 {
        self.period_ms + (self.period_ms / 50).max(5)
    }
}

impl Default for Rate {
    /// 20 per 1s.
    fn default() -> Self {
        Self { n_calls: 20, period_ms: 1000 }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [number, "per", duration] = words[..] else { return Err(RateError::Form) };
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(RateError::Form);
        }
        let n_calls = number.parse().map_err(|_| RateError::Calls)?;
        Self::new(n_calls, parse_duration_ms(duration)?)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}", self.n_calls, format_duration_ms(self.period_ms))
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// No start is free yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// How long until one is.
    pub wait_ms: i64,
}

/// An exact sliding window: in any period of the rate's length at most so many starts. All of them
/// may come at once; then nothing until the first has left the window, so there is no double burst.
///
/// A start may be reserved before it is made: until then it counts as made now, whenever now is.
#[derive(Debug, Clone)]
pub struct RateWindow {
    rate: Rate,
    /// When calls started, oldest first; never longer than the rate's number.
    starts_ms: VecDeque<i64>,
    n_reserved: usize,
}

/// How long to wait when everything is reserved and nothing has started.
const RESERVED_WAIT_MS: i64 = 5;

impl RateWindow {
    /// A window in which nothing has started.
    pub fn new(rate: Rate) -> Self {
        Self { rate, starts_ms: VecDeque::new(), n_reserved: 0 }
    }

    /// A window that counts as used up at `now_ms`: for one who takes an instance over and cannot
    /// know what the owner before has just sent.
    pub fn used_up(rate: Rate, now_ms: i64) -> Self {
        Self { rate, starts_ms: (0..rate.n_calls).map(|_| now_ms).collect(), n_reserved: 0 }
    }

    /// The rate that is kept.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Keeps another rate from now on; what has started stays counted. Starts that were forgotten
    /// already are taken to be as late as the oldest one known, so a change never allows too much.
    pub fn set_rate(&mut self, rate: Rate) {
        let n_calls = rate.n_calls as usize;
        let was_full = self.starts_ms.len() == self.rate.n_calls as usize;
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

    /// Starts a call, or tells how long none may start. A clock that went back counts as standing still.
    pub fn try_start(&mut self, now_ms: i64) -> Result<(), Wait> {
        self.try_reserve(now_ms)?;
        self.start_reserved(now_ms);
        Ok(())
    }

    /// Reserves a start that may be made at once, or tells how long none may be.
    pub fn try_reserve(&mut self, now_ms: i64) -> Result<(), Wait> {
        let now_ms = self.starts_ms.back().map_or(now_ms, |last_ms| now_ms.max(*last_ms));
        let n_free = (self.rate.n_calls as usize).saturating_sub(self.n_reserved);
        if n_free == 0 {
            return Err(Wait { wait_ms: RESERVED_WAIT_MS });
        }
        // So many of the latest starts may lie within the window, and one fewer when this one is made.
        if let Some(at) = self.starts_ms.len().checked_sub(n_free) {
            let free_at_ms = self.starts_ms[at] + self.rate.counted_ms();
            if now_ms < free_at_ms {
                return Err(Wait { wait_ms: free_at_ms - now_ms });
            }
        }
        self.n_reserved += 1;
        Ok(())
    }

    /// Makes a start that was reserved.
    pub fn start_reserved(&mut self, now_ms: i64) {
        let now_ms = self.starts_ms.back().map_or(now_ms, |last_ms| now_ms.max(*last_ms));
        self.n_reserved = self.n_reserved.saturating_sub(1);
        self.starts_ms.push_back(now_ms);
        while self.starts_ms.len() > self.rate.n_calls as usize {
            self.starts_ms.pop_front();
        }
    }

    /// Gives up a start that was reserved.
    pub fn release_reserved(&mut self) {
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
        assert_eq!(window.try_start(4600), Err(Wait { wait_ms: 4000 + rate.counted_ms() - 4600 }));
    }

    #[test]
    fn durations() {
        let cases = [
            ("0ms", Ok(0)),
            ("250ms", Ok(250)),
            ("2s", Ok(2000)),
            ("15m", Ok(900_000)),
            ("1h", Ok(3_600_000)),
            ("30d", Ok(2_592_000_000)),
            ("", Err(DurationError::Form)),
            ("5", Err(DurationError::Form)),
            ("s", Err(DurationError::Form)),
            ("-1s", Err(DurationError::Form)),
            ("1.5s", Err(DurationError::Form)),
            ("1 s", Err(DurationError::Form)),
            ("1S", Err(DurationError::Form)),
            ("1w", Err(DurationError::Form)),
            ("٣s", Err(DurationError::Form)),
            ("99999999999999999999s", Err(DurationError::TooLong)),
            ("3650d", Ok(MAX_DURATION_MS)),
            ("3651d", Err(DurationError::TooLong)),
            ("9223372036854775807d", Err(DurationError::TooLong)),
        ];
        for (text, duration_ms) in cases {
            assert_eq!(parse_duration_ms(text), duration_ms, "{text:?}");
        }
        for (duration_ms, text) in
            [(0, "0ms"), (1500, "1500ms"), (60_000, "1m"), (90_000, "90s"), (86_400_000, "1d")]
        {
            assert_eq!(format_duration_ms(duration_ms), text);
        }
    }

    #[test]
    fn rates() {
        let cases = [
            ("20 per 1s", Ok("20 per 1s")),
            ("  5   per 1000ms ", Ok("5 per 1s")),
            ("500 per 1h", Ok("500 per 1h")),
            ("100000 per 30d", Ok("100000 per 30d")),
            ("", Err(RateError::Form)),
            ("20", Err(RateError::Form)),
            ("20/1s", Err(RateError::Form)),
            ("20 per", Err(RateError::Form)),
            ("+20 per 1s", Err(RateError::Form)),
            ("20 per 1s 2", Err(RateError::Form)),
            ("0 per 1s", Err(RateError::Calls)),
            ("100001 per 1s", Err(RateError::Calls)),
            ("99999999999 per 1s", Err(RateError::Calls)),
            ("20 per s", Err(RateError::Duration(DurationError::Form))),
            ("20 per 0s", Err(RateError::Period)),
            ("20 per 9ms", Err(RateError::Period)),
            ("20 per 31d", Err(RateError::Period)),
        ];
        for (text, shown) in cases {
            let rate: Result<Rate, RateError> = text.parse();
            assert_eq!(rate.map(|rate| rate.to_string()), shown.map(str::to_owned), "{text:?}");
        }
        assert_eq!(serde_json::to_value(Rate::default()).unwrap(), "20 per 1s");
        assert_eq!(serde_json::from_str::<Rate>("\"20 per 1s\"").unwrap(), Rate::default());
    }

    #[test]
    fn a_full_burst_and_no_second_one() {
        let mut window = RateWindow::new("3 per 1s".parse().unwrap());
        let cases = [
            (0, Ok(())),
            (0, Ok(())),
            (500, Ok(())),
            (500, Err(520)),
            (999, Err(21)),
            (1019, Err(1)),
            (1020, Ok(())),
            (1020, Ok(())),
            (1020, Err(500)),
            (900, Err(500)),
            (1520, Ok(())),
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
        assert_eq!(window.try_start(10), Err(Wait { wait_ms: 1020 }));
        window.set_rate("2 per 1s".parse().unwrap());
        assert_eq!(window.try_start(10), Err(Wait { wait_ms: 1020 }));
        assert_eq!((window.try_start(1030), window.try_start(1030)), (Ok(()), Ok(())));

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
            let n_started = (0..rate.counted_ms() * n_rounds).filter(|now| window.try_start(*now).is_ok()).count();
            prop_assert_eq!(i64::try_from(n_started).unwrap(), i64::from(n_calls) * n_rounds);
        }
    }
}
