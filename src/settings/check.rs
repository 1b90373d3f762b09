//! What the types of single values do not say: limits, and values that do not go together.

use std::time::Duration;

use casewire_actors::database_url::check_database_url;
use casewire_actors::domain::instance::CONCURRENCY;
use casewire_actors::domain::sealing::SealingKey;
use casewire_actors::domain::secret::Secret;

use super::values::DatabaseKind;
use super::{Backoff, Settings, SettingsError, keys};

const MOST_PREFIX_CHARACTERS: usize = 10;
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Settings {
    /// Checks what the single values do not tell.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        self.check_server()?;
        self.check_database()?;
        self.check_secrets()?;
        self.check_auth()?;
        self.check_times()?;
        check_concurrency(self.delivery.concurrency)?;
        check_backoff(&self.delivery.backoff)?;
        check_level(&self.log.level)
    }

    fn check_server(&self) -> Result<(), SettingsError> {
        if self.server.max_body == 0 {
            return Err(unfit("server.max_body", "0 lets no body through"));
        }
        if !self.twitter.verify_signatures && !self.server.listen.ip().is_loopback() {
            return Err(SettingsError::Conflict {
                key: "twitter.verify_signatures",
                problem: format!(
                    "false would let anyone who reaches server.listen ({}) forge events",
                    self.server.listen
                ),
                remedy: "set it to true, or listen on a loopback address such as 127.0.0.1:8000".to_owned(),
            });
        }
        if self.server.ops_listen.is_some_and(|ops| ops == self.server.listen && ops.port() != 0) {
            return Err(SettingsError::Conflict {
                key: "server.ops_listen",
                problem: "the same address as server.listen".to_owned(),
                remedy: "give another port, or leave it out to serve both on one".to_owned(),
            });
        }
        Ok(())
    }

    fn check_database(&self) -> Result<(), SettingsError> {
        let checked = check_database_url(self.database.url.secret().expose());
        checked.map_err(|problem| unfit("database.url", &problem.to_string()))
    }

    fn check_secrets(&self) -> Result<(), SettingsError> {
        let secrets = &self.secrets;
        if secrets.key.is_some() && secrets.key_file.is_some() {
            return Err(SettingsError::Conflict {
                key: "secrets.key",
                problem: "given beside secrets.key_file".to_owned(),
                remedy: "keep one of the two".to_owned(),
            });
        }
        if secrets.key.as_ref().is_some_and(|key| !is_key(key)) {
            return Err(unfit("secrets.key", "the value (not shown) does not fit"));
        }
        if let Some(at) = secrets.previous_keys.iter().position(|key| !is_key(key)) {
            let problem = format!("key {} of the list (not shown) does not fit", at + 1);
            return Err(unfit("secrets.previous_keys", &problem));
        }
        let has_key = secrets.key.is_some() || secrets.key_file.is_some();
        if self.database.url.kind() == DatabaseKind::Server && !has_key {
            return Err(SettingsError::Conflict {
                key: "secrets.key",
                problem: "missing, and a server database is shared, so no key is made for it".to_owned(),
                remedy:
                    "give every replica the same secrets.key or secrets.key_file: 32 bytes in base64, as \
                         `openssl rand -base64 32` prints them"
                        .to_owned(),
            });
        }
        Ok(())
    }

    fn check_auth(&self) -> Result<(), SettingsError> {
        let prefix = &self.auth.token_prefix;
        if prefix.chars().count() > MOST_PREFIX_CHARACTERS {
            return Err(unfit("auth.token_prefix", "longer than 10 characters"));
        }
        if !prefix.chars().all(|c| c.is_ascii_graphic()) {
            return Err(unfit("auth.token_prefix", "a character that cannot stand in a token"));
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), SettingsError> {
        let not_zero = [
            ("auth.token_ttl", self.auth.token_ttl),
            ("auth.auto_refresh_max_ttl", self.auth.auto_refresh_max_ttl),
            ("twitter.timeout", Some(self.twitter.timeout)),
            ("servicenow.timeout", Some(self.servicenow.timeout)),
            ("servicenow.connect_timeout", Some(self.servicenow.connect_timeout)),
            ("delivery.retry_for", Some(self.delivery.retry_for)),
            ("retention.payloads", Some(self.retention.payloads)),
            ("retention.attempts", Some(self.retention.attempts)),
        ];
        for (key, duration) in not_zero {
            if duration.is_some_and(|duration| duration.is_zero()) {
                return Err(unfit(key, "no time at all"));
            }
        }
        if self.events.wait > LONGEST_WAIT {
            return Err(unfit("events.wait", "longer than a caller may be kept waiting"));
        }
        Ok(())
    }
}

fn is_key(text: &Secret) -> bool {
    SealingKey::from_base64(text.expose()).is_ok()
}

/// A new instance takes it over, and an instance takes no other.
fn check_concurrency(n_calls: u8) -> Result<(), SettingsError> {
    if CONCURRENCY.contains(&n_calls.into()) {
        return Ok(());
    }
    Err(unfit("delivery.concurrency", &format!("{n_calls} calls at once are out of bounds")))
}

fn check_backoff(backoff: &Backoff) -> Result<(), SettingsError> {
    let problem = if backoff.first.is_zero() {
        "first is no time at all"
    } else if backoff.max < backoff.first {
        "max is shorter than first"
    } else if !(backoff.factor.is_finite() && backoff.factor >= 1.0) {
        "factor is less than 1, or no number"
    } else if !(0.0..=1.0).contains(&backoff.jitter) {
        "jitter is not between 0 and 1"
    } else {
        return Ok(());
    };
    Err(unfit("delivery.backoff", problem))
}

/// A lone word that is no level would be taken for the name of a module, and silence the rest.
fn check_level(level: &str) -> Result<(), SettingsError> {
    let is_level = |word: &str| LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    let is_directive = |part: &str| part.contains(['=', '[']) || is_level(part);
    let is_known = level.split(',').map(str::trim).all(is_directive);
    if is_known && tracing_subscriber::EnvFilter::try_new(level).is_ok() {
        return Ok(());
    }
    Err(unfit("log.level", &format!("{level:?} is neither a level nor a list of directives")))
}

fn unfit(key: &'static str, problem: &str) -> SettingsError {
    let fits = keys::find(key).map_or("another value", |key| key.fits);
    SettingsError::Conflict { key, problem: problem.to_owned(), remedy: format!("give {fits}") }
}
