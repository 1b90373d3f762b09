//! Lanes: what may be worked on now, and the two writes of every attempt.

use serde::Serialize;
use sqlx::{FromRow, Row};

use super::conversations::Conversation;
use super::deliveries::Delivery;
use super::{Db, StoreError};
use crate::domain::lease::Lease;

statements! {
    /// Only lanes whose account is there and goes to the target still: others are moved or taken away. Of a lane
    /// that holds more than a page nothing is read.
    READY = sqlite "SELECT l.id AS ready_lane, l.urgency, d.id, d.direction, d.kind, d.status, d.user_id, d.account_id, d.instance_id, d.customer_id, d.lane_id, d.source_id, d.fingerprint, d.order_key, d.payload, d.journal, d.begun_at, d.attempts, d.next_attempt_at, d.deadline_at, d.error_class, d.error_detail, d.message_id, d.case_sys_id, d.case_number, d.created_at, d.delivered_at, d.fence
        FROM (SELECT id, n_pending, urgency, ready_at FROM (
            SELECT * FROM (SELECT id, n_pending, urgency, ready_at FROM lanes WHERE target_id = $1 AND urgency = 0 AND ready_at <= $2 AND (SELECT a.id FROM accounts AS a WHERE a.id = lanes.account_id AND $1 IN (a.id, COALESCE(a.instance_id, 'unrouted:' || a.id))) IS NOT NULL ORDER BY ready_at LIMIT CAST($3 AS BIGINT)) AS firsts
            UNION ALL SELECT * FROM (SELECT id, n_pending, urgency, ready_at FROM lanes WHERE target_id = $1 AND urgency = 1 AND ready_at <= $2 AND (SELECT a.id FROM accounts AS a WHERE a.id = lanes.account_id AND $1 IN (a.id, COALESCE(a.instance_id, 'unrouted:' || a.id))) IS NOT NULL ORDER BY ready_at LIMIT CAST($3 AS BIGINT)) AS repeated
            UNION ALL SELECT * FROM (SELECT id, n_pending, urgency, ready_at FROM lanes WHERE target_id = $1 AND urgency = 2 AND ready_at <= $2 AND (SELECT a.id FROM accounts AS a WHERE a.id = lanes.account_id AND $1 IN (a.id, COALESCE(a.instance_id, 'unrouted:' || a.id))) IS NOT NULL ORDER BY ready_at LIMIT CAST($3 AS BIGINT)) AS replayed
            ) AS ranked ORDER BY urgency, ready_at LIMIT CAST($3 AS BIGINT)) AS l
        LEFT JOIN deliveries AS d ON d.lane_id = CASE WHEN l.n_pending <= $4 THEN l.id END AND d.status IN ('queued', 'sending', 'retrying', 'blocked')
        ORDER BY l.urgency, l.ready_at, l.id, CASE WHEN d.begun_at IS NULL THEN 1 ELSE 0 END, d.order_key, d.id"
        postgres "SELECT l.id AS ready_lane, l.urgency, d.id, d.direction, d.kind, d.status, d.user_id, d.account_id, d.instance_id, d.customer_id, d.lane_id, d.source_id, d.fingerprint, d.order_key, d.payload, d.journal, d.begun_at, d.attempts, d.next_attempt_at, d.deadline_at, d.error_class, d.error_detail, d.message_id, d.case_sys_id, d.case_number, d.created_at, d.delivered_at, d.fence
        FROM (SELECT id, n_pending, urgency, ready_at FROM (
            SELECT * FROM (SELECT id, n_pending, urgency, ready_at FROM lanes WHERE target_id = $1 AND urgency = 0 AND ready_at <= $2 AND (SELECT a.id FROM accounts AS a WHERE a.id = lanes.account_id AND $1 IN (a.id, COALESCE(a.instance_id, 'unrouted:' || a.id))) IS NOT NULL ORDER BY ready_at LIMIT CAST($3 AS BIGINT)) AS firsts
            UNION ALL SELECT * FROM (SELECT id, n_pending, urgency, ready_at FROM lanes WHERE target_id = $1 AND urgency = 1 AND ready_at <= $2 AND (SELECT a.id FROM accounts AS a WHERE a.id = lanes.account_id AND $1 IN (a.id, COALESCE(a.instance_id, 'unrouted:' || a.id))) IS NOT NULL ORDER BY ready_at LIMIT CAST($3 AS BIGINT)) AS repeated
            UNION ALL SELECT * FROM (SELECT id, n_pending, urgency, ready_at FROM lanes WHERE target_id = $1 AND urgency = 2 AND ready_at <= $2 AND (SELECT a.id FROM accounts AS a WHERE a.id = lanes.account_id AND $1 IN (a.id, COALESCE(a.instance_id, 'unrouted:' || a.id))) IS NOT NULL ORDER BY ready_at LIMIT CAST($3 AS BIGINT)) AS replayed
            ) AS ranked ORDER BY urgency, ready_at LIMIT CAST($3 AS BIGINT)) AS l
        LEFT JOIN LATERAL (SELECT * FROM deliveries WHERE l.n_pending <= $4 AND lane_id = l.id AND status IN ('queued', 'sending', 'retrying', 'blocked') ORDER BY order_key OFFSET 0) AS d ON TRUE
        ORDER BY l.urgency, l.ready_at, l.id, CASE WHEN d.begun_at IS NULL THEN 1 ELSE 0 END, d.order_key, d.id";
    // What is least is asked for as the first: a server that believes that next to nothing waits reads all of it for a
    // MIN.
    NEXT_READY = "SELECT MIN(at) FROM (SELECT (SELECT ready_at FROM lanes WHERE target_id = $1 AND urgency = 0 AND ready_at > $2 ORDER BY ready_at LIMIT 1) AS at
        UNION ALL SELECT (SELECT ready_at FROM lanes WHERE target_id = $1 AND urgency = 1 AND ready_at > $2 ORDER BY ready_at LIMIT 1)
        UNION ALL SELECT (SELECT ready_at FROM lanes WHERE target_id = $1 AND urgency = 2 AND ready_at > $2 ORDER BY ready_at LIMIT 1)) AS firsts";
    /// Steps from target to target in the index: what it costs does not depend on how much waits.
    READY_TARGETS = "WITH RECURSIVE targets (id) AS (SELECT (SELECT target_id FROM lanes WHERE ready_at IS NOT NULL ORDER BY target_id LIMIT 1)
        UNION ALL SELECT (SELECT target_id FROM lanes WHERE ready_at IS NOT NULL AND target_id > targets.id ORDER BY target_id LIMIT 1) FROM targets WHERE targets.id IS NOT NULL)
        SELECT (SELECT direction FROM lanes WHERE target_id = targets.id AND ready_at IS NOT NULL LIMIT 1), targets.id FROM targets
        WHERE targets.id IS NOT NULL AND EXISTS (SELECT 1 FROM lanes WHERE target_id = targets.id AND urgency IN (0, 1, 2) AND ready_at <= $1)";
    OLDEST_DUE = "WITH RECURSIVE targets (id) AS (SELECT (SELECT target_id FROM lanes WHERE ready_at IS NOT NULL ORDER BY target_id LIMIT 1)
        UNION ALL SELECT (SELECT target_id FROM lanes WHERE ready_at IS NOT NULL AND target_id > targets.id ORDER BY target_id LIMIT 1) FROM targets WHERE targets.id IS NOT NULL),
        urgencies (urgency) AS (SELECT 0 UNION ALL SELECT 1 UNION ALL SELECT 2)
        SELECT MIN(at) FROM (SELECT (SELECT ready_at FROM lanes WHERE target_id = targets.id AND urgency = urgencies.urgency AND ready_at IS NOT NULL ORDER BY ready_at LIMIT 1) AS at
            FROM targets CROSS JOIN urgencies WHERE targets.id IS NOT NULL AND targets.id NOT LIKE 'unrouted:%'
                AND NOT EXISTS (SELECT 1 FROM instances AS i WHERE i.id = targets.id AND i.status = 'needs_auth') AND NOT EXISTS (SELECT 1 FROM accounts AS a WHERE a.id = targets.id AND a.status = 'needs_auth')) AS oldest";
    /// `$1`: an array of ids.
    LOCK = postgres "SELECT COUNT(*) FROM (SELECT id FROM lanes WHERE id IN (SELECT value FROM json_array_elements_text(CAST(CAST($1 AS TEXT) AS JSON)) AS value) ORDER BY id FOR NO KEY UPDATE) AS locked";
    /// `$1`: an array of [`Begin`]. A server that believes that nothing waits would rather look for the rows among
    /// all that are pending than by their ids: it is not shown that they are pending ones. Nothing begins in a lane whose account is gone, or goes to another target now.
    BEGIN = sqlite "UPDATE deliveries SET status = 'sending', journal = r.value->>'journal', begun_at = COALESCE(begun_at, r.value->>'at'), fence = r.value->>'mark'
        FROM json_each($1) AS r WHERE deliveries.id = r.value->>'id' AND deliveries.fence IN (r.value->>'held', r.value->>'mark') AND deliveries.status IN ('queued', 'sending', 'retrying', 'blocked')
            AND (SELECT l.id FROM lanes AS l JOIN accounts AS a ON a.id = l.account_id WHERE l.id = deliveries.lane_id AND l.target_id = CASE l.direction WHEN 'to_x' THEN a.id ELSE a.instance_id END) IS NOT NULL"
        postgres "WITH held AS (UPDATE deliveries SET status = 'sending', journal = r.journal, begun_at = COALESCE(deliveries.begun_at, r.at), fence = r.mark
        FROM json_to_recordset(CAST(CAST($1 AS TEXT) AS JSON)) AS r (id TEXT, held BIGINT, mark BIGINT, journal TEXT, at BIGINT)
        WHERE deliveries.id = r.id AND deliveries.fence IN (r.held, r.mark) AND CASE WHEN deliveries.status IN ('queued', 'sending', 'retrying', 'blocked') THEN TRUE ELSE FALSE END
            AND (SELECT l.id FROM lanes AS l JOIN accounts AS a ON a.id = l.account_id WHERE l.id = deliveries.lane_id AND l.target_id = CASE l.direction WHEN 'to_x' THEN a.id ELSE a.instance_id END) IS NOT NULL RETURNING deliveries.id)
        SELECT COALESCE(CAST(json_agg(id) AS TEXT), '[]') FROM held";
    BEGUN = sqlite "SELECT json_group_array(d.id) FROM json_each($1) AS r JOIN deliveries AS d ON d.id = r.value->>'id' AND d.fence = r.value->>'mark'";
    /// `$1`: an array of [`Settle`]. These come before [`SETTLE`], which moves the fence.
    ADD_ATTEMPTS = sqlite "INSERT INTO attempts (delivery_id, n, at, http_status, error_class, error_detail, duration_ms)
        SELECT d.id, (SELECT COUNT(*) + 1 FROM attempts WHERE delivery_id = d.id), r.value->>'at', r.value->>'http_status', r.value->>'error_class', r.value->>'error_detail', r.value->>'duration_ms'
        FROM json_each($1) AS r JOIN deliveries AS d ON d.id = r.value->>'id' AND d.fence IN (r.value->>'held', r.value->>'mark') WHERE r.value->>'n_tried' > 0";
    SETTLE_LANES = sqlite "UPDATE lanes SET n_pending = n_pending - (r.value->>'n_done'),
        ready_at = CASE WHEN n_pending - (r.value->>'n_done') <= 0 THEN NULL ELSE r.value->>'lane_ready_at' END,
        urgency = CASE WHEN urgency = 2 THEN 2 WHEN r.value->>'n_done' > 0 THEN 0 WHEN r.value->>'n_tried' > 0 THEN 1 ELSE urgency END
        FROM json_each($1) AS r WHERE lanes.id = r.value->>'lane_id' AND EXISTS (SELECT 1 FROM deliveries AS d WHERE d.id = r.value->>'id' AND d.fence IN (r.value->>'held', r.value->>'mark'))";
    SETTLE = sqlite "UPDATE deliveries SET status = r.value->>'status', journal = r.value->>'journal', begun_at = COALESCE(begun_at, r.value->>'at'), attempts = r.value->>'attempts',
        next_attempt_at = r.value->>'next_attempt_at', deadline_at = COALESCE(r.value->>'deadline_at', deadline_at), error_class = r.value->>'error_class', error_detail = r.value->>'error_detail',
        message_id = COALESCE(r.value->>'message_id', message_id), case_sys_id = COALESCE(r.value->>'case_sys_id', case_sys_id), case_number = COALESCE(r.value->>'case_number', case_number),
        delivered_at = r.value->>'delivered_at', fence = r.value->>'end_mark', payload = CASE WHEN r.value->>'erases' THEN NULL ELSE payload END
        FROM json_each($1) AS r WHERE deliveries.id = r.value->>'id' AND deliveries.fence IN (r.value->>'held', r.value->>'mark')"
        postgres "WITH r AS (SELECT * FROM json_to_recordset(CAST(CAST($1 AS TEXT) AS JSON)) AS r (id TEXT, held BIGINT, mark BIGINT, end_mark BIGINT, status TEXT, journal TEXT, at BIGINT, duration_ms BIGINT, attempts BIGINT, http_status BIGINT, next_attempt_at BIGINT, deadline_at BIGINT, error_class TEXT, error_detail TEXT, message_id TEXT, case_sys_id TEXT, case_number TEXT, delivered_at BIGINT, n_done BIGINT, n_tried BIGINT, lane_ready_at BIGINT, erases BOOLEAN)),
        earlier AS (SELECT d.id FROM r JOIN deliveries AS d ON d.id = r.id AND d.fence = r.end_mark),
        settled AS (UPDATE deliveries SET status = r.status, journal = r.journal, begun_at = COALESCE(deliveries.begun_at, r.at), attempts = r.attempts,
            next_attempt_at = r.next_attempt_at, deadline_at = COALESCE(r.deadline_at, deliveries.deadline_at), error_class = r.error_class, error_detail = r.error_detail,
            message_id = COALESCE(r.message_id, deliveries.message_id), case_sys_id = COALESCE(r.case_sys_id, deliveries.case_sys_id), case_number = COALESCE(r.case_number, deliveries.case_number),
            delivered_at = r.delivered_at, fence = r.end_mark, payload = CASE WHEN r.erases THEN NULL ELSE deliveries.payload END
            FROM r WHERE deliveries.id = r.id AND deliveries.fence IN (r.held, r.mark)
            RETURNING deliveries.id, deliveries.lane_id, r.n_done, r.n_tried, r.lane_ready_at, r.at, r.http_status, r.error_class, r.error_detail, r.duration_ms),
        lane AS (UPDATE lanes SET n_pending = n_pending - settled.n_done, ready_at = CASE WHEN n_pending - settled.n_done <= 0 THEN NULL ELSE settled.lane_ready_at END,
            urgency = CASE WHEN urgency = 2 THEN 2 WHEN settled.n_done > 0 THEN 0 WHEN settled.n_tried > 0 THEN 1 ELSE urgency END
            FROM settled WHERE lanes.id = settled.lane_id),
        attempt AS (INSERT INTO attempts (delivery_id, n, at, http_status, error_class, error_detail, duration_ms)
            SELECT id, (SELECT COUNT(*) + 1 FROM attempts WHERE delivery_id = settled.id), at, http_status, error_class, error_detail, duration_ms FROM settled WHERE n_tried > 0)
        SELECT COALESCE(CAST(json_agg(id) AS TEXT), '[]') FROM (SELECT id FROM settled UNION SELECT id FROM earlier) AS known";
    SETTLED = sqlite "SELECT json_group_array(d.id) FROM json_each($1) AS r JOIN deliveries AS d ON d.id = r.value->>'id' AND d.fence = r.value->>'end_mark'";
}

/// The intent to make a call that is not idempotent: stored before the call starts.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Begin {
    /// Under which the call is made.
    #[serde(skip)]
    pub(crate) lease: Lease,
    pub(crate) id: String,
    /// The fence of the delivery as it was read.
    pub(crate) held: i64,
    /// What the attempt leaves there.
    pub(crate) mark: i64,
    /// What is about to be done, in JSON.
    pub(crate) journal: String,
    pub(crate) at: i64,
    /// What the steps before this one found out.
    #[serde(skip)]
    pub(crate) conversation: Option<Conversation>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Settle {
    /// Under which the attempt was made.
    #[serde(skip)]
    pub(crate) lease: Lease,
    pub(crate) id: String,
    /// The fence of the delivery as it was read.
    pub(crate) held: i64,
    /// What the attempt's intents left there.
    pub(crate) mark: i64,
    /// What its outcome leaves there: the same outcome stored again changes nothing.
    pub(crate) end_mark: i64,
    pub(crate) lane_id: String,
    pub(crate) status: &'static str,
    /// What may have been done and must be looked up before it is repeated; `None` when nothing.
    pub(crate) journal: Option<String>,
    pub(crate) at: i64,
    pub(crate) duration_ms: i64,
    pub(crate) attempts: i64,
    pub(crate) http_status: Option<i64>,
    pub(crate) next_attempt_at: Option<i64>,
    /// When it is given up, if that is another time now.
    pub(crate) deadline_at: Option<i64>,
    pub(crate) error_class: Option<&'static str>,
    pub(crate) error_detail: Option<String>,
    pub(crate) message_id: Option<String>,
    pub(crate) case_sys_id: Option<String>,
    pub(crate) case_number: Option<String>,
    pub(crate) delivered_at: Option<i64>,
    /// 1 when the delivery ended, 0 while it stays pending.
    pub(crate) n_done: i64,
    /// 1 when something was tried; 0 when it only waited: then there is no attempt to record, and the lane
    /// keeps its urgency.
    pub(crate) n_tried: i64,
    /// When the lane may be worked on again, if anything is left in it.
    pub(crate) lane_ready_at: i64,
    /// Whether its text has been kept as long as texts are, and is not needed any more.
    pub(crate) erases: bool,
    #[serde(skip)]
    pub(crate) conversation: Option<Conversation>,
}

/// A lane that may be worked on now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadyLane {
    pub(crate) id: String,
    /// 0 first attempts, 1 repeated ones, 2 replays.
    pub(crate) urgency: i64,
    /// All that is pending in it, in the order in which it goes; empty when that is more than was asked for.
    pub(crate) page: Vec<Delivery>,
}

/// The lanes of an instance or account that may be worked on now: first attempts before repeated ones, those
/// before replays, and among equals the longest waiting first, with what is
/// pending in those that hold at most `page` deliveries.
pub(crate) async fn ready(
    db: &Db,
    target_id: &str,
    now_ms: i64,
    limit: i64,
    page: i64,
) -> Result<Vec<ReadyLane>, StoreError> {
    on_db!(db, |pool, sql| {
        let rows = sqlx::query(sql(READY))
            .bind(target_id)
            .bind(now_ms)
            .bind(limit)
            .bind(page)
            .fetch_all(pool)
            .await?;
        let mut lanes: Vec<ReadyLane> = Vec::new();
        for row in rows {
            let id: String = row.try_get("ready_lane")?;
            if lanes.last().is_none_or(|lane| lane.id != id) {
                lanes.push(ReadyLane { id, urgency: row.try_get("urgency")?, page: Vec::new() });
            }
            let holds_delivery = row.try_get::<Option<String>, _>("id")?.is_some();
            if let (true, Some(lane)) = (holds_delivery, lanes.last_mut()) {
                lane.page.push(Delivery::from_row(&row)?);
            }
        }
        Ok(lanes)
    })
}

/// When the next lane of an instance or account becomes ready after now, in epoch milliseconds.
pub(crate) async fn next_ready_at(db: &Db, target_id: &str, now_ms: i64) -> Result<Option<i64>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_scalar(sql(NEXT_READY))
        .bind(target_id)
        .bind(now_ms)
        .fetch_one(pool)
        .await)?)
}

/// All targets with a ready lane: (direction, target id).
pub(crate) async fn ready_targets(db: &Db, now_ms: i64) -> Result<Vec<(String, String)>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(READY_TARGETS)).bind(now_ms).fetch_all(pool).await)?)
}

/// When the first delivery could have been tried that waits, in epoch milliseconds.
pub(crate) async fn oldest_due(db: &Db) -> Result<Option<i64>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_scalar(sql(OLDEST_DUE)).fetch_one(pool).await)?)
}
