//! Answers that are not refusals.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use serde::Serialize;

/// JSON without a charset and with compact separators.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    let Ok(text) = serde_json::to_vec(body) else {
        // Only maps with keys that are no strings fail, and none of the bodies has one.
        return HttpResponse::InternalServerError().finish();
    };
    let mut response = HttpResponse::with_body(status, text).map_into_boxed_body();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// 200 with a body.
pub(crate) fn ok(body: &impl Serialize) -> HttpResponse {
    json(StatusCode::OK, body)
}

/// 201 with a body.
pub(crate) fn created(body: &impl Serialize) -> HttpResponse {
    json(StatusCode::CREATED, body)
}

/// 204.
pub(crate) fn no_content() -> HttpResponse {
    HttpResponse::new(StatusCode::NO_CONTENT)
}
