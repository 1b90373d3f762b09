//! Direct messages: `/2/dm_conversations/…` and `/2/dm_events`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock;
use crate::server::{Call, Reply};
use crate::x::state::{State, XDm, conversation_id};
use crate::x::{XAccount, replies};

/// The platform's limit for one message; longer ones were error 354 of API v1.1.
const MAX_CHARS: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    text: Option<String>,
    attachments: Option<Vec<Attachment>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attachment {
    media_id: String,
}

/// Decimal, 1 to 19 digits.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=19).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `POST /2/dm_conversations/with/{participant_id}/messages`
pub(crate) fn send_with(
    state: &mut State,
    account: &XAccount,
    participant_id: &str,
    call: &Call,
) -> (Reply, Option<XDm>) {
    if !is_id(participant_id) {
        let message = format!("The `participant_id` query parameter value [{participant_id}] is not valid");
        return (replies::invalid_request("participant_id", participant_id, &message), None);
    }
    let message = match read(call) {
        Ok(message) => message,
        Err(reply) => return (reply, None),
    };
    if state.refuses_dms(participant_id) {
        return (replies::cannot_dm(), None);
    }
    let media_ids = message.attachments.unwrap_or_default().into_iter().map(|media| media.media_id).collect();
    let text = message.text.unwrap_or_default();
    let dm = state.store_dm(&account.id, participant_id, &text, media_ids, true);
    let body = json!({"data": {"dm_conversation_id": dm.conversation_id, "dm_event_id": dm.id}});
    (Reply::json(201, &body), Some(dm))
}

/// `POST /2/dm_conversations/{id}/messages`: only one-to-one conversations of the account.
pub(crate) fn send_to(state: &mut State, account: &XAccount, id: &str, call: &Call) -> (Reply, Option<XDm>) {
    match other_participant(account, id) {
        Some(other) => send_with(state, account, &other, call),
        None => (replies::blank(403, "Forbidden", "You are not a participant of this conversation."), None),
    }
}

fn other_participant(account: &XAccount, conversation: &str) -> Option<String> {
    let (first, second) = conversation.split_once('-')?;
    match account.id.as_str() {
        id if id == first => Some(second.to_owned()),
        id if id == second => Some(first.to_owned()),
        _ => None,
    }
}

fn read(call: &Call) -> Result<Message, Reply> {
    let is_json = call.content_type.as_deref().is_some_and(|kind| kind.starts_with("application/json"));
    if !is_json {
        return Err(replies::blank(415, "Unsupported Media Type", "Send application/json."));
    }
    let message: Message = serde_json::from_slice(&call.body)
        .map_err(|error| replies::invalid_request("", "", &format!("Invalid JSON body: {error}")))?;
    let refuse = |message| Err(replies::invalid_request("", "", message));
    let n_media = message.attachments.as_ref().map_or(0, Vec::len);
    match &message.text {
        None if n_media == 0 => refuse("one of `text` or `attachments` is required"),
        Some(text) if text.is_empty() => refuse("`text` must not be empty"),
        Some(text) if text.chars().count() > MAX_CHARS => Err(replies::v1_error(
            400,
            354,
            "The text of your direct message is over the max character limit.",
        )),
        _ if n_media > 1 => refuse("at most one attachment is allowed"),
        _ if message.attachments.iter().flatten().any(|media| !is_id(&media.media_id)) => {
            refuse("`media_id` must be decimal")
        }
        _ => Ok(message),
    }
}

/// The three lists of events.
pub(crate) enum Events<'a> {
    /// `GET /2/dm_conversations/with/{participant_id}/dm_events`
    With(&'a str),
    /// `GET /2/dm_conversations/{id}/dm_events`
    In(&'a str),
    /// `GET /2/dm_events`
    All,
}

/// Newest first. By default an event has `id`, `event_type` and `text`; `dm_event.fields` adds others.
pub(crate) fn list(state: &State, account: &XAccount, which: &Events<'_>, call: &Call) -> Reply {
    let page = match Page::read(call, 1, 100, 100) {
        Ok(page) => page,
        Err(reply) => return reply,
    };
    let events: Vec<&XDm> = match which {
        Events::With(other) => state.conversation(&conversation_id(&account.id, other)),
        Events::In(id) if other_participant(account, id).is_some() => state.conversation(id),
        Events::In(_) => Vec::new(),
        Events::All => {
            let mine = |dm: &&XDm| dm.sender_id == account.id || dm.recipient_id == account.id;
            state.dms().rev().filter(mine).collect()
        }
    };
    let wants_messages = call
        .query_pairs()
        .iter()
        .all(|(name, value)| name != "event_types" || value.contains("MessageCreate"));
    let events = if wants_messages { events } else { Vec::new() };
    let fields = fields_of(call, &["dm_event.fields"]);
    page.reply(&events, |dm| event(dm, &fields))
}

/// `GET /2/dm_events/{id}`
pub(crate) fn one(state: &State, account: &XAccount, id: &str, call: &Call) -> Reply {
    let mine = |dm: &&XDm| dm.id == id && (dm.sender_id == account.id || dm.recipient_id == account.id);
    let found = state.dms().find(mine);
    let fields = fields_of(call, &["dm_event.fields"]);
    found.map_or_else(
        || replies::not_found("dm_event", id),
        |dm| Reply::json(200, &json!({"data": event(dm, &fields)})),
    )
}

fn event(dm: &XDm, fields: &[String]) -> Value {
    let mut event = json!({"id": dm.id, "event_type": "MessageCreate", "text": dm.text});
    for field in fields {
        let value = match field.as_str() {
            "sender_id" => json!(dm.sender_id),
            "dm_conversation_id" => json!(dm.conversation_id),
            "created_at" => json!(clock::rfc3339(dm.created_ms)),
            "participant_ids" => json!([dm.sender_id, dm.recipient_id]),
            "attachments" if !dm.media_ids.is_empty() => {
                let keys: Vec<String> = dm.media_ids.iter().map(|id| format!("3_{id}")).collect();
                json!({"media_keys": keys})
            }
            _ => continue,
        };
        event[field.as_str()] = value;
    }
    event
}

/// The values of a comma-separated parameter.
pub(crate) fn fields_of(call: &Call, names: &[&str]) -> Vec<String> {
    let pairs = call.query_pairs();
    let wanted = pairs.iter().filter(|(name, _)| names.contains(&name.as_str()));
    wanted.flat_map(|(_, value)| value.split(',')).map(|field| field.trim().to_owned()).collect()
}

/// A page of a list that X sends newest first.
pub(crate) struct Page {
    max_results: usize,
    offset: usize,
}

impl Page {
    pub(crate) fn read(call: &Call, least: usize, most: usize, default: usize) -> Result<Self, Reply> {
        let mut page = Self { max_results: default, offset: 0 };
        for (name, value) in call.query_pairs() {
            match name.as_str() {
                "max_results" => match value.parse() {
                    Ok(n) if (least..=most).contains(&n) => page.max_results = n,
                    _ => {
                        let message = format!(
                            "The `max_results` query parameter value [{value}] is not between {least} and {most}"
                        );
                        return Err(replies::invalid_request("max_results", &value, &message));
                    }
                },
                "pagination_token" => match value.trim_start_matches('P').parse() {
                    Ok(offset) if value.len() == 16 => page.offset = offset,
                    _ => {
                        let message =
                            format!("The `pagination_token` query parameter value [{value}] is not valid");
                        return Err(replies::invalid_request("pagination_token", &value, &message));
                    }
                },
                _ => {}
            }
        }
        Ok(page)
    }

    pub(crate) fn reply<T>(&self, all: &[T], show: impl Fn(&T) -> Value) -> Reply {
        let shown: Vec<Value> = all.iter().skip(self.offset).take(self.max_results).map(show).collect();
        let end = self.offset + shown.len();
        let mut body = json!({"meta": {"result_count": shown.len()}});
        if end < all.len() {
            body["meta"]["next_token"] = format!("{end:P>16}").into();
        }
        if !shown.is_empty() {
            body["data"] = shown.into();
        }
        Reply::json(200, &body)
    }
}
