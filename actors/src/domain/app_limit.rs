//! Limits that X sets for the whole app: shared by all accounts, whichever process sends for them.
//!
//! Source: docs.x.com `x-api/fundamentals/rate-limits`: 1,440 direct messages and 10,000 posts in 24 hours, until
//! X's headers tell other numbers. Its windows are fixed ones: when one is reset, nothing of it counts any more.

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

/// What X told last of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    /// Calls that are left.
    pub(crate) remaining: i64,
    /// When that ends, in epoch milliseconds.
    pub(crate) reset_at: i64,
}

/// How a limit of the app stands, seen by one account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Calls of all accounts that count still: see [`counted_from`].
    pub(crate) n_total: i64,
    /// Those of this account.
    pub(crate) n_own: i64,
    /// Accounts that are linked, this one included, whether they make calls or not.
    pub(crate) n_linked: i64,
    /// When the oldest of the calls was made, in epoch milliseconds.
    pub(crate) oldest_at: Option<i64>,
    pub(crate) told: Option<Told>,
}

/// Calls at or before this time count no more: they are too old, or X has reset its window since.
pub(crate) fn counted_from(told: Option<Told>, now_ms: i64) -> i64 {
    let too_old = now_ms.saturating_sub(DAY_MS);
    match told {
        Some(Told { reset_at, .. }) if reset_at <= now_ms => too_old.max(reset_at),
        Some(Told { reset_at, .. }) => too_old.max(reset_at.saturating_sub(DAY_MS)),
        None => too_old,
    }
}

/// When the account may make its next call: `now_ms` if at once. What X told goes before what was counted.
///
/// Every linked account has an equal share. Whoever has had less than that gets a call as long as there is any.
/// Beyond its share an account may go while more than a fifth of the limit is left.
pub(crate) fn free_at(usage: &Usage, limit: i64, now_ms: i64) -> i64 {
    let told = usage.told.filter(|told| told.reset_at > now_ms);
    let n_left = told.map_or(limit - usage.n_total, |told| told.remaining);
    let next_at = match told {
        Some(told) => told.reset_at,
        None => usage.oldest_at.map_or(now_ms, |oldest_at| oldest_at.saturating_add(DAY_MS)),
    };
    let next_at = next_at.max(now_ms + 1);
    if n_left <= 0 {
        return next_at;
    }
    let share = (limit / usage.n_linked.max(1)).max(1);
    if usage.n_own >= share && n_left <= limit / KEPT_PART {
        return next_at.min(now_ms + ASK_AGAIN_MS);
    }
    now_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 100 * DAY_MS;

    fn counted(n_total: i64, n_own: i64, n_linked: i64) -> Usage {
        Usage { n_total, n_own, n_linked, oldest_at: Some(NOW - DAY_MS / 2), told: None }
    }

    fn told(remaining: i64, reset_in_ms: i64, n_own: i64) -> Usage {
        Usage { told: Some(Told { remaining, reset_at: NOW + reset_in_ms }), ..counted(10, n_own, 4) }
    }

    #[test]
    fn calls_are_shared_fairly() {
        let half_a_day = NOW + DAY_MS / 2;
        let cases = [
            ("nothing was sent", Usage { n_linked: 1, ..Usage::default() }, NOW),
            ("alone, nearly all is used", counted(999, 999, 1), NOW),
            ("alone, all is used", counted(1000, 1000, 1), half_a_day),
            ("it sent all, a fifth is kept for the quiet ones", counted(800, 800, 10), NOW + ASK_AGAIN_MS),
            ("a quiet one gets of the fifth", counted(800, 0, 10), NOW),
            ("more accounts than calls, it had none", counted(999, 0, 5000), NOW),
            ("more accounts than calls, it had one", counted(999, 1, 5000), NOW + ASK_AGAIN_MS),
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

    #[test]
    fn what_was_before_a_reset_counts_no_more() {
        let at = |reset_at| Some(Told { remaining: 0, reset_at });
        let cases = [
            (None, NOW - DAY_MS),
            (at(NOW - 5), NOW - 5),
            (at(NOW), NOW),
            (at(NOW - 2 * DAY_MS), NOW - DAY_MS),
            (at(NOW + 5), NOW - DAY_MS + 5),
        ];
        for (told, expected) in cases {
            assert_eq!(counted_from(told, NOW), expected, "{told:?}");
        }
    }
}
