//! How a call to ServiceNow or to X went wrong, in the words that decide what happens next.

use std::fmt;

/// What kind of failure it was. The label of `casewire_attempts_total{error_class}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The request itself is refused and will be refused again: the delivery goes to the dead letters.
    Permanent,
    /// The credentials are refused: the queue stops until they are changed.
    Auth,
    /// The other side counts calls and tells when to come back.
    RateLimited,
    /// Too many calls at this moment (a bare 429, a 202 of session synchronisation): back off, no hint given.
    Busy,
    /// A developer instance is hibernating.
    Sleeping,
    /// Not reached, or a 5xx: try again later.
    Unavailable,
    /// No usable answer to a call that was sent: see [`Effect`].
    Uncertain,
    /// The answer was not what the documentation promises (a login page, a row that was not asked for).
    Unexpected,
    /// The addressed record does not exist or cannot be seen.
    NotFound,
}

impl ErrorClass {
    /// The stable name in records, metrics and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Auth => "auth",
            Self::RateLimited => "rate_limited",
            Self::Busy => "busy",
            Self::Sleeping => "sleeping",
            Self::Unavailable => "unavailable",
            Self::Uncertain => "uncertain",
            Self::Unexpected => "unexpected",
            Self::NotFound => "not_found",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a failed call may have changed anything on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It did not: refused before anything was written, or never sent.
    None,
    /// The hub itself did not let it start: a limit that it keeps is used up, a pause began, the process ends,
    /// or its own store did not answer. The other side knows nothing of it, so it is no failed attempt.
    NotTried,
    /// It may have; the call is over (an answer came), so a look-up now tells the truth.
    Possible,
    /// It may have, or may still do so: no answer came and the call may be running over there.
    /// A look-up tells the truth only after the whole time-out has passed since sending.
    Pending,
}

/// A call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{class}: {detail}")]
pub struct Failure {
    /// What kind it was.
    pub class: ErrorClass,
    /// Whether it may have had an effect.
    pub effect: Effect,
    /// The HTTP status, when there was an answer.
    pub http_status: Option<u16>,
    /// For operators: what the other side said and what to do; no secret, no message text.
    pub detail: String,
    /// When the other side asked to be left alone until then, in epoch milliseconds.
    pub retry_at_ms: Option<i64>,
}
