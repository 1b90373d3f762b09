//! A ServiceNow instance: how it is reached, how the hub shows who it is, and how cases are made there.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::sealing::SealError;
use super::secret::Secret;
use crate::domain::duration::format_duration_ms;
use crate::domain::rate::Rate;
use crate::net::{InstanceUrl, Reach};
use crate::servicenow::customers::CustomerTable;

mod form;

pub use form::InstanceForm;

/// How many calls may run at an instance at once: what can be set.
pub const CONCURRENCY: RangeInclusive<i64> = 1..=64;

/// How the hub logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthKind {
    /// A user name and its password with every call.
    Basic,
    /// OAuth, as the application user of a client. Stored, not spoken yet.
    OauthClientCredentials,
    /// OAuth, as a user who gives the password to a client. Stored, not spoken yet.
    OauthPassword,
    /// An inbound REST API key.
    ApiKey,
}

impl AuthKind {
    const ALL: [Self; 4] = [Self::Basic, Self::OauthClientCredentials, Self::OauthPassword, Self::ApiKey];

    /// The stable name in the API and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::OauthClientCredentials => "oauth_client_credentials",
            Self::OauthPassword => "oauth_password",
            Self::ApiKey => "api_key",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Which interface of the instance makes the cases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The application where it is installed, else the Case API: as yet always that.
    #[default]
    Auto,
    /// The Case API that every instance with customer service has.
    CaseApi,
    /// The hub's own application (its update set). Stored, not spoken yet.
    App,
}

impl Mode {
    /// The stable name in the API and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::CaseApi => "case_api",
            Self::App => "app",
        }
    }

    /// The mode of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Auto, Self::CaseApi, Self::App].into_iter().find(|mode| mode.as_str() == name)
    }
}

/// What a new instance gets where nothing else is said, and which addresses it may have.
#[derive(Debug, Clone, Copy)]
pub struct InstanceDefaults {
    /// Whether addresses in private networks are taken.
    pub reach: Reach,
    /// `delivery.rate`.
    pub rate: Rate,
    /// `delivery.concurrency`, within [`CONCURRENCY`].
    pub concurrency: u8,
}

/// The credentials of an instance. Which of them are used, its [`AuthKind`] says.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct InstanceSecrets {
    /// The password of `admin_user`.
    pub admin_password: Secret,
    /// The secret of `client_id`.
    pub client_secret: Secret,
    /// The inbound REST API key.
    pub api_key: Secret,
}

impl InstanceSecrets {
    /// As JSON, to be sealed and for nothing else.
    pub(crate) fn to_plain(&self) -> Zeroizing<Vec<u8>> {
        let plain = json!({
            "admin_password": self.admin_password.expose(),
            "client_secret": self.client_secret.expose(),
            "api_key": self.api_key.expose(),
        });
        Zeroizing::new(plain.to_string().into_bytes())
    }
}

/// The settings of an instance, without its secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceSettings {
    /// `https://name`, without a trailing slash.
    pub instance_url: InstanceUrl,
    /// How the hub logs in.
    pub auth: AuthKind,
    /// The user's name, where `auth` needs one.
    pub admin_user: String,
    /// The OAuth client's id, where `auth` needs one.
    pub client_id: String,
    /// How many calls may start within a time.
    pub rate: Rate,
    /// How many calls may run at once, within [`CONCURRENCY`].
    pub concurrency: u8,
    /// Which interface makes the cases.
    pub mode: Mode,
    /// Which table holds the customers.
    pub customer_table: CustomerTable,
    /// Merged into new cases.
    pub case_defaults: Map<String, Value>,
    /// How long after its closing a case is reopened instead of a new one being made; `None`: as the
    /// other side decides.
    pub reopen_window_ms: Option<i64>,
}

impl InstanceSettings {
    fn new(instance_url: InstanceUrl, auth: AuthKind, defaults: InstanceDefaults) -> Self {
        Self {
            instance_url,
            auth,
            admin_user: String::new(),
            client_id: String::new(),
            rate: defaults.rate,
            concurrency: defaults.concurrency,
            mode: Mode::default(),
            customer_table: CustomerTable::default(),
            case_defaults: Map::new(),
            reopen_window_ms: None,
        }
    }
}

/// An instance with its secrets, as its delivery uses it.
#[derive(Clone)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Its owner.
    pub user_id: String,
    /// Its settings.
    pub settings: InstanceSettings,
    /// Its credentials, or why they do not open.
    pub secrets: Result<InstanceSecrets, SealError>,
    /// How it was when that was last told.
    pub status: String,
    /// Why, and what to do.
    pub status_detail: String,
    /// No call before this time, in epoch milliseconds.
    pub paused_until_ms: Option<i64>,
    /// Grows with every change of the settings.
    pub version: i64,
    /// When it was entered, in epoch milliseconds.
    pub created_at_ms: i64,
}

/// An instance as its owner sees it: no secret.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceView {
    /// Its id.
    pub id: String,
    /// Its settings.
    pub settings: InstanceSettings,
    /// How it was when that was last told: `ok`, `unreachable`, `sleeping`, `needs_auth`,
    /// `rate_limited` or `unchecked`.
    pub status: String,
    /// Why, and what to do.
    pub status_detail: String,
    /// When a call last succeeded, in epoch milliseconds.
    pub last_success_at_ms: Option<i64>,
    /// How many deliveries wait for it.
    pub n_queued: i64,
    /// How many of its deliveries are dead letters.
    pub n_dead: i64,
}

impl InstanceView {
    /// As the API shows it.
    pub fn to_json(&self) -> Value {
        let settings = &self.settings;
        json!({
            "id": self.id,
            "instance_url": settings.instance_url.as_str(),
            "auth": settings.auth,
            "admin_user": settings.admin_user,
            "client_id": settings.client_id,
            "rate": settings.rate,
            "concurrency": settings.concurrency,
            "mode": settings.mode,
            "customer_table": settings.customer_table,
            "case_defaults": settings.case_defaults,
            "reopen_window": settings.reopen_window_ms.map(format_duration_ms),
            "status": self.status,
            "status_detail": self.status_detail,
            "last_success_at": self.last_success_at_ms.map(super::time::format_time),
            "queued": self.n_queued,
            "dead": self.n_dead,
        })
    }
}
