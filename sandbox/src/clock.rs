//! The one place where the sandbox reads the clock of the machine.
//!
//! A simulated world stands for somebody else's machine, so it has its own clock, which nobody injects.

use chrono::{DateTime, SecondsFormat, Utc};

/// Now, in milliseconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "the simulated worlds are outside the hub and keep their own time"
)]
pub(crate) fn now_ms() -> i64 {
    Utc::now().timestamp_millis()
}

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

/// ServiceNow's form of a time: `YYYY-MM-DD HH:MM:SS`, UTC, no zone.
pub(crate) fn servicenow_time(ms: i64) -> String {
    at(ms).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// X v2's form of a time: RFC 3339 with milliseconds and `Z`.
pub(crate) fn rfc3339(ms: i64) -> String {
    at(ms).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// X v1.1's form of a time: `Fri Dec 13 04:48:09 +0000 2019`.
pub(crate) fn v1_time(ms: i64) -> String {
    at(ms).format("%a %b %d %H:%M:%S %z %Y").to_string()
}

/// `yyyymmddhhmm` in UTC (X's replay dates) as epoch milliseconds.
pub(crate) fn parse_minute(text: &str) -> Option<i64> {
    let seconds = format!("{text}00");
    let time = chrono::NaiveDateTime::parse_from_str(&seconds, "%Y%m%d%H%M%S").ok()?;
    Some(time.and_utc().timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_forms_of_both_sides() {
        assert_eq!(servicenow_time(1_767_000_000_123), "2025-12-29 09:20:00");
        assert_eq!(rfc3339(1_767_000_000_123), "2025-12-29T09:20:00.123Z");
        assert_eq!(v1_time(1_767_000_000_123), "Mon Dec 29 09:20:00 +0000 2025");
        assert_eq!(parse_minute("202512290920"), Some(1_767_000_000_000));
        assert_eq!(parse_minute("2025-12-29"), None);
    }
}
