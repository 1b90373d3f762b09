//! Cases, by the Case API of Customer Service Management (`/api/sn_customerservice/case`).
//!
//! What is relied on: `correlation_id` is stored as it is sent and can be queried; a POST answers
//! 201 with `{sys_id, number}`; a PUT appends `comments` to the journal each time, answers 200 or
//! 201, and with `sysparm_get_case_details=true` gives the record back. The API validates nothing:
//! a field it does not know is dropped without a word.

use serde_json::{Map, Value, json};

use crate::domain::failure::{ErrorClass, Failure};

use super::client::{Call, ServiceNow};
use super::errors::Verb;
use super::fields::{Row, filter_ignored, row, rows, unexpected};
use super::keys::{CorrelationId, SysId};

pub(super) const CASE: [&str; 3] = ["api", "sn_customerservice", "case"];
const FIELDS: &str = "sys_id,number,correlation_id,state,active,closed_at,resolved_at,consumer,contact";
const MAX_SHORT_DESCRIPTION_CHARS: usize = 160;
const MAX_DISPLAY_CHARS: usize = 100;
/// The longest `description`, and the longest single comment.
pub const MAX_TEXT_CHARS: usize = 4000;
/// The states in which a case takes no more work, in the values the product ships with.
const STATE_CLOSED: &str = "3";
const STATE_RESOLVED: &str = "6";
/// The state "Open" of the product as it ships.
pub const STATE_OPEN: &str = "10";

/// What the hub needs to know about a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseRow {
    /// The record.
    pub sys_id: SysId,
    /// What agents call it, such as `CS0001005`.
    pub number: String,
    /// The hub's key, when it has one.
    pub correlation_id: Option<String>,
    /// The raw state; instances add their own.
    pub state: Option<String>,
    /// Neither resolved nor closed, and active.
    pub is_open: bool,
    /// When it was closed, in epoch milliseconds.
    pub closed_at_ms: Option<i64>,
    /// When it was resolved, in epoch milliseconds.
    pub resolved_at_ms: Option<i64>,
    /// The consumer it belongs to.
    pub consumer: Option<SysId>,
    /// The contact it belongs to.
    pub contact: Option<SysId>,
}

/// A case that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseRef {
    /// The record.
    pub sys_id: SysId,
    /// What agents call it.
    pub number: String,
}

/// A customer, as a case refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerRef {
    /// A `csm_consumer`, in `consumer`.
    Consumer(SysId),
    /// A `customer_contact`, in `contact`.
    Contact(SysId),
    /// A `sys_user`, in `opened_for`.
    User(SysId),
}

impl CustomerRef {
    fn field(&self) -> (&'static str, &SysId) {
        match self {
            Self::Consumer(id) => ("consumer", id),
            Self::Contact(id) => ("contact", id),
            Self::User(id) => ("opened_for", id),
        }
    }

    /// The documented words of `social_handle_type`; a plain user has none.
    fn handle_type(&self) -> Option<&'static str> {
        match self {
            Self::Consumer(_) => Some("Consumer"),
            Self::Contact(_) => Some("Contact"),
            Self::User(_) => None,
        }
    }
}

/// A case to be made, with the first message.
#[derive(Debug, Clone)]
pub struct NewCase<'a> {
    /// The hub's key; the case is looked up by it before it is ever made again.
    pub correlation_id: &'a CorrelationId,
    /// What the key stands for, in words; at most 100 characters are sent.
    pub correlation_display: &'a str,
    /// The title; at most 160 characters are sent.
    pub short_description: &'a str,
    /// At most 4,000 characters are sent.
    pub description: &'a str,
    /// The first message, visible to the customer; at most [`MAX_TEXT_CHARS`], the caller splits.
    pub comments: &'a str,
    /// Whose case it is.
    pub customer: Option<&'a CustomerRef>,
    /// The handle at X, or the id where no handle is known.
    pub social_handle: &'a str,
    /// The customer's page at X.
    pub social_handle_url: &'a str,
    /// The post or conversation at X.
    pub social_post_url: Option<&'a str>,
    /// `case_defaults` of the instance. They win over the hub's values, but never over the key,
    /// the message and the customer.
    pub defaults: &'a Map<String, Value>,
}

impl NewCase<'_> {
    /// The body of the POST.
    fn body(&self) -> Value {
        let mut body = Map::new();
        let mut set = |name: &str, value: &str| body.insert(name.to_owned(), Value::from(value));
        set("contact_type", "social");
        set("short_description", clip(self.short_description, MAX_SHORT_DESCRIPTION_CHARS));
        set("description", clip(self.description, MAX_TEXT_CHARS));
        set("correlation_display", clip(self.correlation_display, MAX_DISPLAY_CHARS));
        set("social_channel", "TWITTER");
        set("social_handle", self.social_handle);
        set("social_handle_url", self.social_handle_url);
        if let Some(kind) = self.customer.and_then(CustomerRef::handle_type) {
            set("social_handle_type", kind);
        }
        if let Some(url) = self.social_post_url {
            set("social_post_url", url);
        }
        body.extend(self.defaults.iter().map(|(name, value)| (name.clone(), value.clone())));
        // A default must not choose the record itself.
        body.remove("sys_id");
        body.insert("correlation_id".to_owned(), Value::from(self.correlation_id.as_str()));
        body.insert("comments".to_owned(), Value::from(self.comments));
        if let Some((name, id)) = self.customer.map(CustomerRef::field) {
            body.insert(name.to_owned(), Value::from(id.as_str()));
        }
        Value::Object(body)
    }
}

impl ServiceNow {
    /// Looks a case up by the hub's key. Of several with the same key, the oldest.
    pub async fn find_case(&self, correlation_id: &CorrelationId) -> Result<Option<CaseRow>, Failure> {
        let query = format!("correlation_id={correlation_id}^ORDERBYsys_created_on");
        let call = Call {
            verb: Verb::Read,
            path: &CASE,
            query: &[
                ("sysparm_query", &query),
                ("sysparm_fields", FIELDS),
                ("sysparm_limit", "10"),
                ("sysparm_reference_fields", "false"),
                ("sysparm_display_value", "false"),
                ("sysparm_no_count", "true"),
            ],
            body: None,
        };
        let Some(answer) = none_if_missing(self.call(call).await)? else { return Ok(None) };
        let rows = rows(answer.result)?;
        let n_rows = rows.len();
        let wanted = Some(correlation_id.as_str());
        let own = rows.into_iter().find(|row| row.text("correlation_id").as_deref() == wanted);
        match own {
            Some(row) => case_row(&row, Verb::Read).map(Some),
            None if n_rows == 0 => Ok(None),
            None => Err(filter_ignored("correlation_id of the case table")),
        }
    }

    /// Reads one case; `None` when it does not exist or cannot be seen.
    pub async fn get_case(&self, sys_id: &SysId) -> Result<Option<CaseRow>, Failure> {
        let call = Call {
            verb: Verb::Read,
            path: &[CASE[0], CASE[1], CASE[2], sys_id.as_str()],
            query: &[("sysparm_fields", FIELDS), ("sysparm_display_value", "false")],
            body: None,
        };
        let Some(answer) = none_if_missing(self.call(call).await)? else { return Ok(None) };
        let case = case_row(&row(answer.result, Verb::Read)?, Verb::Read)?;
        if case.sys_id != *sys_id {
            return Err(unexpected(Verb::Read, "the instance answered with another case"));
        }
        Ok(Some(case))
    }

    /// Makes a case with its first message. Not idempotent: after any failure whose effect is not
    /// `None`, [`ServiceNow::find_case`] tells whether it was made.
    pub async fn create_case(&self, case: &NewCase<'_>) -> Result<CaseRef, Failure> {
        let call = Call { verb: Verb::Create, path: &CASE, query: &[], body: Some(case.body()) };
        let row = row(self.call(call).await?.result, Verb::Create)?;
        match (row.sys_id("sys_id"), row.text("number")) {
            (Some(sys_id), Some(number)) => Ok(CaseRef { sys_id, number }),
            _ => Err(unexpected(Verb::Create, "the answer to a new case lacks its sys_id or number")),
        }
    }

    /// Appends a comment that the customer sees. Not idempotent. The case as it then is comes back
    /// when the instance gives it.
    pub async fn add_comment(&self, case: &SysId, text: &str) -> Result<Option<CaseRow>, Failure> {
        self.update_case(case, json!({"comments": text})).await
    }

    /// Appends a note that only agents see. Not idempotent.
    pub async fn add_work_note(&self, case: &SysId, text: &str) -> Result<Option<CaseRow>, Failure> {
        self.update_case(case, json!({"work_notes": text})).await
    }

    /// Sets the state (such as [`STATE_OPEN`]) and appends a comment in the same call. Not idempotent.
    pub async fn reopen_with_comment(
        &self,
        case: &SysId,
        state: &str,
        text: &str,
    ) -> Result<Option<CaseRow>, Failure> {
        self.update_case(case, json!({"state": state, "comments": text})).await
    }

    async fn update_case(&self, case: &SysId, body: Value) -> Result<Option<CaseRow>, Failure> {
        let call = Call {
            verb: Verb::Update,
            path: &[CASE[0], CASE[1], CASE[2], case.as_str()],
            query: &[
                ("sysparm_get_case_details", "true"),
                ("sysparm_fields", FIELDS),
                ("sysparm_display_value", "false"),
            ],
            body: Some(body),
        };
        let row = row(self.call(call).await?.result, Verb::Update)?;
        if row.sys_id("sys_id").is_some_and(|id| id != *case) {
            return Err(unexpected(Verb::Update, "the instance answered with another case"));
        }
        // The call is done. What else came back is welcome, and no reason to doubt it.
        Ok(if row.text("state").is_some() { case_row(&row, Verb::Update).ok() } else { None })
    }
}

/// "Not found" as `None`: the first version of the API says so of an empty list, too.
pub(super) fn none_if_missing<T>(outcome: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match outcome {
        Ok(answer) => Ok(Some(answer)),
        Err(failure) if failure.class == ErrorClass::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn case_row(row: &Row, verb: Verb) -> Result<CaseRow, Failure> {
    let (Some(sys_id), Some(number)) = (row.sys_id("sys_id"), row.text("number")) else {
        return Err(unexpected(verb, "a case came without its sys_id or number"));
    };
    let state = row.text("state");
    let has_ended = matches!(state.as_deref(), Some(STATE_CLOSED | STATE_RESOLVED));
    Ok(CaseRow {
        sys_id,
        number,
        correlation_id: row.text("correlation_id"),
        is_open: !has_ended && row.flag("active") != Some(false),
        state,
        closed_at_ms: row.time_ms("closed_at"),
        resolved_at_ms: row.time_ms("resolved_at"),
        consumer: row.sys_id("consumer"),
        contact: row.sys_id("contact"),
    })
}

/// The first characters of a text.
pub(super) fn clip(text: &str, max_chars: usize) -> &str {
    text.char_indices().nth(max_chars).map_or(text, |(at, _)| &text[..at])
}
