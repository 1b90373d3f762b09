//! Conversations: what the hub knows of a customer of a linked account, and its cases.

use serde::Serialize;
use sqlx::FromRow;

use super::{Db, StoreError};

statements! {
    GET = "SELECT account_id, customer_id, handle, name, instance_id, customer_sys_id, case_sys_id, case_number, episode, case_open_at, last_post_id, last_channel FROM conversations WHERE account_id = $1 AND customer_id = $2";
    /// `$1`: an array of [`Seen`]. What an attempt saw that has lost its delivery is not stored.
    SAVE = sqlite "INSERT INTO conversations (account_id, customer_id, handle, name, instance_id, customer_sys_id, case_sys_id, case_number, episode, case_open_at, last_post_id, last_channel)
        SELECT value->>'account_id', value->>'customer_id', value->>'handle', value->>'name', value->>'instance_id', value->>'customer_sys_id', value->>'case_sys_id', value->>'case_number', value->>'episode', value->>'case_open_at', value->>'last_post_id', value->>'last_channel'
        FROM json_each($1) AS r WHERE EXISTS (SELECT 1 FROM deliveries AS d WHERE d.id = r.value->>'delivery_id' AND d.fence = r.value->>'fence')
        ON CONFLICT (account_id, customer_id) DO UPDATE SET handle = excluded.handle, name = excluded.name, instance_id = excluded.instance_id, customer_sys_id = excluded.customer_sys_id, case_sys_id = excluded.case_sys_id, case_number = excluded.case_number, episode = excluded.episode, case_open_at = excluded.case_open_at, last_post_id = excluded.last_post_id, last_channel = excluded.last_channel"
        postgres "INSERT INTO conversations (account_id, customer_id, handle, name, instance_id, customer_sys_id, case_sys_id, case_number, episode, case_open_at, last_post_id, last_channel)
        SELECT account_id, customer_id, handle, name, instance_id, customer_sys_id, case_sys_id, case_number, episode, case_open_at, last_post_id, last_channel
        FROM json_to_recordset(CAST(CAST($1 AS TEXT) AS JSON)) AS r (account_id TEXT, customer_id TEXT, handle TEXT, name TEXT, instance_id TEXT, customer_sys_id TEXT, case_sys_id TEXT, case_number TEXT, episode BIGINT, case_open_at BIGINT, last_post_id TEXT, last_channel TEXT, delivery_id TEXT, fence BIGINT)
        WHERE EXISTS (SELECT 1 FROM deliveries AS d WHERE d.id = r.delivery_id AND d.fence = r.fence)
        ON CONFLICT (account_id, customer_id) DO UPDATE SET handle = excluded.handle, name = excluded.name, instance_id = excluded.instance_id, customer_sys_id = excluded.customer_sys_id, case_sys_id = excluded.case_sys_id, case_number = excluded.case_number, episode = excluded.episode, case_open_at = excluded.case_open_at, last_post_id = excluded.last_post_id, last_channel = excluded.last_channel";
    SAVE_CASES = sqlite "INSERT INTO cases (instance_id, sys_id, user_id, account_id, twitter_user_id, customer_id, customer_sys_id, number, open_at)
        SELECT value->>'instance_id', value->>'case_sys_id', accounts.user_id, accounts.id, accounts.twitter_user_id, value->>'customer_id', value->>'customer_sys_id', value->>'case_number', value->>'case_open_at'
        FROM json_each($1) AS r JOIN accounts ON accounts.id = value->>'account_id' WHERE value->>'is_case_new' AND value->>'case_sys_id' IS NOT NULL AND value->>'instance_id' IS NOT NULL
        AND EXISTS (SELECT 1 FROM deliveries AS d WHERE d.id = r.value->>'delivery_id' AND d.fence = r.value->>'fence')
        ON CONFLICT (sys_id, instance_id) DO UPDATE SET user_id = excluded.user_id, account_id = excluded.account_id, twitter_user_id = excluded.twitter_user_id, customer_id = excluded.customer_id, open_at = excluded.open_at"
        postgres "INSERT INTO cases (instance_id, sys_id, user_id, account_id, twitter_user_id, customer_id, customer_sys_id, number, open_at)
        SELECT r.instance_id, r.case_sys_id, accounts.user_id, accounts.id, accounts.twitter_user_id, r.customer_id, r.customer_sys_id, r.case_number, r.case_open_at
        FROM json_to_recordset(CAST(CAST($1 AS TEXT) AS JSON)) AS r (account_id TEXT, customer_id TEXT, instance_id TEXT, customer_sys_id TEXT, case_sys_id TEXT, case_number TEXT, case_open_at BIGINT, is_case_new BOOLEAN, delivery_id TEXT, fence BIGINT)
        JOIN accounts ON accounts.id = r.account_id WHERE r.is_case_new AND r.case_sys_id IS NOT NULL AND r.instance_id IS NOT NULL
        AND EXISTS (SELECT 1 FROM deliveries AS d WHERE d.id = r.delivery_id AND d.fence = r.fence)
        ON CONFLICT (sys_id, instance_id) DO UPDATE SET user_id = excluded.user_id, account_id = excluded.account_id, twitter_user_id = excluded.twitter_user_id, customer_id = excluded.customer_id, open_at = excluded.open_at";
    /// An account that was unlinked and linked again has another id.
    BY_CASE = "SELECT COALESCE((SELECT a.id FROM accounts AS a WHERE a.twitter_user_id = cases.twitter_user_id AND a.user_id = cases.user_id), account_id), customer_id FROM cases WHERE sys_id = $1 AND user_id = $2 ORDER BY COALESCE(open_at, 0) DESC LIMIT 1";
    BY_CUSTOMER = "SELECT COALESCE((SELECT a.id FROM accounts AS a WHERE a.twitter_user_id = cases.twitter_user_id AND a.user_id = cases.user_id), account_id), customer_id FROM cases WHERE customer_sys_id = $1 AND user_id = $2 ORDER BY COALESCE(open_at, 0) DESC LIMIT 1";
}

/// A linked account and a customer, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Serialize)]
pub(crate) struct Conversation {
    pub(crate) account_id: String,
    pub(crate) customer_id: String,
    pub(crate) handle: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) instance_id: Option<String>,
    pub(crate) customer_sys_id: Option<String>,
    pub(crate) case_sys_id: Option<String>,
    pub(crate) case_number: Option<String>,
    pub(crate) episode: i64,
    pub(crate) case_open_at: Option<i64>,
    pub(crate) last_post_id: Option<String>,
    pub(crate) last_channel: Option<String>,
    /// The case was not known before: it is entered among the cases.
    #[sqlx(skip)]
    pub(crate) is_case_new: bool,
}

impl Conversation {
    /// One of which nothing is known yet.
    pub(crate) fn new(account_id: &str, customer_id: &str) -> Self {
        Self {
            account_id: account_id.to_owned(),
            customer_id: customer_id.to_owned(),
            handle: None,
            name: None,
            instance_id: None,
            customer_sys_id: None,
            case_sys_id: None,
            case_number: None,
            episode: 1,
            case_open_at: None,
            last_post_id: None,
            last_channel: None,
            is_case_new: false,
        }
    }
}

/// What an attempt found out of a conversation.
#[derive(Debug, Serialize)]
pub(super) struct Seen<'a> {
    pub(super) delivery_id: &'a str,
    /// The fence that its write leaves on the delivery.
    pub(super) fence: i64,
    #[serde(flatten)]
    pub(super) conversation: &'a Conversation,
}

/// Who stands behind a record on the ServiceNow side: (account id, X user id of the customer).
pub(crate) type Party = (String, String);

/// What is known of a customer of an account.
pub(crate) async fn get(
    db: &Db,
    account_id: &str,
    customer_id: &str,
) -> Result<Option<Conversation>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(GET))
        .bind(account_id)
        .bind(customer_id)
        .fetch_optional(pool)
        .await)?)
}

/// Whose case this is, among those of a user. The account may be unlinked by now.
pub(crate) async fn by_case(db: &Db, user_id: &str, case_sys_id: &str) -> Result<Option<Party>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(BY_CASE))
        .bind(case_sys_id)
        .bind(user_id)
        .fetch_optional(pool)
        .await)?)
}

/// Whose customer record this is, among those of a user: the conversation with the case last seen open.
pub(crate) async fn by_customer(db: &Db, user_id: &str, sys_id: &str) -> Result<Option<Party>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(BY_CUSTOMER))
        .bind(sys_id)
        .bind(user_id)
        .fetch_optional(pool)
        .await)?)
}
