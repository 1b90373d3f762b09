//! The webhook at X, and which linked accounts X sends events for: what the commands do and the hub watches.
//!
//! Registering is idempotent. What X tells about an account is also stored with it. Times and nonces come
//! from the hub's sources; no connection of the store is held across a call.

mod address;
mod error;
mod subscriptions;
pub(crate) mod watch;

use std::sync::Arc;

use tokio::sync::OnceCell;
use url::Url;

pub use address::{UrlRefusal, check_address, is_x_itself};
pub use error::WebhooksError;
pub use subscriptions::{Subscribed, Subscription};

use crate::domain::sealing::Sealer;
use crate::hub::traffic::x_app;
use crate::hub::{StartError, TrafficSettings};
use crate::net::{self, Reach};
use crate::shared::Shared;
use crate::x::XClient;
use crate::x::webhooks::{Webhook, WebhookError};

/// What becomes of another webhook when X allows no further one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// It stays, and registering is refused.
    Refuse,
    /// It is deleted.
    Other,
}

/// What registering did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    /// There was none with this address; now there is.
    Created(Webhook),
    /// There was one with this address; X has checked it again.
    Validated(Webhook),
    /// Another one was deleted for it.
    Replaced {
        /// What was given up.
        old: Webhook,
        /// What stands now.
        new: Webhook,
    },
}

impl Registration {
    /// What stands now.
    pub fn webhook(&self) -> &Webhook {
        match self {
            Self::Created(webhook) | Self::Validated(webhook) | Self::Replaced { new: webhook, .. } => {
                webhook
            }
        }
    }
}

/// Manages webhooks and subscriptions. Clones share what they learnt.
#[derive(Clone)]
pub struct Webhooks {
    pub(super) shared: Shared,
    pub(super) sealer: Sealer,
    client: XClient,
    app: Arc<AppFacts>,
}

/// What is known of the X app.
struct AppFacts {
    /// A key that is missing for signing in an account's name.
    missing_for_accounts: Option<&'static str>,
    /// A key that is missing for calls in the app's own name.
    missing_for_app: Option<&'static str>,
    /// Whether `twitter.api_url` is X's own.
    is_x_itself: bool,
    /// Where this hub expects events.
    own_url: Option<String>,
    /// The client with a bearer token, once it is known.
    with_bearer: OnceCell<XClient>,
}

impl Webhooks {
    pub(crate) fn new(shared: &Shared, settings: &TrafficSettings) -> Result<Self, StartError> {
        // X is where the operator says, be it a sandbox on this machine.
        let http = net::client(Reach::PrivateAllowed, settings.connect_timeout, settings.x_timeout)?;
        Ok(Self {
            shared: shared.clone(),
            sealer: settings.sealer.clone(),
            client: XClient::new(http, x_app(settings)),
            app: Arc::new(AppFacts::of(settings)),
        })
    }

    /// One that asks this X, and expects events at `own_url`.
    #[cfg(test)]
    fn for_tests(shared: Shared, client: XClient, own_url: Option<&str>) -> Self {
        use crate::domain::sealing::SealingKey;
        let sealer = Sealer::new(&SealingKey::generate(&shared.sources), &[]);
        let app = AppFacts {
            missing_for_accounts: None,
            missing_for_app: None,
            is_x_itself: false,
            own_url: own_url.map(str::to_owned),
            with_bearer: OnceCell::new(),
        };
        Self { shared, sealer, client, app: Arc::new(app) }
    }

    /// Whether the settings suffice to ask X about webhooks.
    pub fn is_configured(&self) -> bool {
        self.app.missing_for_app.is_none()
    }

    /// Where this hub expects events, if `server.public_url` is set.
    pub fn own_url(&self) -> Option<&str> {
        self.app.own_url.as_deref()
    }

    /// Whether the webhook leads to this hub.
    pub fn is_own(&self, webhook: &Webhook) -> bool {
        self.own_url().is_none_or(|own| is_same_address(own, &webhook.url))
    }

    /// Makes X send events to this address. Safe to repeat: an address that X knows is checked again.
    pub async fn register(&self, address: &Url, replace: Replace) -> Result<Registration, WebhooksError> {
        // The secret answers X's challenge; without it X would refuse the address a moment later.
        self.app.for_accounts()?;
        check_address(address, self.app.is_x_itself)?;
        let known = self.list().await?;
        if let Some(same) = known.iter().find(|webhook| is_same_address(address.as_str(), &webhook.url)) {
            let is_valid = self.validate(&same.id).await?;
            return Ok(Registration::Validated(Webhook { is_valid, ..same.clone() }));
        }
        match self.create(address.as_str()).await {
            Err(WebhooksError::X(WebhookError::WebhookLimitExceeded)) => {}
            created => return created.map(Registration::Created),
        }
        match (known.as_slice(), replace) {
            ([old], Replace::Other) => self.exchange(old, address).await,
            ([], _) => Err(WebhookError::WebhookLimitExceeded.into()),
            ([old, ..], Replace::Refuse) => {
                Err(WebhooksError::Occupied { id: old.id.clone(), url: old.url.clone() })
            }
            (_, Replace::Other) => Err(WebhooksError::SeveralOthers(known.len())),
        }
    }

    /// Gives one up for another, or brings it back if X does not take the other.
    async fn exchange(&self, old: &Webhook, address: &Url) -> Result<Registration, WebhooksError> {
        self.delete(&old.id).await?;
        match self.create(address.as_str()).await {
            Ok(new) => Ok(Registration::Replaced { old: old.clone(), new }),
            Err(reason) => match self.create(&old.url).await {
                Ok(restored) => {
                    let _told_by_the_list = self.subscribe_all(&restored.id).await;
                    Err(WebhooksError::PutBack { reason: Box::new(reason), url: restored.url })
                }
                Err(_) => Err(WebhooksError::Lost { reason: Box::new(reason), url: old.url.clone() }),
            },
        }
    }

    async fn create(&self, address: &str) -> Result<Webhook, WebhooksError> {
        Ok(self.as_app().await?.create_webhook(address, self.now_ms()).await?)
    }

    /// All webhooks of the app.
    pub async fn list(&self) -> Result<Vec<Webhook>, WebhooksError> {
        Ok(self.as_app().await?.list_webhooks(self.now_ms()).await?)
    }

    /// Has X check a webhook again and use it; tells whether it is valid now.
    pub async fn validate(&self, webhook_id: &str) -> Result<bool, WebhooksError> {
        Ok(self.as_app().await?.validate_webhook(webhook_id, self.now_ms()).await?)
    }

    /// Removes a webhook and with it its subscriptions.
    pub async fn delete(&self, webhook_id: &str) -> Result<(), WebhooksError> {
        Ok(self.as_app().await?.delete_webhook(webhook_id, self.now_ms()).await?)
    }

    /// A client for calls in the app's own name. Where only key and secret are set, X is asked for the token.
    pub(super) async fn as_app(&self) -> Result<&XClient, WebhooksError> {
        if let Some(key) = self.app.missing_for_app {
            return Err(WebhooksError::Missing(key));
        }
        let with_bearer = async || {
            if self.client.has_bearer_token() {
                return Ok(self.client.clone());
            }
            let bearer =
                self.client.fetch_bearer_token(self.now_ms()).await.map_err(WebhooksError::Bearer)?;
            Ok(self.client.with_bearer_token(bearer))
        };
        self.app.with_bearer.get_or_try_init(with_bearer).await
    }

    /// A client for calls in an account's name.
    pub(super) fn as_accounts(&self) -> Result<&XClient, WebhooksError> {
        self.app.for_accounts()?;
        Ok(&self.client)
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.shared.sources.now_ms()
    }
}

impl AppFacts {
    fn of(settings: &TrafficSettings) -> Self {
        let is_set = |secret: &Option<crate::domain::secret::Secret>| {
            secret.as_ref().is_some_and(|secret| !secret.is_empty())
        };
        let missing_for_accounts = if !is_set(&settings.consumer_key) {
            Some("twitter.consumer_key")
        } else if !is_set(&settings.consumer_secret) {
            Some("twitter.consumer_secret")
        } else {
            None
        };
        Self {
            missing_for_accounts,
            missing_for_app: missing_for_accounts.filter(|_| !is_set(&settings.bearer_token)),
            is_x_itself: is_x_itself(&settings.x_api_url),
            own_url: settings.webhook_url.clone(),
            with_bearer: OnceCell::new(),
        }
    }

    fn for_accounts(&self) -> Result<(), WebhooksError> {
        self.missing_for_accounts.map_or(Ok(()), |key| Err(WebhooksError::Missing(key)))
    }
}

/// The same address in two spellings.
fn is_same_address(one: &str, other: &str) -> bool {
    match (Url::parse(one), Url::parse(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}
