//! ServiceNow instances.

use sqlx::FromRow;

use super::{Conn, Db, StoreError, marks, routing};
use crate::store::Change;

statements! {
    COUNT_BY_STATUS = "SELECT status, COUNT(*) FROM instances GROUP BY status";
    BY_ID = "SELECT id, user_id, instance_url, auth, admin_user, client_id, sealed_secrets, rate, concurrency, mode, customer_table, case_defaults, reopen_window_ms, status, status_detail, last_success_at, paused_until, version, created_at FROM instances WHERE id = $1";
    OF_USER = "SELECT id, user_id, instance_url, auth, admin_user, client_id, sealed_secrets, rate, concurrency, mode, customer_table, case_defaults, reopen_window_ms, status, status_detail, last_success_at, paused_until, version, created_at FROM instances WHERE user_id = $1 ORDER BY id LIMIT CAST($2 AS BIGINT) OFFSET CAST($3 AS BIGINT)";
    BY_URL = "SELECT id FROM instances WHERE instance_url = $1 ORDER BY id";
    COUNT_OF_USER = "SELECT COUNT(*) FROM instances WHERE user_id = $1";
    // Without what accounts have left that are gone or feed another one.
    COUNT_QUEUED = sqlite "SELECT COALESCE(SUM(n_pending), 0) FROM lanes WHERE target_id = $1 AND ready_at IS NOT NULL AND +account_id IN (SELECT id FROM accounts WHERE instance_id = $1)"
        postgres "SELECT COALESCE(CAST(SUM(n_pending) AS BIGINT), 0) FROM lanes WHERE target_id = $1 AND ready_at IS NOT NULL AND account_id || '' = ANY (ARRAY(SELECT id FROM accounts WHERE instance_id = $1))";
    COUNT_DEAD = sqlite "SELECT COUNT(*) FROM deliveries WHERE instance_id = $1 AND status = 'dead' AND direction = 'to_servicenow' AND +account_id IN (SELECT id FROM accounts WHERE user_id = (SELECT user_id FROM instances WHERE id = $1))"
        postgres "SELECT COUNT(*) FROM deliveries WHERE instance_id = $1 AND status = 'dead' AND direction = 'to_servicenow' AND account_id || '' = ANY (ARRAY(SELECT id FROM accounts WHERE user_id = (SELECT user_id FROM instances WHERE id = $1)))";
    INSERT = "INSERT INTO instances (id, user_id, instance_url, auth, admin_user, client_id, sealed_secrets, rate, concurrency, mode, customer_table, case_defaults, reopen_window_ms, status, status_detail, created_at, version)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'unchecked', '', $14, 1)";
    UPDATE = "UPDATE instances SET instance_url = $3, auth = $4, admin_user = $5, client_id = $6, sealed_secrets = $7, rate = $8, concurrency = $9, mode = $10, customer_table = $11, case_defaults = $12, reopen_window_ms = $13, version = version + 1 WHERE id = $1 AND version = $2";
    CLEAR_STATUS = "UPDATE instances SET status = 'unchecked', status_detail = '', paused_until = NULL WHERE id = $1";
    UNROUTED_ACCOUNTS = "SELECT id FROM accounts WHERE user_id = $1 AND instance_id IS NULL ORDER BY id";
    ACCOUNTS_OF = "SELECT id FROM accounts WHERE instance_id = $1 ORDER BY id";
    DELETE = "DELETE FROM instances WHERE id = $1";
    SET_STATUS = "UPDATE instances SET status = $2, status_detail = $3, paused_until = $4, last_success_at = COALESCE($5, last_success_at) WHERE id = $1 AND version = COALESCE($6, version)";
}

/// A row.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct InstanceRow {
    pub(crate) id: String,
    pub(crate) user_id: String,
    pub(crate) instance_url: String,
    pub(crate) auth: String,
    pub(crate) admin_user: String,
    pub(crate) client_id: String,
    pub(crate) sealed_secrets: Vec<u8>,
    pub(crate) rate: String,
    pub(crate) concurrency: i64,
    pub(crate) mode: String,
    pub(crate) customer_table: String,
    pub(crate) case_defaults: String,
    pub(crate) reopen_window_ms: Option<i64>,
    pub(crate) status: String,
    pub(crate) status_detail: String,
    pub(crate) last_success_at: Option<i64>,
    pub(crate) paused_until: Option<i64>,
    pub(crate) version: i64,
    pub(crate) created_at: i64,
}

/// The instance with this id.
pub(crate) async fn by_id(db: &Db, id: &str) -> Result<Option<InstanceRow>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(BY_ID)).bind(id).fetch_optional(pool).await)?)
}

/// How many instances there are, by status.
pub(crate) async fn count_by_status(db: &Db) -> Result<Vec<(String, i64)>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(COUNT_BY_STATUS)).fetch_all(pool).await)?)
}

/// Instances of a user, the oldest first.
pub(crate) async fn of_user(
    db: &Db,
    user_id: &str,
    limit: i64,
    offset: i64,
) -> Result<Vec<InstanceRow>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(OF_USER))
        .bind(user_id)
        .bind(limit)
        .bind(offset)
        .fetch_all(pool)
        .await)?)
}

/// Ids of the instances with this URL, of whichever users.
pub(crate) async fn by_url(db: &Db, instance_url: &str) -> Result<Vec<String>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_scalar(sql(BY_URL)).bind(instance_url).fetch_all(pool).await)?)
}

/// How many instances a user has.
pub(crate) async fn count_of_user(db: &Db, user_id: &str) -> Result<i64, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_scalar(sql(COUNT_OF_USER)).bind(user_id).fetch_one(pool).await)?)
}

/// How many deliveries wait for an instance, and how many are its dead letters.
pub(crate) async fn counts(db: &Db, id: &str) -> Result<(i64, i64), StoreError> {
    let n_queued =
        on_db!(db, |pool, sql| sqlx::query_scalar(sql(COUNT_QUEUED)).bind(id).fetch_one(pool).await)?;
    let n_dead = on_db!(db, |pool, sql| sqlx::query_scalar(sql(COUNT_DEAD)).bind(id).fetch_one(pool).await)?;
    Ok((n_queued, n_dead))
}

/// Settings as they are stored.
#[derive(Debug, Clone)]
pub(crate) struct InstanceColumns {
    pub(crate) instance_url: String,
    pub(crate) auth: &'static str,
    pub(crate) admin_user: String,
    pub(crate) client_id: String,
    pub(crate) sealed_secrets: Vec<u8>,
    pub(crate) rate: String,
    pub(crate) concurrency: i64,
    pub(crate) mode: &'static str,
    pub(crate) customer_table: &'static str,
    pub(crate) case_defaults: String,
    pub(crate) reopen_window_ms: Option<i64>,
}

/// Stores a new instance. The user's first one takes over the accounts that have none.
#[derive(Debug, Clone)]
pub(crate) struct InsertInstance {
    pub(crate) id: String,
    pub(crate) user_id: String,
    pub(crate) columns: InstanceColumns,
    pub(crate) now_ms: i64,
    pub(crate) deadline_ms: i64,
}

impl Change for InsertInstance {
    /// Whether accounts were linked to it.
    type Output = bool;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<bool, StoreError> {
        let columns = &self.columns;
        on_conn!(conn, |conn, sql| sqlx::query(sql(INSERT))
            .bind(&self.id)
            .bind(&self.user_id)
            .bind(&columns.instance_url)
            .bind(columns.auth)
            .bind(&columns.admin_user)
            .bind(&columns.client_id)
            .bind(&columns.sealed_secrets)
            .bind(&columns.rate)
            .bind(columns.concurrency)
            .bind(columns.mode)
            .bind(columns.customer_table)
            .bind(&columns.case_defaults)
            .bind(columns.reopen_window_ms)
            .bind(self.now_ms)
            .execute(&mut **conn)
            .await
            .map(drop))?;
        let n_instances: i64 = on_conn!(conn, |conn, sql| sqlx::query_scalar(sql(COUNT_OF_USER))
            .bind(&self.user_id)
            .fetch_one(&mut **conn)
            .await)?;
        let mut unrouted = Vec::new();
        if n_instances == 1 {
            unrouted = ids(conn, UNROUTED_ACCOUNTS, &self.user_id).await?;
        }
        let reroute = routing::Reroute {
            account_ids: &unrouted,
            instance_id: Some(&self.id),
            now_ms: self.now_ms,
            deadline_ms: self.deadline_ms,
        };
        reroute.apply(conn).await?;
        marks::bump(conn, marks::SETTINGS).await?;
        Ok(!unrouted.is_empty())
    }
}

/// Replaces the settings of an instance, unless they changed since they were read.
#[derive(Debug, Clone)]
pub(crate) struct UpdateInstance {
    pub(crate) id: String,
    pub(crate) version: i64,
    pub(crate) columns: InstanceColumns,
    /// What the status said does not hold any more.
    pub(crate) clears_status: bool,
    pub(crate) now_ms: i64,
    pub(crate) deadline_ms: i64,
}

impl Change for UpdateInstance {
    /// Whether it was still as it was read.
    type Output = bool;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<bool, StoreError> {
        let columns = &self.columns;
        let n_rows = on_conn!(conn, |conn, sql| sqlx::query(sql(UPDATE))
            .bind(&self.id)
            .bind(self.version)
            .bind(&columns.instance_url)
            .bind(columns.auth)
            .bind(&columns.admin_user)
            .bind(&columns.client_id)
            .bind(&columns.sealed_secrets)
            .bind(&columns.rate)
            .bind(columns.concurrency)
            .bind(columns.mode)
            .bind(columns.customer_table)
            .bind(&columns.case_defaults)
            .bind(columns.reopen_window_ms)
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
        }
        routing::reopen(conn, &self.id, self.now_ms, self.deadline_ms).await?;
        marks::bump(conn, marks::SETTINGS).await?;
        Ok(true)
    }
}

/// Deletes an instance. What waits for it is kept, blocked, until its accounts feed another one.
#[derive(Debug, Clone)]
pub(crate) struct DeleteInstance {
    pub(crate) id: String,
    pub(crate) now_ms: i64,
}

impl Change for DeleteInstance {
    /// Whether there was one.
    type Output = bool;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<bool, StoreError> {
        let reroute = routing::Reroute {
            account_ids: &ids(conn, ACCOUNTS_OF, &self.id).await?,
            instance_id: None,
            now_ms: self.now_ms,
            deadline_ms: self.now_ms,
        };
        reroute.apply(conn).await?;
        let n_rows = on_conn!(conn, |conn, sql| sqlx::query(sql(DELETE))
            .bind(&self.id)
            .execute(&mut **conn)
            .await
            .map(|done| done.rows_affected()))?;
        marks::bump(conn, marks::SETTINGS).await?;
        Ok(n_rows > 0)
    }
}

async fn ids(conn: &mut Conn<'_>, statement: super::Sql, of: &str) -> Result<Vec<String>, StoreError> {
    Ok(on_conn!(conn, |conn, sql| sqlx::query_scalar(sql(statement)).bind(of).fetch_all(&mut **conn).await)?)
}

/// Tells how the instance (or, in `accounts`, the account) is doing.
#[derive(Debug, Clone)]
pub(crate) struct SetStatus {
    pub(crate) id: String,
    pub(crate) status: &'static str,
    pub(crate) detail: String,
    pub(crate) paused_until: Option<i64>,
    /// Epoch milliseconds of a success; `None` keeps the earlier one.
    pub(crate) success_at: Option<i64>,
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
            .bind(self.success_at)
            .bind(self.version)
            .execute(&mut **conn)
            .await
            .map(drop))?;
        Ok(())
    }
}
