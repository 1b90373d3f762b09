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
    /// How fast, when there are more than 100: `1 per 1m` to `1000 per 1s`; `50 per 1s` if nothing is said.
    rate: Option<String>,
}

/// How many were put back at once.
#[derive(ToSchema)]
pub(super) struct Replayed {
    /// Dead letters that fit.
    matched: i64,
    /// Those that are queued again.
    replayed: i64,
    /// Those that are not: their text was erased, or somebody was faster.
    skipped: i64,
}

/// A replay of many dead letters, and how far it came.
#[derive(ToSchema)]
pub(super) struct Replay {
    #[schema(format = "uuid")]
    id: String,
    /// Whose dead letters; null for those of all users, as an operator asks for it.
    user: Option<String>,
    /// `dead`
    status: String,
    direction: Option<String>,
    instance: Option<String>,
    #[schema(format = DateTime)]
    since: Option<String>,
    #[schema(format = DateTime)]
    until: Option<String>,
    /// At most so many messages in so long.
    rate: String,
    /// `running`, `done` or `cancelled`.
    state: String,
    /// Dead letters that fit when it began.
    matched: i64,
    /// Those that it has passed.
    done: i64,
    /// Those that are queued again.
    replayed: i64,
    /// Those that are not: their text was erased, or somebody was faster.
    skipped: i64,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    ended_at: Option<String>,
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

fn replay(state: &str) -> Value {
    let id = "0190c0de-0000-7000-8000-000000000002";
    let ended_at = (state != "running").then_some("2026-08-02T12:03:20Z");
    json!({
        "id": id, "user": id, "status": "dead", "direction": null, "instance": null,
        "since": "2026-08-01T00:00:00Z", "until": "2026-08-02T12:00:00Z", "rate": "50 per 1s", "state": state,
        "matched": 10_000, "done": 2500, "replayed": 2480, "skipped": 20,
        "created_at": "2026-08-02T12:00:00Z", "ended_at": ended_at,
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
        .about(
            "Up to 100 are queued again within the request. More are queued again little by little, no \
             faster than `rate`, also when the hub is restarted meanwhile: `Location` tells where to look.",
        )
        .gives::<Replayed>(200, "How many fit, and how many are queued again")
        .example(json!({ "matched": 3, "replayed": 0, "skipped": 1 }))
        .gives::<Replay>(202, "The replay, which goes on by itself")
        .example(replay("running"))
        .checks_fields()
        .refuses(403, "Another user's records")
        .refuses(409, "Too many replays are running"),
        route(
            Verb::Get,
            "/api/deliveries/replays/",
            "listReplays",
            "deliveries",
            "List replays, newest first",
        )
        .window()
        .of_user()
        .lists::<Replay>("The replays")
        .example(json!([replay("done")]))
        .checks_fields()
        .refuses(403, "Another user's records"),
        route(
            Verb::Get,
            "/api/deliveries/replays/{id}/",
            "getReplay",
            "deliveries",
            "Look how far a replay came",
        )
        .gives::<Replay>(200, "The replay")
        .example(replay("running")),
        route(
            Verb::Post,
            "/api/deliveries/replays/{id}/cancel/",
            "cancelReplay",
            "deliveries",
            "Stop a replay; what it has queued again stays queued",
        )
        .gives::<Replay>(200, "The replay, stopped")
        .example(replay("cancelled"))
        .refuses(409, "It is done already"),
    ]
}
