//! Why X refuses to manage a webhook or a subscription.

use crate::domain::failure::ErrorClass;
use crate::x::errors::{CallError, Named};

/// A call about webhooks or subscriptions that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// X allows the app no further webhook.
    #[error("x allows this app no further webhook: delete the other one, or register with --replace")]
    WebhookLimitExceeded,
    /// There is a webhook with this address already.
    #[error("x already has a webhook with this address: validate that one")]
    DuplicateUrl,
    /// X's challenge was not answered rightly or in time.
    #[error(
        "x's challenge to the address failed: it must answer within 3 seconds from outside, over https without redirects, with the consumer secret of this same app; run `casewire doctor`"
    )]
    CrcValidationFailed,
    /// X does not like the address.
    #[error("x refuses the address: use https, a public name, no port, at most 200 characters")]
    UrlValidationFailed,
    /// There is no such webhook.
    #[error("x knows no webhook with this id: list the webhooks")]
    WebhookIdInvalid,
    /// The account is subscribed already.
    #[error("the account is subscribed already: nothing to do")]
    DuplicateSubscription,
    /// X allows the app no further subscription.
    #[error("x allows this app no further subscription: remove one or extend the plan")]
    SubscriptionLimitExceeded,
    /// The account is not subscribed.
    #[error("the account is not subscribed: nothing to remove")]
    SubscriptionNotFound,
    /// There is no bearer token to manage webhooks with.
    #[error("managing webhooks needs the app's bearer token: set twitter.bearer_token")]
    NoBearerToken,
    /// An id that cannot be one of X's.
    #[error("ids at x are numbers of 1 to 20 digits: list the webhooks and subscriptions")]
    NotAnId,
    /// X answered, but not what its documentation promises.
    #[error("x's answer lacks {what}: check twitter.api_url, then list the webhooks")]
    Unexpected {
        /// What is missing.
        what: &'static str,
    },
    /// Any other failure.
    #[error(transparent)]
    Call(Box<CallError>),
}

impl WebhookError {
    /// The refusal X names, else the failure as it is.
    pub(super) fn from_call(error: CallError) -> Self {
        let is_final = matches!(error.failure.class, ErrorClass::Permanent | ErrorClass::NotFound);
        match error.named {
            Some(named) if is_final => Self::from_name(named),
            _ => Self::Call(Box::new(error)),
        }
    }

    /// The refusal named in a body.
    pub(super) fn named_in(body: &[u8]) -> Option<Self> {
        Named::find(body).map(Self::from_name)
    }

    fn from_name(named: Named) -> Self {
        match named {
            Named::WebhookLimitExceeded => Self::WebhookLimitExceeded,
            Named::DuplicateUrl => Self::DuplicateUrl,
            Named::CrcValidationFailed => Self::CrcValidationFailed,
            Named::UrlValidationFailed => Self::UrlValidationFailed,
            Named::WebhookIdInvalid => Self::WebhookIdInvalid,
            Named::DuplicateSubscription => Self::DuplicateSubscription,
            Named::SubscriptionLimitExceeded => Self::SubscriptionLimitExceeded,
            Named::SubscriptionNotFound => Self::SubscriptionNotFound,
        }
    }
}
