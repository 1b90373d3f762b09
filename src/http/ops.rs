//! For operators: health, readiness, metrics. They may be moved to an address of their own
//! (`server.ops_listen`), so they do not go through the frame of the API.

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, guard, web};
use serde_json::json;

use super::AppState;
use super::problem::Problem;
use super::reply;

/// Where they are, as they are documented.
pub(crate) const PATHS: [&str; 3] = ["/health/live/", "/health/ready/", "/metrics"];

/// Mounts the operators' endpoints, with and without the trailing slash.
pub(crate) fn mount(config: &mut web::ServiceConfig) {
    let at = |paths: [&'static str; 2]| web::resource(paths).default_service(web::to(refuse));
    // A HEAD is answered as a GET; its body is left out on the way.
    let asks = || web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
    config
        .service(at(["/health/live", "/health/live/"]).route(asks().to(live)))
        .service(at(["/health/ready", "/health/ready/"]).route(asks().to(ready)))
        .service(at(["/metrics", "/metrics/"]).route(asks().to(metrics)));
}

/// 405: there is nothing here to be changed.
async fn refuse(request: HttpRequest) -> HttpResponse {
    let mut response = Problem::MethodNotAllowed(request.method().to_string()).into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// 200 while the process turns.
async fn live() -> HttpResponse {
    reply::ok(&json!({ "status": "ok" }))
}

/// 200 when this process can accept, else 503; the checks either way. One that is stopping takes no new
/// connections, although it answers here until its end.
async fn ready(state: web::Data<AppState>) -> HttpResponse {
    let checks = state.hub.checks().await;
    let is_stopping = state.stopping_since.get().is_some();
    let (status, word) = if checks.is_ready() && !is_stopping {
        (actix_web::http::StatusCode::OK, "ok")
    } else {
        (actix_web::http::StatusCode::SERVICE_UNAVAILABLE, "failing")
    };
    reply::json(status, &json!({ "status": word, "checks": checks }))
}

/// The metrics as `OpenMetrics` text, which is what Prometheus reads with all its checks.
async fn metrics(state: web::Data<AppState>) -> HttpResponse {
    let text = state.hub.metrics_text(env!("CARGO_PKG_VERSION")).await;
    let mut response = HttpResponse::Ok().body(text);
    let content_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
