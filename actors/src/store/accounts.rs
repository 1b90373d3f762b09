//! Linked X accounts.

use serde::Serialize;
use sqlx::FromRow;

use super::deliveries::to_json;
use super::errands::{self, ErrandKind};
use super::{Conn, Db, StoreError, marks, routing};
use crate::store::Change;

statements! {
    BY_ID = "SELECT id, user_id, instance_id, twitter_user_id, screen_name, sealed_secrets, reply_channel, case_policy, status, status_detail, subscribed, last_event_at, paused_until, version FROM accounts WHERE id = $1";
    ALL_ROWS = "SELECT id, user_id, instance_id, twitter_user_id, screen_name, sealed_secrets, reply_channel, case_policy, status, status_detail, subscribed, last_event_at, paused_until, version FROM accounts ORDER BY id";
    OF_USER = "SELECT id, user_id, instance_id, twitter_user_id, screen_name, sealed_secrets, reply_channel, case_policy, status, status_detail, subscribed, last_event_at, paused_until, version FROM accounts WHERE user_id = $1 ORDER BY id LIMIT CAST($2 AS BIGINT) OFFSET CAST($3 AS BIGINT)";
    SET_SUBSCRIBED = "UPDATE accounts SET subscribed = $2 WHERE id = $1";
    COUNT_LINKED = "SELECT COUNT(*) FROM accounts WHERE twitter_user_id = $1";
    COUNT_OF_USER = "SELECT COUNT(*) FROM accounts WHERE user_id = $1";
    // The user's only instance, where none is named.
    INSERT = "INSERT INTO accounts (id, user_id, instance_id, twitter_user_id, screen_name, sealed_secrets, reply_channel, case_policy, status, status_detail, created_at, version)
        VALUES ($1, $2, COALESCE(CAST($3 AS TEXT), (SELECT MIN(id) FROM instances WHERE user_id = $2 AND CAST($4 AS INTEGER) = 1 HAVING COUNT(*) = 1)), $5, $6, $7, $8, $9, 'unchecked', '', $10, 1)";
    UPDATE = "UPDATE accounts SET screen_name = $3, sealed_secrets = $4, reply_channel = $5, case_policy = $6, version = version + 1 WHERE id = $1 AND version = $2";
    CLEAR_STATUS = "UPDATE accounts SET status = 'unchecked', status_detail = '', paused_until = NULL WHERE id = $1";
    DELETE = "DELETE FROM accounts WHERE id = $1";
    // Locked in the order of their ids, so that two replicas that store the same ones do not wait for each other.
    TOUCH = sqlite "UPDATE accounts SET last_event_at = r.value->>'at' FROM json_each($1) AS r WHERE accounts.id = r.value->>'id' AND COALESCE(last_event_at, 0) < r.value->>'at'"
        postgres "WITH held AS (SELECT accounts.id, r.at FROM json_to_recordset(CAST(CAST($1 AS TEXT) AS JSON)) AS r (id TEXT, at BIGINT)
            JOIN accounts ON accounts.id = r.id AND COALESCE(accounts.last_event_at, 0) < r.at ORDER BY accounts.id FOR NO KEY UPDATE OF accounts)
        UPDATE accounts SET last_event_at = held.at FROM held WHERE accounts.id = held.id AND COALESCE(accounts.last_event_at, 0) < held.at";
    SET_STATUS = "UPDATE accounts SET status = $2, status_detail = $3, paused_until = $4 WHERE id = $1 AND version = COALESCE($5, version)";
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
    pub(crate) version: i64,
}

/// The account with this id.
pub(crate) async fn by_id(db: &Db, id: &str) -> Result<Option<AccountRow>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(BY_ID)).bind(id).fetch_optional(pool).await)?)
}

/// All accounts, for routing what X sends.
pub(crate) async fn all(db: &Db) -> Result<Vec<AccountRow>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(ALL_ROWS)).fetch_all(pool).await)?)
}

/// Accounts of a user, the oldest first.
pub(crate) async fn of_user(
    db: &Db,
    user_id: &str,
    limit: i64,
    offset: i64,
) -> Result<Vec<AccountRow>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(OF_USER))
        .bind(user_id)
        .bind(limit)
        .bind(offset)
        .fetch_all(pool)
        .await)?)
}

/// Whether an account, called by its id at X, is linked.
pub(crate) async fn is_linked(db: &Db, twitter_user_id: &str) -> Result<bool, StoreError> {
    let n: i64 = on_db!(db, |pool, sql| sqlx::query_scalar(sql(COUNT_LINKED))
        .bind(twitter_user_id)
        .fetch_one(pool)
        .await)?;
    Ok(n > 0)
}

/// How many accounts a user has.
pub(crate) async fn count_of_user(db: &Db, user_id: &str) -> Result<i64, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_scalar(sql(COUNT_OF_USER)).bind(user_id).fetch_one(pool).await)?)
}

/// Settings as they are stored, without the instance.
#[derive(Debug, Clone)]
pub(crate) struct AccountColumns {
    pub(crate) screen_name: String,
    pub(crate) sealed_secrets: Vec<u8>,
    pub(crate) reply_channel: &'static str,
    pub(crate) case_policy: String,
}

/// Stores a new account.
#[derive(Debug, Clone)]
pub(crate) struct InsertAccount {
    pub(crate) id: String,
    pub(crate) user_id: String,
    pub(crate) twitter_user_id: String,
    pub(crate) instance_id: Option<String>,
    /// Where no instance is named, the user's only one is meant.
    pub(crate) takes_only_instance: bool,
    pub(crate) columns: AccountColumns,
    pub(crate) now_ms: i64,
}

impl Change for InsertAccount {
    type Output = ();

    async fn apply(self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        let columns = &self.columns;
        on_conn!(conn, |conn, sql| sqlx::query(sql(INSERT))
            .bind(&self.id)
            .bind(&self.user_id)
            .bind(&self.instance_id)
            .bind(i32::from(self.takes_only_instance))
            .bind(&self.twitter_user_id)
            .bind(&columns.screen_name)
            .bind(&columns.sealed_secrets)
            .bind(columns.reply_channel)
            .bind(&columns.case_policy)
            .bind(self.now_ms)
            .execute(&mut **conn)
            .await
            .map(drop))?;
        marks::bump(conn, marks::SETTINGS).await?;
        Ok(())
    }
}

/// Where an account goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Move {
    /// It stays.
    Stay,
    /// It feeds this instance, or none, with everything that waits.
    To(Option<String>),
}

/// Replaces the settings of an account, unless they changed since they were read.
#[derive(Debug, Clone)]
pub(crate) struct UpdateAccount {
    pub(crate) id: String,
    pub(crate) version: i64,
    pub(crate) columns: AccountColumns,
    pub(crate) instance: Move,
    /// What the status said does not hold any more, because the tokens are new.
    pub(crate) clears_status: bool,
    pub(crate) now_ms: i64,
    pub(crate) deadline_ms: i64,
}

impl Change for UpdateAccount {
    /// Whether it was still as it was read.
    type Output = bool;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<bool, StoreError> {
        let columns = &self.columns;
        let n_rows = on_conn!(conn, |conn, sql| sqlx::query(sql(UPDATE))
            .bind(&self.id)
            .bind(self.version)
            .bind(&columns.screen_name)
            .bind(&columns.sealed_secrets)
            .bind(columns.reply_channel)
            .bind(&columns.case_policy)
            .execute(&mut **conn)
            .await
            .map(|done| done.rows_affected()))?;
        if n_rows == 0 {
            return Ok(false);
        }
        if self.clears_status {
            on_conn!(conn, |conn, sql| sqlx::query(sql(CLEAR_STATUS))
                .bind(&self.id)
                .execute(&mut **conn)
                .await
                .map(drop))?;
            routing::reopen(conn, &self.id, self.now_ms, self.deadline_ms).await?;
        }
        if let Move::To(instance_id) = &self.instance {
            let reroute = routing::Reroute {
                account_ids: std::slice::from_ref(&self.id),
                instance_id: instance_id.as_deref(),
                now_ms: self.now_ms,
                deadline_ms: self.deadline_ms,
            };
            reroute.apply(conn).await?;
        }
        marks::bump(conn, marks::SETTINGS).await?;
        Ok(true)
    }
}

/// Forgets an account. An errand takes away its conversations and its deliveries.
#[derive(Debug, Clone)]
pub(crate) struct DeleteAccount {
    pub(crate) id: String,
    pub(crate) now_ms: i64,
}

impl Change for DeleteAccount {
    /// Whether there was one.
    type Output = bool;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<bool, StoreError> {
        let n_rows = on_conn!(conn, |conn, sql| sqlx::query(sql(DELETE))
            .bind(&self.id)
            .execute(&mut **conn)
            .await
            .map(|done| done.rows_affected()))?;
        if n_rows == 0 {
            return Ok(false);
        }
        errands::add(conn, ErrandKind::BuryAccount, &self.id, self.now_ms, 0).await?;
        marks::bump(conn, marks::SETTINGS).await?;
        Ok(true)
    }
}

/// When X last sent something for an account.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Touch {
    pub(crate) id: String,
    pub(crate) at: i64,
}

/// Stores when X last sent something, for many accounts; never sets a time back.
#[derive(Debug, Clone)]
pub(crate) struct TouchAccounts(pub(crate) Vec<Touch>);

impl Change for TouchAccounts {
    type Output = ();

    async fn apply(self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        let json = to_json(&self.0)?;
        on_conn!(conn, |conn, sql| sqlx::query(sql(TOUCH)).bind(&json).execute(&mut **conn).await.map(drop))?;
        Ok(())
    }
}

/// Tells how the account is doing.
#[derive(Debug, Clone)]
pub(crate) struct SetStatus {
    pub(crate) id: String,
    pub(crate) status: &'static str,
    pub(crate) detail: String,
    pub(crate) paused_until: Option<i64>,
    /// Only if the settings are these still; `None` whatever they are.
    pub(crate) version: Option<i64>,
}

impl Change for SetStatus {
    type Output = ();

    async fn apply(self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        on_conn!(conn, |conn, sql| sqlx::query(sql(SET_STATUS))
            .bind(&self.id)
            .bind(self.status)
            .bind(&self.detail)
            .bind(self.paused_until)
            .bind(self.version)
            .execute(&mut **conn)
            .await
            .map(drop))?;
        Ok(())
    }
}

/// Tells whether X sends the account's events.
#[derive(Debug, Clone)]
pub(crate) struct SetSubscribed {
    pub(crate) id: String,
    pub(crate) is_subscribed: Option<bool>,
}

impl Change for SetSubscribed {
    type Output = ();

    async fn apply(self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        on_conn!(conn, |conn, sql| sqlx::query(sql(SET_SUBSCRIBED))
            .bind(&self.id)
            .bind(self.is_subscribed)
            .execute(&mut **conn)
            .await
            .map(drop))?;
        Ok(())
    }
}
