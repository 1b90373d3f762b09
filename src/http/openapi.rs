//! The OpenAPI 3.1 document and the page to try it.
//!
//! Paths, methods and who may call come from the table of routes itself, so they cannot drift; what a route
//! takes and answers is described in the files below, one for each group. A route without a description,
//! and a description without a route, fail a test.

mod accounts;
mod auth;
mod deliveries;
mod describe;
mod messages;
mod operators;
mod page;
mod schemas;

use std::sync::OnceLock;

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::{
    Components, HttpMethod, Info, License, OpenApi, OpenApiBuilder, PathItem, Paths, Server, Tag,
};

use self::describe::{Access, Description};
use super::frame::{Endpoint, Verb};
use super::problem::Problem;
use super::request::Request;
use super::{ROUTES, ops, reply};

pub(crate) use self::page::docs;

/// The name of the security scheme.
const TOKEN: &str = "Token";

const ABOUT: &str = "\
Casewire carries what customers write on X into ServiceNow cases, and what agents answer back to X.

Send `Authorization: Token <token>` with a token of `POST /auth/login/` or `POST /api/api-key/`. Lists are \
bare arrays with `X-Total-Count` and `Link`. Refusals are `{\"detail\": …}`, or messages by field. Bodies may \
be JSON or forms. Times are RFC 3339 in UTC.";

/// `GET /api/schema/`
pub(crate) async fn schema(_: Request) -> Result<HttpResponse, Problem> {
    static DOCUMENT: OnceLock<OpenApi> = OnceLock::new();
    let mut response = reply::ok(DOCUMENT.get_or_init(document));
    let fresh = HeaderValue::from_static("no-cache");
    response.headers_mut().insert(header::CACHE_CONTROL, fresh);
    Ok(response)
}

/// The whole document.
pub(crate) fn document() -> OpenApi {
    let mut info = Info::new("Casewire", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.to_owned());
    let mut license = License::new("Apache-2.0 OR MIT");
    license.identifier = Some("Apache-2.0 OR MIT".to_owned());
    info.license = Some(license);
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new("/")]))
        .tags(Some(tags()))
        .paths(paths())
        .components(Some(components()))
        .build()
}

fn tags() -> Vec<Tag> {
    let groups = [
        ("sessions", "Logging in, logging out, and tokens"),
        ("users", "Who may use the hub"),
        ("events", "ServiceNow to X: an agent's answer"),
        ("activity", "X to ServiceNow: the webhook that X calls"),
        ("instances", "The ServiceNow instances of a user"),
        ("accounts", "The linked X accounts of a user"),
        ("deliveries", "What became of what was accepted, and dead letters"),
        ("documents", "This document"),
        ("operators", "Health and metrics; at `server.ops_listen` if that is set"),
    ];
    let tag = |(name, about): (&str, &str)| {
        let mut tag = Tag::new(name);
        tag.description = Some(about.to_owned());
        tag
    };
    groups.map(tag).into()
}

fn components() -> Components {
    let mut header = ApiKeyValue::new("Authorization");
    header.description = Some("`Token ` and then the token, such as `Token 0123abcd…`".to_owned());
    let mut components = schemas::components();
    components.add_security_scheme(TOKEN, SecurityScheme::ApiKey(ApiKey::Header(header)));
    components
}

/// What is described, of all groups.
fn descriptions() -> Vec<Description> {
    [auth::routes(), messages::routes(), accounts::routes(), deliveries::routes(), operators::routes()]
        .into_iter()
        .flatten()
        .collect()
}

/// What is served: path, method, and who may call.
fn served() -> Vec<(&'static str, Verb, Access)> {
    let mut served = Vec::new();
    for resource in ROUTES {
        for (verb, endpoint) in resource.methods {
            let access = match endpoint {
                Endpoint::Public(_) => Access::Anyone,
                Endpoint::Page(_) => Access::Browser,
                Endpoint::User(_) => Access::User,
                Endpoint::Admin(_) => Access::Admin,
            };
            served.push((resource.path, *verb, access));
        }
    }
    served.extend(ops::PATHS.map(|path| (path, Verb::Get, Access::Operator)));
    served
}

fn paths() -> Paths {
    let descriptions = descriptions();
    let mut paths = Paths::new();
    for (path, verb, access) in served() {
        let description = descriptions.iter().find(|one| one.path == path && one.verb == verb);
        let Some(description) = description else { continue };
        let item = PathItem::new(method(verb), description.operation(access));
        match paths.paths.get_mut(path) {
            Some(known) => known.merge_operations(item),
            None => {
                paths.paths.insert(path.to_owned(), item);
            }
        }
    }
    paths
}

fn method(verb: Verb) -> HttpMethod {
    match verb {
        Verb::Get => HttpMethod::Get,
        Verb::Post => HttpMethod::Post,
        Verb::Put => HttpMethod::Put,
        Verb::Patch => HttpMethod::Patch,
        Verb::Delete => HttpMethod::Delete,
    }
}

#[cfg(test)]
mod tests;
