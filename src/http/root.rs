//! `/auth/`: which lists there are.

use actix_web::HttpResponse;
use serde_json::json;

use super::auth::Caller;
use super::problem::Problem;
use super::reply;
use super::request::Request;

/// `GET /auth/`.
pub(crate) async fn list(request: Request, _: Caller) -> Result<HttpResponse, Problem> {
    let base = request.base_url();
    Ok(reply::ok(&json!({ "users": format!("{base}/auth/users/") })))
}
