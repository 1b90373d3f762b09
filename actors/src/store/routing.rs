//! Which actor works on what waits: lanes and deliveries follow their account to its instance.

use std::collections::HashMap;

use super::{Conn, Db, StoreError};
use crate::writer::Change;

statements! {
    SET_INSTANCE = "UPDATE accounts SET instance_id = $2, rerouted_at = $3, version = version + 1 WHERE id = $1 AND COALESCE(instance_id, '') <> COALESCE($2, '')";
    MOVE_LANES = "UPDATE lanes SET target_id = $2, ready_at = CASE WHEN ready_at IS NULL THEN NULL ELSE CAST($3 AS BIGINT) END WHERE account_id = $1 AND direction = 'to_servicenow' AND target_id <> $2";
    /// The fence moves: who read one of them for the instance of before begins nothing with it any more.
    MOVE_DELIVERIES = "UPDATE deliveries SET instance_id = $2, status = CASE status WHEN 'sending' THEN status ELSE $3 END, next_attempt_at = $4,
        fence = CASE status WHEN 'sending' THEN fence ELSE fence + 1 END,
        deadline_at = CASE status WHEN 'blocked' THEN $5 ELSE deadline_at END
        WHERE lane_id IN (SELECT id FROM lanes WHERE account_id = $1 AND direction = 'to_servicenow' AND target_id <> $6 AND ready_at IS NOT NULL)
        AND status IN ('queued', 'sending', 'retrying', 'blocked')";
    VERSIONS = "SELECT id, version FROM instances UNION ALL SELECT id, version FROM accounts";
    WITH_STRAYS = "SELECT a.id FROM accounts AS a WHERE a.rerouted_at > $1 AND (SELECT l.id FROM lanes AS l
        WHERE l.account_id = a.id AND l.direction = 'to_servicenow' AND l.target_id <> COALESCE(a.instance_id, 'unrouted:' || a.id) LIMIT 1) IS NOT NULL";
    INSTANCE_OF = sqlite "SELECT instance_id FROM accounts WHERE id = $1"
        postgres "SELECT instance_id FROM accounts WHERE id = $1 FOR SHARE";
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
        on_conn!(conn, |conn, sql| sqlx::query(sql(SET_INSTANCE))
            .bind(self.account_id)
            .bind(self.instance_id)
            .bind(self.now_ms)
            .execute(&mut **conn)
            .await
            .map(drop))?;
        self.move_all(conn).await
    }

    async fn move_all(&self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        let unrouted = unrouted_target(self.account_id);
        let (target, status) = match self.instance_id {
            Some(instance_id) => (instance_id, "queued"),
            None => (unrouted.as_str(), "blocked"),
        };
        on_conn!(conn, |conn, sql| {
            let moved = sqlx::query(sql(MOVE_DELIVERIES)).bind(self.account_id).bind(self.instance_id);
            let moved = moved.bind(status).bind(self.now_ms).bind(self.deadline_ms).bind(target);
            moved.execute(&mut **conn).await?;
            let moved = sqlx::query(sql(MOVE_LANES)).bind(self.account_id).bind(target).bind(self.now_ms);
            moved.execute(&mut **conn).await?;
            Ok(())
        })
    }
}

/// Accounts that got another instance since then, with lanes that do not belong there: on a server database,
/// what was being admitted at that moment was not seen by the change, nor the change by it.
pub(crate) async fn with_strays(db: &Db, since_ms: i64) -> Result<Vec<String>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_scalar(sql(WITH_STRAYS)).bind(since_ms).fetch_all(pool).await)?)
}

/// The versions of the settings of all instances and accounts, by their ids.
pub(crate) async fn versions(db: &Db) -> Result<HashMap<String, i64>, StoreError> {
    let rows: Vec<(String, i64)> =
        on_db!(db, |pool, sql| sqlx::query_as(sql(VERSIONS)).fetch_all(pool).await)?;
    Ok(rows.into_iter().collect())
}

/// Moves what waits of an account to the instance that it feeds.
#[derive(Debug, Clone)]
pub(crate) struct FollowAccount {
    pub(crate) account_id: String,
    pub(crate) now_ms: i64,
    pub(crate) deadline_ms: i64,
}

impl Change for FollowAccount {
    type Output = ();

    async fn apply(self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        let found: Option<Option<String>> = on_conn!(conn, |conn, sql| sqlx::query_scalar(sql(INSTANCE_OF))
            .bind(&self.account_id)
            .fetch_optional(&mut **conn)
            .await)?;
        let Some(instance_id) = found else { return Ok(()) };
        let reroute = Reroute {
            account_id: &self.account_id,
            instance_id: instance_id.as_deref(),
            now_ms: self.now_ms,
            deadline_ms: self.deadline_ms,
        };
        reroute.move_all(conn).await
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
