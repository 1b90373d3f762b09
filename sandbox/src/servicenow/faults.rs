//! The ways in which the simulated ServiceNow fails on demand.

use std::time::Duration;

use serde::Deserialize;

use crate::clock;
use crate::faults::{Strike, duration_ms};
use crate::server::Reply;
use crate::servicenow::replies;

/// A failure of one call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnFault {
    /// 429 of an hourly rule, with `Retry-After` and `X-RateLimit-*`; not processed.
    RateLimitRule {
        /// Seconds until the call may be repeated.
        retry_after_s: u64,
    },
    /// 429 without headers or body: the node's queue is full; not processed.
    BareSemaphore,
    /// 202 without a body: thrown away by session synchronisation; not processed.
    Accepted202,
    /// 500 "Transaction cancelled", although the record was committed.
    Error500AfterCommit,
    /// 500 "Transaction cancelled", nothing committed.
    Error500BeforeCommit,
    /// The connection is closed without an answer after the commit.
    ResetAfterCommit,
    /// The connection is closed without an answer; nothing committed.
    ResetBeforeCommit,
    /// Nothing for the delay; then committed, also if the client has gone, and answered.
    #[serde(deserialize_with = "duration_ms")]
    SlowCommit(Duration),
    /// Committed at once, answered only after the delay.
    #[serde(deserialize_with = "duration_ms")]
    LateAnswer(Duration),
    /// Never committed, never answered.
    Hang,
    /// Committed; 200 whose JSON breaks off.
    BrokenJson200,
    /// 200 with a login page; not processed.
    LoginPage,
    /// 502 with HTML; not processed.
    Error502,
    /// 503 with HTML; not processed.
    Error503 {
        /// `Retry-After` in seconds.
        retry_after_s: Option<u64>,
    },
    /// 403: a business rule aborted the write; not committed.
    Error403BusinessRule,
    /// 403 although the record was committed: the response's ACL failed.
    Error403AfterCommit,
    /// 401; not processed.
    Unauthorized401,
    /// 404; not processed.
    NotFound404,
}

impl SnFault {
    pub(crate) fn strike(&self) -> Strike {
        match self {
            Self::RateLimitRule { retry_after_s } => {
                let after_s = i64::try_from(*retry_after_s).unwrap_or(i64::MAX / 2000);
                let reset_s = clock::now_ms() / 1000 + after_s;
                Strike::Instead(replies::rate_limited(100, reset_s, *retry_after_s))
            }
            Self::BareSemaphore => Strike::Instead(Reply::empty(429)),
            Self::Accepted202 => Strike::Instead(Reply::empty(202)),
            Self::Error500AfterCommit => Strike::Afterwards(replies::transaction_cancelled()),
            Self::Error500BeforeCommit => Strike::Instead(replies::transaction_cancelled()),
            Self::ResetAfterCommit => Strike::CutAfterwards,
            Self::ResetBeforeCommit => Strike::CutInstead,
            Self::SlowCommit(delay) => Strike::LateCommit(*delay),
            Self::LateAnswer(delay) => Strike::LateAnswer(*delay),
            Self::Hang => Strike::Never,
            Self::BrokenJson200 => Strike::BrokenOff,
            Self::LoginPage => Strike::Instead(Reply::html(200, replies::LOGIN_PAGE)),
            Self::Error502 => Strike::Instead(replies::gateway_error(502, "Bad Gateway")),
            Self::Error503 { retry_after_s } => {
                let reply = replies::gateway_error(503, "Service Temporarily Unavailable");
                Strike::Instead(match retry_after_s {
                    Some(seconds) => reply.with("Retry-After", seconds.to_string()),
                    None => reply,
                })
            }
            Self::Error403BusinessRule => Strike::Instead(replies::business_rule()),
            Self::Error403AfterCommit => Strike::Afterwards(replies::acl()),
            Self::Unauthorized401 => Strike::Instead(replies::not_authenticated()),
            Self::NotFound404 => Strike::Instead(replies::not_found()),
        }
    }
}
