//! How long tokens live, and how many a user may have.

use std::time::Duration;

use super::token::Session;

/// What the operator set for tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPolicy {
    /// How long a token lives; `None` for ever.
    pub ttl: Option<Duration>,
    /// How many live ones a user may have, the API key not counted.
    pub limit: Option<u32>,
    /// Whether and how uses make a token live longer.
    pub refresh: Refresh,
    /// Put in front of new tokens.
    pub prefix: String,
}

/// Whether a use makes a token live for its whole time again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// It does not.
    Never,
    /// It does.
    OnUse {
        /// If that gains more than this.
        min_gain: Duration,
        /// But not beyond this after the token was issued.
        max_ttl: Option<Duration>,
    },
}

impl Default for TokenPolicy {
    fn default() -> Self {
        let ttl = Some(Duration::from_hours(30 * 24));
        Self { ttl, limit: None, refresh: Refresh::Never, prefix: String::new() }
    }
}

impl TokenPolicy {
    /// When a token issued now ends.
    pub fn expires_at_ms(&self, now_ms: i64) -> Option<i64> {
        self.ttl.map(|ttl| now_ms.saturating_add(ms(ttl)))
    }

    /// When a token that is used now ends from now on; `None` when that stays as it is.
    pub fn refreshed(&self, session: &Session, now_ms: i64) -> Option<i64> {
        let Refresh::OnUse { min_gain, max_ttl } = self.refresh else { return None };
        let present = session.expires_at_ms?;
        let whole = self.expires_at_ms(now_ms)?;
        let cap = max_ttl.map_or(i64::MAX, |max| session.created_at_ms.saturating_add(ms(max)));
        let next = whole.min(cap);
        (next.saturating_sub(present) > ms(min_gain)).then_some(next)
    }

    /// The first moment at which [`Self::refreshed`] says something.
    pub fn refresh_at_ms(&self, session: &Session) -> i64 {
        let (Refresh::OnUse { min_gain, max_ttl }, Some(present), Some(ttl)) =
            (self.refresh, session.expires_at_ms, self.ttl)
        else {
            return i64::MAX;
        };
        let cap = max_ttl.map_or(i64::MAX, |max| session.created_at_ms.saturating_add(ms(max)));
        if cap.saturating_sub(present) <= ms(min_gain) {
            return i64::MAX;
        }
        present.saturating_add(ms(min_gain)).saturating_sub(ms(ttl)).saturating_add(1)
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::token::TokenKind;
    use crate::domain::user::User;

    const HOUR: i64 = 3_600_000;

    fn hours(n: u64) -> Duration {
        Duration::from_hours(n)
    }

    fn session(expires_at_ms: Option<i64>) -> Session {
        let user = User {
            id: "u".to_owned(),
            username: "u@b.c".to_owned(),
            first_name: String::new(),
            last_name: String::new(),
            company_name: String::new(),
            is_staff: false,
            is_active: true,
            date_joined_ms: 0,
        };
        let token_id = "t".to_owned();
        Session { token_id, kind: TokenKind::Session, created_at_ms: 0, expires_at_ms, user: Arc::new(user) }
    }

    #[test]
    fn uses_extend_a_token_as_the_settings_say() {
        let on_use = |max_ttl| Refresh::OnUse { min_gain: Duration::from_mins(1), max_ttl };
        let ten = Some(10 * HOUR);
        for (refresh, expires, now_ms, expected) in [
            (Refresh::Never, ten, 5 * HOUR, None),
            (on_use(None), ten, 5 * HOUR, Some(15 * HOUR)),
            (on_use(None), ten, 50_000, None),
            (on_use(None), ten, 60_000, None),
            (on_use(None), ten, 60_001, Some(10 * HOUR + 60_001)),
            (on_use(None), None, 5 * HOUR, None),
            (on_use(Some(hours(12))), ten, 5 * HOUR, Some(12 * HOUR)),
            (on_use(Some(hours(12))), Some(12 * HOUR), 11 * HOUR, None),
            (on_use(Some(hours(8))), ten, 5 * HOUR, None),
        ] {
            let policy = TokenPolicy { ttl: Some(hours(10)), refresh, ..TokenPolicy::default() };
            let session = session(expires);
            assert_eq!(policy.refreshed(&session, now_ms), expected, "{refresh:?} {expires:?} {now_ms}");
            let is_due = now_ms >= policy.refresh_at_ms(&session);
            assert_eq!(is_due, expected.is_some(), "due: {refresh:?} {expires:?} {now_ms}");
        }
    }
}
