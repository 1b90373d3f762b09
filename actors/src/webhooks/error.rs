//! Why webhooks or subscriptions could not be managed.

use super::UrlRefusal;
use crate::directory::LoadError;
use crate::store::StoreError;
use crate::writer::WriteError;
use crate::x::CallError;
use crate::x::webhooks::WebhookError;

/// Something that did not work, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhooksError {
    /// A setting is missing.
    #[error("{0}: missing; set it to the value that the x developer portal shows for the app")]
    Missing(&'static str),
    /// The address cannot be registered.
    #[error("--url: {0}")]
    Address(#[from] UrlRefusal),
    /// X has another webhook and allows no further one.
    #[error(
        "x allows this app no further webhook and sends events to {url} (id {id}); register with --replace to give that one up"
    )]
    Occupied {
        /// X's id of the other.
        id: String,
        /// Where it leads.
        url: String,
    },
    /// X has several others and allows no further one.
    #[error("x allows this app no further webhook and has {0}: delete the one to give up, then register")]
    SeveralOthers(usize),
    /// X did not take the new address; the old webhook stands again.
    #[error("{reason}; the webhook {url} is registered again as it was")]
    PutBack {
        /// Why not.
        reason: Box<WebhooksError>,
        /// The old address.
        url: String,
    },
    /// X took neither the new address nor the old one back.
    #[error("{reason}; the old webhook {url} is gone: register one of the two")]
    Lost {
        /// Why not.
        reason: Box<WebhooksError>,
        /// The old address.
        url: String,
    },
    /// There is no webhook to subscribe to.
    #[error("x knows no webhook of this app: run `casewire webhooks register` first")]
    NoWebhook,
    /// No linked account is called so.
    #[error("no linked account is called {0}; `casewire subscriptions list` shows them all")]
    UnknownAccount(String),
    /// Several linked accounts are called so.
    #[error("several linked accounts are called {0}; give the id at x instead")]
    Ambiguous(String),
    /// X gives no bearer token for key and secret.
    #[error("x gives no bearer token for twitter.consumer_key and twitter.consumer_secret: {0}")]
    Bearer(Box<CallError>),
    /// X refuses.
    #[error(transparent)]
    X(#[from] WebhookError),
    /// The account's credentials cannot be opened.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store takes nothing.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl WebhooksError {
    /// Whether settings or the command line are wrong, rather than something out there.
    pub fn is_misuse(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Address(_))
    }
}
