//! What the resources of a user's settings share: whose records are meant, which page of them, and
//! how the fields of a body are handed on.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use casewire_actors::directory::DirectoryError;
use casewire_actors::domain::fields::FieldErrors;
use casewire_actors::domain::requester::Requester;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::auth::Caller;
use super::body::Body;
use super::negotiate::path_uuid;
use super::problem::Problem;
use super::reply;
use super::request::Request;

const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");
/// How many records a page has when nothing is said, and how many at most.
const DEFAULT_LIMIT: i64 = 100;
const MAX_LIMIT: i64 = 1000;
/// When a caller should come back while the store is away.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// The caller as the actors know them.
pub(super) fn requester(caller: &Caller) -> Requester {
    Requester { user_id: caller.user.id.clone(), is_admin: caller.user.is_staff }
}

/// The id in the path; one that is none is no record.
pub(super) fn id_of(request: &Request) -> Result<String, Problem> {
    path_uuid(request.segment("id")).map(|id| id.to_string()).ok_or(Problem::NotFound)
}

/// The id in a query parameter.
pub(super) fn query_id(request: &Request, name: &str) -> Result<Option<String>, Problem> {
    let Some(text) = request.query(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let id = Uuid::try_parse(&text).map_err(|_| Problem::field(name, "Must be a valid UUID."))?;
    Ok(Some(id.to_string()))
}

/// Whose records are listed: the caller's own, or those of an admin's `?user=`.
pub(super) fn listed_user(request: &Request, caller: &Caller) -> Result<String, Problem> {
    match query_id(request, "user")? {
        None => Ok(caller.user.id.clone()),
        Some(user_id) if caller.may_act_for(&user_id) => Ok(user_id),
        Some(_) => Err(Problem::PermissionDenied),
    }
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) limit: i64,
    pub(super) offset: i64,
}

impl Window {
    /// Reads `?limit=&offset=`.
    pub(super) fn of(request: &Request) -> Result<Self, Problem> {
        let limit = number(request, "limit", 1, MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
        let offset = number(request, "offset", 0, i64::MAX - MAX_LIMIT)?.unwrap_or(0);
        Ok(Self { limit, offset })
    }

    /// Answers with a part of a list, and where its neighbours are.
    pub(super) fn answer(self, request: &Request, rows: &[Value], n_total: i64) -> HttpResponse {
        let mut links = Vec::new();
        let next = self.offset.saturating_add(self.limit);
        if next < n_total {
            links.push(self.link(request, next, "next"));
        }
        if self.offset > 0 {
            links.push(self.link(request, (self.offset - self.limit).max(0), "prev"));
        }
        list(rows, n_total, &links)
    }

    fn link(self, request: &Request, offset: i64, relation: &str) -> String {
        let pairs = [("limit", self.limit.to_string()), ("offset", offset.to_string())];
        link(request, &pairs, relation)
    }
}

fn number(request: &Request, name: &str, least: i64, most: i64) -> Result<Option<i64>, Problem> {
    let Some(text) = request.query(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let number: i64 = text.parse().map_err(|_| Problem::field(name, "A valid integer is required."))?;
    if number < least {
        let message = format!("Ensure this value is greater than or equal to {least}.");
        return Err(Problem::field(name, message));
    }
    if number > most {
        return Err(Problem::field(name, format!("Ensure this value is less than or equal to {most}.")));
    }
    Ok(Some(number))
}

/// Answers with a bare array.
pub(super) fn list(rows: &[Value], n_total: i64, links: &[String]) -> HttpResponse {
    let mut response = reply::ok(&rows);
    response.headers_mut().insert(TOTAL_COUNT, HeaderValue::from(n_total));
    if let (false, Ok(links)) = (links.is_empty(), HeaderValue::from_str(&links.join(", "))) {
        response.headers_mut().insert(header::LINK, links);
    }
    response
}

/// A link to another part of the list: the present query with these parameters instead.
pub(super) fn link(request: &Request, pairs: &[(&str, String)], relation: &str) -> String {
    let query = request.http().query_string();
    let mut written = url::form_urlencoded::Serializer::new(String::new());
    let kept = url::form_urlencoded::parse(query.as_bytes());
    written.extend_pairs(kept.filter(|(key, _)| pairs.iter().all(|(name, _)| name != key)));
    written.extend_pairs(pairs);
    format!("<{}{}?{}>; rel=\"{relation}\"", request.base_url(), request.http().path(), written.finish())
}

/// The fields of a body. A form cannot leave a field out that it shows, so an empty one is none.
pub(super) async fn fields_of(request: &mut Request) -> Result<Map<String, Value>, Problem> {
    let body = request.body().await?;
    let mut fields = body.fields()?.clone();
    let surrogate = fields.iter().find_map(|(name, value)| Some((name, surrogate_in(&body, value)?)));
    if let Some((name, code)) = surrogate {
        return Err(Problem::field(name, format!("Surrogate characters are not allowed: U+{code:X}.")));
    }
    if body.is_form() {
        fields.retain(|_, value| value.as_str() != Some(""));
    }
    Ok(fields)
}

fn surrogate_in(body: &Body, value: &Value) -> Option<u32> {
    match value {
        Value::String(text) => body.lone_surrogate(text),
        Value::Array(values) => values.iter().find_map(|value| surrogate_in(body, value)),
        Value::Object(fields) => fields
            .iter()
            .find_map(|(name, value)| body.lone_surrogate(name).or_else(|| surrogate_in(body, value))),
        _ => None,
    }
}

impl From<FieldErrors> for Problem {
    fn from(errors: FieldErrors) -> Self {
        Self::Invalid(errors.into_body())
    }
}

/// What the directory refused, of records of this kind.
pub(super) fn refusal(kind: &'static str) -> impl Fn(DirectoryError) -> Problem {
    move |error| match error {
        DirectoryError::NotFound => Problem::NoSuch(kind),
        DirectoryError::Invalid(errors) => errors.into(),
        DirectoryError::Contended => Problem::Unavailable(Duration::from_secs(1)),
        DirectoryError::Unavailable(error) => unavailable(&error),
        DirectoryError::Internal(error) => internal(&error),
    }
}

/// 503: the store is away.
pub(super) fn unavailable(error: &str) -> Problem {
    tracing::warn!(error, "the store was not available; the caller is asked to try again");
    Problem::Unavailable(STORE_PAUSE)
}

/// 500: a bug.
pub(super) fn internal(error: &str) -> Problem {
    tracing::error!(error, "a request failed through a fault of the hub; report this line");
    Problem::Internal
}
