//! Values of arguments that several commands take, or that need care.
#![allow(clippy::doc_markdown, reason = "documentation comments are help texts, read on a terminal")]

use std::fmt;

use casewire_actors::domain::secret::Secret;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use clap::ValueEnum;

/// An argument that may hold a password: shown to nobody.
#[derive(Clone)]
pub struct SecretArgument(Secret);

impl SecretArgument {
    /// Its text.
    pub fn secret(&self) -> &Secret {
        &self.0
    }
}

impl From<String> for SecretArgument {
    fn from(text: String) -> Self {
        Self(Secret::new(text))
    }
}

impl fmt::Debug for SecretArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretArgument")
    }
}

/// Where a delivery stands.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// Not tried yet
    Queued,
    /// On its way
    Sending,
    /// Failed and to be tried again
    Retrying,
    /// Waiting for something that must be mended first
    Blocked,
    /// Arrived
    Delivered,
    /// Given up
    Dead,
}

impl DeliveryStatus {
    /// The name that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Retrying => "retrying",
            Self::Blocked => "blocked",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

/// Reads a time: RFC 3339, or a UTC date with or without hours and minutes.
pub(super) fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    for format in ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Ok(time.and_utc());
        }
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d");
    date.map(|date| date.and_time(NaiveTime::MIN).and_utc())
        .map_err(|_| "not a time; write it like 2026-08-01T12:00:00Z or 2026-08-01".to_owned())
}
