//! Values of arguments that several commands take, or that need care.

use std::fmt;

use casewire_actors::domain::record::DeliveryStatus;
use casewire_actors::domain::secret::Secret;
use casewire_actors::domain::time;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

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

/// Reads the state of a delivery, and offers all of them in help and completions.
pub(super) fn delivery_status() -> impl TypedValueParser<Value = DeliveryStatus> {
    let values = DeliveryStatus::ALL.map(|status| PossibleValue::new(status.as_str()).help(meaning(status)));
    PossibleValuesParser::new(values)
        .try_map(|name| DeliveryStatus::parse(&name).ok_or("no state of a delivery has this name"))
}

fn meaning(status: DeliveryStatus) -> &'static str {
    match status {
        DeliveryStatus::Queued => "Not tried yet",
        DeliveryStatus::Sending => "On its way",
        DeliveryStatus::Retrying => "Failed and to be tried again",
        DeliveryStatus::Blocked => "Waiting for something that must be mended first",
        DeliveryStatus::Delivered => "Arrived",
        DeliveryStatus::Dead => "Given up",
    }
}

/// Reads a time, as the API takes it, into epoch milliseconds.
pub(super) fn parse_time(text: &str) -> Result<i64, &'static str> {
    time::parse_time(text).map_err(|_| "not a time; write it like 2026-08-01T12:00:00Z or 2026-08-01")
}
