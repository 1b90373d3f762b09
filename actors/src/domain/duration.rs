//! Durations as people write them: a whole number and a unit.

/// Ten years: what is longer is a slip, and times that are added up must not overflow.
const MAX_DURATION_MS: i64 = 3650 * 24 * 60 * 60 * 1000;
/// Units of durations, the longest first.
const UNITS: &[(&str, i64)] =
    &[("d", 24 * 60 * 60 * 1000), ("h", 60 * 60 * 1000), ("m", 60 * 1000), ("s", 1000), ("ms", 1)];

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
    if duration_ms == 0 {
        return "0s".to_owned();
    }
    let fits = |unit_ms: i64| duration_ms % unit_ms == 0;
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

#[cfg(test)]
mod tests {
    use super::*;

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
            [(0, "0s"), (1500, "1500ms"), (60_000, "1m"), (90_000, "90s"), (86_400_000, "1d")]
        {
            assert_eq!(format_duration_ms(duration_ms), text);
        }
    }
}
