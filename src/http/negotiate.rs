//! Whether a caller takes JSON. To be replaced.

use actix_web::http::header::HeaderValue;

/// Whether the `Accept` header allows JSON.
pub(crate) fn accepts_json(_: Option<&HeaderValue>) -> bool {
    true
}
