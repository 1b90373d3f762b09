//! Bodies and headers as real instances send them.

use serde_json::{Value, json};

use crate::server::Reply;

pub(crate) const JSON: &str = "application/json;charset=UTF-8";

pub(crate) const HIBERNATING: &str = "<html>\n<head>\n<title>Instance Hibernating page</title>\n</head>\n<body>\n\
<div class=\"instance-hibernating-page\">\n<h1>Your instance is hibernating</h1>\n\
<div class=\"information\">Sign in to the <a href=\"https://developer.servicenow.com\">developer site</a> \
to wake it up.</div>\n</div>\n</body>\n</html>\n";

pub(crate) const LOGIN_PAGE: &str = "<!DOCTYPE html><html><head><title>Log in | ServiceNow</title></head>\n\
<body><form action=\"/login.do\" method=\"post\"><input name=\"user_name\">\
<input type=\"password\" name=\"user_password\"></form></body></html>\n";

pub(crate) fn result(status: u16, result: &Value) -> Reply {
    Reply::json(status, &json!({"result": result})).typed(JSON)
}

pub(crate) fn error(status: u16, message: &str, detail: Option<&str>) -> Reply {
    Reply::json(status, &json!({"error": {"message": message, "detail": detail}, "status": "failure"}))
        .typed(JSON)
}

pub(crate) fn not_found() -> Reply {
    error(404, "No Record found", Some("Record doesn't exist or ACL restricts the record retrieval"))
}

pub(crate) fn unknown_uri() -> Reply {
    error(400, "Requested URI does not represent any resource", None)
}

pub(crate) fn invalid_table(name: &str) -> Reply {
    error(400, &format!("Invalid table {name}"), None)
}

pub(crate) fn acl() -> Reply {
    error(403, "Operation Failed", Some("ACL Exception due to insufficient rights"))
}

pub(crate) fn business_rule() -> Reply {
    let detail = "Operation against file 'sn_customerservice_case' was aborted by Business Rule \
                  'Check entitlement^5b0a5d1fdb1e4410a8b7d7a3ca961911'. Business Rule Stack:Check entitlement";
    error(403, "Operation Failed", Some(detail))
}

pub(crate) fn bad_body(detail: &str) -> Reply {
    error(400, "Exception while reading request", Some(detail))
}

pub(crate) fn transaction_cancelled() -> Reply {
    let message = "Transaction cancelled: maximum execution time exceeded";
    error(500, message, Some(&format!("{message}. Check logs for error trace.")))
}

pub(crate) fn not_authenticated() -> Reply {
    error(401, "User Not Authenticated", Some("Required to provide Auth information"))
        .with("WWW-Authenticate", "BASIC realm=\"Service-now\"")
}

/// What everybody gets from basic authentication where it is restricted, the right password or not.
pub(crate) fn basic_auth_restricted() -> Reply {
    error(401, "User is not authenticated", Some("Required to provide Auth information"))
        .with("WWW-Authenticate", "BASIC realm=\"Service-now\"")
}

pub(crate) fn bearer_refused() -> Reply {
    error(401, "User is not authenticated", Some("Required to provide Auth information"))
        .with("WWW-Authenticate", "BEARER realm=\"Service-now\"")
        .with("WWW-Authenticate", "BASIC realm=\"Service-now\"")
}

/// 429 of an hourly rule. `reset_s`: unix seconds.
pub(crate) fn rate_limited(limit: u32, reset_s: i64, retry_after_s: u64) -> Reply {
    let detail = format!("Rate limit of {limit} requests per hour for Table API exceeded");
    error(429, "Rate limit exceeded", Some(&detail))
        .with("X-RateLimit-Limit", limit.to_string())
        .with("X-RateLimit-Reset", reset_s.to_string())
        .with("X-RateLimit-Rule", RATE_RULE)
        .with("Retry-After", retry_after_s.to_string())
}

/// The `sys_id` of the instance's rate limit rule.
pub(crate) const RATE_RULE: &str = "8f1d3c0e4a5b6c7d8e9f0a1b2c3d4e5f";

pub(crate) fn gateway_error(status: u16, title: &str) -> Reply {
    let page = format!(
        "<html><head><title>{status} {title}</title></head><body><center><h1>{status} {title}</h1></center></body></html>\n"
    );
    let mut reply = Reply::html(status, &page);
    reply.content_type = "text/html";
    reply
}

/// The headers that every answer of an instance carries.
pub(crate) fn dress(mut reply: Reply, is_logged_in: bool, sends_cookies: bool) -> Reply {
    let random = rand::random::<u128>();
    let mut add = |name, value: String| reply.headers.push((name, value));
    add("Server-Timing", "sem_wait;dur=0, sesh_wait;dur=0".to_owned());
    add("X-Is-Logged-In", is_logged_in.to_string());
    add("X-Transaction-ID", format!("{:012x}", random & 0xFFFF_FFFF_FFFF));
    add("X-Content-Type-Options", "nosniff".to_owned());
    add("Pragma", "no-store,no-cache".to_owned());
    add("Cache-Control", "no-cache,no-store,must-revalidate,max-age=-1".to_owned());
    add("Expires", "0".to_owned());
    add("Server", "ServiceNow".to_owned());
    if sends_cookies {
        // Real ones are `Secure`; these are not, so that a careless client really sends them back over http.
        add("Set-Cookie", format!("JSESSIONID={random:032X}; Path=/; HttpOnly"));
        add(
            "Set-Cookie",
            format!("glide_user_route=glide.{random:032x}; Max-Age=2147483647; Path=/; HttpOnly"),
        );
        add("Set-Cookie", "BIGipServerpool_sandbox=999184138.46398.0000; path=/; Httponly".to_owned());
    }
    reply
}
