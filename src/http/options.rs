//! What `OPTIONS` answers: the resource's name and forms, as Django REST framework tells them.

use actix_web::HttpResponse;
use serde::Serialize;
use serde_json::{Value, json};

use super::auth::Caller;
use super::frame::{Answer, Resource, Verb};
use super::reply;
use super::request::Request;

/// What a resource's `OPTIONS` tells beyond its name.
#[derive(Clone, Copy)]
pub(crate) enum Metadata {
    /// Nothing.
    Plain,
    /// The fields of a form, in JSON.
    Form(Verb, &'static str),
    /// The same, for callers whom the check lets pass.
    FormFor(Verb, &'static str, fn(Request, Caller) -> Answer),
}

#[derive(Serialize)]
struct Description {
    name: &'static str,
    #[serde(rename = "description")]
    text: &'static str,
    renders: [&'static str; 1],
    parses: [&'static str; 3],
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<Value>,
}

/// The answer to `OPTIONS`.
pub(crate) async fn describe(resource: &Resource, request: Request, caller: Option<Caller>) -> HttpResponse {
    let form = match (resource.metadata, caller) {
        (Metadata::Form(verb, fields), _) => Some((verb, fields)),
        (Metadata::FormFor(verb, fields, check), Some(caller)) => {
            check(request, caller).await.is_ok().then_some((verb, fields))
        }
        _ => None,
    };
    let action = |(verb, fields): (Verb, &str)| {
        let fields: Value = serde_json::from_str(fields).ok()?;
        Some(json!({ verb.as_str(): fields }))
    };
    reply::ok(&Description {
        name: resource.name,
        text: "",
        renders: ["application/json"],
        parses: ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"],
        actions: form.and_then(action),
    })
}
