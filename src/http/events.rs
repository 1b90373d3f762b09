//! `/api/events/`: an agent's answer, posted by ServiceNow, on its way to X.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderName;
use casewire_actors::outbox::{AnswerState, Channel, MAX_WAIT, OutboxError, SendAnswer, ShowAnswer};
use serde_json::{Map, Value, json};

use super::auth::Caller;
use super::negotiate::path_uuid;
use super::problem::Problem;
use super::reply;
use super::request::Request;
use super::time::rfc3339;
use super::validate::{Invalid, Presence, Text, Valid, check};

const MAX_EVENT_ID_CHARS: usize = 255;
const FIELDS: [Text; 7] = [
    Text::new("message").at_most(10_000),
    Text::new("target").optional().at_most(64),
    Text::new("case").optional().at_most(64),
    Text::new("event_id").optional().at_most(MAX_EVENT_ID_CHARS),
    Text::new("channel").optional().or_null(),
    Text::new("author").optional().or_null().or_blank().at_most(255),
    Text::new("number").optional().or_null().or_blank().at_most(255),
];
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// How soon a user with a full queue should come back.
const QUEUE_FULL_PAUSE: Duration = Duration::from_mins(1);

/// `POST`: stores the answer durably, then waits a moment for X to take it.
pub(crate) async fn send(mut request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let wait = wait_asked_for(&request);
    let body = request.body().await?;
    let mut fields = validated(check(&body, &FIELDS, Presence::Whole), &body)?;
    let channel = channel_of(fields.get("channel"))?;
    let event_id = match fields.take("event_id") {
        Some(event_id) => Some(event_id),
        None => idempotency_key(&request)?,
    };
    if let Some(message) = event_id.as_deref().and_then(fault_of_event_id) {
        return Err(Problem::field("event_id", message));
    }
    let message = SendAnswer {
        user_id: caller.user.id.clone(),
        message: fields.take("message").unwrap_or_default(),
        target: fields.take("target"),
        case: fields.take("case"),
        event_id,
        channel,
        author: fields.take("author").filter(|author| !author.is_empty()),
        number: fields.take("number").filter(|number| !number.is_empty()),
        wait,
    };
    let state = request.state().hub.outbox().ask(message).await?.map_err(refusal)?;
    Ok(answer_to_post(&state))
}

/// `GET /api/events/{id}/`: how it stands.
pub(crate) async fn show(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let id = path_uuid(request.segment("id")).ok_or(Problem::NotFound)?.to_string();
    let user_id = (!caller.user.is_staff).then(|| caller.user.id.clone());
    let state = request.state().hub.outbox().ask(ShowAnswer { id, user_id }).await?.map_err(refusal)?;
    let state = state.ok_or(Problem::NoSuch("Event"))?;
    Ok(reply::ok(&json!({
        "id": state.id,
        "event_id": state.event_id,
        "status": state.status,
        "message_id": state.message_id,
        "retry_at": state.retry_at_ms.map(rfc3339),
        "detail": state.detail,
        "channel": state.channel,
        "attempts": state.attempts,
        "created_at": rfc3339(state.created_at_ms),
        "delivered_at": state.delivered_at_ms.map(rfc3339),
    })))
}

/// The `Idempotency-Key` header, unless it is blank. Text in it is UTF-8, as in the body.
fn idempotency_key(request: &Request) -> Result<Option<String>, Problem> {
    let Some(value) = request.header(IDEMPOTENCY_KEY) else { return Ok(None) };
    let Ok(key) = std::str::from_utf8(value.as_bytes()) else {
        return Err(Problem::field("event_id", "The Idempotency-Key header is not UTF-8."));
    };
    Ok(Some(key.trim()).filter(|key| !key.is_empty()).map(str::to_owned))
}

/// What is wrong with an id, whether it came in the body or in the header.
fn fault_of_event_id(id: &str) -> Option<&'static str> {
    if id.chars().count() > MAX_EVENT_ID_CHARS {
        return Some("Ensure this field has no more than 255 characters.");
    }
    id.chars().any(char::is_control).then_some("Control characters are not allowed.")
}

/// The fields, and the rule that one of two must be there.
fn validated(checked: Result<Valid, Invalid>, body: &super::body::Body) -> Result<Valid, Invalid> {
    let is_given = |name: &str| body.value().get(name).is_some_and(|value| !value.is_null());
    let names_nobody = body.value().is_object() && !is_given("target") && !is_given("case");
    if !names_nobody {
        return checked;
    }
    let mut invalid = checked.err().unwrap_or_default();
    invalid.add("target", ["This field is required.".to_owned()]);
    Err(invalid)
}

fn channel_of(text: Option<&str>) -> Result<Option<Channel>, Problem> {
    match text {
        None => Ok(None),
        Some("dm") => Ok(Some(Channel::Dm)),
        Some("reply") => Ok(Some(Channel::Reply)),
        Some(other) => Err(Problem::field("channel", format!("\"{other}\" is not a valid choice."))),
    }
}

/// `Prefer: wait=N` and `Prefer: respond-async` (RFC 7240); else `events.wait`.
fn wait_asked_for(request: &Request) -> Duration {
    let preferences = request.http().headers().get_all(PREFER);
    wait_of(preferences.filter_map(|value| value.to_str().ok()), request.state().settings.events.wait)
}

fn wait_of<'a>(preferences: impl Iterator<Item = &'a str>, default: Duration) -> Duration {
    for preference in preferences.flat_map(|value| value.split([',', ';'])) {
        let preference = preference.trim().to_ascii_lowercase();
        if preference == "respond-async" {
            return Duration::ZERO;
        }
        let seconds = preference.strip_prefix("wait=").and_then(|n| n.trim_matches('"').parse().ok());
        if let Some(seconds) = seconds {
            return Duration::from_secs(seconds).min(MAX_WAIT);
        }
    }
    default
}

fn answer_to_post(state: &AnswerState) -> HttpResponse {
    let mut body = Map::new();
    body.insert("id".to_owned(), json!(state.id));
    match state.status.as_str() {
        "delivered" => {
            body.insert("status".to_owned(), json!("delivered"));
            body.insert("message_id".to_owned(), json!(state.message_id));
            reply::ok(&body)
        }
        "dead" => {
            body.insert("status".to_owned(), json!("dead"));
            body.insert("detail".to_owned(), json!(state.detail));
            Problem::Unprocessable(Value::Object(body)).into_response()
        }
        _ => {
            body.insert("status".to_owned(), json!("queued"));
            body.insert("retry_at".to_owned(), json!(state.retry_at_ms.map(rfc3339)));
            reply::json(StatusCode::ACCEPTED, &body)
        }
    }
}

fn refusal(error: OutboxError) -> Problem {
    let text = error.to_string();
    match error {
        OutboxError::Conflict | OutboxError::NoAccount => Problem::Conflict(text),
        OutboxError::UnknownTarget => Problem::Unknown(text),
        OutboxError::NothingToReplyTo => Problem::field("channel", text),
        OutboxError::QueueFull => Problem::TooMany(text, QUEUE_FULL_PAUSE),
        OutboxError::Unavailable(error) => Problem::store_away(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_events() {
        let long = "ü".repeat(256);
        for (id, fault) in [
            ("a1b2", None),
            ("Änderung 7", None),
            (&long[..510], None),
            (&long, Some("255 characters")),
            ("a\tb", Some("Control characters")),
            ("a\u{85}b", Some("Control characters")),
        ] {
            let found = fault_of_event_id(id);
            assert_eq!(found.is_some(), fault.is_some(), "{id}");
            assert!(found.unwrap_or_default().contains(fault.unwrap_or_default()), "{id}: {found:?}");
        }
    }

    #[test]
    fn preferences() {
        let default = Duration::from_secs(1);
        for (headers, expected_s) in [
            (vec![], 1),
            (vec!["wait=5"], 5),
            (vec!["wait=500"], 30),
            (vec!["respond-async, wait=5"], 0),
            (vec!["handling=lenient", "wait=2"], 2),
            (vec!["wait=soon"], 1),
            (vec!["WAIT=\"3\""], 3),
        ] {
            let wait = wait_of(headers.iter().copied(), default);
            assert_eq!(wait, Duration::from_secs(expected_s), "{headers:?}");
        }
    }
}
