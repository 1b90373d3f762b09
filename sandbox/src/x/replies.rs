//! X's three forms of an error body: problem, problem with `errors`, and v1.1's numbered errors.

use serde_json::{Value, json};

use crate::server::Reply;

const PROBLEM: &str = "application/problem+json; charset=utf-8";

fn problem(status: u16, title: &str, kind: &str, detail: &str) -> Reply {
    let body = json!({"title": title, "detail": detail, "type": kind, "status": status});
    Reply::json(status, &body).typed(PROBLEM)
}

/// A problem of type `about:blank`.
pub(crate) fn blank(status: u16, title: &str, detail: &str) -> Reply {
    problem(status, title, "about:blank", detail)
}

/// `{"errors":[{"code","message"}]}` of API v1.1, which v2 still sends in places.
pub(crate) fn v1_error(status: u16, code: u32, message: &str) -> Reply {
    Reply::json(status, &json!({"errors": [{"code": code, "message": message}]}))
        .typed("application/json; charset=utf-8")
}

/// 400 for a body or parameter that the OpenAPI document does not allow.
pub(crate) fn invalid_request(parameter: &str, value: &str, message: &str) -> Reply {
    let parameters: Value = if parameter.is_empty() { json!({}) } else { json!({ parameter: [value] }) };
    let body = json!({
        "errors": [{"parameters": parameters, "message": message}],
        "title": "Invalid Request",
        "detail": "One or more parameters to your request was invalid.",
        "type": "https://api.x.com/2/problems/invalid-request",
        "status": 400,
    });
    Reply::json(400, &body).typed(PROBLEM)
}

/// 400 of the webhook routes; `reason` is one of the documented words such as `CrcValidationFailed`.
pub(crate) fn webhook_refused(reason: &str, message: &str) -> Reply {
    let body = json!({
        "errors": [{"reason": reason, "message": format!("{reason}: {message}")}],
        "title": reason,
        "detail": message,
        "type": "https://api.x.com/2/problems/invalid-request",
        "status": 400,
    });
    Reply::json(400, &body).typed(PROBLEM)
}

pub(crate) fn not_found(kind: &str, id: &str) -> Reply {
    let body = json!({
        "title": "Not Found Error",
        "detail": format!("Could not find {kind} with id: [{id}]."),
        "type": "https://api.x.com/2/problems/resource-not-found",
        "resource_type": kind,
        "resource_id": id,
        "value": id,
        "status": 404,
    });
    Reply::json(404, &body).typed(PROBLEM)
}

pub(crate) fn no_such_route() -> Reply {
    blank(404, "Not Found", "Not Found")
}

pub(crate) fn unauthorized() -> Reply {
    blank(401, "Unauthorized", "Unauthorized")
}

pub(crate) fn wrong_auth_kind(used: &str, supported: &str) -> Reply {
    let detail = format!(
        "Authenticating with {used} is forbidden for this endpoint.  Supported authentication types are [{supported}]."
    );
    problem(
        403,
        "Unsupported Authentication",
        "https://api.x.com/2/problems/unsupported-authentication",
        &detail,
    )
}

pub(crate) fn too_many_requests() -> Reply {
    blank(429, "Too Many Requests", "Too Many Requests")
}

pub(crate) fn server_error(status: u16) -> Reply {
    let title = if status == 503 { "Service Unavailable" } else { "Internal Server Error" };
    blank(status, title, title)
}

pub(crate) fn cannot_dm() -> Reply {
    v1_error(403, 349, "You cannot send messages to this user.")
}

pub(crate) fn duplicate_post() -> Reply {
    blank(403, "Forbidden", "You are not allowed to create a Tweet with duplicate content.")
}
