//! Bulk replays: many dead letters that are put back little by little, no faster than a rate.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use super::record::{DeliveryStatus, RecordFilter};
use super::time::format_time;
use crate::domain::rate::{Rate, RateError};

/// Up to so many dead letters are put back within the request that asks for it.
pub const AT_ONCE: i64 = 100;
/// One step puts back at most so many: no other write waits longer behind it than a millisecond or two, and what
/// it puts back does not come in a crowd, which others would wait behind.
const MAX_STEP: u32 = 10;
/// The fastest and the slowest rate, in messages a second and a minute.
const MAX_PER_SECOND: i64 = 1000;
const MINUTE_MS: i64 = 60_000;

/// How fast a bulk replay goes: at most so many messages within any period of that length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayRate(Rate);

/// What is wrong with a rate. The text is fit to show to whoever entered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplayRateError {
    /// It is no rate.
    #[error(transparent)]
    Rate(#[from] RateError),
    /// No replay goes so fast or so slowly.
    #[error("the rate must be at least \"1 per 1m\" and at most \"{MAX_PER_SECOND} per 1s\"")]
    OutOfBounds,
}

/// What one step of a replay may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// So many messages at most.
    pub(crate) n_messages: usize,
    /// The next step follows no earlier than so much later.
    pub(crate) pause_ms: i64,
}

impl ReplayRate {
    /// What one step may do, so that the rate holds in every period, whatever its beginning: each of the
    /// steps of a period takes an equal part of the rate, rounded down, at equal times, rounded up.
    pub(crate) fn pace(self) -> Pace {
        let n_steps = self.0.n_calls().div_ceil(MAX_STEP);
        let n_messages = usize::try_from(self.0.n_calls() / n_steps).unwrap_or(1);
        let n_steps = i64::from(n_steps);
        Pace { n_messages, pause_ms: (self.0.period_ms() + n_steps - 1) / n_steps }
    }
}

impl Pace {
    /// The pace of one among so many replays of a user that run at once: together they go no faster than the
    /// fastest one may.
    pub(crate) fn shared_by(self, n_running: i64) -> Self {
        // Pauses last ten milliseconds and more, and ten run at most: so there is one for each.
        let n_at_most = (self.pause_ms * MAX_PER_SECOND / 1000 / n_running.max(1)).max(1);
        let n_messages = self.n_messages.min(usize::try_from(n_at_most).unwrap_or(usize::MAX));
        Self { n_messages, ..self }
    }
}

impl Default for ReplayRate {
    /// 50 per 1s.
    fn default() -> Self {
        "50 per 1s".parse().expect("the default is a rate")
    }
}

impl FromStr for ReplayRate {
    type Err = ReplayRateError;

    fn from_str(text: &str) -> Result<Self, ReplayRateError> {
        let rate: Rate = text.parse()?;
        let n_calls = i64::from(rate.n_calls());
        let is_too_fast = n_calls * 1000 > rate.period_ms() * MAX_PER_SECOND;
        let is_too_slow = n_calls * MINUTE_MS < rate.period_ms();
        if is_too_fast || is_too_slow { Err(ReplayRateError::OutOfBounds) } else { Ok(Self(rate)) }
    }
}

impl fmt::Display for ReplayRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a bulk replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayState {
    /// It goes on.
    Running,
    /// It has passed every dead letter of its filter.
    Done,
    /// Somebody stopped it. What it had put back stays put back.
    Cancelled,
}

impl ReplayState {
    /// The stable name in records and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Running, Self::Done, Self::Cancelled].into_iter().find(|state| state.as_str() == name)
    }
}

/// A bulk replay, and how far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Its id.
    pub id: String,
    /// Whose dead letters; `None` for those of all, as an operator asks for it.
    pub user_id: Option<String>,
    /// Which dead letters. Those accepted after its beginning are never among them.
    pub filter: RecordFilter,
    /// How fast it goes.
    pub rate: ReplayRate,
    /// Where it stands.
    pub state: ReplayState,
    /// Dead letters that the filter left when it began, or more, when others died before it came to them.
    pub n_total: i64,
    /// Dead letters that it has passed.
    pub n_done: i64,
    /// Those of them that it could not put back: their text was erased, or somebody was faster.
    pub n_skipped: i64,
    /// When it began, in epoch milliseconds.
    pub created_at_ms: i64,
    /// When it was done or cancelled, in epoch milliseconds.
    pub ended_at_ms: Option<i64>,
}

impl Replay {
    /// How many it has put back.
    pub fn n_replayed(&self) -> i64 {
        self.n_done - self.n_skipped
    }

    /// As the API shows it.
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "user": self.user_id,
            "status": DeliveryStatus::Dead.as_str(),
            "direction": self.filter.direction.map(super::record::Direction::as_str),
            "instance": self.filter.instance_id,
            "since": self.filter.since_ms.map(format_time),
            "until": self.filter.until_ms.map(format_time),
            "rate": self.rate.to_string(),
            "state": self.state.as_str(),
            "matched": self.n_total,
            "done": self.n_done,
            "replayed": self.n_replayed(),
            "skipped": self.n_skipped,
            "created_at": format_time(self.created_at_ms),
            "ended_at": self.ended_at_ms.map(format_time),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_within_bounds() {
        assert_eq!(ReplayRate::default().to_string(), "50 per 1s");
        for text in ["1 per 1m", "1000 per 1s", "60000 per 1h", "10 per 10ms"] {
            assert!(text.parse::<ReplayRate>().is_ok(), "{text}");
        }
        for text in ["1001 per 1s", "1 per 61s", "11 per 10ms", "59 per 1h"] {
            assert_eq!(text.parse::<ReplayRate>(), Err(ReplayRateError::OutOfBounds), "{text}");
        }
        for text in ["", "fast", "0 per 1s", "50"] {
            assert!(matches!(text.parse::<ReplayRate>(), Err(ReplayRateError::Rate(_))), "{text}");
        }
    }

    #[test]
    fn the_rate_holds_in_every_period() {
        for text in ["50 per 1s", "700 per 1s", "1000 per 1s", "10 per 10ms", "60000 per 1h", "1 per 1m"] {
            let rate: ReplayRate = text.parse().unwrap();
            let Pace { n_messages, pause_ms } = rate.pace();
            assert!((1..=10).contains(&n_messages) && pause_ms >= 1, "{text}");
            // A period is half open: it holds as many steps as begin before its end.
            let n_steps = (rate.0.period_ms() + pause_ms - 1) / pause_ms;
            let n = i64::try_from(n_messages).unwrap() * n_steps;
            assert!(n <= i64::from(rate.0.n_calls()), "{text}: {n}");
            assert!(n * 10 >= i64::from(rate.0.n_calls()) * 9, "{text}: {n} is slow");
        }
    }

    #[test]
    fn replays_of_a_user_share_the_fastest_rate() {
        let pace = |n_messages, pause_ms| Pace { n_messages, pause_ms };
        let cases = [
            ("1000 per 1s", 1, pace(10, 10)),
            ("1000 per 1s", 3, pace(3, 10)),
            ("1000 per 1s", 10, pace(1, 10)),
            ("10 per 10ms", 10, pace(1, 10)),
            ("50 per 1s", 10, pace(10, 200)),
            ("1 per 1m", 10, pace(1, 60_000)),
        ];
        for (text, n_running, expected) in cases {
            let rate: ReplayRate = text.parse().unwrap();
            assert_eq!(rate.pace().shared_by(n_running), expected, "{text} {n_running}");
        }
    }
}
