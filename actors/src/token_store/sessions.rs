//! Sessions in memory: a token check reads them without asking the actor.
//!
//! What stands here may be believed only for a short time after the actor last saw that no other process
//! ended a token: the lease. Whoever ends a token waits longer than a lease before saying so.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;

use crate::domain::token::{Digest, Session};
use crate::store::tokens::Use;

/// How many sessions are kept at most.
const MAX_SESSIONS: usize = 100_000;

/// A session, and what its uses leave behind.
struct Entry {
    session: Arc<Session>,
    /// From then on a use makes the token live longer, which the actor does.
    refresh_at_ms: i64,
    last_used_ms: AtomicI64,
    /// The last use that is on disk.
    noted_ms: AtomicI64,
}

/// The sessions that were looked up lately.
pub(super) struct Sessions {
    entries: DashMap<Digest, Entry>,
    begun: Instant,
    /// Until when the entries may be believed, in milliseconds since `begun`.
    lease_until_ms: AtomicU64,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { entries: DashMap::new(), begun: Instant::now(), lease_until_ms: AtomicU64::new(0) }
    }
}

impl Sessions {
    /// A session that is known to be valid and needs nothing done; notes the use.
    pub(super) fn get(&self, digest: &Digest, now_ms: i64) -> Option<Arc<Session>> {
        if !self.is_leased() {
            return None;
        }
        let entry = self.entries.get(digest)?;
        if entry.session.has_expired(now_ms) || now_ms >= entry.refresh_at_ms {
            return None;
        }
        if entry.last_used_ms.load(Ordering::Relaxed) != now_ms {
            entry.last_used_ms.store(now_ms, Ordering::Relaxed);
        }
        Some(Arc::clone(&entry.session))
    }

    fn is_leased(&self) -> bool {
        let elapsed_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        elapsed_ms < self.lease_until_ms.load(Ordering::Acquire)
    }

    /// Lets the entries be believed for so long from a moment on.
    pub(super) fn lease(&self, from: Instant, duration: Duration) {
        let until = from.saturating_duration_since(self.begun) + duration;
        let until_ms = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.lease_until_ms.fetch_max(until_ms, Ordering::AcqRel);
    }

    /// Keeps a session that was just used.
    pub(super) fn insert(&self, digest: Digest, session: Arc<Session>, refresh_at_ms: i64, now_ms: i64) {
        if self.entries.len() >= MAX_SESSIONS {
            self.make_room();
        }
        let last_used_ms = AtomicI64::new(now_ms);
        let entry = Entry { session, refresh_at_ms, last_used_ms, noted_ms: AtomicI64::new(0) };
        self.entries.insert(digest, entry);
    }

    /// Drops half of what is kept and already noted; it comes back when it is used.
    fn make_room(&self) {
        let mut is_kept = false;
        self.entries.retain(|_, entry| {
            is_kept = !is_kept;
            is_kept || entry.unnoted().is_some()
        });
        if self.entries.len() >= MAX_SESSIONS {
            self.entries.clear();
        }
    }

    /// When a token was last used, as far as this process saw it.
    pub(super) fn last_used(&self, digest: &Digest) -> Option<i64> {
        Some(self.entries.get(digest)?.last_used_ms.load(Ordering::Relaxed))
    }

    /// The uses that are not on disk yet, by the ids of their tokens.
    pub(super) fn unnoted_uses(&self) -> Vec<(Digest, Use)> {
        let unnoted = |digest: &Digest, entry: &Entry| {
            let at = entry.unnoted()?;
            Some((*digest, Use { id: entry.session.token_id.clone(), at }))
        };
        let mut uses: Vec<_> =
            self.entries.iter().filter_map(|entry| unnoted(entry.key(), entry.value())).collect();
        uses.sort_by(|(_, one), (_, other)| one.id.cmp(&other.id));
        uses
    }

    /// Takes note that uses are on disk.
    pub(super) fn note(&self, uses: &[(Digest, Use)]) {
        for (digest, noted) in uses {
            if let Some(entry) = self.entries.get(digest) {
                entry.noted_ms.fetch_max(noted.at, Ordering::Relaxed);
            }
        }
    }

    /// Forgets one session.
    pub(super) fn remove(&self, digest: &Digest) {
        self.entries.remove(digest);
    }

    /// Forgets all sessions of a user.
    pub(super) fn remove_user(&self, user_id: &str) {
        self.entries.retain(|_, entry| entry.session.user.id != user_id);
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.entries.clear();
    }
}

impl Entry {
    fn unnoted(&self) -> Option<i64> {
        let used_ms = self.last_used_ms.load(Ordering::Relaxed);
        (used_ms > self.noted_ms.load(Ordering::Relaxed)).then_some(used_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::token::TokenKind;
    use crate::domain::user::User;

    fn session(token_id: &str) -> Arc<Session> {
        let user = User {
            id: "u1".to_owned(),
            username: String::new(),
            first_name: String::new(),
            last_name: String::new(),
            company_name: String::new(),
            is_staff: false,
            is_active: true,
            date_joined_ms: 0,
        };
        Arc::new(Session {
            token_id: token_id.to_owned(),
            kind: TokenKind::Session,
            created_at_ms: 0,
            expires_at_ms: None,
            user: Arc::new(user),
        })
    }

    #[test]
    fn a_use_is_told_until_it_is_on_disk() {
        let sessions = Sessions::default();
        let digests = ["1", "2"].map(|text| Digest::of(&format!("{text:0>64}")).expect("a digest"));
        for (digest, id) in digests.iter().zip(["t2", "t1"]) {
            sessions.insert(*digest, session(id), i64::MAX, 5);
        }
        let told =
            || sessions.unnoted_uses().into_iter().map(|(_, used)| (used.id, used.at)).collect::<Vec<_>>();
        let both = vec![("t1".to_owned(), 5), ("t2".to_owned(), 5)];
        assert_eq!(told(), both, "in the order of their ids");
        let uses = sessions.unnoted_uses();
        assert_eq!(told(), both, "they may not have been written");
        sessions.note(&uses[..1]);
        assert_eq!(told(), both[1..]);
        sessions.lease(Instant::now(), Duration::from_mins(1));
        assert!(sessions.get(&digests[1], 7).is_some());
        sessions.note(&uses);
        assert_eq!(told(), [("t1".to_owned(), 7)], "it was used again meanwhile");
    }
}
