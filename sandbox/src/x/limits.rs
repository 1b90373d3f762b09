//! X's rate limits: fixed windows that begin with their first call, told in the headers of every answer.

use std::collections::HashMap;

const QUARTER_HOUR_MS: i64 = 15 * 60 * 1000;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// How many calls X takes. The defaults are those of docs.x.com, `x-api/fundamentals/rate-limits`.
#[derive(Clone, Debug)]
pub struct XLimits {
    /// Direct messages sent per 15 minutes and user; documented as 15.
    pub dm_per_15_min: u32,
    /// Direct messages sent per 24 hours and user; documented as 1,440.
    pub dm_per_day_user: u32,
    /// Direct messages sent per 24 hours by the app, all users together; documented as 1,440.
    pub dm_per_day_app: u32,
    /// Reads of direct messages per 15 minutes and user; documented as 15.
    pub dm_reads_per_15_min: u32,
    /// Posts per 15 minutes and user; documented as 100.
    pub posts_per_15_min: u32,
    /// Posts per 24 hours by the app; documented as 10,000.
    pub posts_per_day_app: u32,
    /// Reads of a user's posts per 15 minutes and user; documented as 900.
    pub post_reads_per_15_min: u32,
    /// `GET /2/users/me` per 15 minutes and user; documented as 75.
    pub me_per_15_min: u32,
    /// Webhook and subscription calls per 15 minutes and app; documented as 450 to 500.
    pub webhooks_per_15_min: u32,
}

impl Default for XLimits {
    fn default() -> Self {
        Self {
            dm_per_15_min: 15,
            dm_per_day_user: 1_440,
            dm_per_day_app: 1_440,
            dm_reads_per_15_min: 15,
            posts_per_15_min: 100,
            posts_per_day_app: 10_000,
            post_reads_per_15_min: 900,
            me_per_15_min: 75,
            webhooks_per_15_min: 450,
        }
    }
}

impl XLimits {
    /// No limit that anybody meets: for load tests.
    pub fn unlimited() -> Self {
        let most = u32::MAX;
        Self {
            dm_per_15_min: most,
            dm_per_day_user: most,
            dm_per_day_app: most,
            dm_reads_per_15_min: most,
            posts_per_15_min: most,
            posts_per_day_app: most,
            post_reads_per_15_min: most,
            me_per_15_min: most,
            webhooks_per_15_min: most,
        }
    }

    /// The windows that a call of this kind uses up.
    pub(crate) fn windows(&self, kind: RouteKind) -> Vec<Window> {
        let per_15_min = |limit| Window { scope: WindowScope::Route, limit, length_ms: QUARTER_HOUR_MS };
        let user_day = |limit| Window { scope: WindowScope::UserDay, limit, length_ms: DAY_MS };
        let app_day = |limit| Window { scope: WindowScope::AppDay, limit, length_ms: DAY_MS };
        match kind {
            RouteKind::SendDm => vec![
                per_15_min(self.dm_per_15_min),
                user_day(self.dm_per_day_user),
                app_day(self.dm_per_day_app),
            ],
            RouteKind::ReadDms => vec![per_15_min(self.dm_reads_per_15_min)],
            RouteKind::SendPost => {
                vec![per_15_min(self.posts_per_15_min), app_day(self.posts_per_day_app)]
            }
            RouteKind::ReadPosts => vec![per_15_min(self.post_reads_per_15_min)],
            RouteKind::Me => vec![per_15_min(self.me_per_15_min)],
            RouteKind::Webhooks => vec![per_15_min(self.webhooks_per_15_min)],
        }
    }
}

/// Routes that share a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RouteKind {
    SendDm,
    ReadDms,
    SendPost,
    ReadPosts,
    Me,
    Webhooks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WindowScope {
    Route,
    UserDay,
    AppDay,
}

impl WindowScope {
    /// Header names: limit, remaining, reset (unix seconds).
    fn headers(self) -> [&'static str; 3] {
        match self {
            Self::Route => ["x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset"],
            Self::UserDay => {
                ["x-user-limit-24hour-limit", "x-user-limit-24hour-remaining", "x-user-limit-24hour-reset"]
            }
            Self::AppDay => {
                ["x-app-limit-24hour-limit", "x-app-limit-24hour-remaining", "x-app-limit-24hour-reset"]
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    scope: WindowScope,
    limit: u32,
    length_ms: i64,
}

#[derive(Clone, Copy)]
struct Used {
    since_ms: i64,
    n_calls: u32,
}

/// What the limits say about a call.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) allowed: bool,
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// The counters of one app.
#[derive(Default)]
pub(crate) struct Limiter {
    used: HashMap<(RouteKind, WindowScope, String), Used>,
}

impl Limiter {
    /// Counts a call of `user` (empty for the app) in, if every window has room.
    pub(crate) fn take(&mut self, limits: &XLimits, kind: RouteKind, user: &str, now_ms: i64) -> Verdict {
        let windows = limits.windows(kind);
        let key = |window: &Window| {
            let subject = if window.scope == WindowScope::AppDay { "" } else { user };
            (kind, window.scope, subject.to_owned())
        };
        let mut allowed = true;
        for window in &windows {
            let count = self.used.entry(key(window)).or_insert(Used { since_ms: now_ms, n_calls: 0 });
            if now_ms >= count.since_ms + window.length_ms {
                *count = Used { since_ms: now_ms, n_calls: 0 };
            }
            allowed &= count.n_calls < window.limit;
        }
        let mut headers = Vec::new();
        for window in &windows {
            let Some(count) = self.used.get_mut(&key(window)) else { continue };
            count.n_calls += u32::from(allowed);
            let remaining = window.limit.saturating_sub(count.n_calls);
            let reset_s = (count.since_ms + window.length_ms) / 1000;
            let values = [window.limit.to_string(), remaining.to_string(), reset_s.to_string()];
            headers.extend(window.scope.headers().into_iter().zip(values));
        }
        Verdict { allowed, headers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(verdict: &Verdict, name: &str) -> String {
        let found = verdict.headers.iter().find(|(header, _)| *header == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    #[test]
    fn sixteen_messages_in_a_quarter_of_an_hour_are_one_too_many() {
        let mut limiter = Limiter::default();
        let limits = XLimits::default();
        let now_ms = 1_767_000_000_000;
        for n in 1..=15 {
            let verdict = limiter.take(&limits, RouteKind::SendDm, "1", now_ms + n);
            assert!(verdict.allowed);
            assert_eq!(header(&verdict, "x-rate-limit-remaining"), (15 - n).to_string());
        }
        let verdict = limiter.take(&limits, RouteKind::SendDm, "1", now_ms + 20);
        assert!(!verdict.allowed);
        assert_eq!(header(&verdict, "x-rate-limit-limit"), "15");
        assert_eq!(header(&verdict, "x-rate-limit-reset"), "1767000900");
        // A refused call uses nothing of the day.
        assert_eq!(header(&verdict, "x-user-limit-24hour-remaining"), "1425");
        let other = limiter.take(&limits, RouteKind::SendDm, "2", now_ms + 21);
        assert!(other.allowed);
        assert_eq!(header(&other, "x-app-limit-24hour-remaining"), "1424");
        assert!(limiter.take(&limits, RouteKind::SendDm, "1", now_ms + QUARTER_HOUR_MS + 1).allowed);
    }

    #[test]
    fn the_day_of_the_app_is_shared_by_all_users() {
        let mut limiter = Limiter::default();
        let limits = XLimits { dm_per_day_app: 2, ..XLimits::default() };
        let mut take = |user| limiter.take(&limits, RouteKind::SendDm, user, 1000);
        assert!(take("1").allowed && take("2").allowed);
        let verdict = take("3");
        assert!(!verdict.allowed);
        assert_eq!(header(&verdict, "x-app-limit-24hour-remaining"), "0");
        assert_eq!(header(&verdict, "x-rate-limit-remaining"), "15");
    }
}
