//! Everything that the simulated X remembers.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::clock;
use crate::x::XAccount;
use crate::x::deliver::XDelivery;
use crate::x::limits::Limiter;
use crate::x::login::PendingLogin;

/// The first millisecond of X's ids, 2010-11-04.
const ID_EPOCH_MS: i64 = 1_288_834_974_657;
const MAX_NONCES: usize = 200_000;

/// A stored direct message.
#[derive(Clone, Debug, Serialize)]
pub struct XDm {
    /// The event id.
    pub id: String,
    /// Both participants' ids, the smaller first.
    pub conversation_id: String,
    /// Who wrote it.
    pub sender_id: String,
    /// The other participant.
    pub recipient_id: String,
    /// The text as sent.
    pub text: String,
    /// The media attached.
    pub media_ids: Vec<String>,
    /// Epoch milliseconds.
    pub created_ms: i64,
    /// Whether it came over the API.
    pub by_api: bool,
}

/// A stored post.
#[derive(Clone, Debug, Serialize)]
pub struct XPost {
    /// The post's id.
    pub id: String,
    /// Who wrote it.
    pub author_id: String,
    /// The text as sent.
    pub text: String,
    /// The post it answers.
    pub in_reply_to: Option<String>,
    /// Epoch milliseconds.
    pub created_ms: i64,
}

/// A registered webhook.
#[derive(Clone, Debug, Serialize)]
pub struct XWebhook {
    /// Its id.
    pub id: String,
    /// Where events go.
    pub url: String,
    /// Whether the last check succeeded; no events otherwise.
    pub valid: bool,
    /// RFC 3339.
    pub created_at: String,
}

pub(crate) struct State {
    accounts: HashMap<String, XAccount>,
    by_token: HashMap<String, String>,
    revoked: HashSet<String>,
    nonces: HashMap<(String, String), i64>,
    last_id: u64,
    dms: Vec<XDm>,
    by_conversation: HashMap<String, Vec<usize>>,
    posts: Vec<XPost>,
    written: HashSet<(String, String, Option<String>)>,
    refusing_dms: HashSet<String>,
    deleted_posts: HashSet<String>,
    pub(crate) webhooks: Vec<XWebhook>,
    /// (webhook id, user id)
    pub(crate) subscriptions: Vec<(String, String)>,
    pub(crate) deliveries: Vec<XDelivery>,
    pub(crate) limiter: Limiter,
    pub(crate) logins: HashMap<String, PendingLogin>,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            accounts: HashMap::new(),
            by_token: HashMap::new(),
            revoked: HashSet::new(),
            nonces: HashMap::new(),
            last_id: 0,
            dms: Vec::new(),
            by_conversation: HashMap::new(),
            posts: Vec::new(),
            written: HashSet::new(),
            refusing_dms: HashSet::new(),
            deleted_posts: HashSet::new(),
            webhooks: Vec::new(),
            subscriptions: Vec::new(),
            deliveries: Vec::new(),
            limiter: Limiter::default(),
            logins: HashMap::new(),
        }
    }

    pub(crate) fn add_account(&mut self, account: XAccount) {
        self.by_token.retain(|_, id| *id != account.id);
        self.revoked.remove(&account.access_token);
        self.by_token.insert(account.access_token.clone(), account.id.clone());
        self.accounts.insert(account.id.clone(), account);
    }

    pub(crate) fn revoke(&mut self, id: &str) {
        if let Some(account) = self.accounts.get(id) {
            self.revoked.insert(account.access_token.clone());
            self.subscriptions.retain(|(_, user)| user != id);
        }
    }

    pub(crate) fn account(&self, id: &str) -> Option<&XAccount> {
        self.accounts.get(id)
    }

    pub(crate) fn accounts(&self) -> impl Iterator<Item = &XAccount> {
        self.accounts.values()
    }

    /// The account of a live token.
    pub(crate) fn by_token(&self, token: &str) -> Option<&XAccount> {
        if self.revoked.contains(token) {
            return None;
        }
        self.accounts.get(self.by_token.get(token)?)
    }

    /// Notes a nonce; false if it was used before (RFC 5849, 3.3).
    pub(crate) fn is_fresh(&mut self, token: &str, nonce: &str, now_ms: i64) -> bool {
        if self.nonces.len() > MAX_NONCES {
            self.nonces.retain(|_, at_ms| now_ms - *at_ms < 2 * 1000 * super::oauth1::MAX_CLOCK_SKEW_S);
        }
        self.nonces.insert((token.to_owned(), nonce.to_owned()), now_ms).is_none()
    }

    /// Ids grow, also within a millisecond.
    pub(crate) fn next_id(&mut self) -> u64 {
        let since_epoch = clock::now_ms() - ID_EPOCH_MS;
        let fresh = u64::try_from(since_epoch).unwrap_or(0) << 22;
        self.last_id = fresh.max(self.last_id + 1);
        self.last_id
    }

    pub(crate) fn store_dm(
        &mut self,
        sender_id: &str,
        recipient_id: &str,
        text: &str,
        media_ids: Vec<String>,
        by_api: bool,
    ) -> XDm {
        let dm = XDm {
            id: self.next_id().to_string(),
            conversation_id: conversation_id(sender_id, recipient_id),
            sender_id: sender_id.to_owned(),
            recipient_id: recipient_id.to_owned(),
            text: text.to_owned(),
            media_ids,
            created_ms: clock::now_ms(),
            by_api,
        };
        self.by_conversation.entry(dm.conversation_id.clone()).or_default().push(self.dms.len());
        self.dms.push(dm.clone());
        dm
    }

    pub(crate) fn dms(&self) -> impl DoubleEndedIterator<Item = &XDm> {
        self.dms.iter()
    }

    /// The messages of one conversation, newest first.
    pub(crate) fn conversation(&self, id: &str) -> Vec<&XDm> {
        let numbers = self.by_conversation.get(id).map(Vec::as_slice).unwrap_or_default();
        numbers.iter().rev().filter_map(|at| self.dms.get(*at)).collect()
    }

    /// `None` if the author wrote the same before, as an answer to the same post.
    pub(crate) fn store_post(
        &mut self,
        author_id: &str,
        text: &str,
        in_reply_to: Option<&str>,
    ) -> Option<XPost> {
        let in_reply_to = in_reply_to.map(str::to_owned);
        if !self.written.insert((author_id.to_owned(), text.to_owned(), in_reply_to.clone())) {
            return None;
        }
        let post = XPost {
            id: self.next_id().to_string(),
            author_id: author_id.to_owned(),
            text: text.to_owned(),
            in_reply_to,
            created_ms: clock::now_ms(),
        };
        self.posts.push(post.clone());
        Some(post)
    }

    pub(crate) fn posts(&self) -> &[XPost] {
        &self.posts
    }

    pub(crate) fn refuse_dms(&mut self, id: &str) {
        self.refusing_dms.insert(id.to_owned());
    }

    pub(crate) fn refuses_dms(&self, id: &str) -> bool {
        self.refusing_dms.contains(id)
    }

    pub(crate) fn delete_post(&mut self, id: &str) {
        self.deleted_posts.insert(id.to_owned());
        self.posts.retain(|post| post.id != id);
    }

    pub(crate) fn is_deleted(&self, post_id: &str) -> bool {
        self.deleted_posts.contains(post_id)
    }

    /// Where events of subscribed accounts go.
    pub(crate) fn webhook_url(&self) -> Option<String> {
        self.webhooks.iter().find(|webhook| webhook.valid).map(|webhook| webhook.url.clone())
    }

    /// The webhooks that get what this account does.
    pub(crate) fn webhooks_of(&self, user_id: &str) -> Vec<String> {
        let subscribed =
            |id: &str| self.subscriptions.iter().any(|(hook, user)| hook == id && user == user_id);
        let valid = self.webhooks.iter().filter(|webhook| webhook.valid && subscribed(&webhook.id));
        valid.map(|webhook| webhook.url.clone()).collect()
    }
}

/// X names a one-to-one conversation after its participants.
pub(crate) fn conversation_id(one: &str, other: &str) -> String {
    let key = |id: &str| (id.len(), id.to_owned());
    let (first, second) = if key(one) <= key(other) { (one, other) } else { (other, one) };
    format!("{first}-{second}")
}
