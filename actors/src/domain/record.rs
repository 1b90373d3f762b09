//! Delivery records: what was accepted and what became of it, and which of them are asked for.

use serde_json::{Map, Value, json};

use super::fields::{FieldErrors, Fields, Writing, not_a_choice};
use super::replay::ReplayRate;
use super::time::{format_time, parse_time};
pub use crate::store::deliveries::Direction;

/// How many records a page has when nothing is said.
pub const DEFAULT_LIMIT: i64 = 50;
/// How many it has at most.
pub const MAX_LIMIT: i64 = 200;

/// The states of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// It waits for its turn.
    Queued,
    /// It is being sent.
    Sending,
    /// It failed and will be tried again.
    Retrying,
    /// It waits until its owner mends something.
    Blocked,
    /// It arrived.
    Delivered,
    /// It was given up: a dead letter.
    Dead,
}

impl DeliveryStatus {
    /// All of them, in the order of a delivery's life.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Sending, Self::Retrying, Self::Blocked, Self::Delivered, Self::Dead];

    /// The stable name in records and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Retrying => "retrying",
            Self::Blocked => "blocked",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// The state of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// Which records are meant. What is `None` does not narrow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordFilter {
    /// In this state.
    pub status: Option<DeliveryStatus>,
    /// Going this way.
    pub direction: Option<Direction>,
    /// Of the instance with this id.
    pub instance_id: Option<String>,
    /// Accepted at this time or later, in epoch milliseconds.
    pub since_ms: Option<i64>,
    /// Accepted before this time, in epoch milliseconds.
    pub until_ms: Option<i64>,
}

/// A page of records, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPage {
    /// Which records.
    pub filter: RecordFilter,
    /// How many, 1 to [`MAX_LIMIT`].
    pub limit: i64,
    /// Only those older than the record with this id.
    pub cursor: Option<String>,
}

/// A replay of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkReplay {
    /// Which dead letters. The status is always [`DeliveryStatus::Dead`].
    pub filter: RecordFilter,
    /// Only count them.
    pub is_dry_run: bool,
    /// How fast, when they are many.
    pub rate: ReplayRate,
}

impl Direction {
    /// The direction of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::ToServicenow, Self::ToX].into_iter().find(|direction| direction.as_str() == name)
    }
}

fn read_filter(fields: &mut Fields<'_>) -> RecordFilter {
    RecordFilter {
        status: fields.choice("status", DeliveryStatus::parse),
        direction: fields.choice("direction", Direction::parse),
        instance_id: read_uuid(fields, "instance"),
        since_ms: fields.parsed("since", parse_time),
        until_ms: fields.parsed("until", parse_time),
    }
}

fn read_uuid(fields: &mut Fields<'_>, field: &str) -> Option<String> {
    let text = fields.filled(field, 64)?;
    let id = uuid::Uuid::parse_str(&text);
    if id.is_err() {
        fields.refuse(field, "Must be a valid UUID.");
    }
    id.ok().map(|id| id.to_string())
}

impl RecordPage {
    /// Reads the parameters of a query. Those that are empty do not narrow.
    pub fn read(query: &[(String, String)]) -> Result<Self, FieldErrors> {
        let given = query.iter().filter(|(_, value)| !value.is_empty());
        let body: Map<String, Value> = given.map(|(key, value)| (key.clone(), json!(value))).collect();
        let mut fields = Fields::new(&body, Writing::Patch);
        let page = Self {
            filter: read_filter(&mut fields),
            limit: fields.integer("limit", 1..=MAX_LIMIT).unwrap_or(DEFAULT_LIMIT),
            cursor: read_uuid(&mut fields, "cursor"),
        };
        fields.into_errors().unless_any(page)
    }
}

impl BulkReplay {
    /// Reads the body of a replay. An unknown field is refused, unlike elsewhere: a filter with a slip
    /// in its name would replay everything.
    pub fn read(body: &Map<String, Value>) -> Result<Self, FieldErrors> {
        const KNOWN: &[&str] = &["status", "direction", "instance", "since", "until", "dry_run", "rate"];
        let given = body.iter().filter(|(_, value)| !value.is_null() && value.as_str() != Some(""));
        let given: Map<String, Value> = given.map(|(key, value)| (key.clone(), value.clone())).collect();
        let mut fields = Fields::new(&given, Writing::Patch);
        let mut filter = read_filter(&mut fields);
        let is_dry_run = fields.boolean("dry_run").unwrap_or(false);
        let rate = fields.parsed("rate", str::parse).unwrap_or_default();
        if filter.status.is_some_and(|status| status != DeliveryStatus::Dead) {
            fields.refuse("status", "Only dead letters can be replayed: use \"dead\".");
        }
        filter.status = Some(DeliveryStatus::Dead);
        for key in body.keys().filter(|key| !KNOWN.contains(&key.as_str())) {
            let shown: String = key.chars().take(100).collect();
            fields.refuse(&shown, not_a_choice(&shown));
        }
        fields.into_errors().unless_any(Self { filter, is_dry_run, rate })
    }
}

/// What became of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub id: String,
    /// `to_servicenow` or `to_x`.
    pub direction: String,
    /// What kind of message it is.
    pub kind: String,
    /// One of [`DeliveryStatus`].
    pub status: String,
    /// How often it was tried.
    pub n_attempts: i64,
    /// When it is tried next, in epoch milliseconds.
    pub next_attempt_at_ms: Option<i64>,
    /// What kind of failure the last one was.
    pub error_class: Option<String>,
    /// What the other side said and what to do.
    pub error_detail: Option<String>,
    /// The DM or post it came from, or the sender's event id.
    pub source_id: Option<String>,
    /// The id of the instance.
    pub instance_id: Option<String>,
    /// The id of the linked account.
    pub account_id: String,
    /// The customer's X user id.
    pub customer_id: String,
    /// The case it belongs to.
    pub case_number: Option<String>,
    /// The id that X gave to what was sent.
    pub message_id: Option<String>,
    /// When it was accepted, in epoch milliseconds.
    pub created_at_ms: i64,
    /// When it arrived, in epoch milliseconds.
    pub delivered_at_ms: Option<i64>,
}

/// One attempt to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Counts from 1, over replays too.
    pub n: i64,
    /// When, in epoch milliseconds.
    pub at_ms: i64,
    /// The answer's status, if there was an answer.
    pub http_status: Option<i64>,
    /// What kind of failure it was; none for a success.
    pub error_class: Option<String>,
    /// What the other side said.
    pub error_detail: Option<String>,
    /// How long it took.
    pub duration_ms: i64,
}

impl Attempt {
    fn to_json(&self) -> Value {
        json!({
            "n": self.n,
            "at": format_time(self.at_ms),
            "http_status": self.http_status,
            "error_class": self.error_class,
            "error_detail": self.error_detail,
            "duration_ms": self.duration_ms,
        })
    }
}

impl Record {
    /// As lists show it: attempts are counted.
    pub fn to_json(&self) -> Value {
        self.render(&json!(self.n_attempts))
    }

    /// As the single view shows it: each attempt is told.
    pub fn to_json_with(&self, attempts: &[Attempt]) -> Value {
        self.render(&attempts.iter().map(Attempt::to_json).collect())
    }

    fn render(&self, attempts: &Value) -> Value {
        json!({
            "id": self.id,
            "direction": self.direction,
            "kind": self.kind,
            "status": self.status,
            "attempts": attempts,
            "next_attempt_at": self.next_attempt_at_ms.map(format_time),
            "error_class": self.error_class,
            "error_detail": self.error_detail,
            "source_id": self.source_id,
            "instance": self.instance_id,
            "account": self.account_id,
            "customer": self.customer_id,
            "case_number": self.case_number,
            "message_id": self.message_id,
            "created_at": format_time(self.created_at_ms),
            "delivered_at": self.delivered_at_ms.map(format_time),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0190c0de-0000-7000-8000-000000000001";

    fn page(query: &[(&str, &str)]) -> Result<RecordPage, FieldErrors> {
        let query: Vec<_> = query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        RecordPage::read(&query)
    }

    #[test]
    fn pages() {
        let all = page(&[]).unwrap();
        assert_eq!(all, RecordPage { filter: RecordFilter::default(), limit: 50, cursor: None });
        let query = [("status", "dead"), ("direction", "to_x"), ("instance", ID), ("since", "2023-11-14")];
        let narrowed = page(&query).unwrap().filter;
        assert_eq!(narrowed.status, Some(DeliveryStatus::Dead));
        assert_eq!(narrowed.direction, Some(Direction::ToX));
        assert_eq!(narrowed.instance_id.as_deref(), Some(ID));
        assert_eq!(narrowed.since_ms, Some(1_699_920_000_000));
        assert!(page(&[("status", ""), ("unknown", "1"), ("limit", "200")]).is_ok());
        for wrong in [
            ("status", "gone"),
            ("direction", "up"),
            ("instance", "x"),
            ("since", "yesterday"),
            ("until", "1"),
            ("limit", "0"),
            ("limit", "201"),
            ("limit", "x"),
            ("cursor", "x"),
        ] {
            let errors = page(&[wrong]).unwrap_err().into_body();
            assert_eq!(errors.keys().collect::<Vec<_>>(), [wrong.0], "{wrong:?}");
        }
    }

    #[test]
    fn bulk_replays() {
        let read = |body: &Value| BulkReplay::read(body.as_object().unwrap());
        let all = read(&json!({})).unwrap();
        assert_eq!((all.filter.status, all.is_dry_run), (Some(DeliveryStatus::Dead), false));
        let dry =
            read(&json!({ "status": "dead", "dry_run": "true", "instance": null, "since": "" })).unwrap();
        assert!(dry.is_dry_run);
        assert_eq!(dry.rate, ReplayRate::default());
        assert_eq!(read(&json!({ "rate": "5 per 1s" })).unwrap().rate.to_string(), "5 per 1s");
        for wrong in [
            json!({ "status": "queued" }),
            json!({ "dry_run": "perhaps" }),
            json!({ "instance": "x" }),
            json!({ "until": 7 }),
            json!({ "rate": "fast" }),
            json!({ "rate": "5000 per 1s" }),
            json!({ "stauts": "dead" }),
        ] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
    }
}
