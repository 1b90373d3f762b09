//! X's rate limits: what its headers tell, and what is assumed until they do.
//!
//! Sources: docs.x.com `x-api/fundamentals/rate-limits` for the numbers; the 24-hour headers are
//! described in plhery/node-twitter-api-v2 issues 495 and 553.

use std::collections::VecDeque;

use http::HeaderMap;

const QUARTER_HOUR_MS: i64 = 15 * 60 * 1_000;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// The state of one window as X tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Calls allowed in the whole window, if told.
    pub limit: Option<u32>,
    /// Calls left, if told.
    pub remaining: Option<u32>,
    /// When the window starts anew, in epoch milliseconds.
    pub reset_ms: i64,
}

/// What the headers of one answer tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// `x-rate-limit-*`: the endpoint's 15 minutes.
    pub endpoint: Option<Quota>,
    /// `x-app-limit-24hour-*`: all accounts of the app together.
    pub app_day: Option<Quota>,
    /// `x-user-limit-24hour-*`: the account.
    pub user_day: Option<Quota>,
    /// `retry-after` in seconds, as gateways before X send it.
    pub retry_after_s: Option<u32>,
}

impl Limits {
    /// Reads the headers of an answer; unreadable ones are not there.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self {
            endpoint: quota(headers, "x-rate-limit"),
            app_day: quota(headers, "x-app-limit-24hour"),
            user_day: quota(headers, "x-user-limit-24hour"),
            retry_after_s: number(headers, "retry-after").and_then(|seconds| u32::try_from(seconds).ok()),
        }
    }

    /// The latest reset among the windows that are used up, in epoch milliseconds. The 15-minute
    /// reset alone is wrong when the day's window is empty.
    pub fn exhausted_until(&self, now_ms: i64) -> Option<i64> {
        let used_up = self.quotas().filter(|quota| quota.remaining == Some(0));
        used_up.map(|quota| quota.reset_ms).filter(|reset_ms| *reset_ms > now_ms).max()
    }

    /// When X or a gateway asks to come back, in epoch milliseconds: as [`Limits::exhausted_until`] or
    /// by `retry-after`, whichever is later.
    pub fn asked_until(&self, now_ms: i64) -> Option<i64> {
        let asked = self.retry_after_s.map(|seconds| now_ms.saturating_add(i64::from(seconds) * 1_000));
        self.exhausted_until(now_ms).max(asked)
    }

    /// When to come back after a 429: as asked, else at the endpoint's reset. `None` if nothing tells.
    pub fn retry_at(&self, now_ms: i64) -> Option<i64> {
        let reset = self.endpoint.map(|quota| quota.reset_ms).filter(|reset_ms| *reset_ms > now_ms);
        self.asked_until(now_ms).or(reset)
    }

    fn quotas(&self) -> impl Iterator<Item = Quota> {
        [self.endpoint, self.app_day, self.user_day].into_iter().flatten()
    }
}

fn quota(headers: &HeaderMap, prefix: &str) -> Option<Quota> {
    let count = |name: &str| {
        number(headers, &format!("{prefix}-{name}")).map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    };
    let reset_s = i64::try_from(number(headers, &format!("{prefix}-reset"))?).ok()?;
    Some(Quota {
        limit: count("limit"),
        remaining: count("remaining"),
        reset_ms: reset_s.checked_mul(1_000)?,
    })
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// How soon to ask again where room is left but for calls that have not started, or are not answered.
const SOON_MS: i64 = 1_000;

/// One limit of calls within a period. Assumes that the period slides until X tells its own state,
/// which counts until the reset it names.
///
/// A call has a place from the moment it is reserved. What X tells with an answer may or may not hold the calls
/// that are under way meanwhile: so these are left out of what remains until they are answered themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    limit: u32,
    period_ms: i64,
    calls_ms: VecDeque<i64>,
    told: Option<Told>,
    n_reserved: usize,
    n_unanswered: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    /// After all calls that are answered.
    remaining: u32,
    reset_ms: i64,
}

impl Window {
    /// `limit` calls within `period_ms`.
    pub fn new(limit: u32, period_ms: i64) -> Self {
        Self {
            limit: limit.max(1),
            period_ms,
            calls_ms: VecDeque::new(),
            told: None,
            n_reserved: 0,
            n_unanswered: 0,
        }
    }

    /// The earliest time of the next call: `now_ms` if it may start at once.
    pub fn free_at(&self, now_ms: i64) -> i64 {
        let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        if let Some(told) = self.told.filter(|told| told.reset_ms > now_ms) {
            return match count(told.remaining) {
                0 => told.reset_ms,
                n if n <= self.n_reserved + self.n_unanswered => now_ms.saturating_add(SOON_MS),
                _ => now_ms,
            };
        }
        let counted_from = self.counted_from(now_ms);
        let n_counted = self.calls_ms.iter().rev().take_while(|call| **call > counted_from).count();
        let limit = count(self.limit);
        if n_counted >= limit {
            return self.calls_ms[self.calls_ms.len() - limit].saturating_add(self.period_ms);
        }
        if n_counted + self.n_reserved >= limit { now_ms.saturating_add(SOON_MS) } else { now_ms }
    }

    /// Counts a call that started then. A clock that went back counts as standing still.
    pub fn record(&mut self, at_ms: i64) {
        let at_ms = self.calls_ms.back().map_or(at_ms, |last_ms| at_ms.max(*last_ms));
        let counted_from = self.counted_from(at_ms);
        while self.calls_ms.front().is_some_and(|call| *call <= counted_from) {
            self.calls_ms.pop_front();
        }
        self.calls_ms.push_back(at_ms);
    }

    fn reserve(&mut self) {
        self.n_reserved += 1;
    }

    fn release_reserved(&mut self) {
        self.n_reserved = self.n_reserved.saturating_sub(1);
    }

    fn start_reserved(&mut self, at_ms: i64) {
        self.release_reserved();
        self.n_unanswered += 1;
        self.record(at_ms);
    }

    /// A call that started is over; takes over what X told with its answer, if there was one.
    fn answered(&mut self, quota: Option<Quota>) {
        self.n_unanswered = self.n_unanswered.saturating_sub(1);
        if let Some(limit) = quota.and_then(|quota| quota.limit).filter(|limit| *limit > 0) {
            self.limit = limit;
        }
        let told_now = quota.and_then(|quota| Some((quota.remaining?, quota.reset_ms)));
        match (told_now, &mut self.told) {
            // Answers may come in another order than X counted in.
            (Some((remaining, reset_ms)), Some(told)) if told.reset_ms == reset_ms => {
                told.remaining = told.remaining.min(remaining);
            }
            (Some((remaining, reset_ms)), told) => *told = Some(Told { remaining, reset_ms }),
            (None, Some(told)) => told.remaining = told.remaining.saturating_sub(1),
            (None, None) => {}
        }
    }

    /// Calls at or before this time count no more: they are too old, or X has reset its window since.
    fn counted_from(&self, now_ms: i64) -> i64 {
        let too_old = now_ms.saturating_sub(self.period_ms);
        let reset = self.told.map(|told| told.reset_ms).filter(|reset_ms| *reset_ms <= now_ms);
        reset.map_or(too_old, |reset_ms| too_old.max(reset_ms))
    }
}

/// All windows that one kind of call of one account must respect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    endpoint: Window,
    user_day: Window,
    app_day: Window,
    closed_until_ms: i64,
}

impl Budget {
    /// Direct messages: 15 in 15 minutes and 1,440 in 24 hours for an account, 1,440 in 24 hours for the app.
    pub fn for_direct_messages() -> Self {
        Self {
            endpoint: Window::new(15, QUARTER_HOUR_MS),
            user_day: Window::new(1_440, DAY_MS),
            app_day: Window::new(1_440, DAY_MS),
            closed_until_ms: 0,
        }
    }

    /// Posts: 100 in 15 minutes for an account, 10,000 in 24 hours for the app.
    pub fn for_posts() -> Self {
        Self {
            endpoint: Window::new(100, QUARTER_HOUR_MS),
            user_day: Window::new(10_000, DAY_MS),
            app_day: Window::new(10_000, DAY_MS),
            closed_until_ms: 0,
        }
    }

    /// The earliest time of the next call, in epoch milliseconds.
    pub fn free_at(&self, now_ms: i64) -> i64 {
        let windows = [&self.endpoint, &self.user_day, &self.app_day];
        let first_ms = now_ms.max(self.closed_until_ms);
        windows.into_iter().map(|window| window.free_at(now_ms)).fold(first_ms, i64::max)
    }

    /// Reserves a call, or tells when to ask again. It is to be started or released.
    pub fn reserve(&mut self, now_ms: i64) -> Result<(), i64> {
        let free_at = self.free_at(now_ms);
        if free_at > now_ms {
            return Err(free_at);
        }
        self.windows().for_each(Window::reserve);
        Ok(())
    }

    /// Gives up a call that was reserved.
    pub fn release_reserved(&mut self) {
        self.windows().for_each(Window::release_reserved);
    }

    /// Starts a call that was reserved. Its end is to be told.
    pub fn start_reserved(&mut self, at_ms: i64) {
        self.windows().for_each(|window| window.start_reserved(at_ms));
    }

    /// A call that started is over. Takes over what the headers of its answer tell, which overrides what is
    /// assumed. Only of this kind of call: look-ups have windows of their own under the same header names.
    pub fn answered(&mut self, limits: &Limits) {
        let told = [limits.endpoint, limits.user_day, limits.app_day];
        for (window, quota) in self.windows().zip(told) {
            window.answered(quota);
        }
    }

    /// Lets no call start until then: X said so.
    pub fn close_until(&mut self, until_ms: i64) {
        self.closed_until_ms = self.closed_until_ms.max(until_ms);
    }

    /// Counts a call that somebody else started; those of the last 24 hours, in order.
    pub fn record(&mut self, at_ms: i64) {
        self.windows().for_each(|window| window.record(at_ms));
    }

    fn windows(&mut self) -> impl Iterator<Item = &mut Window> {
        [&mut self.endpoint, &mut self.user_day, &mut self.app_day].into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    const NOW_MS: i64 = 1_000_000;

    #[test]
    fn the_latest_reset_among_exhausted_windows() {
        let minutes = ("x-rate-limit-reset", "1900");
        let day = ("x-app-limit-24hour-reset", "80000");
        for (pairs, exhausted, retry) in [
            (vec![], None, None),
            (vec![("x-rate-limit-remaining", "0"), minutes], Some(1_900_000), Some(1_900_000)),
            (vec![("x-rate-limit-remaining", "3"), minutes], None, Some(1_900_000)),
            (vec![minutes], None, Some(1_900_000)),
            (
                vec![("x-rate-limit-remaining", "0"), minutes, ("x-app-limit-24hour-remaining", "0"), day],
                Some(80_000_000),
                Some(80_000_000),
            ),
            (
                vec![
                    ("x-rate-limit-remaining", "5"),
                    minutes,
                    ("x-user-limit-24hour-remaining", "0"),
                    ("x-user-limit-24hour-reset", "70000"),
                ],
                Some(70_000_000),
                Some(70_000_000),
            ),
            (vec![("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "999")], None, None),
            (vec![("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "soon")], None, None),
            (
                vec![("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "99999999999999999999")],
                None,
                None,
            ),
            (
                vec![("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "9223372036854775807")],
                None,
                None,
            ),
            (vec![("retry-after", "30")], None, Some(1_030_000)),
            (
                vec![("retry-after", "3000"), ("x-rate-limit-remaining", "0"), minutes],
                Some(1_900_000),
                Some(4_000_000),
            ),
        ] {
            let limits = Limits::from_headers(&headers(&pairs));
            assert_eq!(limits.exhausted_until(NOW_MS), exhausted, "{pairs:?}");
            assert_eq!(limits.retry_at(NOW_MS), retry, "{pairs:?}");
        }
    }

    #[test]
    fn fifteen_in_fifteen_minutes() {
        let mut budget = Budget::for_direct_messages();
        for call in 0..15 {
            assert_eq!(budget.free_at(call * 1_000), call * 1_000);
            budget.record(call * 1_000);
        }
        assert_eq!(budget.free_at(15_000), QUARTER_HOUR_MS);
        assert_eq!(budget.free_at(QUARTER_HOUR_MS), QUARTER_HOUR_MS);
        budget.record(QUARTER_HOUR_MS);
        assert_eq!(budget.free_at(QUARTER_HOUR_MS), QUARTER_HOUR_MS + 1_000);
    }

    #[test]
    fn the_day_counts_too() {
        let mut budget = Budget::for_direct_messages();
        for call in 0..1_440 {
            let at_ms = budget.free_at(call * 59_000);
            budget.record(at_ms);
        }
        assert_eq!(budget.free_at(1_440 * 59_000), DAY_MS);
    }

    #[test]
    fn headers_override() {
        let quota = |remaining, reset_ms| Quota { limit: Some(2), remaining: Some(remaining), reset_ms };
        let call = |window: &mut Window, at_ms: i64, quota: Option<Quota>| {
            window.reserve();
            window.start_reserved(at_ms);
            window.answered(quota);
        };
        let mut window = Window::new(1, 1_000);
        call(&mut window, 0, None);
        assert_eq!(window.free_at(1), 1_000);
        call(&mut window, 1, Some(quota(1, 5_000)));
        assert_eq!(window.free_at(1), 1);
        call(&mut window, 1, None);
        assert_eq!(window.free_at(2), 5_000, "it may have been counted");
        assert_eq!(window.free_at(5_000), 5_000);
        call(&mut window, 5_001, None);
        call(&mut window, 5_002, None);
        assert_eq!(window.free_at(5_003), 6_001);
        call(&mut window, 5_004, Some(quota(0, 9_000)));
        assert_eq!(window.free_at(8_999), 9_000);
    }

    #[test]
    fn a_reserved_call_has_its_place_until_it_is_given_back() {
        let mut budget = Budget::for_direct_messages();
        for at_ms in 0..14 {
            budget.record(at_ms);
        }
        assert_eq!(budget.reserve(20), Ok(()));
        assert_eq!(budget.reserve(20), Err(20 + SOON_MS), "one was left, and somebody has it");
        budget.release_reserved();
        assert_eq!(budget.reserve(30), Ok(()));
        budget.start_reserved(31);
        assert_eq!(budget.reserve(32), Err(QUARTER_HOUR_MS), "the first of the fifteen must have gone by");
        budget.answered(&Limits::default());
        assert_eq!(budget.reserve(32), Err(QUARTER_HOUR_MS));
    }

    #[test]
    fn what_an_answer_tells_does_not_count_what_is_under_way() {
        let told = |remaining| Limits {
            endpoint: Some(Quota { limit: Some(15), remaining: Some(remaining), reset_ms: 5_000 }),
            ..Limits::default()
        };
        let mut budget = Budget::for_direct_messages();
        for _ in 0..3 {
            budget.reserve(0).unwrap();
            budget.start_reserved(0);
        }
        // X had counted one when it gave this answer. It comes after a later one.
        budget.answered(&told(1));
        assert_eq!(budget.reserve(1), Err(1 + SOON_MS));
        budget.answered(&told(2));
        assert_eq!(budget.reserve(1), Err(1 + SOON_MS), "one is still under way");
        budget.answered(&Limits::default());
        assert_eq!(budget.reserve(1), Err(5_000), "whether the last one was counted is not known");
        assert_eq!(budget.reserve(5_000), Ok(()));
    }

    #[test]
    fn what_x_closes_is_closed_until_then() {
        let mut budget = Budget::for_posts();
        budget.close_until(50);
        budget.close_until(40);
        assert_eq!(budget.reserve(49), Err(50));
        assert_eq!(budget.reserve(50), Ok(()));
    }
}
