//! Every refusal, in one place: its status, its body and the headers that belong to it.
//!
//! The shapes are those of Django REST framework: `{"detail": …}`, `{"<field>": […]}` and
//! `{"non_field_errors": […]}`. Nothing that a caller sends comes to a 5xx.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use casewire_actors::accounts::AccountsError;
use casewire_actors::kernel::AskError;
use casewire_actors::token_store::TokenError;
use casewire_actors::{StoreError, WriteError};
use serde_json::{Map, Value, json};

use super::auth::AuthFailure;
use super::body::BodyError;
use super::reply;
use super::validate::Invalid;

/// Messages by field, in the order of the fields.
pub(crate) type FieldErrors = Map<String, Value>;

/// How long a caller should wait before it asks an overloaded hub again.
const RETRY_SOON: Duration = Duration::from_secs(1);
/// The same, while the store is away.
const STORE_AWAY: Duration = Duration::from_secs(5);
/// The same, when something must be mended first.
const RETRY_LATER: Duration = Duration::from_secs(30);

/// Why a request was not served.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Problem {
    /// 406: the caller takes no JSON.
    NotAcceptable,
    /// 401.
    NotAuthenticated(AuthFailure),
    /// 401: a webhook body without the signature of its sender.
    BadSignature(&'static str),
    /// 403.
    PermissionDenied,
    /// 403 `{"error"}`: as many live tokens as a user may have.
    TokenLimit,
    /// 404: no such path, or an id that is none.
    NotFound,
    /// 404: no record of this kind with this id.
    NoSuch(&'static str),
    /// 404 with a sentence of its own.
    Unknown(String),
    /// 405.
    MethodNotAllowed(String),
    /// 409 with its reason.
    Conflict(String),
    /// 408: the body did not arrive in time.
    TooSlow,
    /// 413: the body is larger than so many bytes.
    TooLarge(usize),
    /// 415, with the media type.
    UnsupportedMediaType(String),
    /// 400 `{"detail"}`: the body cannot be read.
    Malformed(String),
    /// 400 with messages by field.
    Invalid(FieldErrors),
    /// 422: the other side refused it for good; the whole body.
    Unprocessable(Value),
    /// 429, with what to say and when to come back.
    TooMany(String, Duration),
    /// 503: try again then.
    Unavailable(Duration),
    /// 500: a bug.
    Internal,
}

impl Problem {
    /// 400 with one message for one field.
    pub(crate) fn field(name: &str, message: impl Into<String>) -> Self {
        let mut fields = FieldErrors::new();
        fields.insert(name.to_owned(), json!([message.into()]));
        Self::Invalid(fields)
    }

    /// 400 with one message for the whole body.
    pub(crate) fn non_field(message: impl Into<String>) -> Self {
        Self::field("non_field_errors", message)
    }

    /// 429 in the words of Django REST framework.
    pub(crate) fn throttled(wait: Duration) -> Self {
        let seconds = whole_seconds(wait);
        let plural = if seconds == 1 { "" } else { "s" };
        let text = format!("Request was throttled. Expected available in {seconds} second{plural}.");
        Self::TooMany(text, wait)
    }

    /// 503: too much is going on at this moment.
    pub(crate) fn contended() -> Self {
        Self::Unavailable(RETRY_SOON)
    }

    /// 503: the store is away.
    pub(crate) fn store_away(error: &str) -> Self {
        tracing::warn!(error, "the store was not available; the caller is asked to try again");
        Self::Unavailable(STORE_AWAY)
    }

    /// 500: a bug.
    pub(crate) fn internal(error: &str) -> Self {
        tracing::error!(error, "a request failed through a fault of the hub; report this line");
        Self::Internal
    }

    /// The answer.
    pub(crate) fn into_response(self) -> HttpResponse {
        let status = self.status();
        let extra_header = self.extra_header();
        let mut response = reply::json(status, &self.into_body());
        if let Some((name, value)) = extra_header {
            response.headers_mut().insert(name, value);
        }
        response
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::NotAuthenticated(_) | Self::BadSignature(_) => StatusCode::UNAUTHORIZED,
            Self::PermissionDenied | Self::TokenLimit => StatusCode::FORBIDDEN,
            Self::NotFound | Self::NoSuch(_) | Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Malformed(_) | Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany(..) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn into_body(self) -> Value {
        match self {
            Self::NotAcceptable => detail("Could not satisfy the request Accept header."),
            Self::NotAuthenticated(failure) => detail(&failure.to_string()),
            Self::BadSignature(reason) => detail(reason),
            Self::PermissionDenied => detail("You do not have permission to perform this action."),
            Self::TokenLimit => json!({ "error": "Maximum amount of tokens allowed per user exceeded." }),
            Self::NotFound => detail("Not found."),
            Self::NoSuch(kind) => detail(&format!("No {kind} matches the given query.")),
            Self::MethodNotAllowed(method) => detail(&format!("Method \"{method}\" not allowed.")),
            Self::TooSlow => detail("The request body did not arrive in time."),
            Self::TooLarge(limit) => detail(&format!("Request body exceeds {limit} bytes.")),
            Self::UnsupportedMediaType(media_type) => {
                detail(&format!("Unsupported media type \"{media_type}\" in request."))
            }
            Self::Unknown(text) | Self::Conflict(text) | Self::Malformed(text) | Self::TooMany(text, _) => {
                detail(&text)
            }
            Self::Invalid(fields) => Value::Object(fields),
            Self::Unprocessable(body) => body,
            Self::Unavailable(_) => detail("The service is temporarily unavailable; try again later."),
            Self::Internal => detail("A server error occurred."),
        }
    }

    fn extra_header(&self) -> Option<(header::HeaderName, HeaderValue)> {
        match self {
            Self::NotAuthenticated(_) => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Token"))),
            Self::TooMany(_, wait) | Self::Unavailable(wait) => {
                Some((header::RETRY_AFTER, HeaderValue::from(whole_seconds(*wait))))
            }
            _ => None,
        }
    }
}

fn detail(text: &str) -> Value {
    json!({ "detail": text })
}

/// Rounded up, and at least one: 0 would ask for an attempt at once.
fn whole_seconds(wait: Duration) -> u64 {
    let has_rest = wait.subsec_nanos() > 0;
    (wait.as_secs() + u64::from(has_rest)).max(1)
}

impl From<AuthFailure> for Problem {
    fn from(failure: AuthFailure) -> Self {
        Self::NotAuthenticated(failure)
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Overloaded | AskError::TimedOut | AskError::Interrupted => Self::contended(),
            AskError::OutOfService => Self::Unavailable(RETRY_LATER),
        }
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Ask(error) => error.into(),
            WriteError::Store(StoreError::Unavailable(reason)) => Self::store_away(&reason),
            WriteError::Store(StoreError::Contended) => Self::contended(),
            WriteError::Store(error) => Self::internal(&error.to_string()),
        }
    }
}

impl From<AccountsError> for Problem {
    fn from(error: AccountsError) -> Self {
        match error {
            AccountsError::Duplicate => Self::field("username", "user with this username already exists."),
            AccountsError::Absent => Self::NoSuch("User"),
            AccountsError::LastAdmin => Self::Conflict("The last admin cannot be deleted.".to_owned()),
            AccountsError::Refused => Self::non_field("Unable to log in with provided credentials."),
            AccountsError::TooManyAttempts(wait) => Self::throttled(wait),
            AccountsError::Write(error) => error.into(),
        }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::LimitReached => Self::TokenLimit,
            TokenError::Stale => AccountsError::Refused.into(),
            TokenError::Write(error) => error.into(),
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Unsupported { content_type } => Self::UnsupportedMediaType(content_type),
            BodyError::Malformed { .. } => Self::Malformed(error.to_string()),
        }
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let fields = invalid.fields.into_iter().map(|(name, messages)| (name, json!(messages)));
        Self::Invalid(fields.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_whole_seconds_and_never_zero() {
        for (wait_ms, expected) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_500, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(wait_ms)), expected, "{wait_ms}");
        }
    }

    #[test]
    fn refusals_carry_the_headers_of_their_status() {
        let response = Problem::from(AskError::Overloaded).into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers().get("retry-after").unwrap(), "1");
        let response = Problem::from(AuthFailure::Missing).into_response();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers().get("www-authenticate").unwrap(), "Token");
        assert_eq!(response.headers().get("content-type").unwrap(), "application/json");
    }
}
