//! Records of deliveries.

#![allow(dead_code, clippy::struct_field_names, reason = "these types describe bodies and are never made")]

use serde_json::{Value, json};
use utoipa::ToSchema;

use super::describe::{Description, route};
use crate::http::frame::Verb;

/// What became of one message.
#[derive(ToSchema)]
pub(super) struct Delivery {
    #[schema(format = "uuid")]
    id: String,
    /// `to_servicenow` or `to_x`.
    direction: String,
    kind: String,
    /// `queued`, `sending`, `retrying`, `blocked`, `delivered` or `dead`.
    status: String,
    /// How often it was tried.
    attempts: i64,
    #[schema(format = DateTime)]
    next_attempt_at: Option<String>,
    error_class: Option<String>,
    /// What the other side said and what to do.
    error_detail: Option<String>,
    source_id: Option<String>,
    instance: Option<String>,
    account: String,
    /// The customer's X user id.
    customer: String,
    case_number: Option<String>,
    message_id: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    delivered_at: Option<String>,
}

/// The same, with each of its attempts.
#[derive(ToSchema)]
pub(super) struct DeliveryWithAttempts {
    #[schema(format = "uuid")]
    id: String,
    direction: String,
    kind: String,
    status: String,
    attempts: Vec<Attempt>,
    #[schema(format = DateTime)]
    next_attempt_at: Option<String>,
    error_class: Option<String>,
    error_detail: Option<String>,
    source_id: Option<String>,
    instance: Option<String>,
    account: String,
    customer: String,
    case_number: Option<String>,
    message_id: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    delivered_at: Option<String>,
}

/// One attempt.
#[derive(ToSchema)]
pub(super) struct Attempt {
    n: i64,
    #[schema(format = DateTime)]
    at: String,
    http_status: Option<i64>,
    error_class: Option<String>,
    error_detail: Option<String>,
    duration_ms: Option<i64>,
}

/// Which dead letters to put back.
#[derive(ToSchema)]
pub(super) struct BulkReplay {
    /// `dead`
    status: Option<String>,
    direction: Option<String>,
    #[schema(format = "uuid")]
    instance: Option<String>,
    /// A time, or a date.
    since: Option<String>,
    /// A time, or a date.
    until: Option<String>,
    /// Only tell how many it would be.
    dry_run: Option<bool>,
}

/// How many were put back.
#[derive(ToSchema)]
pub(super) struct Replayed {
    matched: i64,
    replayed: i64,
}

const STATUSES: [&str; 6] = ["queued", "sending", "retrying", "blocked", "delivered", "dead"];

fn delivery(attempts: &Value) -> Value {
    let id = "0190c0de-0000-7000-8000-000000000001";
    json!({
        "id": id, "direction": "to_servicenow", "kind": "dm_inbound", "status": "delivered",
        "attempts": attempts, "next_attempt_at": null, "error_class": null, "error_detail": null,
        "source_id": "1206724334791753739", "instance": id, "account": id, "customer": "1205550247124217891",
        "case_number": "CS0001001", "message_id": null, "created_at": "2026-08-01T12:00:00Z",
        "delivered_at": "2026-08-01T12:00:01Z",
    })
}

/// The routes of this group.
pub(super) fn routes() -> Vec<Description> {
    let attempt = json!([{
        "n": 1, "at": "2026-08-01T12:00:00Z", "http_status": 201, "error_class": null, "error_detail": null,
        "duration_ms": 120,
    }]);
    vec![
        route(Verb::Get, "/api/deliveries/", "listDeliveries", "deliveries", "List deliveries, newest first")
            .choice("status", &STATUSES, "Only those in this state")
            .choice("direction", &["to_servicenow", "to_x"], "Only those in this direction")
            .query("instance", "Only those of this instance")
            .query("since", "Only those accepted since: a time, or a date")
            .query("until", "Only those accepted before: a time, or a date")
            .number("limit", "How many at most")
            .query("cursor", "Where the page begins, as `Link` tells it")
            .of_user()
            .lists::<Delivery>("The deliveries")
            .example(json!([delivery(&json!(1))]))
            .checks_fields()
            .refuses(403, "Another user's records"),
        route(Verb::Get, "/api/deliveries/{id}/", "getDelivery", "deliveries", "Show a delivery")
            .gives::<DeliveryWithAttempts>(200, "The delivery with each of its attempts")
            .example(delivery(&attempt)),
        route(
            Verb::Post,
            "/api/deliveries/{id}/replay/",
            "replayDelivery",
            "deliveries",
            "Try a dead letter again",
        )
        .gives::<Delivery>(200, "The delivery, queued again")
        .refuses(409, "It is no dead letter, or its text is erased"),
        route(
            Verb::Post,
            "/api/deliveries/replay/",
            "replayDeliveries",
            "deliveries",
            "Try dead letters again",
        )
        .of_user()
        .may_take::<BulkReplay>(json!({ "status": "dead", "since": "2026-08-01", "dry_run": true }))
        .gives::<Replayed>(200, "How many fit, and how many are queued again")
        .example(json!({ "matched": 3, "replayed": 0 }))
        .checks_fields()
        .refuses(403, "Another user's records"),
    ]
}
