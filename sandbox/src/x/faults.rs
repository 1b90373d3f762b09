//! The ways in which the simulated X fails on demand.

use std::time::Duration;

use serde::Deserialize;

use crate::clock;
use crate::faults::{Strike, duration_ms};
use crate::server::Reply;
use crate::x::replies;

/// A failure of one call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum XFault {
    /// 500 and nothing stored.
    Status500BeforeCommit,
    /// 500 although the message was stored.
    Status500AfterCommit,
    /// 503 and nothing stored.
    Status503,
    /// The connection is closed without a reply; nothing stored.
    ResetBeforeCommit,
    /// The connection is closed without a reply after the message was stored.
    ResetAfterCommit,
    /// Stored at once, answered only after the delay.
    #[serde(deserialize_with = "duration_ms")]
    TimeoutAfterCommit(Duration),
    /// Nothing for the delay; then stored, also if the client has gone, and answered.
    #[serde(deserialize_with = "duration_ms")]
    SlowCommit(Duration),
    /// Stored never, answered never.
    Hang,
    /// 429 whose window ends after this time.
    RateLimited {
        /// Time until `x-rate-limit-reset`.
        #[serde(deserialize_with = "duration_ms")]
        reset_in: Duration,
    },
    /// 401 code 89: the token is dead.
    Unauthorized,
    /// 403 code 349: this person takes no messages from the account.
    CannotDm,
    /// 403: the same text was posted before.
    Duplicate,
    /// 403 code 433: the author does not let this account reply.
    ReplyNotAllowed,
    /// 403 code 326: the account is locked.
    AccountLocked,
}

impl XFault {
    pub(crate) fn strike(&self) -> Strike {
        match self {
            Self::Status500BeforeCommit => Strike::Instead(replies::server_error(500)),
            Self::Status500AfterCommit => Strike::Afterwards(replies::server_error(500)),
            Self::Status503 => Strike::Instead(replies::server_error(503)),
            Self::ResetBeforeCommit => Strike::CutInstead,
            Self::ResetAfterCommit => Strike::CutAfterwards,
            Self::TimeoutAfterCommit(delay) => Strike::LateAnswer(*delay),
            Self::SlowCommit(delay) => Strike::LateCommit(*delay),
            Self::Hang => Strike::Never,
            Self::RateLimited { reset_in } => Strike::Instead(rate_limited(*reset_in)),
            Self::Unauthorized => Strike::Instead(replies::v1_error(401, 89, "Invalid or expired token.")),
            Self::CannotDm => Strike::Instead(replies::cannot_dm()),
            Self::Duplicate => Strike::Instead(replies::duplicate_post()),
            Self::ReplyNotAllowed => Strike::Instead(replies::v1_error(
                403,
                433,
                "The original Tweet author restricted who can reply to this Tweet.",
            )),
            Self::AccountLocked => Strike::Instead(replies::v1_error(
                403,
                326,
                "To protect our users from spam and other malicious activity, this account is temporarily locked.",
            )),
        }
    }
}

fn rate_limited(reset_in: Duration) -> Reply {
    let reset_in_ms = i64::try_from(reset_in.as_millis()).unwrap_or(i64::MAX / 2);
    // Rounded up: the window must be over when the told second begins.
    let reset_s = (clock::now_ms() + reset_in_ms + 999) / 1000;
    replies::too_many_requests()
        .with("x-rate-limit-limit", "15")
        .with("x-rate-limit-remaining", "0")
        .with("x-rate-limit-reset", reset_s.to_string())
}
