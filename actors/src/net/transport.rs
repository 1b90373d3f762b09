//! What a call that got no answer means.

use std::error::Error as _;

use crate::domain::failure::{Effect, ErrorClass, Failure};

use super::guard::Forbidden;
use super::target::ResolveError;

/// Reads the client's error. What never left is `Unavailable` without effect; what was sent and
/// got no answer is `Uncertain` and may still be running over there; a refusal of the guard is
/// `Permanent`. The text holds no URL: a query may carry what is nobody's business.
pub fn failure_of(error: &reqwest::Error) -> Failure {
    if let Some(refusal) = guard_refusal(error) {
        return not_sent(
            ErrorClass::Permanent,
            format!("{refusal}: the hub does not connect there; correct the url or allow private networks"),
        );
    }
    if error.is_builder() {
        let detail = "the request could not be built: check the url and the credentials for odd characters";
        return not_sent(ErrorClass::Permanent, detail.to_owned());
    }
    if error.is_connect() {
        return not_sent(ErrorClass::Unavailable, connect_detail(error));
    }
    let detail = if error.is_timeout() {
        "no answer within the time-out: the call may still be running over there"
    } else {
        "the connection ended before the answer: the call may have been carried out"
    };
    Failure {
        class: ErrorClass::Uncertain,
        effect: Effect::Pending,
        http_status: None,
        detail: detail.to_owned(),
        retry_at_ms: None,
    }
}

fn not_sent(class: ErrorClass, detail: String) -> Failure {
    Failure { class, effect: Effect::None, http_status: None, detail, retry_at_ms: None }
}

fn connect_detail(error: &reqwest::Error) -> String {
    if let Some(ResolveError::Unknown { .. }) = find::<ResolveError>(error) {
        return "the name does not resolve: check the instance's url and the resolver".to_owned();
    }
    if error.is_timeout() {
        return "no connection within the time-out: check the network and the firewall".to_owned();
    }
    if find::<rustls::Error>(error).is_some() {
        return "no secure connection: check the instance's certificate and the system's ca certificates"
            .to_owned();
    }
    "no connection: check the network and that the instance is up".to_owned()
}

fn guard_refusal(error: &reqwest::Error) -> Option<Forbidden> {
    match find::<ResolveError>(error) {
        Some(ResolveError::Forbidden { forbidden, .. }) => Some(*forbidden),
        _ => find::<Forbidden>(error).copied(),
    }
}

/// Looks for an error of one type among the causes; an I/O error keeps its own beneath it.
fn find<E: std::error::Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    let mut cause = error.source();
    while let Some(current) = cause {
        if let Some(found) = current.downcast_ref::<E>() {
            return Some(found);
        }
        let beneath = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(found) = beneath.and_then(|inner| inner.downcast_ref::<E>()) {
            return Some(found);
        }
        cause = current.source();
    }
    None
}
