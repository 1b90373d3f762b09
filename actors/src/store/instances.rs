//! ServiceNow instances.

use sqlx::FromRow;

use super::{Conn, Db, StoreError};
use crate::writer::Change;

statements! {
    BY_ID = "SELECT id, user_id, instance_url, auth, admin_user, client_id, sealed_secrets, rate, concurrency, mode, customer_table, case_defaults, reopen_window_ms, status, status_detail, last_success_at, paused_until, created_at FROM instances WHERE id = $1";
    COUNT_BY_STATUS = "SELECT status, COUNT(*) FROM instances GROUP BY status";
    SET_STATUS = "UPDATE instances SET status = $2, status_detail = $3, paused_until = $4, last_success_at = COALESCE($5, last_success_at) WHERE id = $1";
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

/// Tells how the instance (or, in `accounts`, the account) is doing.
#[derive(Debug, Clone)]
pub(crate) struct SetStatus {
    pub(crate) id: String,
    pub(crate) status: &'static str,
    pub(crate) detail: String,
    pub(crate) paused_until: Option<i64>,
    /// Epoch milliseconds of a success; `None` keeps the earlier one.
    pub(crate) success_at: Option<i64>,
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
            .execute(&mut **conn)
            .await
            .map(drop))?;
        Ok(())
    }
}
