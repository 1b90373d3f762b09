//! What an answer of ServiceNow means: pure, by status, headers and body.
//!
//! The shapes are those of the documentation, of support articles (KB0546297, KB0564204,
//! KB0747638, KB2697679) and of replies seen in public. No detail holds more of an answer than the
//! instance's own short message: the rest may echo what a customer wrote.

use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use serde_json::Value;

use crate::domain::failure::{Effect, ErrorClass, Failure};

mod hints;

/// The longest time a refusal is believed to ask for. ServiceNow's windows are an hour; what is
/// far longer is a slip (milliseconds for seconds) that would silence an instance for good.
const MAX_RETRY_AFTER_MS: i64 = 24 * 60 * 60 * 1000;
const MAX_QUOTE_CHARS: usize = 120;

/// What a request does over there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// GET: never an effect.
    Read,
    /// POST: makes a record each time it is carried out.
    Create,
    /// PUT of a record: appends a comment each time it is carried out.
    Update,
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
}

/// An answer that says: done.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// 200 or 201. The documentation lists 201 for a PUT; instances send 200.
    pub status: u16,
    /// What the body has under `result`.
    pub result: Value,
}

/// Reads an answer. `now_ms` turns `Retry-After` into a time.
pub fn classify(verb: Verb, reply: &Reply, now_ms: i64) -> Result<Answer, Failure> {
    let said = Said::of(reply);
    let outcome = judge(verb, reply, &said, now_ms);
    outcome.map_err(|mut failure| {
        if let Some(id) = transaction_id(&reply.headers) {
            failure.detail = format!("{} (transaction {id})", failure.detail);
        }
        failure
    })
}

fn judge(verb: Verb, reply: &Reply, said: &Said, now_ms: i64) -> Result<Answer, Failure> {
    let status = Some(reply.status);
    let failure = |class, effect, detail: String| Failure {
        class,
        effect,
        http_status: status,
        detail,
        retry_at_ms: None,
    };
    if reply.status != 401 && is_hibernating(reply, said) {
        return Err(failure(ErrorClass::Sleeping, Effect::None, hints::SLEEPING.to_owned()));
    }
    Err(match reply.status {
        200 | 201 => return done(verb, reply, said),
        202 => failure(ErrorClass::Busy, written(verb), hints::SESSION_BUSY.to_owned()),
        300..=399 => failure(ErrorClass::Unexpected, Effect::None, hints::REDIRECT.to_owned()),
        401 => failure(ErrorClass::Auth, Effect::None, hints::unauthenticated(reply, said)),
        403 => {
            let (class, effect, detail) = hints::forbidden(verb, said);
            failure(class, effect, detail)
        }
        404 if said.is_error() => failure(ErrorClass::NotFound, Effect::None, hints::NOT_FOUND.to_owned()),
        404 => failure(ErrorClass::Unexpected, Effect::None, hints::NOT_AN_INSTANCE.to_owned()),
        408 => failure(ErrorClass::Unavailable, Effect::None, hints::REQUEST_TIMEOUT.to_owned()),
        429 => too_many(verb, reply, said, now_ms),
        400..=499 => failure(ErrorClass::Permanent, Effect::None, hints::refused(reply.status, said)),
        500 if said.is_cancelled() => lost(verb, Effect::Possible, status, hints::CANCELLED),
        500 => lost(verb, Effect::Possible, status, hints::server_error(said)),
        503 => Failure {
            retry_at_ms: retry_at_ms(&reply.headers, now_ms),
            ..failure(ErrorClass::Unavailable, Effect::None, hints::MAINTENANCE.to_owned())
        },
        // A proxy answered; the call may be running behind it.
        501..=599 => lost(verb, Effect::Pending, status, hints::gateway(reply.status)),
        _ => lost(verb, Effect::Possible, status, hints::odd_status(reply.status)),
    })
}

/// A call without a usable answer. A read is simply repeated; a write is uncertain.
pub(super) fn lost(verb: Verb, effect: Effect, status: Option<u16>, detail: impl Into<String>) -> Failure {
    let (class, effect) = match verb {
        Verb::Read => (ErrorClass::Unavailable, Effect::None),
        Verb::Create | Verb::Update => (ErrorClass::Uncertain, effect),
    };
    Failure { class, effect, http_status: status, detail: detail.into(), retry_at_ms: None }
}

/// What a refused write may have done all the same: with some refusals it was carried out (KB2697679).
fn written(verb: Verb) -> Effect {
    match verb {
        Verb::Read => Effect::None,
        Verb::Create | Verb::Update => Effect::Possible,
    }
}

fn done(verb: Verb, reply: &Reply, said: &Said) -> Result<Answer, Failure> {
    let status = Some(reply.status);
    let result = match &said.json {
        Some(Value::Object(object)) if object.contains_key("error") => None,
        Some(Value::Object(object)) => object.get("result").cloned(),
        _ => None,
    };
    if let Some(result) = result {
        return Ok(Answer { status: reply.status, result });
    }
    if said.html.is_some() {
        let (effect, detail) = if said.is_login_page() {
            (Effect::None, hints::LOGIN_PAGE)
        } else {
            (written(verb), hints::HTML_PAGE)
        };
        let class = ErrorClass::Unexpected;
        return Err(Failure {
            class,
            effect,
            http_status: status,
            detail: detail.to_owned(),
            retry_at_ms: None,
        });
    }
    // The status was on its way already when the transaction was cancelled, or the body was cut.
    Err(lost(verb, Effect::Possible, status, hints::BROKEN_BODY))
}

/// The three 429s: a rule of calls an hour, which tells when it ends; a full queue of the node,
/// which tells nothing; a transaction cancelled by its quota, which ran.
fn too_many(verb: Verb, reply: &Reply, said: &Said, now_ms: i64) -> Failure {
    let status = Some(reply.status);
    if said.is_cancelled() {
        return lost(verb, Effect::Possible, status, hints::CANCELLED);
    }
    let headers = &reply.headers;
    // The message alone is enough, should a proxy have taken the headers out.
    let is_counted = headers.keys().any(|name| name.as_str().starts_with("x-ratelimit-"))
        || headers.contains_key(RETRY_AFTER)
        || said.message.to_lowercase().contains("rate limit");
    let (class, detail) = if is_counted {
        (ErrorClass::RateLimited, hints::RATE_LIMITED)
    } else {
        (ErrorClass::Busy, hints::QUEUE_FULL)
    };
    let retry_at_ms = retry_at_ms(headers, now_ms);
    Failure { class, effect: Effect::None, http_status: status, detail: detail.to_owned(), retry_at_ms }
}

/// The later of `Retry-After` (seconds, or a date) and `X-RateLimit-Reset` (epoch seconds).
fn retry_at_ms(headers: &HeaderMap, now_ms: i64) -> Option<i64> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let after_ms = header(RETRY_AFTER.as_str()).and_then(|text| match text.parse::<u32>() {
        Ok(n_seconds) => Some(now_ms.saturating_add(i64::from(n_seconds) * 1000)),
        Err(_) => chrono::DateTime::parse_from_rfc2822(text).ok().map(|date| date.timestamp_millis()),
    });
    let reset_ms = header("x-ratelimit-reset")
        .and_then(|text| text.parse::<i64>().ok())
        .map(|epoch_seconds| epoch_seconds.saturating_mul(1000));
    let asked_ms = after_ms.max(reset_ms)?;
    Some(asked_ms.clamp(now_ms, now_ms.saturating_add(MAX_RETRY_AFTER_MS)))
}

/// Whether the table of a query does not exist: its plugin or update set is not installed.
pub(super) fn is_invalid_table(reply: &Reply) -> bool {
    reply.status == 400 && Said::of(reply).message.to_lowercase().starts_with("invalid table")
}

fn is_hibernating(reply: &Reply, said: &Said) -> bool {
    let sent_away = (300..400).contains(&reply.status)
        && reply
            .headers
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| url::Url::parse(text).ok())
            .is_some_and(|url| url.host_str() == Some("developer.servicenow.com"));
    let page = said.html.as_deref().is_some_and(|html| {
        ["instance-hibernating-page", "instance is hibernating", "instance hibernating page"]
            .iter()
            .any(|words| html.contains(words))
    });
    sent_away || page
}

/// The id under which ServiceNow's support finds the call.
fn transaction_id(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get("x-transaction-id")?.to_str().ok()?;
    let plain = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    plain.then_some(text)
}

/// The words of an answer.
struct Said {
    json: Option<Value>,
    /// The page in lower case, when it is one.
    html: Option<String>,
    /// `error.message`, or nothing.
    message: String,
    /// `error.detail`, or nothing. Never quoted: it may echo what was sent.
    detail: String,
}

impl Said {
    fn of(reply: &Reply) -> Self {
        let json: Option<Value> = serde_json::from_slice(&reply.body).ok();
        let html = match json {
            Some(_) => None,
            None => page(&reply.body),
        };
        let error = |key: &str| {
            let text = json.as_ref().and_then(|json| json.get("error")?.get(key)?.as_str());
            text.unwrap_or_default().to_owned()
        };
        let (message, detail) = (error("message"), error("detail"));
        Self { json, html, message, detail }
    }

    /// Whether the body is ServiceNow's own error.
    fn is_error(&self) -> bool {
        self.json.as_ref().is_some_and(|json| json.get("error").is_some())
    }

    fn is_cancelled(&self) -> bool {
        self.message.to_lowercase().contains("transaction cancelled")
    }

    fn is_login_page(&self) -> bool {
        let signs = ["login.do", "type=\"password\"", "user_password", "samlrequest", "login_redirect"];
        self.html.as_deref().is_some_and(|html| signs.iter().any(|sign| html.contains(sign)))
    }

    /// Message and detail in lower case, to be searched.
    fn lower(&self) -> String {
        format!("{}\n{}", self.message, self.detail).to_lowercase()
    }

    /// The short message, fit for one line.
    fn quote(&self) -> String {
        quote(&self.message)
    }
}

fn page(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    text.trim_start_matches('\u{feff}').trim_start().starts_with('<').then(|| text.to_lowercase())
}

fn quote(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_QUOTE_CHARS).collect()
}

#[cfg(test)]
mod tests;
