//! Reading what a client sent: `sysparm_…` parameters and JSON records.

use serde_json::Value;

use crate::server::{Call, Reply};
use crate::servicenow::replies;
use crate::servicenow::show::{Display, References, View};
use crate::servicenow::store::Fields;

/// ServiceNow's own default.
const DEFAULT_LIMIT: usize = 10_000;
/// `glide.rest.max_content_length`.
const MAX_BODY_BYTES: u64 = 10_485_760;

/// The query of a call.
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    pub(crate) fn read(call: &Call) -> Self {
        Self { pairs: call.query_pairs() }
    }

    /// The value of `sysparm_<name>`, which may also be written without the prefix.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let is_it = |given: &str| given.strip_prefix("sysparm_").unwrap_or(given) == name;
        self.pairs.iter().find(|(given, _)| is_it(given)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    pub(crate) fn limit(&self) -> usize {
        self.get("limit").and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_LIMIT)
    }

    pub(crate) fn offset(&self) -> usize {
        self.get("offset").and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn view(&self, references: References, url: &str) -> View {
        let fields = self.get("fields").filter(|fields| !fields.is_empty());
        let fields = fields.map(|fields| fields.split(',').map(|field| field.trim().to_owned()).collect());
        let display = match self.get("display_value") {
            Some("true") => Display::True,
            Some("all") => Display::All,
            _ => Display::False,
        };
        View { fields, display, references, url: url.to_owned() }
    }

    /// The encoded query, or the `name=value` filters that may stand in its place.
    pub(crate) fn query(&self) -> String {
        if let Some(query) = self.get("query") {
            return query.to_owned();
        }
        let filters = self.pairs.iter().filter(|(name, _)| !name.starts_with("sysparm_"));
        filters.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("^")
    }

    /// The `Link` header of a page: first, prev, next, last.
    pub(crate) fn links(&self, call: &Call, url: &str, n_rows: usize) -> String {
        let (limit, offset) = (self.limit().max(1), self.offset());
        let link = |rel: &str, offset: usize| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            for (name, value) in &self.pairs {
                if !matches!(name.strip_prefix("sysparm_").unwrap_or(name), "limit" | "offset") {
                    query.append_pair(name, value);
                }
            }
            query.append_pair("sysparm_limit", &limit.to_string());
            query.append_pair("sysparm_offset", &offset.to_string());
            format!("<{url}{}?{}>;rel=\"{rel}\"", call.raw_path, query.finish())
        };
        let mut links = vec![link("first", 0)];
        if offset > 0 {
            links.push(link("prev", offset.saturating_sub(limit)));
        }
        if offset + limit < n_rows {
            links.push(link("next", offset + limit));
        }
        links.push(link("last", n_rows.saturating_sub(1) / limit * limit));
        links.join(",")
    }
}

/// The one record of a write. Values become strings; of an array only the first member counts.
pub(crate) fn record(call: &Call) -> Result<Fields, Reply> {
    let length = call.too_large.unwrap_or(call.body.len() as u64);
    if length > MAX_BODY_BYTES {
        let detail = format!(
            "Rejected large REST payload with content-length = {length} bytes. Max allowed: {MAX_BODY_BYTES} bytes."
        );
        return Err(replies::bad_body(&detail));
    }
    let kind = call.content_type.as_deref().unwrap_or_default();
    if call.accept.is_none() || !kind.starts_with("application/json") {
        return Err(replies::bad_body(
            "Accept and Content-Type headers are needed and must name application/json",
        ));
    }
    let body: Value = serde_json::from_slice(&call.body)
        .map_err(|_| replies::bad_body("The payload is not valid JSON."))?;
    let body = match body {
        Value::Array(members) => members.into_iter().next().unwrap_or_default(),
        body => body,
    };
    let Value::Object(members) = body else {
        return Err(replies::bad_body("The payload is not an object."));
    };
    Ok(members.into_iter().filter_map(|(name, value)| Some((name, as_text(value)?))).collect())
}

fn as_text(value: Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(value) => Some(value),
        // A reference as it was read.
        Value::Object(mut members) => members.remove("value").and_then(as_text),
        Value::Array(_) => None,
    }
}
