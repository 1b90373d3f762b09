//! The shapes that several groups share, and the list of all shapes.

use std::collections::BTreeMap;

use utoipa::openapi::{Components, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::{accounts, auth, deliveries, messages, operators};

/// A refusal in a sentence.
#[derive(ToSchema)]
#[schema(example = json!({ "detail": "Invalid token." }))]
pub(super) struct Detail {
    /// What is wrong.
    #[expect(dead_code, reason = "describes a body; never made")]
    detail: String,
}

/// What is wrong, by field; `non_field_errors` for the whole body, or a `detail` where it cannot be read.
#[derive(ToSchema)]
#[schema(value_type = Object)]
pub(super) struct FieldErrors(
    #[expect(dead_code, reason = "describes a body")] BTreeMap<String, Vec<String>>,
);

/// Every shape that is referred to by name.
pub(super) fn components() -> Components {
    let mut components = Components::new();
    let mut add = |name: String, schema: RefOr<Schema>| {
        components.schemas.insert(name, schema);
    };
    macro_rules! shapes {
        ($($shape:ty),* $(,)?) => {
            $(add(<$shape>::name().into_owned(), <$shape>::schema());)*
        };
    }
    shapes![
        Detail,
        FieldErrors,
        auth::ApiRoot,
        auth::LoginForm,
        auth::Session,
        auth::User,
        auth::NewUser,
        auth::Profile,
        auth::ProfilePatch,
        auth::NewPassword,
        auth::PasswordSet,
        auth::TokenInfo,
        auth::ApiKey,
        auth::TokenLimit,
        messages::AgentAnswer,
        messages::Delivered,
        messages::Queued,
        messages::Dead,
        messages::EventState,
        messages::ResponseToken,
        messages::WebhookBody,
        messages::Receipt,
        accounts::Instance,
        accounts::InstanceForm,
        accounts::Account,
        accounts::AccountForm,
        accounts::CasePolicy,
        deliveries::Delivery,
        deliveries::DeliveryWithAttempts,
        deliveries::Attempt,
        deliveries::BulkReplay,
        deliveries::Replayed,
        deliveries::Replay,
        operators::Live,
        operators::Ready,
        operators::Checks,
        operators::Document,
    ];
    components
}
