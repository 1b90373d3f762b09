//! How many calls may start within a time, as settings say it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::duration::{DurationError, format_duration_ms, parse_duration_ms};

const MAX_CALLS: u32 = 100_000;
const MIN_PERIOD_MS: i64 = 10;
const MAX_PERIOD_MS: i64 = 30 * 24 * 60 * 60 * 1000;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
