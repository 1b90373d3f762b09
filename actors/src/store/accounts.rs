//! Linked X accounts.

use sqlx::FromRow;

use super::{Conn, Db, StoreError};
use crate::writer::Change;

statements! {
    BY_ID = "SELECT id, user_id, instance_id, twitter_user_id, screen_name, sealed_secrets, reply_channel, case_policy, status, status_detail, subscribed, last_event_at, paused_until, created_at FROM accounts WHERE id = $1";
    ALL_ROWS = "SELECT id, user_id, instance_id, twitter_user_id, screen_name, sealed_secrets, reply_channel, case_policy, status, status_detail, subscribed, last_event_at, paused_until, created_at FROM accounts ORDER BY id";
    SET_STATUS = "UPDATE accounts SET status = $2, status_detail = $3, paused_until = $4 WHERE id = $1";
}

/// A row.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct AccountRow {
    pub(crate) id: String,
    pub(crate) user_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) twitter_user_id: String,
    pub(crate) screen_name: String,
    pub(crate) sealed_secrets: Vec<u8>,
    pub(crate) reply_channel: String,
    pub(crate) case_policy: String,
    pub(crate) status: String,
    pub(crate) status_detail: String,
    pub(crate) subscribed: Option<bool>,
    pub(crate) last_event_at: Option<i64>,
    pub(crate) paused_until: Option<i64>,
    pub(crate) created_at: i64,
}

/// The account with this id.
pub(crate) async fn by_id(db: &Db, id: &str) -> Result<Option<AccountRow>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(BY_ID)).bind(id).fetch_optional(pool).await)?)
}

/// All accounts, for routing what X sends.
pub(crate) async fn all(db: &Db) -> Result<Vec<AccountRow>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(ALL_ROWS)).fetch_all(pool).await)?)
}

/// Tells how the account is doing.
#[derive(Debug, Clone)]
pub(crate) struct SetStatus {
    pub(crate) id: String,
    pub(crate) status: &'static str,
    pub(crate) detail: String,
    pub(crate) paused_until: Option<i64>,
}

impl Change for SetStatus {
    type Output = ();

    async fn apply(self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        on_conn!(conn, |conn, sql| sqlx::query(sql(SET_STATUS))
            .bind(&self.id)
            .bind(self.status)
            .bind(&self.detail)
            .bind(self.paused_until)
            .execute(&mut **conn)
            .await
            .map(drop))?;
        Ok(())
    }
}
