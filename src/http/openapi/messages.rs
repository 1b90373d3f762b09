//! Messages in both directions.

#![allow(dead_code, clippy::struct_field_names, reason = "these types describe bodies and are never made")]

use serde_json::json;
use utoipa::ToSchema;

use super::describe::{Description, route};
use crate::http::frame::Verb;

/// What an agent answered. One of `target` and `case` is required.
#[derive(ToSchema)]
pub(super) struct AgentAnswer {
    /// The text for the customer.
    #[schema(min_length = 1, max_length = 10_000)]
    message: String,
    /// The customer's `sys_id`: a consumer, contact or user.
    target: Option<String>,
    /// The case's `sys_id`.
    case: Option<String>,
    /// The sender's own unique id, such as a journal's `sys_id`; the same one again sends nothing twice.
    #[schema(max_length = 255)]
    event_id: Option<String>,
    /// `dm` or `reply`; without it the account's `reply_channel`.
    channel: Option<String>,
    /// Shown in the records.
    author: Option<String>,
    /// The case's number, shown in the records.
    number: Option<String>,
}

/// X has it.
#[derive(ToSchema)]
pub(super) struct Delivered {
    #[schema(format = "uuid")]
    id: String,
    /// `delivered`
    status: String,
    /// X's id of the message; the last one's if it took several.
    message_id: Option<String>,
}

/// It is on disk and will be sent.
#[derive(ToSchema)]
pub(super) struct Queued {
    #[schema(format = "uuid")]
    id: String,
    /// `queued`
    status: String,
    /// When it is tried next.
    #[schema(format = DateTime)]
    retry_at: Option<String>,
}

/// X refused it for good.
#[derive(ToSchema)]
pub(super) struct Dead {
    #[schema(format = "uuid")]
    id: String,
    /// `dead`
    status: String,
    /// Why, and what to do.
    detail: Option<String>,
}

/// How an answer stands.
#[derive(ToSchema)]
pub(super) struct EventState {
    #[schema(format = "uuid")]
    id: String,
    event_id: Option<String>,
    /// `queued`, `sending`, `retrying`, `blocked`, `delivered` or `dead`.
    status: String,
    message_id: Option<String>,
    #[schema(format = DateTime)]
    retry_at: Option<String>,
    detail: Option<String>,
    /// `dm` or `reply`.
    channel: Option<String>,
    attempts: i64,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    delivered_at: Option<String>,
}

/// The answer to X's challenge.
#[derive(ToSchema)]
pub(super) struct ResponseToken {
    /// `sha256=` and the HMAC-SHA256 of the token with the app's consumer secret, in base64.
    response_token: String,
}

/// An envelope of the Account Activity or the X Activity API, as X writes it.
#[derive(ToSchema)]
#[schema(value_type = Object)]
pub(super) struct WebhookBody(serde_json::Value);

/// What became of the items of a body.
#[derive(ToSchema)]
pub(super) struct Receipt {
    /// Kept for delivery, and on disk.
    accepted: u64,
    /// Kept before.
    duplicates: u64,
    /// Neither.
    ignored: u64,
}

const ID: &str = "0190c0de-0000-7000-8000-000000000001";

/// The routes of this group.
pub(super) fn routes() -> Vec<Description> {
    vec![send(), show(), challenge(), receive()]
}

fn send() -> Description {
    route(Verb::Post, "/api/events/", "sendAnswer", "events", "Send an agent's answer to a customer on X")
        .about(
            "Stored durably first. The answer waits `events.wait` for X, or `Prefer: wait=N` seconds, at most \
             30; `Prefer: respond-async` waits for nothing.",
        )
        .header("Idempotency-Key", "The same as `event_id`, which wins; in UTF-8")
        .header("Prefer", "`wait=N`, or `respond-async`")
        .takes::<AgentAnswer>(json!({
            "message": "Your parcel is on its way.", "case": "a9e30c7dc61122760116894de7bcc7bd",
            "event_id": "2b46e0f1c0a8016400e9d7f0b8b5a1c2",
        }))
        .gives::<Delivered>(200, "X took it")
        .example(json!({ "id": ID, "status": "delivered", "message_id": "1206724334791753739" }))
        .gives::<Queued>(202, "It will be sent")
        .example(json!({ "id": ID, "status": "queued", "retry_at": "2026-08-01T12:00:02Z" }))
        .checks_fields()
        .refuses(404, "The customer or case is not known")
        .refuses(409, "The same id with another body, or no linked X account")
        .gives::<Dead>(422, "X refused it for good")
        .example(json!({ "id": ID, "status": "dead", "detail": "this customer does not accept direct messages" }))
        .refuses(429, "The caller's queue is full, or the caller has made too many requests (`auth.request_rate`)")
}

fn show() -> Description {
    route(Verb::Get, "/api/events/{id}/", "getAnswer", "events", "Tell how an answer stands")
        .gives::<EventState>(200, "How it stands")
        .example(json!({
            "id": ID, "event_id": null, "status": "delivered", "message_id": "1206724334791753739",
            "retry_at": null, "detail": null, "channel": "dm", "attempts": 1,
            "created_at": "2026-08-01T12:00:00Z", "delivered_at": "2026-08-01T12:00:01Z",
        }))
}

fn challenge() -> Description {
    route(Verb::Get, "/api/activity/", "answerChallenge", "activity", "Answer X's challenge")
        .query("crc_token", "1 to 256 characters of `A-Z a-z 0-9 + / = _ -`")
        .gives::<ResponseToken>(200, "The token, signed")
        .example(json!({ "response_token": "sha256=x0mYd8hz2goCTfcNAaMqENy2BFgJJfJOb4PdvTffpwg=" }))
        .checks_fields()
}

fn receive() -> Description {
    route(Verb::Post, "/api/activity/", "receiveEvents", "activity", "Take events that X sends")
        .about("200 only after what is kept is on disk.")
        .header("x-twitter-webhooks-signature", "`sha256=` and the HMAC-SHA256 of the raw body in base64")
        .takes::<WebhookBody>(json!({ "for_user_id": "990001234567890177", "direct_message_events": [] }))
        .gives::<Receipt>(200, "How many items were kept")
        .example(json!({ "accepted": 1, "duplicates": 0, "ignored": 0 }))
        .refuses(400, "The body is no JSON")
        .refuses(401, "The signature is missing or wrong")
}
