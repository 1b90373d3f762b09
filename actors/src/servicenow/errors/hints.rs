//! What operators are told: what happened, and what to do about it.

use crate::domain::failure::{Effect, ErrorClass};

use super::{Reply, Said, Verb, quote, written};

pub(super) const SLEEPING: &str =
    "the developer instance is hibernating: sign in at developer.servicenow.com to wake it";
pub(super) const SESSION_BUSY: &str = "the instance put the call aside (202): the integration user's session is busy; give the hub a user of its own";
pub(super) const REDIRECT: &str = "the instance redirects calls: check the instance's url, \
     and let the integration user sign in without single sign-on";
pub(super) const LOGIN_PAGE: &str = "a login page came instead of json: check the instance's url, \
     and let the integration user sign in locally, without single sign-on";
pub(super) const HTML_PAGE: &str =
    "a web page came instead of json: check the instance's url and what stands between it and the hub";
pub(super) const BROKEN_BODY: &str =
    "the answer is cut or not json: the instance may have cancelled the transaction while answering";
pub(super) const CANCELLED: &str = "the instance cancelled the transaction for its run time, \
     possibly after writing: look for slow business rules on the table";
pub(super) const NOT_FOUND: &str = "the record does not exist, or the integration user may not see it";
pub(super) const NOT_AN_INSTANCE: &str =
    "404 without servicenow's own error: check the instance's url and what stands between it and the hub";
pub(super) const REQUEST_TIMEOUT: &str = "the request did not reach the instance in time: check the network";
pub(super) const RATE_LIMITED: &str =
    "the instance's rate limit rule is used up: lower the rate, or raise the rule for the integration user";
pub(super) const QUEUE_FULL: &str = "the instance's queue for calls is full (429 without headers): lower the rate or the concurrency if it lasts";
pub(super) const MAINTENANCE: &str = "the instance is not available (503): maintenance or overload";

/// 401. The wordings tell apart what is wrong with the credentials.
pub(super) fn unauthenticated(reply: &Reply, said: &Said) -> String {
    let text = if reply.headers.contains_key("x-mfa_token") {
        "the instance demands multi-factor authentication: exempt the integration user, or use oauth or an api key"
    } else if said.message.eq_ignore_ascii_case("user is not authenticated") {
        "the credentials are refused: check user and password; if they are right, basic authentication is \
         restricted: give the user the role snc_basic_auth_api_access, or use oauth or an api key"
    } else {
        "the credentials are refused: check user and password, and that the user is active, not locked out \
         and need not change the password"
    };
    text.to_owned()
}

/// 403. Five causes are known; a write may have been carried out with some of them (KB2697679).
pub(super) fn forbidden(verb: Verb, said: &Said) -> (ErrorClass, Effect, String) {
    let words = said.lower();
    if words.contains("api level acl") {
        let hint = "this api is closed to the integration user: grant csm_ws_integration, \
                    or open the table to web services";
        return (ErrorClass::Auth, Effect::None, hint.to_owned());
    }
    if words.contains("unscoped api") {
        let hint =
            "the oauth client may not use this api: add its auth scope to the client, or use useraccount";
        return (ErrorClass::Auth, Effect::None, hint.to_owned());
    }
    if words.contains("rights to query") {
        let hint = "the integration user may not query a field the hub searches by: grant read on it";
        return (ErrorClass::Auth, Effect::None, hint.to_owned());
    }
    if words.contains("aborted by business rule") {
        let rule = business_rule(&said.detail);
        let hint =
            format!("the business rule '{rule}' of the instance refused it: exempt the integration user");
        return (ErrorClass::Permanent, written(verb), hint);
    }
    if words.contains("acl") || words.contains("insufficient rights") {
        return insufficient_rights(verb);
    }
    if said.html.is_some() {
        let hint = "403 with a web page: a firewall or the instance's address filter refuses the hub";
        return (ErrorClass::Unexpected, written(verb), hint.to_owned());
    }
    let hint = format!("the instance refused it (403 {}): check the integration user's roles", said.quote());
    (ErrorClass::Permanent, written(verb), hint)
}

/// Reading and creating need roles, which concerns every call: the queue stops. One record that
/// cannot be changed (a closed case is often read-only) concerns that record alone.
fn insufficient_rights(verb: Verb) -> (ErrorClass, Effect, String) {
    match verb {
        Verb::Read | Verb::Create => {
            let hint =
                "the integration user lacks rights: grant csm_ws_integration and sn_customerservice_agent";
            (ErrorClass::Auth, written(verb), hint.to_owned())
        }
        Verb::Update => {
            let hint = "the integration user may not change this record: it may be closed to changes; \
                        else grant csm_ws_integration and sn_customerservice_agent";
            (ErrorClass::Permanent, written(verb), hint.to_owned())
        }
    }
}

/// The rule's name in `… was aborted by Business Rule 'name^sys_id' …`.
fn business_rule(detail: &str) -> String {
    let after = detail.split_once("Business Rule '").map_or("", |(_, after)| after);
    quote(after.split(['^', '\'']).next().unwrap_or_default())
}

/// 400 and its like.
pub(super) fn refused(status: u16, said: &Said) -> String {
    let words = said.lower();
    if words.contains("invalid table") {
        return format!("{}: its plugin or update set is not installed", said.quote().to_lowercase());
    }
    if words.contains("does not represent any resource") {
        return "the instance does not know this api: install customer service management, or check the url"
            .to_owned();
    }
    if words.contains("large rest payload") {
        return "the request is too large for the instance: see glide.rest.max_content_length".to_owned();
    }
    match said.quote() {
        message if message.is_empty() => format!("the instance refused the request ({status})"),
        message => format!("the instance refused the request ({status} {message})"),
    }
}

/// 500 of any other cause.
pub(super) fn server_error(said: &Said) -> String {
    format!("the instance failed ({}): see its system log", format!("500 {}", said.quote()).trim_end())
}

/// 502, 504 and their like.
pub(super) fn gateway(status: u16) -> String {
    format!("a gateway answered for the instance ({status}): the call may still be running")
}

/// A status that has no place here.
pub(super) fn odd_status(status: u16) -> String {
    format!("an answer without content ({status}) where a record was due")
}
