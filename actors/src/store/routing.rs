//! Which actor works on what waits: lanes and deliveries follow their account to its instance.

use super::{Conn, StoreError};

statements! {
    SET_INSTANCE = "UPDATE accounts SET instance_id = $2, version = version + 1 WHERE id = $1 AND COALESCE(instance_id, '') <> COALESCE($2, '')";
    MOVE_LANES = "UPDATE lanes SET target_id = $2, ready_at = CASE WHEN ready_at IS NULL THEN NULL ELSE CAST($3 AS BIGINT) END WHERE account_id = $1 AND direction = 'to_servicenow'";
    MOVE_DELIVERIES = "UPDATE deliveries SET instance_id = $2, status = CASE status WHEN 'sending' THEN status ELSE $3 END, next_attempt_at = $4,
        deadline_at = CASE status WHEN 'blocked' THEN $5 ELSE deadline_at END
        WHERE lane_id IN (SELECT id FROM lanes WHERE account_id = $1 AND direction = 'to_servicenow' AND ready_at IS NOT NULL)
        AND status IN ('queued', 'sending', 'retrying', 'blocked')";
    REOPEN_DELIVERIES = "UPDATE deliveries SET status = CASE status WHEN 'blocked' THEN 'queued' ELSE status END, next_attempt_at = $2,
        deadline_at = CASE status WHEN 'blocked' THEN $3 ELSE deadline_at END
        WHERE lane_id IN (SELECT id FROM lanes WHERE target_id = $1 AND ready_at IS NOT NULL)
        AND status IN ('queued', 'sending', 'retrying', 'blocked') AND status IN ('retrying', 'blocked')";
    REOPEN_LANES = "UPDATE lanes SET ready_at = $2 WHERE target_id = $1 AND ready_at IS NOT NULL AND n_pending > 0";
}

const UNROUTED: &str = "unrouted:";

/// The target of lanes to ServiceNow whose account feeds no instance.
pub(crate) fn unrouted_target(account_id: &str) -> String {
    format!("{UNROUTED}{account_id}")
}

/// Whether a lane's target is no instance.
pub(crate) fn is_unrouted(target_id: &str) -> bool {
    target_id.starts_with(UNROUTED)
}

/// Lets an account feed another instance, or none, with everything that waits.
pub(super) struct Reroute<'a> {
    pub(super) account_id: &'a str,
    pub(super) instance_id: Option<&'a str>,
    pub(super) now_ms: i64,
    /// Until when what was blocked may fail from now on.
    pub(super) deadline_ms: i64,
}

impl Reroute<'_> {
    pub(super) async fn apply(&self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        let unrouted = unrouted_target(self.account_id);
        let (target, status) = match self.instance_id {
            Some(instance_id) => (instance_id, "queued"),
            None => (unrouted.as_str(), "blocked"),
        };
        on_conn!(conn, |conn, sql| {
            let moved = sqlx::query(sql(SET_INSTANCE)).bind(self.account_id).bind(self.instance_id);
            moved.execute(&mut **conn).await?;
            let moved = sqlx::query(sql(MOVE_DELIVERIES)).bind(self.account_id).bind(self.instance_id);
            let moved = moved.bind(status).bind(self.now_ms).bind(self.deadline_ms);
            moved.execute(&mut **conn).await?;
            let moved = sqlx::query(sql(MOVE_LANES)).bind(self.account_id).bind(target).bind(self.now_ms);
            moved.execute(&mut **conn).await?;
            Ok(())
        })
    }
}

/// Lets everything that waits for a target be worked on now.
pub(super) async fn reopen(
    conn: &mut Conn<'_>,
    target_id: &str,
    now_ms: i64,
    deadline_ms: i64,
) -> Result<(), StoreError> {
    on_conn!(conn, |conn, sql| {
        let reopened = sqlx::query(sql(REOPEN_DELIVERIES)).bind(target_id).bind(now_ms).bind(deadline_ms);
        reopened.execute(&mut **conn).await?;
        let reopened = sqlx::query(sql(REOPEN_LANES)).bind(target_id).bind(now_ms);
        reopened.execute(&mut **conn).await?;
        Ok(())
    })
}
