//! What a refusal of X means.
//!
//! X has three forms of error bodies: problem+json (`title`, `detail`, `type`, `status`), the same
//! inside `errors` (also within a 200), and v1.1 `errors: [{code, message}]`; gateways add HTML and
//! nothing at all. All are read for three things: numeric codes, problem types and sentences.

mod named;
mod problem;

use std::fmt;

use crate::domain::failure::{Effect, ErrorClass, Failure};

use super::limits::Limits;
pub use named::Named;
use problem::Problem;

/// How long to leave X alone after its spam guard or the usage cap stopped a call, in milliseconds.
const LONG_PAUSE_MS: i64 = 60 * 60 * 1_000;

/// Whether a call can change anything at X.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// It only asks.
    Read,
    /// It sends or changes something.
    Write,
}

/// A call to X that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// What kind it was and what may have happened.
    pub failure: Failure,
    /// X's reason, where it is one that somebody can act on.
    pub refusal: Option<Refusal>,
    /// The error X names on its webhook and subscription routes.
    pub named: Option<Named>,
    /// What the headers of the answer told.
    pub limits: Limits,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failure.fmt(f)
    }
}

impl std::error::Error for CallError {}

/// Reasons of X that somebody can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// This customer takes no direct messages from the account.
    CannotMessage,
    /// The account has just posted the same text. After an uncertain attempt of the same delivery
    /// this proves that it arrived: treat it as done. Otherwise it is permanent.
    DuplicateText,
    /// X allows replies only where the author named or quoted the account.
    ReplyNotAllowed,
    /// The post or person does not exist any more or hides from the account.
    TargetGone,
    /// X has suspended the customer.
    TargetSuspended,
    /// X has locked or suspended the account itself.
    AccountLocked,
    /// The app or the token lacks a right.
    RightMissing,
    /// The text is too long.
    TooLong,
    /// X takes the call for spam.
    SpamGuard,
    /// The credit or the monthly cap of the app is used up.
    UsageCapped,
    /// X found the time stamp of the call wrong.
    WrongClock,
    /// Some other prohibition.
    Forbidden,
    /// X finds the request itself wrong.
    BadRequest,
}

impl Refusal {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CannotMessage => "cannot_message",
            Self::DuplicateText => "duplicate_text",
            Self::ReplyNotAllowed => "reply_not_allowed",
            Self::TargetGone => "target_gone",
            Self::TargetSuspended => "target_suspended",
            Self::AccountLocked => "account_locked",
            Self::RightMissing => "right_missing",
            Self::TooLong => "too_long",
            Self::SpamGuard => "spam_guard",
            Self::UsageCapped => "usage_capped",
            Self::WrongClock => "wrong_clock",
            Self::Forbidden => "forbidden",
            Self::BadRequest => "bad_request",
        }
    }

    /// What happened and what to do, for agents and operators.
    pub fn advice(self) -> &'static str {
        match self {
            Self::CannotMessage => {
                "this customer does not accept direct messages from the account: reply in public or ask them to write first"
            }
            Self::DuplicateText => {
                "the account has already posted the same text: change the wording to post it again"
            }
            Self::ReplyNotAllowed => {
                "x allows replies only to posts that name or quote the account: send a direct message instead"
            }
            Self::TargetGone => {
                "the post or user was deleted or is hidden from the account: nothing more can be sent to it"
            }
            Self::TargetSuspended => "x has suspended this customer: nothing more can be sent to them",
            Self::AccountLocked => {
                "x has locked or suspended the account: unlock it on x.com, then link it again"
            }
            Self::RightMissing => {
                "the app or token lacks a right: allow reading, writing and direct messages in the x developer portal, then link the account again"
            }
            Self::TooLong => "the text is too long for x: shorten it",
            Self::SpamGuard => {
                "x takes the call for automated spam: sending pauses for an hour; check the account on x.com"
            }
            Self::UsageCapped => {
                "the credit or monthly cap of the x app is used up: raise it in the x developer portal"
            }
            Self::WrongClock => "x finds the time stamp wrong: set this machine's clock",
            Self::Forbidden => {
                "x forbids it: the customer may not accept messages, or the token lacks a right"
            }
            Self::BadRequest => "x finds the request itself wrong: it will be refused again",
        }
    }

    fn class(self) -> ErrorClass {
        match self {
            Self::AccountLocked | Self::RightMissing => ErrorClass::Auth,
            Self::SpamGuard | Self::UsageCapped => ErrorClass::RateLimited,
            Self::WrongClock => ErrorClass::Unavailable,
            _ => ErrorClass::Permanent,
        }
    }
}

/// Judges an answer that is no success: any status outside 2xx, or a 2xx that carries only errors.
/// Nothing of the sent text gets into the result: sentences are repeated only of kinds that never quote it.
pub fn judge(call: Call, status: u16, body: &[u8], limits: Limits, now_ms: i64) -> Box<CallError> {
    let problem = Problem::read(body);
    let refusal = refusal_of(status, &problem);
    let class = match refusal {
        // For a look-up nothing is lost: the record is simply not there.
        Some(Refusal::TargetGone) if call == Call::Read => ErrorClass::NotFound,
        Some(refusal) => refusal.class(),
        None => class_of(status, &problem, &limits, now_ms),
    };
    let retry_at_ms = match (class, refusal) {
        (ErrorClass::RateLimited, Some(_)) => {
            limits.exhausted_until(now_ms).max(Some(now_ms.saturating_add(LONG_PAUSE_MS)))
        }
        (ErrorClass::RateLimited, None) => limits.retry_at(now_ms),
        (ErrorClass::Unavailable, _) => limits.asked_until(now_ms),
        _ => None,
    };
    let is_refused = (400..500).contains(&status) && status != 408;
    let effect = if call == Call::Read || is_refused { Effect::None } else { Effect::Possible };
    let advice = refusal.map_or_else(|| advice_of(class), Refusal::advice);
    let failure = Failure {
        class,
        effect,
        http_status: Some(status),
        detail: format!("{advice}; x answered {status}{}", problem.said()),
        retry_at_ms,
    };
    Box::new(CallError { failure, refusal, named: Named::of(&problem), limits })
}

fn class_of(status: u16, problem: &Problem, limits: &Limits, now_ms: i64) -> ErrorClass {
    match status {
        401 => ErrorClass::Auth,
        _ if problem.has_code(&[32, 89]) => ErrorClass::Auth,
        429 if limits.retry_at(now_ms).is_some() => ErrorClass::RateLimited,
        429 => ErrorClass::Busy,
        _ if problem.has_code(&[88]) => ErrorClass::Busy,
        408 | 500..=599 => ErrorClass::Unavailable,
        _ if problem.has_code(&[130, 131]) => ErrorClass::Unavailable,
        // A page of a gateway before X, not a word of X itself.
        402..=499 if !problem.is_json => ErrorClass::Unavailable,
        _ => ErrorClass::Unexpected,
    }
}

fn advice_of(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Auth => "the account's tokens are refused: link the account again",
        ErrorClass::RateLimited => "x counts calls and asks to wait",
        ErrorClass::Busy => "x asks to slow down",
        ErrorClass::Unavailable => "x is not available: the call is tried again",
        _ => "x answered something unexpected: check twitter.api_url",
    }
}

/// The order matters: codes first, because sentences change; the general cases last.
fn refusal_of(status: u16, problem: &Problem) -> Option<Refusal> {
    by_code(problem).or_else(|| by_words(status, problem)).or_else(|| by_status(status, problem))
}

/// Codes of the old API; they still appear behind the new one.
fn by_code(problem: &Problem) -> Option<Refusal> {
    problem.codes.iter().find_map(|code| match code {
        135 => Some(Refusal::WrongClock),
        149..=151 | 349 | 476 => Some(Refusal::CannotMessage),
        187 => Some(Refusal::DuplicateText),
        433 => Some(Refusal::ReplyNotAllowed),
        34 | 50 | 144 | 179 | 385 => Some(Refusal::TargetGone),
        63 => Some(Refusal::TargetSuspended),
        64 | 326 => Some(Refusal::AccountLocked),
        93 | 220 => Some(Refusal::RightMissing),
        186 | 354 => Some(Refusal::TooLong),
        226 => Some(Refusal::SpamGuard),
        _ => None,
    })
}

fn by_words(status: u16, problem: &Problem) -> Option<Refusal> {
    if status == 402
        || problem.has_kind(&["usage-capped", "credits-depleted"])
        || problem.says(&["usagecapexceeded"])
    {
        return Some(Refusal::UsageCapped);
    }
    if problem.has_kind(&["oauth1-permissions", "client-forbidden", "unsupported-authentication"]) {
        return Some(Refusal::RightMissing);
    }
    if !matches!(status, 200..=299 | 400 | 403 | 404) {
        return None;
    }
    let said = |words: &[&str]| problem.says(words);
    if said(&["duplicate content"]) {
        return Some(Refusal::DuplicateText);
    }
    if said(&[
        "permission to dm",
        "cannot send messages",
        "send message requests",
        "cannot send direct messages",
    ]) {
        return Some(Refusal::CannotMessage);
    }
    if said(&["appropriate oauth1 app permissions", "not permitted to access or delete", "dm.write"]) {
        return Some(Refusal::RightMissing);
    }
    if said(&["your account is suspended", "account is temporarily locked"]) {
        return Some(Refusal::AccountLocked);
    }
    if said(&["user has been suspended"]) {
        return Some(Refusal::TargetSuspended);
    }
    if said(&["deleted or not visible", "could not find"]) {
        return Some(Refusal::TargetGone);
    }
    if said(&[
        "reply to this conversation",
        "reply to this post",
        "reply to this tweet",
        "replying to",
        "summoned",
    ]) {
        return Some(Refusal::ReplyNotAllowed);
    }
    said(&["too long", "looks like automated"])
        .then(|| if said(&["too long"]) { Refusal::TooLong } else { Refusal::SpamGuard })
}

fn by_status(status: u16, problem: &Problem) -> Option<Refusal> {
    match status {
        404 if problem.is_json => Some(Refusal::TargetGone),
        403 if problem.is_json && !problem.has_code(&[32, 88, 89, 130, 131]) => Some(Refusal::Forbidden),
        400 | 405..=407 | 409..=428 | 430..=499
            if problem.is_json && !problem.has_code(&[32, 88, 89, 130, 131]) =>
        {
            Some(Refusal::BadRequest)
        }
        200..=299 if problem.has_kind(&["resource-not-found"]) => Some(Refusal::TargetGone),
        200..=299 if problem.has_kind(&["not-authorized-for-resource"]) => Some(Refusal::Forbidden),
        _ => None,
    }
}

/// A call that got no usable answer at all. A connection that was refused sent nothing; anything
/// later may still be running at X.
pub fn unanswered(call: Call, error: &reqwest::Error, limits: Limits) -> Box<CallError> {
    let (class, effect, detail) = match (call, error.is_connect(), error.is_builder()) {
        (_, _, true) => {
            (ErrorClass::Permanent, Effect::None, "the call could not be built: check twitter.api_url")
        }
        (_, true, _) => (
            ErrorClass::Unavailable,
            Effect::None,
            "x could not be reached: check the network and twitter.api_url",
        ),
        (Call::Read, _, _) => {
            (ErrorClass::Unavailable, Effect::None, "x did not answer: the question is asked again")
        }
        (Call::Write, _, _) => (
            ErrorClass::Uncertain,
            Effect::Pending,
            "x did not answer in time: whether it carried the call out is looked up before sending again",
        ),
    };
    let failure = Failure { class, effect, http_status: None, detail: detail.to_owned(), retry_at_ms: None };
    Box::new(CallError { failure, refusal: None, named: None, limits })
}

/// An answer that began well and cannot be used: cut, too large, or without what was promised.
pub fn unusable(call: Call, status: u16, what: &str, limits: Limits) -> Box<CallError> {
    let (class, effect) = match call {
        Call::Read => (ErrorClass::Unexpected, Effect::None),
        Call::Write => (ErrorClass::Uncertain, Effect::Possible),
    };
    let detail = format!("{what}; x answered {status}");
    let failure = Failure { class, effect, http_status: Some(status), detail, retry_at_ms: None };
    Box::new(CallError { failure, refusal: None, named: None, limits })
}

/// A call that was never sent, because it could only be refused.
pub fn unsent(refusal: Refusal, detail: &str) -> Box<CallError> {
    let failure = Failure {
        class: refusal.class(),
        effect: Effect::None,
        http_status: None,
        detail: detail.to_owned(),
        retry_at_ms: None,
    };
    Box::new(CallError { failure, refusal: Some(refusal), named: None, limits: Limits::default() })
}

#[cfg(test)]
mod tests;
