//! What the actors need of the settings, in their own types.

use std::path::PathBuf;
use std::time::Duration;

use casewire_actors::accounts::AttemptLimit;
use casewire_actors::delivery::backoff::Backoff;
use casewire_actors::domain::sealing::{
    KeyFileError, NotAKey, Sealer, SealingKey, load_key_file, load_or_create_key_file,
};
use casewire_actors::domain::token_policy::{Refresh, TokenPolicy};
use casewire_actors::hub::{EarlierKey, HubSettings, Migrate, TrafficSettings};
use casewire_actors::kernel::Sources;
use casewire_actors::net::Reach;

use crate::settings::{Auth, Settings};

/// What is wrong with settings that only show it when they are used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The sealing key is none.
    #[error("secrets.key or secrets.previous_keys: {0}")]
    Key(#[from] NotAKey),
    /// The key file cannot be used.
    #[error("secrets.key_file: {0}")]
    KeyFile(#[from] KeyFileError),
    /// There is no key and no place for one.
    #[error("secrets.key: a database without a file needs a key; make one with `openssl rand -base64 32`")]
    NoKey,
}

/// The hub that these settings ask for. Makes the key file beside an embedded database if there is none and
/// no key is set.
pub fn hub_settings(settings: &Settings, migrate: Migrate) -> Result<HubSettings, Unusable> {
    let attempts = settings.auth.login_attempts;
    Ok(HubSettings {
        database_url: settings.database.url.secret().clone(),
        migrate,
        earlier_key: EarlierKey::Needed,
        tokens: token_policy(&settings.auth),
        login_attempts: AttemptLimit {
            failures: attempts.n_calls(),
            period: Duration::from_millis(attempts.period_ms().unsigned_abs()),
        },
        traffic: traffic_settings(settings)?,
    })
}

fn token_policy(auth: &Auth) -> TokenPolicy {
    let on_use = Refresh::OnUse { min_gain: auth.min_refresh_interval, max_ttl: auth.auto_refresh_max_ttl };
    TokenPolicy {
        ttl: auth.token_ttl,
        limit: auth.token_limit_per_user.map(std::num::NonZeroU32::get),
        refresh: if auth.auto_refresh { on_use } else { Refresh::Never },
        prefix: auth.token_prefix.clone(),
    }
}

fn traffic_settings(settings: &Settings) -> Result<TrafficSettings, Unusable> {
    let (servicenow, twitter, delivery) = (&settings.servicenow, &settings.twitter, &settings.delivery);
    let reach = if servicenow.allow_private_networks { Reach::PrivateAllowed } else { Reach::PublicOnly };
    Ok(TrafficSettings {
        sealer: sealer(settings)?,
        reach,
        servicenow_timeout: servicenow.timeout,
        connect_timeout: servicenow.connect_timeout,
        x_api_url: twitter.api_url.url().clone(),
        x_timeout: twitter.timeout,
        webhook_url: settings.server.public_url.as_ref().map(|base| base.at("/api/activity/")),
        consumer_key: twitter.consumer_key.clone(),
        consumer_secret: twitter.consumer_secret.clone(),
        bearer_token: twitter.bearer_token.clone(),
        verifies_signatures: twitter.verify_signatures,
        rate: delivery.rate,
        concurrency: delivery.concurrency,
        retry_for: delivery.retry_for,
        backoff: Backoff {
            first_ms: i64::try_from(delivery.backoff.first.as_millis()).unwrap_or(i64::MAX),
            factor: delivery.backoff.factor,
            max_ms: i64::try_from(delivery.backoff.max.as_millis()).unwrap_or(i64::MAX),
            jitter: delivery.backoff.jitter,
        },
        retention: settings.retention.payloads,
        attempts_retention: settings.retention.attempts,
        queue_limit: i64::from(delivery.queue_limit.get()),
    })
}

fn sealer(settings: &Settings) -> Result<Sealer, Unusable> {
    let secrets = &settings.secrets;
    let previous: Result<Vec<SealingKey>, NotAKey> =
        secrets.previous_keys.iter().map(|key| SealingKey::from_base64(key.expose())).collect();
    let current = match (&secrets.key, key_place(settings)) {
        (Some(key), _) => SealingKey::from_base64(key.expose())?,
        (None, KeyPlace::File(file)) => load_key_file(&file)?,
        (None, KeyPlace::Beside(file)) => load_or_create_key_file(&file, &Sources::system())?,
        (None, _) => return Err(Unusable::NoKey),
    };
    Ok(Sealer::new(&current, &previous?))
}

/// Where the key stands that seals the stored credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// In the settings.
    Settings,
    /// In this file, which the settings name.
    File(PathBuf),
    /// In this file beside the embedded database; it may be yet to be made.
    Beside(PathBuf),
    /// There is no key and no place for one.
    Nowhere,
}

/// Where the key stands: in the settings, in the key file, or in the one beside the embedded database.
pub fn key_place(settings: &Settings) -> KeyPlace {
    match (&settings.secrets.key, &settings.secrets.key_file, settings.database.url.file()) {
        (Some(_), _, _) => KeyPlace::Settings,
        (None, Some(file), _) => KeyPlace::File(file.clone()),
        (None, None, Some(database)) => KeyPlace::Beside(beside(database)),
        (None, None, None) => KeyPlace::Nowhere,
    }
}

/// `casewire.db` → `casewire.db.key`.
fn beside(database: PathBuf) -> PathBuf {
    let mut name = database.into_os_string();
    name.push(".key");
    name.into()
}
