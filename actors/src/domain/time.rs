//! Times as the API shows and takes them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat};

/// RFC 3339 in UTC with six digits of microseconds, as Django REST framework writes them.
pub fn format_time(epoch_ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(epoch_ms).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A text that is not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "Datetime has wrong format. Use one of these formats instead: YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z]."
)]
pub struct NotATime;

/// Reads a time with or without an offset (then it is UTC), or a date (its beginning, in UTC).
pub fn parse_time(text: &str) -> Result<i64, NotATime> {
    let text = text.trim();
    // A `+` that was not encoded in a query arrives as a blank.
    let mended = text.replacen(' ', if text.contains('T') { "+" } else { "T" }, 1);
    if let Ok(time) = DateTime::parse_from_rfc3339(&mended) {
        return Ok(time.timestamp_millis());
    }
    if let Ok(time) = DateTime::parse_from_str(&mended, "%Y-%m-%dT%H:%M%:z") {
        return Ok(time.timestamp_millis());
    }
    let bare = mended.strip_suffix('Z').unwrap_or(&mended);
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(bare, format) {
            return Ok(time.and_utc().timestamp_millis());
        }
    }
    let date = NaiveDate::parse_from_str(&mended, "%Y-%m-%d").map_err(|_| NotATime)?;
    Ok(date.and_time(NaiveTime::MIN).and_utc().timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        assert_eq!(format_time(1_700_000_000_123), "2023-11-14T22:13:20.123000Z");
        assert_eq!(format_time(i64::MAX), "1970-01-01T00:00:00.000000Z");
        for (text, expected) in [
            ("2023-11-14T22:13:20.123000Z", 1_700_000_000_123),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000_000),
            ("2023-11-14T23:13:20 01:00", 1_700_000_000_000),
            ("2023-11-14T23:13+01:00", 1_699_999_980_000),
            ("2023-11-14 22:13:20", 1_700_000_000_000),
            ("2023-11-14T22:13", 1_699_999_980_000),
            ("2023-11-14T22:13Z", 1_699_999_980_000),
            ("2023-11-14", 1_699_920_000_000),
        ] {
            assert_eq!(parse_time(text), Ok(expected), "{text}");
        }
        for text in ["", "yesterday", "2023-13-01", "2023-11-14T25:00", "1700000000", "2023-11-14T22:13:20+"]
        {
            assert_eq!(parse_time(text), Err(NotATime), "{text}");
        }
    }
}
