//! The lasting states of an instance: asleep, hanging, slow, limited; and its sessions.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock;
use crate::server::{Call, Reply};
use crate::servicenow::replies;

const HOUR_MS: i64 = 3_600_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sleep {
    #[default]
    Awake,
    /// 200 and a page.
    Page,
    /// 302 to the developer site.
    Redirect,
}

impl Sleep {
    pub(crate) fn reply(self) -> Option<Reply> {
        match self {
            Self::Awake => None,
            Self::Page => Some(Reply::html(200, replies::HIBERNATING)),
            Self::Redirect => Some(
                Reply::empty(302).with("Location", "https://developer.servicenow.com/dev.do#!/home?wu=true"),
            ),
        }
    }
}

/// An hourly rule of `sys_rate_limit_rules`: counts per clock hour.
struct HourlyRule {
    limit: u32,
    hour: i64,
    n_calls: u32,
}

#[derive(Default)]
pub(crate) struct Weather {
    pub(crate) sleep: Sleep,
    pub(crate) hangs: bool,
    pub(crate) latency: Duration,
    hourly: Option<HourlyRule>,
    /// Session to the number of its calls in flight.
    sessions: HashMap<String, usize>,
}

impl Weather {
    pub(crate) fn limit_hourly(&mut self, limit: Option<u32>) {
        self.hourly = limit.map(|limit| HourlyRule { limit, hour: clock::now_ms() / HOUR_MS, n_calls: 0 });
    }

    /// Counts an API call against the hourly rule: the headers for its answer, or the refusal.
    pub(crate) fn count(&mut self) -> Result<Vec<(&'static str, String)>, Reply> {
        let Some(rule) = self.hourly.as_mut() else { return Ok(Vec::new()) };
        let now_ms = clock::now_ms();
        let hour = now_ms / HOUR_MS;
        if hour != rule.hour {
            (rule.hour, rule.n_calls) = (hour, 0);
        }
        let reset_s = (hour + 1) * HOUR_MS / 1000;
        if rule.n_calls >= rule.limit {
            let retry_after_s = u64::try_from(reset_s - now_ms / 1000).unwrap_or(1);
            return Err(replies::rate_limited(rule.limit, reset_s, retry_after_s));
        }
        rule.n_calls += 1;
        Ok(vec![
            ("X-RateLimit-Limit", rule.limit.to_string()),
            ("X-RateLimit-Reset", reset_s.to_string()),
            ("X-RateLimit-Rule", replies::RATE_RULE.to_owned()),
        ])
    }

    /// Begins a call of a session; false if another one of it is in flight. A real instance lets ten wait; a
    /// client that shares a session is wrong from the first.
    pub(crate) fn enter(&mut self, session: &str) -> bool {
        let n_in_flight = self.sessions.entry(session.to_owned()).or_default();
        *n_in_flight += 1;
        *n_in_flight == 1
    }

    pub(crate) fn leave(&mut self, session: &str) {
        if let Some(n_in_flight) = self.sessions.get_mut(session) {
            *n_in_flight = n_in_flight.saturating_sub(1);
            if *n_in_flight == 0 {
                self.sessions.remove(session);
            }
        }
    }
}

/// The session that a client sent back, which it must not.
pub(crate) fn session_of(call: &Call) -> Option<String> {
    let cookies = call.cookie.as_deref()?;
    let mut cookies = cookies.split(';').filter_map(|cookie| cookie.trim().split_once('='));
    cookies.find(|(name, _)| *name == "JSESSIONID").map(|(_, value)| value.to_owned())
}
