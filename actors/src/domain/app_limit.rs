//! Limits that X sets for the whole app: shared by all accounts, whichever process sends for them.
//!
//! Source: docs.x.com `x-api/fundamentals/rate-limits`: 1,440 direct messages and 10,000 posts in 24 hours.

/// The period of these limits.
pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Direct messages of all accounts of an app in that time.
pub(crate) const DIRECT_MESSAGES_A_DAY: i64 = 1_440;
/// Posts of all accounts of an app in that time.
pub(crate) const POSTS_A_DAY: i64 = 10_000;
/// One part in so many is kept for accounts that have had less than their share.
const KEPT_PART: i64 = 5;
/// One who has had a share asks again after this time at the latest.
const ASK_AGAIN_MS: i64 = 15 * 60 * 1_000;

/// How a limit of the app stands, seen by one account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Calls of all accounts in the last 24 hours.
    pub(crate) n_total: i64,
    /// Those of this account.
    pub(crate) n_own: i64,
    /// Accounts that made any, this one included.
    pub(crate) n_accounts: i64,
    /// When the oldest of the calls was made, in epoch milliseconds.
    pub(crate) oldest_at: Option<i64>,
    /// What X told last: calls that are left, and when that ends.
    pub(crate) told: Option<(i64, i64)>,
}

/// When the account may make its next call: `now_ms` if at once. What X told goes before what was counted.
///
/// Whoever has had less than an equal share gets a call as long as there is any. Beyond its share an account
/// may go while more than a fifth of the limit is left.
pub(crate) fn free_at(usage: &Usage, limit: i64, now_ms: i64) -> i64 {
    let told = usage.told.filter(|(_, reset_at)| *reset_at > now_ms);
    let n_left = told.map_or(limit - usage.n_total, |(remaining, _)| remaining);
    let next_at = match told {
        Some((_, reset_at)) => reset_at,
        None => usage.oldest_at.map_or(now_ms, |oldest_at| oldest_at.saturating_add(DAY_MS)),
    };
    let next_at = next_at.max(now_ms + 1);
    if n_left <= 0 {
        return next_at;
    }
    let has_had_its_share = usage.n_own >= limit / usage.n_accounts.max(1);
    if has_had_its_share && n_left <= limit / KEPT_PART {
        return next_at.min(now_ms + ASK_AGAIN_MS);
    }
    now_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 100 * DAY_MS;

    fn counted(n_total: i64, n_own: i64, n_accounts: i64) -> Usage {
        Usage { n_total, n_own, n_accounts, oldest_at: Some(NOW - DAY_MS / 2), told: None }
    }

    fn told(remaining: i64, reset_in_ms: i64, n_own: i64) -> Usage {
        Usage { told: Some((remaining, NOW + reset_in_ms)), ..counted(10, n_own, 4) }
    }

    #[test]
    fn calls_are_shared_fairly() {
        let half_a_day = NOW + DAY_MS / 2;
        let cases = [
            ("nothing was sent", Usage { n_accounts: 1, ..Usage::default() }, NOW),
            ("alone, nearly all is used", counted(999, 999, 1), NOW),
            ("alone, all is used", counted(1000, 1000, 1), half_a_day),
            ("beyond its share, much is left", counted(700, 600, 4), NOW),
            ("beyond its share, little is left", counted(800, 600, 4), NOW + ASK_AGAIN_MS),
            ("below its share, little is left", counted(999, 100, 4), NOW),
            ("below its share, nothing is left", counted(1000, 0, 4), half_a_day),
            ("X says that more is left than was counted", told(900, 5000, 500), NOW),
            ("X says that nothing is left", told(0, 5000, 0), NOW + 5000),
            ("X says that little is left", told(10, 5000, 500), NOW + 5000),
            ("X says that little is left to one below its share", told(10, 5000, 5), NOW),
            ("what X said is over", told(0, -1, 0), NOW),
        ];
        for (what, usage, expected) in cases {
            assert_eq!(free_at(&usage, 1000, NOW), expected, "{what}");
        }
    }
}
