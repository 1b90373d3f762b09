//! The sections of `settings.yaml` with their defaults.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

#[cfg(doc)]
use casewire_actors::domain::instance::CONCURRENCY;
use casewire_actors::domain::password::PasswordRules;
use casewire_actors::domain::rate::Rate;
use casewire_actors::domain::secret::Secret;
use ipnet::IpNet;
use serde::Deserialize;

use super::values::{self, BaseUrl, DatabaseUrl};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// `server`: where and how the hub listens.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// The public address. Port 0 picks a free one.
    #[serde(deserialize_with = "values::address")]
    pub listen: SocketAddr,
    /// How X and browsers reach the hub.
    pub public_url: Option<BaseUrl>,
    /// The largest request body, in bytes.
    #[serde(deserialize_with = "values::size")]
    pub max_body: usize,
    /// Networks whose `X-Forwarded-For` is believed.
    #[serde(deserialize_with = "values::networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// A file to write the chosen port to.
    pub port_file: Option<PathBuf>,
    /// An address of their own for health and metrics.
    #[serde(deserialize_with = "values::some_address")]
    pub ops_listen: Option<SocketAddr>,
    /// How long requests in flight may take after a signal to stop.
    #[serde(deserialize_with = "values::duration")]
    pub shutdown_timeout: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8000).into(),
            public_url: None,
            max_body: 1 << 20,
            trusted_proxies: Vec::new(),
            port_file: None,
            ops_listen: None,
            shutdown_timeout: 25 * SECOND,
        }
    }
}

/// `database`: where everything is kept.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite://…` or `postgres://…`.
    pub url: DatabaseUrl,
}

impl Default for Database {
    fn default() -> Self {
        let url = "sqlite://casewire.db".parse().expect("the default is a URL of a database");
        Self { url }
    }
}

/// `secrets`: what seals the stored credentials.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Secrets {
    /// 32 bytes in base64.
    pub key: Option<Secret>,
    /// A file that holds the same, and is there.
    pub key_file: Option<PathBuf>,
    /// Keys that still open what they sealed, and seal nothing.
    pub previous_keys: Vec<Secret>,
}

/// What a new password must stand beside its length.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PasswordCheck {
    /// Nothing.
    Length,
    /// It must not be one of the common ones.
    Common,
}

impl From<PasswordCheck> for PasswordRules {
    fn from(check: PasswordCheck) -> Self {
        match check {
            PasswordCheck::Length => Self::Length,
            PasswordCheck::Common => Self::Common,
        }
    }
}

/// `auth`: tokens, passwords and logins.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// How long a token lives; `None` for ever.
    #[serde(deserialize_with = "values::duration_or_never")]
    pub token_ttl: Option<Duration>,
    /// How many live tokens a user may have.
    pub token_limit_per_user: Option<NonZeroU32>,
    /// Whether each use makes a token live for `token_ttl` again.
    pub auto_refresh: bool,
    /// A refresh that would gain less than this is not written.
    #[serde(deserialize_with = "values::duration")]
    pub min_refresh_interval: Duration,
    /// How long after its creation a token can live at most, however often it is refreshed.
    #[serde(deserialize_with = "values::duration_or_never")]
    pub auto_refresh_max_ttl: Option<Duration>,
    /// Put in front of new tokens.
    pub token_prefix: String,
    /// What a new password must stand.
    pub password_check: PasswordCheck,
    /// Failed logins from one address; three times as many for one user name from anywhere.
    pub login_attempts: Rate,
    /// Requests of one user, counted by each process; `None` for any number.
    #[serde(deserialize_with = "values::rate_or_unlimited")]
    pub request_rate: Option<Rate>,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            token_ttl: Some(30 * DAY),
            token_limit_per_user: None,
            auto_refresh: false,
            min_refresh_interval: 60 * SECOND,
            auto_refresh_max_ttl: None,
            token_prefix: String::new(),
            password_check: PasswordCheck::Length,
            login_attempts: rate(10, 60_000),
            request_rate: Some(rate(1000, 1000)),
        }
    }
}

/// `twitter`: the X app.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Twitter {
    /// Where the API of X is.
    pub api_url: BaseUrl,
    /// Where users are sent to allow the app; see [`Twitter::authorize_url`]. Not used yet.
    pub authorize_url: Option<BaseUrl>,
    /// The app's API key.
    pub consumer_key: Option<Secret>,
    /// The app's API key secret; it also signs webhooks.
    pub consumer_secret: Option<Secret>,
    /// The app's bearer token.
    pub bearer_token: Option<Secret>,
    /// Whether webhook bodies must be signed by X.
    pub verify_signatures: bool,
    /// How long a call may take.
    #[serde(deserialize_with = "values::duration")]
    pub timeout: Duration,
}

impl Twitter {
    /// Where users are sent to allow the app: `api_url` unless set.
    pub fn authorize_url(&self) -> &BaseUrl {
        self.authorize_url.as_ref().unwrap_or(&self.api_url)
    }
}

impl Default for Twitter {
    fn default() -> Self {
        Self {
            api_url: "https://api.x.com".parse().expect("the default is a URL"),
            authorize_url: None,
            consumer_key: None,
            consumer_secret: None,
            bearer_token: None,
            verify_signatures: true,
            timeout: 30 * SECOND,
        }
    }
}

/// `servicenow`: calls to `ServiceNow`.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceNow {
    /// Whether instances may be on private networks and on plain http.
    pub allow_private_networks: bool,
    /// How long a whole call may take.
    #[serde(deserialize_with = "values::duration")]
    pub timeout: Duration,
    /// How long connecting may take.
    #[serde(deserialize_with = "values::duration")]
    pub connect_timeout: Duration,
}

impl Default for ServiceNow {
    fn default() -> Self {
        Self { allow_private_networks: false, timeout: 65 * SECOND, connect_timeout: 10 * SECOND }
    }
}

/// The pauses between attempts.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    /// The first pause.
    #[serde(deserialize_with = "values::duration")]
    pub first: Duration,
    /// How much longer each next one is.
    pub factor: f64,
    /// The longest pause that the hub chooses by itself.
    #[serde(deserialize_with = "values::duration")]
    pub max: Duration,
    /// The part of a pause that chance adds or takes, 0 to 1.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: 2 * SECOND, factor: 3.0, max: HOUR, jitter: 0.2 }
    }
}

/// `delivery`: delivery in both directions.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delivery {
    /// How many calls may start at one instance within any such period; copied into new instances.
    pub rate: Rate,
    /// How many calls may run at one instance at once, within [`CONCURRENCY`]; copied into new instances.
    pub concurrency: u8,
    /// How long a delivery is tried before it goes to the dead letters.
    #[serde(deserialize_with = "values::duration")]
    pub retry_for: Duration,
    /// The pauses between attempts.
    pub backoff: Backoff,
    /// How much one user may have queued.
    pub queue_limit: NonZeroU32,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            rate: rate(20, 1000),
            concurrency: 4,
            retry_for: DAY,
            backoff: Backoff::default(),
            queue_limit: at_least_one(100_000),
        }
    }
}

/// `events`: events from `ServiceNow`.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// How long an event's request waits for X before it is answered as queued.
    #[serde(deserialize_with = "values::duration")]
    pub wait: Duration,
}

impl Default for Events {
    fn default() -> Self {
        Self { wait: SECOND }
    }
}

/// `retention`: how long things are kept.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// When bodies and texts are erased; the record stays.
    #[serde(deserialize_with = "values::duration")]
    pub payloads: Duration,
    /// When the attempts of what has ended are deleted; the record stays.
    #[serde(deserialize_with = "values::duration")]
    pub attempts: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { payloads: 30 * DAY, attempts: 90 * DAY }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// As text on a terminal, as JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For machines, an object a line.
    Json,
}

/// `log`: the log.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How lines are written.
    pub format: LogFormat,
    /// A level, or filter directives as of `tracing`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: "info".to_owned() }
    }
}

fn at_least_one(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("defaults are not zero")
}

fn rate(n_calls: u32, period_ms: i64) -> Rate {
    Rate::new(n_calls, period_ms).expect("defaults are within bounds")
}
