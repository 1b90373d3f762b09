//! What an operator can set: `settings.yaml`, overridden key by key by the environment.
//!
//! Everything is checked before anything starts. A refusal names the key, what is wrong with its
//! value and how to mend it, and never shows the value of a secret key. For the same reason
//! [`Settings`] has no `Debug`.

mod check;
mod error;
mod keys;
mod sections;
mod source;
#[cfg(test)]
mod tests;
mod values;

use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;

pub use self::error::SettingsError;
pub use self::sections::{
    Auth, Backoff, Database, Delivery, Events, Log, LogFormat, PasswordCheck, Retention, Secrets, Server,
    ServiceNow, Twitter,
};
pub use self::values::{BaseUrl, DatabaseKind, DatabaseUrl, parse_address, parse_duration};

/// The file read when none is named; it may be missing.
pub const DEFAULT_FILE: &str = "settings.yaml";

/// Every setting, checked.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where and how the hub listens.
    pub server: Server,
    /// Where everything is kept.
    pub database: Database,
    /// What seals the stored credentials.
    pub secrets: Secrets,
    /// Tokens, passwords and logins.
    pub auth: Auth,
    /// The X app.
    pub twitter: Twitter,
    /// Calls to `ServiceNow`.
    pub servicenow: ServiceNow,
    /// Delivery in both directions.
    pub delivery: Delivery,
    /// Events from `ServiceNow`.
    pub events: Events,
    /// How long things are kept.
    pub retention: Retention,
    /// The log.
    pub log: Log,
}

impl Settings {
    /// Reads the file and the environment over it, and checks the whole.
    ///
    /// Without a path it is [`DEFAULT_FILE`] in the working directory, which may be missing; a
    /// named file may not. Of the environment only names like `CASEWIRE_SECTION__KEY` matter,
    /// and of these every one must be a setting. An empty value counts as not set.
    pub fn load(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let document = source::Document::read(path)?.overridden(env)?;
        let settings = document.into_settings()?;
        settings.check()?;
        Ok(settings)
    }

    /// [`Settings::load`] with the environment of this process.
    pub fn from_process(path: Option<&Path>) -> Result<Self, SettingsError> {
        let named = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(source::ENV_PREFIX))?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        Self::load(path, named)
    }

    /// The same settings on another address, as `serve --listen` wants them; checked again,
    /// because some settings are allowed on a loopback address only.
    pub fn listening_on(mut self, listen: SocketAddr) -> Result<Self, SettingsError> {
        self.server.listen = listen;
        self.check()?;
        Ok(self)
    }
}
