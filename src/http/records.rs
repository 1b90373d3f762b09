//! What the resources of a user's settings share: whose records are meant, and how the fields of a
//! body are handed on.

use casewire_actors::directory::DirectoryError;
use casewire_actors::domain::fields::FieldErrors;
use casewire_actors::domain::requester::Requester;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::auth::Caller;
use super::body::Body;
use super::negotiate::path_uuid;
use super::problem::Problem;
use super::request::Request;

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
        DirectoryError::Contended => Problem::contended(),
        DirectoryError::Unavailable(error) => Problem::store_away(&error),
        DirectoryError::Internal(error) => Problem::internal(&error),
    }
}
