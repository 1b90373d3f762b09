//! Which actor works on what waits: lanes and deliveries follow their account to its instance.
//!
//! What the account says holds at once: nothing begins in a lane that stands with another target still (see
//! [`lanes`](super::lanes)). The lanes follow in parts, each with a bounded number of rows; what the first part does
//! not reach is left to an errand.

use std::collections::HashMap;

use sqlx::FromRow;

use super::deliveries::to_json;
use super::errands::{self, AT_ONCE, ErrandKind};
use super::{Conn, Db, Sql, StoreError};
use crate::store::Change;

statements! {
    SET_INSTANCE = "UPDATE accounts SET instance_id = $2, rerouted_at = $3, version = version + 1 WHERE id = $1 AND COALESCE(instance_id, '') <> COALESCE($2, '')";
    LANES_OF = "SELECT id, direction, target_id, n_pending FROM lanes WHERE account_id = $1 AND id > $2 ORDER BY id LIMIT CAST($3 AS BIGINT)";
    MOVE_LANES = sqlite "UPDATE lanes SET target_id = $2, ready_at = CASE WHEN ready_at IS NULL THEN NULL ELSE CAST($3 AS BIGINT) END WHERE id IN (SELECT value FROM json_each($1))"
        postgres "UPDATE lanes SET target_id = $2, ready_at = CASE WHEN ready_at IS NULL THEN NULL ELSE CAST($3 AS BIGINT) END WHERE id = ANY (ARRAY(SELECT json_array_elements_text(CAST(CAST($1 AS TEXT) AS JSON))))";
    /// The fence moves: who read one of them for the instance of before begins nothing with it any more.
    MOVE_DELIVERIES = sqlite "UPDATE deliveries SET instance_id = $2, status = CASE status WHEN 'sending' THEN status ELSE $3 END, next_attempt_at = $4,
        fence = CASE status WHEN 'sending' THEN fence ELSE fence + 1 END,
        deadline_at = CASE status WHEN 'blocked' THEN $5 ELSE deadline_at END
        WHERE lane_id IN (SELECT value FROM json_each($1)) AND status IN ('queued', 'sending', 'retrying', 'blocked')"
        postgres "UPDATE deliveries SET instance_id = $2, status = CASE status WHEN 'sending' THEN status ELSE $3 END, next_attempt_at = $4,
        fence = CASE status WHEN 'sending' THEN fence ELSE fence + 1 END,
        deadline_at = CASE status WHEN 'blocked' THEN $5 ELSE deadline_at END
        WHERE lane_id = ANY (ARRAY(SELECT json_array_elements_text(CAST(CAST($1 AS TEXT) AS JSON)))) AND status IN ('queued', 'sending', 'retrying', 'blocked')";
    LEFT_IN_LANE = "SELECT id, order_key FROM deliveries WHERE lane_id = $1 AND status IN ('queued', 'sending', 'retrying', 'blocked') AND order_key >= $2 AND COALESCE(instance_id, '') <> COALESCE($3, '')
        ORDER BY order_key LIMIT CAST($4 AS BIGINT)";
    /// As for [`BEGIN`](super::lanes::BEGIN), a server is not shown that they are pending ones.
    MOVE_SOME = sqlite "UPDATE deliveries SET instance_id = $2, status = CASE status WHEN 'sending' THEN status ELSE $3 END, next_attempt_at = $4,
        fence = CASE status WHEN 'sending' THEN fence ELSE fence + 1 END,
        deadline_at = CASE status WHEN 'blocked' THEN $5 ELSE deadline_at END
        WHERE id IN (SELECT value FROM json_each($1)) AND status IN ('queued', 'sending', 'retrying', 'blocked')"
        postgres "UPDATE deliveries SET instance_id = $2, status = CASE status WHEN 'sending' THEN status ELSE $3 END, next_attempt_at = $4,
        fence = CASE status WHEN 'sending' THEN fence ELSE fence + 1 END,
        deadline_at = CASE status WHEN 'blocked' THEN $5 ELSE deadline_at END
        WHERE id = ANY (ARRAY(SELECT json_array_elements_text(CAST(CAST($1 AS TEXT) AS JSON)))) AND CASE WHEN status IN ('queued', 'sending', 'retrying', 'blocked') THEN TRUE ELSE FALSE END";
    VERSIONS = "SELECT id, version FROM instances UNION ALL SELECT id, version FROM accounts";
    WITH_STRAYS = "SELECT a.id FROM accounts AS a WHERE a.rerouted_at > $1 AND (SELECT l.id FROM lanes AS l
        WHERE l.account_id = a.id AND l.direction = 'to_servicenow' AND l.target_id <> COALESCE(a.instance_id, 'unrouted:' || a.id) LIMIT 1) IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM errands AS e WHERE e.kind = 'reroute' AND e.subject_id = a.id)";
    INSTANCE_OF = sqlite "SELECT instance_id FROM accounts WHERE id = $1"
        postgres "SELECT instance_id FROM accounts WHERE id = $1 FOR SHARE";
    // SQLite takes an index with a condition only where the statement repeats it.
    UNBLOCK_THERE = "UPDATE deliveries SET status = 'queued', next_attempt_at = $2, deadline_at = $3
        WHERE id IN (SELECT id FROM deliveries WHERE instance_id = $1 AND status = 'blocked' AND status IN ('retrying', 'blocked') AND direction = 'to_servicenow' LIMIT CAST($4 AS BIGINT))";
    UNBLOCK_AT_X = "UPDATE deliveries SET status = 'queued', next_attempt_at = $2, deadline_at = $3
        WHERE id IN (SELECT id FROM deliveries WHERE account_id = $1 AND status = 'blocked' AND status IN ('retrying', 'blocked') AND direction = 'to_x' LIMIT CAST($4 AS BIGINT))";
    HASTEN_THERE = "UPDATE deliveries SET next_attempt_at = $2
        WHERE id IN (SELECT id FROM deliveries WHERE instance_id = $1 AND status = 'retrying' AND status IN ('retrying', 'blocked') AND direction = 'to_servicenow' AND next_attempt_at > $2 LIMIT CAST($3 AS BIGINT))";
    HASTEN_AT_X = "UPDATE deliveries SET next_attempt_at = $2
        WHERE id IN (SELECT id FROM deliveries WHERE account_id = $1 AND status = 'retrying' AND status IN ('retrying', 'blocked') AND direction = 'to_x' AND next_attempt_at > $2 LIMIT CAST($3 AS BIGINT))";
    HASTEN_LANES = "UPDATE lanes SET ready_at = $2
        WHERE id IN (SELECT id FROM lanes WHERE target_id = $1 AND urgency IN (0, 1, 2) AND ready_at > $2 LIMIT CAST($3 AS BIGINT))";
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

/// How far the lanes of an account were looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Spot {
    /// The last lane that is done with.
    lane_id: String,
    /// A long lane behind it, and the order key up to which it is done with.
    within: Option<(String, String)>,
}

/// What one part of a move came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// The instance that the account feeds now.
    pub(crate) instance_id: Option<String>,
    /// Lanes and deliveries that did not stand with it.
    pub(crate) n_rows: i64,
    /// Where the next part begins; `None` behind the last lane.
    pub(crate) next: Option<Spot>,
}

/// A move of what waits of an account to the instance that it feeds, or to none.
struct Relocation<'a> {
    account_id: &'a str,
    instance_id: Option<&'a str>,
    now_ms: i64,
    /// Until when what was blocked may fail from now on.
    deadline_ms: i64,
}

#[derive(FromRow)]
struct LaneRow {
    id: String,
    direction: String,
    target_id: String,
    n_pending: i64,
}

impl Relocation<'_> {
    fn target(&self) -> String {
        self.instance_id.map_or_else(|| unrouted_target(self.account_id), str::to_owned)
    }

    /// Moves the next lanes with what waits in them, or a part of what waits in a long one.
    async fn move_some(&self, conn: &mut Conn<'_>, from: &Spot) -> Result<Moved, StoreError> {
        let lanes: Vec<LaneRow> = on_conn!(conn, |conn, sql| sqlx::query_as(sql(LANES_OF))
            .bind(self.account_id)
            .bind(&from.lane_id)
            .bind(AT_ONCE)
            .fetch_all(&mut **conn)
            .await)?;
        let is_last = i64::try_from(lanes.len()).unwrap_or(AT_ONCE) < AT_ONCE;
        let target = self.target();
        let (mut strays, mut emptied, mut n_rows) = (Vec::new(), Vec::new(), 0);
        let mut spot = from.clone();
        let mut is_cut = false;
        for lane in lanes {
            if lane.direction == "to_servicenow" && lane.target_id != target {
                is_cut = !strays.is_empty() && n_rows + lane.n_pending > AT_ONCE;
                if is_cut {
                    break;
                }
                if lane.n_pending <= AT_ONCE {
                    n_rows += lane.n_pending + 1;
                    strays.push(lane.id.clone());
                } else if let Some(moved) = self.move_within(conn, &lane.id, &spot).await? {
                    return Ok(moved);
                } else {
                    n_rows += 1;
                    emptied.push(lane.id.clone());
                }
            }
            spot = Spot { lane_id: lane.id, within: None };
        }
        if !strays.is_empty() {
            self.move_deliveries(conn, MOVE_DELIVERIES, &to_json(&strays)?).await?;
        }
        strays.append(&mut emptied);
        self.move_lanes(conn, &strays, &target).await?;
        let next = (is_cut || !is_last).then_some(spot);
        Ok(Moved { instance_id: self.instance_id.map(str::to_owned), n_rows, next })
    }

    /// Moves a part of what waits in a long lane; `None` when all of it was moved, and the lane follows.
    async fn move_within(
        &self,
        conn: &mut Conn<'_>,
        lane_id: &str,
        from: &Spot,
    ) -> Result<Option<Moved>, StoreError> {
        let begun = from.within.as_ref().filter(|(within, _)| within == lane_id);
        let order_key = begun.map(|(_, order_key)| order_key.as_str()).unwrap_or_default();
        let left: Vec<(String, String)> = on_conn!(conn, |conn, sql| sqlx::query_as(sql(LEFT_IN_LANE))
            .bind(lane_id)
            .bind(order_key)
            .bind(self.instance_id)
            .bind(AT_ONCE)
            .fetch_all(&mut **conn)
            .await)?;
        let Some((_, order_key)) = left.last().cloned() else { return Ok(None) };
        let ids: Vec<&str> = left.iter().map(|(id, _)| id.as_str()).collect();
        self.move_deliveries(conn, MOVE_SOME, &to_json(&ids)?).await?;
        let within = Some((lane_id.to_owned(), order_key));
        Ok(Some(Moved {
            instance_id: self.instance_id.map(str::to_owned),
            n_rows: i64::try_from(ids.len()).unwrap_or(AT_ONCE),
            next: Some(Spot { lane_id: from.lane_id.clone(), within }),
        }))
    }

    async fn move_deliveries(&self, conn: &mut Conn<'_>, which: Sql, json: &str) -> Result<(), StoreError> {
        let status = if self.instance_id.is_some() { "queued" } else { "blocked" };
        on_conn!(conn, |conn, sql| sqlx::query(sql(which))
            .bind(json)
            .bind(self.instance_id)
            .bind(status)
            .bind(self.now_ms)
            .bind(self.deadline_ms)
            .execute(&mut **conn)
            .await
            .map(drop))?;
        Ok(())
    }

    async fn move_lanes(
        &self,
        conn: &mut Conn<'_>,
        lane_ids: &[String],
        target: &str,
    ) -> Result<(), StoreError> {
        if lane_ids.is_empty() {
            return Ok(());
        }
        let json = to_json(&lane_ids)?;
        on_conn!(conn, |conn, sql| sqlx::query(sql(MOVE_LANES))
            .bind(&json)
            .bind(target)
            .bind(self.now_ms)
            .execute(&mut **conn)
            .await
            .map(drop))?;
        Ok(())
    }
}

/// Accounts that from now on feed another instance, or none, with everything that waits.
pub(super) struct Reroute<'a> {
    pub(super) account_ids: &'a [String],
    pub(super) instance_id: Option<&'a str>,
    pub(super) now_ms: i64,
    /// Until when what was blocked may fail from now on.
    pub(super) deadline_ms: i64,
}

impl Reroute<'_> {
    /// Moves the first rows at once; an errand moves the others.
    pub(super) async fn apply(&self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        let mut n_rows = 0;
        for account_id in self.account_ids {
            on_conn!(conn, |conn, sql| sqlx::query(sql(SET_INSTANCE))
                .bind(account_id)
                .bind(self.instance_id)
                .bind(self.now_ms)
                .execute(&mut **conn)
                .await
                .map(drop))?;
            let relocation = Relocation {
                account_id,
                instance_id: self.instance_id,
                now_ms: self.now_ms,
                deadline_ms: self.deadline_ms,
            };
            let mut is_done = false;
            if n_rows < AT_ONCE {
                let moved = relocation.move_some(conn, &Spot::default()).await?;
                n_rows += moved.n_rows;
                is_done = moved.next.is_none();
            }
            if !is_done {
                errands::add(conn, ErrandKind::Reroute, account_id, self.now_ms, self.deadline_ms).await?;
            }
        }
        Ok(())
    }
}

/// Accounts that got another instance since then, with lanes that do not belong there, and no errand that moves
/// them: on a server database, what was being admitted at that moment was not seen by the change, nor the change by
/// it.
pub(crate) async fn with_strays(db: &Db, since_ms: i64) -> Result<Vec<String>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_scalar(sql(WITH_STRAYS)).bind(since_ms).fetch_all(pool).await)?)
}

/// The versions of the settings of all instances and accounts, by their ids.
pub(crate) async fn versions(db: &Db) -> Result<HashMap<String, i64>, StoreError> {
    let rows: Vec<(String, i64)> =
        on_db!(db, |pool, sql| sqlx::query_as(sql(VERSIONS)).fetch_all(pool).await)?;
    Ok(rows.into_iter().collect())
}

/// Moves the next part of what waits of an account to the instance that it feeds.
#[derive(Debug, Clone)]
pub(crate) struct MoveOn {
    pub(crate) account_id: String,
    pub(crate) from: Spot,
    pub(crate) now_ms: i64,
    pub(crate) deadline_ms: i64,
}

impl Change for MoveOn {
    type Output = Moved;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<Moved, StoreError> {
        let found: Option<Option<String>> = on_conn!(conn, |conn, sql| sqlx::query_scalar(sql(INSTANCE_OF))
            .bind(&self.account_id)
            .fetch_optional(&mut **conn)
            .await)?;
        // With an account that is gone its rows go, too.
        let Some(instance_id) = found else { return Ok(Moved::default()) };
        let relocation = Relocation {
            account_id: &self.account_id,
            instance_id: instance_id.as_deref(),
            now_ms: self.now_ms,
            deadline_ms: self.deadline_ms,
        };
        relocation.move_some(conn, &self.from).await
    }
}

/// Moves what waits of an account to the instance that it feeds: the first part now, the others by an errand.
#[derive(Debug, Clone)]
pub(crate) struct FollowAccount {
    pub(crate) account_id: String,
    pub(crate) now_ms: i64,
    pub(crate) deadline_ms: i64,
}

impl Change for FollowAccount {
    type Output = ();

    async fn apply(self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        let Self { account_id, now_ms, deadline_ms } = self;
        let first = MoveOn { account_id: account_id.clone(), from: Spot::default(), now_ms, deadline_ms };
        if first.apply(conn).await?.next.is_some() {
            errands::add(conn, ErrandKind::Reroute, &account_id, now_ms, deadline_ms).await?;
        }
        Ok(())
    }
}

/// Lets some of what was tried for a target be tried now, whatever it was to wait for.
#[derive(Debug, Clone)]
pub(crate) struct Reopen {
    /// The instance or account.
    pub(crate) target_id: String,
    pub(crate) now_ms: i64,
    /// Until when what was blocked may fail from now on.
    pub(crate) deadline_ms: i64,
}

impl Change for Reopen {
    /// Whether nothing else waits for its time.
    type Output = bool;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<bool, StoreError> {
        let target_id = &self.target_id;
        let mut most = 0;
        on_conn!(conn, |conn, sql| {
            for statement in [UNBLOCK_THERE, UNBLOCK_AT_X] {
                let query = sqlx::query(sql(statement)).bind(target_id).bind(self.now_ms);
                let done = query.bind(self.deadline_ms).bind(AT_ONCE).execute(&mut **conn).await?;
                most = done.rows_affected().max(most);
            }
            for statement in [HASTEN_THERE, HASTEN_AT_X, HASTEN_LANES] {
                let query = sqlx::query(sql(statement)).bind(target_id).bind(self.now_ms);
                let done = query.bind(AT_ONCE).execute(&mut **conn).await?;
                most = done.rows_affected().max(most);
            }
        });
        Ok(i64::try_from(most).unwrap_or(i64::MAX) < AT_ONCE)
    }
}

/// Lets everything that waits for a target be worked on now: what was tried last at once, the rest by an errand.
/// What was not tried yet waits for no time of its own.
pub(super) async fn reopen(
    conn: &mut Conn<'_>,
    target_id: &str,
    now_ms: i64,
    deadline_ms: i64,
) -> Result<(), StoreError> {
    let first = Reopen { target_id: target_id.to_owned(), now_ms, deadline_ms };
    if !first.apply(conn).await? {
        errands::add(conn, ErrandKind::Reopen, target_id, now_ms, deadline_ms).await?;
    }
    Ok(())
}
