//! The errors that X names on its webhook and subscription routes.

use super::problem::Problem;

/// A named error (docs.x.com, `x-api/webhooks/introduction` and `x-api/account-activity`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Named {
    /// `WebhookLimitExceeded`; formerly "Too many resources already created".
    WebhookLimitExceeded,
    /// `DuplicateUrlFailed`.
    DuplicateUrl,
    /// `CrcValidationFailed`.
    CrcValidationFailed,
    /// `UrlValidationFailed`.
    UrlValidationFailed,
    /// `WebhookIdInvalid`.
    WebhookIdInvalid,
    /// `DuplicateSubscriptionFailed`; formerly code 355.
    DuplicateSubscription,
    /// `SubscriptionLimitExceeded`.
    SubscriptionLimitExceeded,
    /// `SubscriptionNotFound`.
    SubscriptionNotFound,
}

/// Names and old sentences, only letters and digits in lower case.
const NAMES: [(&str, Named); 13] = [
    ("webhooklimitexceeded", Named::WebhookLimitExceeded),
    ("toomanyresourcesalreadycreated", Named::WebhookLimitExceeded),
    ("duplicateurlfailed", Named::DuplicateUrl),
    ("crcvalidationfailed", Named::CrcValidationFailed),
    ("highlatencyoncrc", Named::CrcValidationFailed),
    ("crcgetrequest", Named::CrcValidationFailed),
    ("urlvalidationfailed", Named::UrlValidationFailed),
    ("webhookurldoesnotmeettherequirements", Named::UrlValidationFailed),
    ("webhookidinvalid", Named::WebhookIdInvalid),
    ("duplicatesubscriptionfailed", Named::DuplicateSubscription),
    ("subscriptionalreadyexists", Named::DuplicateSubscription),
    ("subscriptionlimitexceeded", Named::SubscriptionLimitExceeded),
    ("subscriptionnotfound", Named::SubscriptionNotFound),
];

impl Named {
    /// The name in an error body: in a title, a type, a reason or a sentence, in any spelling.
    pub(in crate::x) fn find(body: &[u8]) -> Option<Self> {
        Self::of(&Problem::read(body))
    }

    pub(super) fn of(problem: &Problem) -> Option<Self> {
        let squeezed = problem.squeezed();
        NAMES.into_iter().find(|(name, _)| squeezed.contains(name)).map(|(_, named)| named)
    }
}
