//! Times in answers.

use chrono::{DateTime, SecondsFormat};

/// Epoch milliseconds as Django REST framework writes times: RFC 3339 with six digits, in UTC.
pub(crate) fn rfc3339(epoch_ms: i64) -> String {
    DateTime::from_timestamp_millis(epoch_ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn times_have_six_digits() {
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123000Z");
    }
}
