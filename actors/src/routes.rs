//! Where what X sends for an account belongs: a table in memory, read for every webhook.
//!
//! It is loaded before the hub answers anyone, kept up to date by every change of this process, and
//! read again when another process has changed something. Reading takes no turn with an actor.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use dashmap::DashMap;

use crate::classify::CasePolicy;
use crate::domain::account::ReplyChannel;
use crate::store::accounts::{self, AccountRow, Touch};
use crate::store::{Db, StoreError, marks};

/// How often the table is read again when this process changes it meanwhile.
const MAX_TRIES: usize = 5;

/// What intake has to know of a linked account.
#[derive(Debug, Clone)]
pub struct Route {
    /// The account's id in the hub.
    pub account_id: String,
    /// Its id at X.
    pub twitter_user_id: String,
    /// Its handle without the `@`; may be empty.
    pub screen_name: String,
    /// Its owner.
    pub user_id: String,
    /// The instance that it feeds; `None`: what it receives is stored and waits, blocked.
    pub instance_id: Option<String>,
    /// Which items open or feed a case.
    pub case_policy: CasePolicy,
    /// How answers go out.
    pub reply_channel: ReplyChannel,
    /// Grows with every change of the settings.
    pub version: i64,
    touched: Arc<Touched>,
}

/// When X last sent something, and up to when that is stored.
#[derive(Debug, Default)]
struct Touched {
    at_ms: AtomicI64,
    stored_ms: AtomicI64,
}

impl Route {
    /// Notes that X sent something for the account. Stored from time to time, not now.
    pub fn touch(&self, now_ms: i64) {
        self.touched.at_ms.fetch_max(now_ms, Ordering::Relaxed);
    }

    /// The id of the actor that works on what the account receives: its instance, or a name that no
    /// actor has while it feeds none.
    pub fn target_id(&self) -> String {
        let unrouted = || crate::store::routing::unrouted_target(&self.account_id);
        self.instance_id.clone().unwrap_or_else(unrouted)
    }

    /// A row whose policy cannot be read, from a newer program perhaps, gets the default one.
    fn new(row: AccountRow, touched: Arc<Touched>) -> Self {
        let case_policy = serde_json::from_str(&row.case_policy).unwrap_or_else(|error| {
            tracing::warn!(account = row.id, %error, "case_policy cannot be read; the default is used");
            CasePolicy::default()
        });
        Self {
            account_id: row.id,
            twitter_user_id: row.twitter_user_id,
            screen_name: row.screen_name,
            user_id: row.user_id,
            instance_id: row.instance_id,
            case_policy,
            reply_channel: ReplyChannel::parse(&row.reply_channel).unwrap_or_default(),
            version: row.version,
            touched,
        }
    }
}

/// The table. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Routes(Arc<Tables>);

#[derive(Debug, Default)]
struct Tables {
    by_twitter_user_id: DashMap<String, Arc<Route>>,
    by_account_id: DashMap<String, Arc<Route>>,
    /// Counts this process's own changes: what was read before one is older than the table.
    n_changes: AtomicU64,
    /// Counts how often settings were found changed by anybody.
    n_refreshes: AtomicU64,
    /// Where the mark of changed settings stood before the table was last read; marks begin at 0.
    seen_mark: AtomicI64,
}

impl Routes {
    /// The linked account with this id at X.
    pub fn route(&self, twitter_user_id: &str) -> Option<Arc<Route>> {
        self.0.by_twitter_user_id.get(twitter_user_id).map(|route| Arc::clone(&route))
    }

    /// The linked account with this id in the hub.
    pub fn by_account_id(&self, account_id: &str) -> Option<Arc<Route>> {
        self.0.by_account_id.get(account_id).map(|route| Arc::clone(&route))
    }

    /// Notes that X sent something for an account. One that is not linked is passed over.
    pub fn touch_account(&self, account_id: &str, now_ms: i64) {
        if let Some(route) = self.0.by_account_id.get(account_id) {
            route.touch(now_ms);
        }
    }

    /// How many accounts are linked.
    pub fn len(&self) -> usize {
        self.0.by_account_id.len()
    }

    /// Whether no account is linked.
    pub fn is_empty(&self) -> bool {
        self.0.by_account_id.is_empty()
    }

    /// When X last sent something for an account, as far as this process knows.
    pub(crate) fn last_event_at_ms(&self, account_id: &str) -> Option<i64> {
        let route = self.by_account_id(account_id)?;
        Some(route.touched.at_ms.load(Ordering::Relaxed)).filter(|&at_ms| at_ms > 0)
    }

    /// Enters an account, or what was changed of it.
    pub(crate) fn put(&self, row: AccountRow) {
        self.0.n_changes.fetch_add(1, Ordering::AcqRel);
        self.enter(row);
    }

    /// Takes an account out.
    pub(crate) fn remove(&self, account_id: &str) {
        self.0.n_changes.fetch_add(1, Ordering::AcqRel);
        self.take_out(account_id);
    }

    /// Reads the table again if anybody has changed settings since it was read. Returns how often that was so.
    pub(crate) async fn refresh(&self, db: &Db) -> Result<u64, StoreError> {
        let mark = marks::read(db, marks::SETTINGS).await?;
        let has_moved = self.0.seen_mark.load(Ordering::Acquire) != mark;
        if has_moved {
            self.reload(db).await?;
            self.0.seen_mark.store(mark, Ordering::Release);
            self.0.n_refreshes.fetch_add(1, Ordering::AcqRel);
        }
        Ok(self.0.n_refreshes.load(Ordering::Acquire))
    }

    /// Reads the table.
    pub(crate) async fn reload(&self, db: &Db) -> Result<(), StoreError> {
        for _ in 0..MAX_TRIES {
            let n_changes = self.n_changes();
            if self.replace_all(accounts::all(db).await?, n_changes) {
                break;
            }
        }
        Ok(())
    }

    /// To be asked before the rows for [`replace_all`](Self::replace_all) are read.
    pub(crate) fn n_changes(&self) -> u64 {
        self.0.n_changes.load(Ordering::Acquire)
    }

    /// Makes the table what was read. Returns `false`, and keeps it, when this process changed
    /// something since `n_changes`: then the rows may be older than the table.
    pub(crate) fn replace_all(&self, rows: Vec<AccountRow>, n_changes: u64) -> bool {
        if self.n_changes() != n_changes {
            return false;
        }
        let ids: HashMap<String, String> =
            rows.iter().map(|row| (row.id.clone(), row.twitter_user_id.clone())).collect();
        let known: Vec<String> = self.0.by_account_id.iter().map(|entry| entry.key().clone()).collect();
        for account_id in known.iter().filter(|account_id| !ids.contains_key(*account_id)) {
            self.take_out(account_id);
        }
        for row in rows {
            self.enter(row);
        }
        true
    }

    fn enter(&self, row: AccountRow) {
        let known = self.by_account_id(&row.id);
        if known.as_ref().is_some_and(|known| known.version > row.version) {
            return;
        }
        let touched = known.map(|known| Arc::clone(&known.touched)).unwrap_or_default();
        let stored_ms = row.last_event_at.unwrap_or_default();
        touched.at_ms.fetch_max(stored_ms, Ordering::Relaxed);
        touched.stored_ms.fetch_max(stored_ms, Ordering::Relaxed);
        let route = Arc::new(Route::new(row, touched));
        self.0.by_twitter_user_id.insert(route.twitter_user_id.clone(), Arc::clone(&route));
        self.0.by_account_id.insert(route.account_id.clone(), route);
    }

    fn take_out(&self, account_id: &str) {
        let Some((_, route)) = self.0.by_account_id.remove(account_id) else { return };
        // Another account may have taken the same id at X meanwhile.
        let is_same = |_: &String, other: &Arc<Route>| other.account_id == account_id;
        self.0.by_twitter_user_id.remove_if(&route.twitter_user_id, is_same);
    }

    /// Touches that are not stored yet.
    pub(crate) fn unstored_touches(&self) -> Vec<Touch> {
        let unstored = |route: &Arc<Route>| {
            let at = route.touched.at_ms.load(Ordering::Relaxed);
            let is_stored = at <= route.touched.stored_ms.load(Ordering::Relaxed);
            (!is_stored).then(|| Touch { id: route.account_id.clone(), at })
        };
        self.0.by_account_id.iter().filter_map(|entry| unstored(&entry)).collect()
    }

    /// Notes that touches are stored.
    pub(crate) fn note_stored(&self, touches: &[Touch]) {
        for touch in touches {
            if let Some(route) = self.by_account_id(&touch.id) {
                route.touched.stored_ms.fetch_max(touch.at, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, twitter_user_id: &str, version: i64) -> AccountRow {
        AccountRow {
            id: id.to_owned(),
            user_id: "u1".to_owned(),
            instance_id: None,
            twitter_user_id: twitter_user_id.to_owned(),
            screen_name: format!("v{version}"),
            sealed_secrets: Vec::new(),
            reply_channel: "same".to_owned(),
            case_policy: "{}".to_owned(),
            status: "ok".to_owned(),
            status_detail: String::new(),
            subscribed: None,
            last_event_at: Some(5),
            paused_until: None,
            version,
        }
    }

    #[test]
    fn both_names_lead_to_the_route() {
        let routes = Routes::default();
        routes.put(row("a1", "42", 1));
        assert_eq!(routes.route("42").unwrap().account_id, "a1");
        assert_eq!(routes.by_account_id("a1").unwrap().reply_channel, ReplyChannel::Same);
        assert_eq!(routes.route("42").unwrap().target_id(), "unrouted:a1");
        assert!(routes.route("43").is_none());
        routes.remove("a1");
        assert!(routes.route("42").is_none() && routes.is_empty());
    }

    #[test]
    fn what_is_older_than_the_table_changes_nothing() {
        let routes = Routes::default();
        routes.put(row("a1", "42", 2));
        routes.put(row("a1", "42", 1));
        assert_eq!(routes.route("42").unwrap().version, 2);
        let n_changes = routes.n_changes();
        routes.put(row("a2", "43", 1));
        assert!(!routes.replace_all(vec![row("a1", "42", 3)], n_changes));
        assert!(routes.route("43").is_some());
        assert!(routes.replace_all(vec![row("a1", "42", 3)], routes.n_changes()));
        assert!(routes.route("43").is_none());
        assert_eq!(routes.route("42").unwrap().version, 3);
    }

    #[test]
    fn an_account_that_was_linked_anew_keeps_its_route() {
        let routes = Routes::default();
        routes.put(row("a1", "42", 1));
        routes.put(row("a2", "42", 1));
        routes.remove("a1");
        assert_eq!(routes.route("42").unwrap().account_id, "a2");
    }

    #[test]
    fn touches_are_told_until_they_are_stored() {
        let routes = Routes::default();
        routes.put(row("a1", "42", 1));
        assert!(routes.unstored_touches().is_empty());
        routes.touch_account("a1", 9);
        routes.touch_account("a1", 7);
        routes.touch_account("nobody", 7);
        routes.put(row("a1", "42", 2));
        let touches = routes.unstored_touches();
        assert_eq!(
            touches.iter().map(|touch| (touch.id.as_str(), touch.at)).collect::<Vec<_>>(),
            [("a1", 9)]
        );
        assert_eq!(routes.last_event_at_ms("a1"), Some(9));
        routes.note_stored(&touches);
        assert!(routes.unstored_touches().is_empty());
    }
}
