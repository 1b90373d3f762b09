//! What a webhook body of X is about: pure, no I/O.
//!
//! Two envelopes arrive at one address: the Account Activity API's (`for_user_id` and arrays by
//! kind) and the X Activity API's (`data` with `event_type` and `payload`); see docs.x.com,
//! `x-api/account-activity/introduction` and `x-api/activity/event-payloads`. Each array element,
//! or single object, becomes one [`Item`] judged by itself: one that is unusable becomes
//! [`Class::Other`] and never takes its neighbours along. People are told apart by id alone; a
//! handle is a label that changes.

mod dm;
mod item;
mod json;
mod policy;
mod post;
#[cfg(test)]
mod samples;
mod text;

pub use item::{Class, Customer, Item, Media, MediaKind, MentionKind};
pub(crate) use json::is_id;
pub use policy::{CasePolicy, Decision, IgnoreReason, ImplicitPolicy};
pub(crate) use text::unescape;

use json::Node;

/// Why a body cannot be read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotJson {
    /// Some bytes are not UTF-8.
    #[error("the body is not UTF-8: send JSON in UTF-8")]
    NotUtf8,
    /// It is not JSON.
    #[error("the body is not JSON (line {line}, column {column}): send one JSON object")]
    Syntax {
        /// Line of the mistake, from 1.
        line: usize,
        /// Column of the mistake, from 1.
        column: usize,
    },
    /// It is JSON, but an array or a bare value.
    #[error("the body is not a JSON object: send one JSON object")]
    NotAnObject,
    /// It is nested deeper than 127 levels.
    #[error("the body is nested too deeply: send at most 127 levels")]
    TooDeep,
}

/// Reads a webhook body: one [`Item`] for each thing that happened, in the body's order.
pub fn classify(body: &[u8]) -> Result<Vec<Item>, NotJson> {
    let body = std::str::from_utf8(body).map_err(|_| NotJson::NotUtf8)?;
    let refusal = match json::parse(body) {
        Ok(root) => return Ok(read_body(&root)),
        Err(refusal) => refusal,
    };
    match json::mend(body) {
        Some(mended) if matches!(refusal, NotJson::Syntax { .. }) => Ok(read_body(&json::parse(&mended)?)),
        _ => Err(refusal),
    }
}

/// What surrounds an item and helps to read it.
#[derive(Clone, Copy)]
struct Context<'c, 'a> {
    account: Option<&'c str>,
    /// The key of Account Activity or the event type of X Activity.
    event: &'c str,
    is_blocked: bool,
    users: &'c Node<'a>,
    apps: &'c Node<'a>,
    includes: &'c Node<'a>,
}

impl Context<'_, '_> {
    /// An item of which nothing is known yet.
    fn item(&self) -> Item {
        Item {
            account_id: self.account.map(str::to_owned),
            event: text::without_nul(self.event.chars().take(64).collect()),
            is_blocked: self.is_blocked,
            ..Item::default()
        }
    }

    /// The person with that id, with what the body tells about them.
    fn person(&self, id: &str) -> Customer {
        // An old page of X's documentation prints the users inside `apps`.
        let maps = [self.users, self.apps.get("users"), self.apps];
        let by_key = maps.into_iter().map(|map| map.get(id).unwrapped());
        let listed = self.includes.get("users").elements().iter().map(Node::unwrapped);
        let listed = listed.filter(|user| user.get("id").text() == Some(id));
        let user =
            by_key.chain(listed).find(|user| handle_of(user).is_some() || user.get("name").text().is_some());
        customer(id, user)
    }
}

fn customer(id: &str, user: Option<&Node<'_>>) -> Customer {
    let name = user.and_then(|user| user.get("name").text()).map(|name| text::without_nul(name.to_owned()));
    Customer {
        id: id.to_owned(),
        handle: user.and_then(handle_of),
        name: name.filter(|name| !name.trim().is_empty()),
    }
}

/// The handle (`screen_name` in the old shape, `username` in the new) if it is one.
fn handle_of(user: &Node<'_>) -> Option<String> {
    let is_handle = |handle: &&str| {
        (1..=15).contains(&handle.len())
            && handle.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let old = user.get("screen_name").text();
    let new = user.get("username").text();
    old.into_iter().chain(new).find(is_handle).map(str::to_owned)
}

fn read_body(root: &Node<'_>) -> Vec<Item> {
    let account = root.get("for_user_id").id();
    let mut items = Vec::with_capacity(1);
    for (key, value) in root.members() {
        match key.as_ref() {
            "for_user_id" | "users" | "apps" | "user_has_blocked" | "is_blocked_by" => {}
            "data" => singly(value, |event| read_data(event, account.as_deref(), &mut items)),
            key => {
                let context = Context {
                    account: account.as_deref(),
                    event: key,
                    is_blocked: is_blocked(root),
                    users: root.get("users"),
                    apps: root.get("apps"),
                    includes: root.get("includes"),
                };
                singly(value, |element| items.push(read_element(context, key, element)));
            }
        }
    }
    items
}

/// Whether the account has blocked the author; X's own pages disagree about the name.
fn is_blocked(envelope: &Node<'_>) -> bool {
    envelope.get("user_has_blocked").is_true() || envelope.get("is_blocked_by").is_true()
}

/// Each element of an array, or the object itself. A bare value carries no item.
fn singly<'n, 'a>(value: &'n Node<'a>, mut each: impl FnMut(&'n Node<'a>)) {
    match value {
        Node::List(elements) => elements.iter().for_each(each),
        Node::Map(_) => each(value),
        _ => {}
    }
}

/// The envelope of X Activity. Its tenant is `filter.user_id`.
fn read_data(data: &Node<'_>, account: Option<&str>, items: &mut Vec<Item>) {
    let filtered = data.get("filter").get("user_id").id();
    let payload = data.get("payload");
    let context = Context {
        account: filtered.as_deref().or(account),
        event: data.get("event_type").text().unwrap_or("data"),
        is_blocked: is_blocked(data) || is_blocked(payload),
        users: payload.get("users"),
        apps: payload.get("apps"),
        includes: data.get("includes"),
    };
    let is_group = |key: &str| key.ends_with("_events");
    let mut groups = payload.members().iter().filter(|(key, _)| is_group(key)).peekable();
    if groups.peek().is_none() {
        items.push(read_payload(context, payload.unwrapped()));
    }
    for (key, value) in groups {
        singly(value, |element| items.push(read_element(context, key, element)));
    }
}

/// One element of an array of Account Activity; X Activity uses the same for direct messages.
fn read_element(context: Context<'_, '_>, key: &str, element: &Node<'_>) -> Item {
    match key {
        "direct_message_events" => dm::read(context, element),
        "tweet_create_events" => post::read_v1(context, element),
        "tweet_delete_events" => {
            Item { event_id: element.get("status").id_of("id_str", "id"), ..context.item() }
        }
        "user_event" => Item {
            revoked_user_id: element.get("revoke").get("source").get("user_id").id(),
            ..context.item()
        },
        _ => context.item(),
    }
}

/// One payload of X Activity that is not a list.
fn read_payload(context: Context<'_, '_>, payload: &Node<'_>) -> Item {
    match context.event {
        "oauth.revoke" => Item { revoked_user_id: payload.get("user_id").id(), ..context.item() },
        "post.delete" => Item { event_id: payload.get("id").id(), ..context.item() },
        event if event.starts_with("post.") => post::read_v2(context, payload),
        _ => context.item(),
    }
}
