//! Health, metrics, and this document.

#![allow(dead_code, clippy::struct_field_names, reason = "these types describe bodies and are never made")]

use serde_json::json;
use utoipa::ToSchema;

use super::describe::{Description, route};
use crate::http::frame::Verb;

/// That the process turns.
#[derive(ToSchema)]
pub(super) struct Live {
    /// `ok`
    status: String,
}

/// Whether this process can accept.
#[derive(ToSchema)]
pub(super) struct Ready {
    /// `ok` or `failing`.
    status: String,
    checks: Checks,
}

/// What was looked at: `ok`, `failing` or `unknown`.
#[derive(ToSchema)]
pub(super) struct Checks {
    database: String,
    writer: String,
    actors: String,
    /// The webhook at X as last seen. Told, and no reason to be unready.
    webhook: String,
}

/// An OpenAPI 3.1 document.
#[derive(ToSchema)]
#[schema(value_type = Object)]
pub(super) struct Document(serde_json::Value);

/// The routes of this group.
pub(super) fn routes() -> Vec<Description> {
    let checks = json!({ "database": "ok", "writer": "ok", "actors": "ok", "webhook": "unknown" });
    vec![
        route(Verb::Get, "/health/live/", "isLive", "operators", "Tell whether the process turns")
            .gives::<Live>(200, "It does")
            .example(json!({ "status": "ok" })),
        route(Verb::Get, "/health/ready/", "isReady", "operators", "Tell whether this process can accept")
            .gives::<Ready>(200, "It can")
            .example(json!({ "status": "ok", "checks": checks }))
            .gives::<Ready>(503, "It cannot, or is stopping"),
        route(Verb::Get, "/metrics", "metrics", "operators", "Metrics as OpenMetrics text, for Prometheus")
            .gives_text(200, "application/openmetrics-text", "The metrics"),
        route(Verb::Get, "/api/schema/", "schema", "documents", "This document")
            .gives::<Document>(200, "An OpenAPI 3.1 document"),
        route(Verb::Get, "/api/docs/", "docs", "documents", "A page to read and try it").gives_text(
            200,
            "text/html",
            "The page",
        ),
    ]
}
