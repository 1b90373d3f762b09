//! Rows as ServiceNow writes them.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Number, Value};

use crate::domain::failure::{Effect, ErrorClass, Failure};

use super::errors::Verb;
use super::keys::SysId;

/// A field's value. Numbers and booleans come as text; a reference comes as a sys_id, as
/// `{link, value}`, as `{value, display_value}`, or as the whole record, depending on the API and
/// its parameters. An empty one is `""`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Field {
    Text(String),
    Number(Number),
    Flag(bool),
    Reference { value: String },
    Record { sys_id: String },
    Other(IgnoredAny),
}

/// A row: its fields by name.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Row(HashMap<String, Field>);

impl Row {
    /// The field's text; `None` when it is empty or was not sent.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let text = match self.0.get(name)? {
            Field::Text(text) | Field::Reference { value: text } | Field::Record { sys_id: text } => {
                text.clone()
            }
            Field::Number(number) => number.to_string(),
            Field::Flag(flag) => flag.to_string(),
            Field::Other(_) => return None,
        };
        (!text.is_empty()).then_some(text)
    }

    /// The field as the id of a record.
    pub(super) fn sys_id(&self, name: &str) -> Option<SysId> {
        SysId::parse(&self.text(name)?).ok()
    }

    /// The field as a boolean.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.text(name)?.as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }

    /// The field as a time, in epoch milliseconds. ServiceNow writes UTC without a zone.
    pub(super) fn time_ms(&self, name: &str) -> Option<i64> {
        let text = self.text(name)?;
        let time = chrono::NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S").ok()?;
        Some(time.and_utc().timestamp_millis())
    }
}

/// Reads one record.
pub(super) fn row(result: Value, verb: Verb) -> Result<Row, Failure> {
    serde_json::from_value(result).map_err(|_| unexpected(verb, "the answer's result is not a record"))
}

/// Reads a list of records.
pub(super) fn rows(result: Value) -> Result<Vec<Row>, Failure> {
    serde_json::from_value(result)
        .map_err(|_| unexpected(Verb::Read, "the answer's result is not a list of records"))
}

/// An answer of 200 or 201 that is not of the documented shape. `detail` holds nothing of the answer.
pub(super) fn unexpected(verb: Verb, detail: impl Into<String>) -> Failure {
    Failure {
        class: ErrorClass::Unexpected,
        effect: match verb {
            Verb::Read => Effect::None,
            Verb::Create | Verb::Update => Effect::Possible,
        },
        http_status: None,
        detail: detail.into(),
        retry_at_ms: None,
    }
}

/// The failure of a query whose filter evidently did nothing.
pub(super) fn filter_ignored(field: &str) -> Failure {
    unexpected(
        Verb::Read,
        format!(
            "rows came back that were not asked for: the instance ignored the filter on {field}; \
             let the integration user read and query that field"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_form_of_a_field() {
        let id = "0123456789abcdef0123456789abcdef";
        let row = row(
            json!({
                "plain": id,
                "linked": {"link": "https://a/api/now/table/t/x", "value": id},
                "shown": {"display_value": "Jo", "value": id},
                "shown_empty": {"display_value": "", "value": ""},
                "nested": {"name": "Jo", "sys_id": id, "active": "true"},
                "empty": "", "null": null, "list": ["a"], "object": {"a": {"b": 1}},
                "number": 18, "flag": true, "active": "false",
                "at": "1970-01-01 00:00:02", "odd": "yesterday",
            }),
            Verb::Read,
        )
        .unwrap();
        for name in ["plain", "linked", "shown", "nested"] {
            assert_eq!(row.sys_id(name).unwrap().as_str(), id, "{name}");
        }
        for name in ["shown_empty", "empty", "null", "list", "object", "missing"] {
            assert_eq!(row.text(name), None, "{name}");
        }
        assert_eq!(row.text("number").as_deref(), Some("18"));
        assert_eq!((row.flag("flag"), row.flag("active"), row.flag("at")), (Some(true), Some(false), None));
        assert_eq!((row.time_ms("at"), row.time_ms("odd")), (Some(2000), None));
    }

    #[test]
    fn other_shapes_are_failures() {
        for result in [json!("text"), json!(null), json!([{}]), json!(1)] {
            assert_eq!(row(result, Verb::Update).unwrap_err().effect, Effect::Possible);
        }
        for result in [json!("text"), json!(null), json!({}), json!([1]), json!([[]])] {
            assert_eq!(rows(result).unwrap_err().class, ErrorClass::Unexpected);
        }
    }
}
