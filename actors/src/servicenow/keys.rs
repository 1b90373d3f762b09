//! Values that may enter a query or a path of ServiceNow.
//!
//! `^` ends a query term and has no escape, so values are validated, never escaped.

use std::fmt;

use crate::domain::failure::{Effect, ErrorClass, Failure};

/// A value that must not enter a query. The value itself is not told: it may be anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {wanted}")]
pub struct BadKey {
    /// What it should have been.
    pub wanted: &'static str,
}

impl From<BadKey> for Failure {
    fn from(bad: BadKey) -> Self {
        Self {
            class: ErrorClass::Permanent,
            effect: Effect::None,
            http_status: None,
            detail: format!("the request was not sent, a value in it is {bad}"),
            retry_at_ms: None,
        }
    }
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident, $wanted:literal, $fits:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes the text if it has the right form.
            pub fn parse(text: &str) -> Result<Self, BadKey> {
                let fits: fn(&str) -> bool = $fits;
                if fits(text) { Ok(Self(text.to_owned())) } else { Err(BadKey { wanted: $wanted }) }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

key!(
    /// The id of a record: 32 lower-case hex digits.
    SysId,
    "a sys_id of 32 lower-case hex digits",
    |text| text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
);

key!(
    /// The id of a person at X: 1 to 20 digits.
    XUserId,
    "an x id of 1 to 20 digits",
    |text| (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
);

key!(
    /// The handle of a person at X, without the @: 1 to 15 of `A-Z a-z 0-9 _`.
    Handle,
    "an x handle of 1 to 15 letters, digits and underscores",
    |text| (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
);

key!(
    /// The hub's own key of a case, in its field `correlation_id` (100 characters at most).
    CorrelationId,
    "a correlation id of 1 to 100 letters, digits, colons, dots, dashes and underscores",
    |text| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'.' | b'-' | b'_');
        (1..=100).contains(&text.len()) && text.bytes().all(plain)
    }
);

key!(
    /// Text within a journal entry by which the hub knows it again. It stands in one line, and
    /// holds nothing that an instance would escape in a journal.
    Marker,
    "a marker of 4 to 200 letters, digits, spaces and plain punctuation",
    |text| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b" ._:#/()[]@,?=-".contains(&b);
        (4..=200).contains(&text.len()) && text.trim() == text && text.bytes().all(plain)
    }
);

impl Marker {
    /// Whether the text holds the marker, not merely as a part of a longer word or number:
    /// `message 12` is not in `message 123`.
    pub fn is_in(&self, text: &str) -> bool {
        let marker = self.as_str();
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let is_word_byte = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
        let opens_with_word = is_word_byte(marker.as_bytes().first());
        let ends_with_word = is_word_byte(marker.as_bytes().last());
        text.match_indices(marker).any(|(at, _)| {
            let grown_left = opens_with_word && is_word(text[..at].chars().next_back());
            let grown_right = ends_with_word && is_word(text[at + marker.len()..].chars().next());
            !grown_left && !grown_right
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let hex = "0123456789abcdef0123456789abcdef";
        assert!(SysId::parse(hex).is_ok());
        for text in ["", "0123", &hex.to_uppercase(), &format!("{hex}0"), "0123456789abcdef0123456789abcde^"]
        {
            assert!(SysId::parse(text).is_err(), "{text}");
        }
        for (text, fits) in [("1", true), ("12345678901234567890", true), ("", false)] {
            assert_eq!(XUserId::parse(text).is_ok(), fits, "{text}");
        }
        for text in ["123456789012345678901", "12a", "1^OR", "-1", "１"] {
            assert!(XUserId::parse(text).is_err(), "{text}");
        }
        for (text, fits) in [("jack", true), ("A_9", true), ("@jack", false), ("sixteen_letters_", false)] {
            assert_eq!(Handle::parse(text).is_ok(), fits, "{text}");
        }
        for (text, fits) in [("x-dm:1:2", true), ("a^b", false), ("a b", false), ("javascript:x()", false)] {
            assert_eq!(CorrelationId::parse(text).is_ok(), fits, "{text}");
        }
        for (text, fits) in
            [("x message 12 (2/3)", true), (" x 12", false), ("a\nbcd", false), ("<b>12</b>", false)]
        {
            assert_eq!(Marker::parse(text).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn markers_are_whole() {
        let cases = [
            ("message 12", "message 12", true),
            ("message 12", "@jack, message 12\nhello", true),
            ("message 12", "message 123", false),
            ("message 12", "message 123 and message 12.", true),
            ("message 12", "xmessage 12", false),
            ("message 12", "message 12é", false),
            ("message 12 (2/3)", "message 12 (2/3)x", true),
            ("message 12 (2/3)", "message 12 (1/3)", false),
            ("message 12", "", false),
        ];
        for (marker, text, found) in cases {
            assert_eq!(Marker::parse(marker).unwrap().is_in(text), found, "{marker} in {text}");
        }
    }

    #[test]
    fn a_bad_key_is_never_shown() {
        let failure = Failure::from(Handle::parse("a^ORsecret").unwrap_err());
        assert_eq!(failure.class, ErrorClass::Permanent);
        assert!(!failure.detail.contains("secret"));
    }
}
