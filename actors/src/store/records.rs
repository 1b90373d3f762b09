//! Delivery records: looking at them, and putting dead letters back.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::FromRow;

use super::deliveries::to_json;
use super::{Conn, Db, StoreError, marks, routing};
use crate::domain::record::{Attempt, DeliveryStatus, Direction, Record, RecordFilter};
use crate::store::Change;

statements! {
    // Of an account that is gone nothing is seen any more, though its rows go little by little; nor is an instance
    // that is gone.
    PAGE = "SELECT id, direction, kind, status, attempts, next_attempt_at, error_class, error_detail, source_id, (SELECT i.id FROM instances AS i WHERE i.id = deliveries.instance_id) AS instance_id, account_id, customer_id, case_number, message_id, created_at, delivered_at FROM deliveries
        WHERE user_id = $1 AND id < $2 AND (CAST($3 AS TEXT) IS NULL OR status = $3) AND (CAST($4 AS TEXT) IS NULL OR direction = $4) AND (CAST($5 AS TEXT) IS NULL OR instance_id = (SELECT i.id FROM instances AS i WHERE i.id = $5)) AND created_at >= $6 AND created_at < $7 AND (SELECT a.id FROM accounts AS a WHERE a.id = deliveries.account_id) IS NOT NULL
        ORDER BY id DESC LIMIT CAST($8 AS BIGINT)";
    PAGE_OF_ALL = "SELECT id, direction, kind, status, attempts, next_attempt_at, error_class, error_detail, source_id, (SELECT i.id FROM instances AS i WHERE i.id = deliveries.instance_id) AS instance_id, account_id, customer_id, case_number, message_id, created_at, delivered_at FROM deliveries
        WHERE id < $1 AND (CAST($2 AS TEXT) IS NULL OR status = $2) AND (CAST($3 AS TEXT) IS NULL OR direction = $3) AND (CAST($4 AS TEXT) IS NULL OR instance_id = (SELECT i.id FROM instances AS i WHERE i.id = $4)) AND created_at >= $5 AND created_at < $6 AND (SELECT a.id FROM accounts AS a WHERE a.id = deliveries.account_id) IS NOT NULL
        ORDER BY id DESC LIMIT CAST($7 AS BIGINT)";
    COUNT = "SELECT COUNT(*) FROM deliveries
        WHERE user_id = $1 AND (CAST($2 AS TEXT) IS NULL OR status = $2) AND (CAST($3 AS TEXT) IS NULL OR direction = $3) AND (CAST($4 AS TEXT) IS NULL OR instance_id = (SELECT i.id FROM instances AS i WHERE i.id = $4)) AND created_at >= $5 AND created_at < $6 AND (SELECT a.id FROM accounts AS a WHERE a.id = deliveries.account_id) IS NOT NULL";
    OWNED = "SELECT id, direction, kind, status, attempts, next_attempt_at, error_class, error_detail, source_id, (SELECT i.id FROM instances AS i WHERE i.id = deliveries.instance_id) AS instance_id, account_id, customer_id, case_number, message_id, created_at, delivered_at FROM deliveries WHERE id = $1 AND (SELECT a.id FROM accounts AS a WHERE a.id = deliveries.account_id) IS NOT NULL";
    OWNER = "SELECT user_id FROM deliveries WHERE id = $1 AND (SELECT a.id FROM accounts AS a WHERE a.id = deliveries.account_id) IS NOT NULL";
    ATTEMPTS = "SELECT n, at, http_status, error_class, error_detail, duration_ms FROM attempts WHERE delivery_id = $1 ORDER BY n";
    DEAD = "SELECT id, CAST(CASE WHEN payload IS NULL THEN 1 ELSE 0 END AS BIGINT) FROM deliveries
        WHERE status = 'dead' AND user_id = $1 AND id > $2 AND (CAST($3 AS TEXT) IS NULL OR direction = $3) AND (CAST($4 AS TEXT) IS NULL OR instance_id = (SELECT i.id FROM instances AS i WHERE i.id = $4)) AND created_at >= $5 AND created_at < $6 AND (SELECT a.id FROM accounts AS a WHERE a.id = deliveries.account_id) IS NOT NULL
        ORDER BY id LIMIT CAST($7 AS BIGINT)";
    DEAD_OF_ALL = "SELECT id, CAST(CASE WHEN payload IS NULL THEN 1 ELSE 0 END AS BIGINT) FROM deliveries
        WHERE status = 'dead' AND id > $1 AND (CAST($2 AS TEXT) IS NULL OR direction = $2) AND (CAST($3 AS TEXT) IS NULL OR instance_id = (SELECT i.id FROM instances AS i WHERE i.id = $3)) AND created_at >= $4 AND created_at < $5 AND (SELECT a.id FROM accounts AS a WHERE a.id = deliveries.account_id) IS NOT NULL
        ORDER BY id LIMIT CAST($6 AS BIGINT)";
    COUNT_DEAD = "SELECT COUNT(*), COUNT(CASE WHEN payload IS NULL THEN 1 END) FROM deliveries
        WHERE status = 'dead' AND user_id = $1 AND (CAST($2 AS TEXT) IS NULL OR direction = $2) AND (CAST($3 AS TEXT) IS NULL OR instance_id = (SELECT i.id FROM instances AS i WHERE i.id = $3)) AND created_at >= $4 AND created_at < $5 AND (SELECT a.id FROM accounts AS a WHERE a.id = deliveries.account_id) IS NOT NULL";
    COUNT_DEAD_OF_ALL = "SELECT COUNT(*), COUNT(CASE WHEN payload IS NULL THEN 1 END) FROM deliveries
        WHERE status = 'dead' AND (CAST($1 AS TEXT) IS NULL OR direction = $1) AND (CAST($2 AS TEXT) IS NULL OR instance_id = (SELECT i.id FROM instances AS i WHERE i.id = $2)) AND created_at >= $3 AND created_at < $4 AND (SELECT a.id FROM accounts AS a WHERE a.id = deliveries.account_id) IS NOT NULL";
    // The journal and the time of its beginning stay: what may have been done is looked up before it is repeated.
    // PostgreSQL must not see that the index of dead letters would do: there may be a million.
    REVIVE = sqlite "UPDATE deliveries SET attempts = 0, next_attempt_at = $2, deadline_at = $3, error_class = NULL, error_detail = NULL, delivered_at = NULL,
        instance_id = CASE direction WHEN 'to_servicenow' THEN (SELECT a.instance_id FROM accounts a WHERE a.id = deliveries.account_id) ELSE instance_id END,
        status = CASE WHEN direction = 'to_servicenow' AND (SELECT a.instance_id FROM accounts a WHERE a.id = deliveries.account_id) IS NULL THEN 'blocked' ELSE 'queued' END
        WHERE id IN (SELECT value FROM json_each($1)) AND status = 'dead' AND payload IS NOT NULL AND (SELECT a.id FROM accounts AS a WHERE a.id = deliveries.account_id) IS NOT NULL
        RETURNING lane_id, account_id, direction, instance_id"
        postgres "UPDATE deliveries SET attempts = 0, next_attempt_at = $2, deadline_at = $3, error_class = NULL, error_detail = NULL, delivered_at = NULL,
        instance_id = CASE direction WHEN 'to_servicenow' THEN (SELECT a.instance_id FROM accounts a WHERE a.id = deliveries.account_id) ELSE instance_id END,
        status = CASE WHEN direction = 'to_servicenow' AND (SELECT a.instance_id FROM accounts a WHERE a.id = deliveries.account_id) IS NULL THEN 'blocked' ELSE 'queued' END
        WHERE id = ANY (ARRAY(SELECT json_array_elements_text(CAST(CAST($1 AS TEXT) AS JSON)))) AND CASE status WHEN 'dead' THEN payload IS NOT NULL ELSE FALSE END AND (SELECT a.id FROM accounts AS a WHERE a.id = deliveries.account_id) IS NOT NULL
        RETURNING lane_id, account_id, direction, instance_id";
    REVIVE_LANES = sqlite "INSERT INTO lanes (id, account_id, direction, target_id, n_pending, ready_at, urgency)
        SELECT value->>'id', value->>'account_id', value->>'direction', value->>'target_id', value->>'n_pending', value->>'ready_at', 2
        FROM json_each($1) WHERE true
        ON CONFLICT (id) DO UPDATE SET n_pending = lanes.n_pending + excluded.n_pending, ready_at = excluded.ready_at, urgency = CASE WHEN lanes.ready_at IS NULL THEN 2 ELSE lanes.urgency END"
        postgres "INSERT INTO lanes (id, account_id, direction, target_id, n_pending, ready_at, urgency)
        SELECT id, account_id, direction, target_id, n_pending, ready_at, 2
        FROM json_to_recordset(CAST(CAST($1 AS TEXT) AS JSON)) AS r (id TEXT, account_id TEXT, direction TEXT, target_id TEXT, n_pending BIGINT, ready_at BIGINT)
        ON CONFLICT (id) DO UPDATE SET n_pending = lanes.n_pending + excluded.n_pending, ready_at = excluded.ready_at, urgency = CASE WHEN lanes.ready_at IS NULL THEN 2 ELSE lanes.urgency END";
}

/// Sorts behind every id in any collation.
const BEHIND_ALL: &str = "zzzz";

#[derive(FromRow)]
struct RecordRow {
    id: String,
    direction: String,
    kind: String,
    status: String,
    attempts: i64,
    next_attempt_at: Option<i64>,
    error_class: Option<String>,
    error_detail: Option<String>,
    source_id: Option<String>,
    instance_id: Option<String>,
    account_id: String,
    customer_id: String,
    case_number: Option<String>,
    message_id: Option<String>,
    created_at: i64,
    delivered_at: Option<i64>,
}

impl From<RecordRow> for Record {
    fn from(row: RecordRow) -> Self {
        Self {
            id: row.id,
            direction: row.direction,
            kind: row.kind,
            status: row.status,
            n_attempts: row.attempts,
            next_attempt_at_ms: row.next_attempt_at,
            error_class: row.error_class,
            error_detail: row.error_detail,
            source_id: row.source_id,
            instance_id: row.instance_id,
            account_id: row.account_id,
            customer_id: row.customer_id,
            case_number: row.case_number,
            message_id: row.message_id,
            created_at_ms: row.created_at,
            delivered_at_ms: row.delivered_at,
        }
    }
}

#[derive(FromRow)]
struct AttemptRow {
    n: i64,
    at: i64,
    http_status: Option<i64>,
    error_class: Option<String>,
    error_detail: Option<String>,
    duration_ms: i64,
}

/// A filter as it is bound: status, direction, instance, since, until.
struct Bounds<'a> {
    status: Option<&'static str>,
    direction: Option<&'static str>,
    instance_id: Option<&'a str>,
    since_ms: i64,
    until_ms: i64,
}

impl<'a> From<&'a RecordFilter> for Bounds<'a> {
    fn from(filter: &'a RecordFilter) -> Self {
        Self {
            status: filter.status.map(DeliveryStatus::as_str),
            direction: filter.direction.map(Direction::as_str),
            instance_id: filter.instance_id.as_deref(),
            since_ms: filter.since_ms.unwrap_or(i64::MIN),
            until_ms: filter.until_ms.unwrap_or(i64::MAX),
        }
    }
}

/// Records of a user, or of all, older than a cursor, the newest first.
pub(crate) async fn page(
    db: &Db,
    user_id: Option<&str>,
    filter: &RecordFilter,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Vec<Record>, StoreError> {
    let bounds = Bounds::from(filter);
    let rows: Vec<RecordRow> = on_db!(db, |pool, sql| {
        let query = match user_id {
            Some(user_id) => sqlx::query_as(sql(PAGE)).bind(user_id),
            None => sqlx::query_as(sql(PAGE_OF_ALL)),
        };
        query
            .bind(cursor.unwrap_or(BEHIND_ALL))
            .bind(bounds.status)
            .bind(bounds.direction)
            .bind(bounds.instance_id)
            .bind(bounds.since_ms)
            .bind(bounds.until_ms)
            .bind(limit)
            .fetch_all(pool)
            .await
    })?;
    Ok(rows.into_iter().map(Record::from).collect())
}

/// How many records of a user a filter leaves.
pub(crate) async fn count(db: &Db, user_id: &str, filter: &RecordFilter) -> Result<i64, StoreError> {
    let bounds = Bounds::from(filter);
    Ok(on_db!(db, |pool, sql| sqlx::query_scalar(sql(COUNT))
        .bind(user_id)
        .bind(bounds.status)
        .bind(bounds.direction)
        .bind(bounds.instance_id)
        .bind(bounds.since_ms)
        .bind(bounds.until_ms)
        .fetch_one(pool)
        .await)?)
}

/// A record with its owner's id.
pub(crate) async fn by_id(db: &Db, id: &str) -> Result<Option<(String, Record)>, StoreError> {
    let owner: Option<String> =
        on_db!(db, |pool, sql| sqlx::query_scalar(sql(OWNER)).bind(id).fetch_optional(pool).await)?;
    let row: Option<RecordRow> =
        on_db!(db, |pool, sql| sqlx::query_as(sql(OWNED)).bind(id).fetch_optional(pool).await)?;
    Ok(owner.zip(row.map(Record::from)))
}

/// The attempts of a delivery, the first one first.
pub(crate) async fn attempts(db: &Db, id: &str) -> Result<Vec<Attempt>, StoreError> {
    let rows: Vec<AttemptRow> =
        on_db!(db, |pool, sql| sqlx::query_as(sql(ATTEMPTS)).bind(id).fetch_all(pool).await)?;
    let attempt = |row: AttemptRow| Attempt {
        n: row.n,
        at_ms: row.at,
        http_status: row.http_status,
        error_class: row.error_class,
        error_detail: row.error_detail,
        duration_ms: row.duration_ms,
    };
    Ok(rows.into_iter().map(attempt).collect())
}

/// A dead letter, as a replay sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadLetter {
    pub(crate) id: String,
    /// Its text was erased; it cannot be put back.
    pub(crate) is_erased: bool,
}

/// Dead letters after a cursor, the oldest first. The filter's status does not matter.
pub(crate) async fn dead(
    db: &Db,
    user_id: Option<&str>,
    filter: &RecordFilter,
    after: &str,
    limit: i64,
) -> Result<Vec<DeadLetter>, StoreError> {
    let bounds = Bounds::from(filter);
    let rows: Vec<(String, i64)> = on_db!(db, |pool, sql| {
        let query = match user_id {
            Some(user_id) => sqlx::query_as(sql(DEAD)).bind(user_id),
            None => sqlx::query_as(sql(DEAD_OF_ALL)),
        };
        query
            .bind(after)
            .bind(bounds.direction)
            .bind(bounds.instance_id)
            .bind(bounds.since_ms)
            .bind(bounds.until_ms)
            .bind(limit)
            .fetch_all(pool)
            .await
    })?;
    Ok(rows.into_iter().map(|(id, erased)| DeadLetter { id, is_erased: erased != 0 }).collect())
}

/// How many dead letters there are, and of how many of them the text was erased. The filter's status does
/// not matter.
pub(crate) async fn count_dead(
    db: &Db,
    user_id: Option<&str>,
    filter: &RecordFilter,
) -> Result<(i64, i64), StoreError> {
    let bounds = Bounds::from(filter);
    Ok(on_db!(db, |pool, sql| {
        let query = match user_id {
            Some(user_id) => sqlx::query_as(sql(COUNT_DEAD)).bind(user_id),
            None => sqlx::query_as(sql(COUNT_DEAD_OF_ALL)),
        };
        query
            .bind(bounds.direction)
            .bind(bounds.instance_id)
            .bind(bounds.since_ms)
            .bind(bounds.until_ms)
            .fetch_one(pool)
            .await
    })?)
}

/// Puts dead letters back into their lanes. Those that are not dead, or whose text was erased, stay.
#[derive(Debug, Clone)]
pub(crate) struct Revive {
    pub(crate) ids: Vec<String>,
    pub(crate) now_ms: i64,
    pub(crate) deadline_ms: i64,
}

/// What was put back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Revived {
    /// How many.
    pub(crate) n: usize,
    /// Whose actors have work now: (direction, instance or account).
    pub(crate) targets: Vec<(String, String)>,
}

#[derive(FromRow)]
struct RevivedRow {
    lane_id: String,
    account_id: String,
    direction: String,
    instance_id: Option<String>,
}

impl RevivedRow {
    fn target_id(&self) -> String {
        match (&self.instance_id, self.direction.as_str()) {
            (Some(instance_id), "to_servicenow") => instance_id.clone(),
            (None, "to_servicenow") => routing::unrouted_target(&self.account_id),
            _ => self.account_id.clone(),
        }
    }
}

#[derive(Serialize)]
struct RevivedLane {
    id: String,
    account_id: String,
    direction: String,
    target_id: String,
    n_pending: i64,
    ready_at: i64,
}

impl Change for Revive {
    type Output = Revived;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<Revived, StoreError> {
        let json = to_json(&self.ids)?;
        let rows: Vec<RevivedRow> = on_conn!(conn, |conn, sql| sqlx::query_as(sql(REVIVE))
            .bind(&json)
            .bind(self.now_ms)
            .bind(self.deadline_ms)
            .fetch_all(&mut **conn)
            .await)?;
        let n = rows.len();
        // In order of their ids, as admission takes them.
        let mut lanes: BTreeMap<String, RevivedLane> = BTreeMap::new();
        for row in rows {
            let target_id = row.target_id();
            let lane = lanes.entry(row.lane_id.clone()).or_insert_with(|| RevivedLane {
                id: row.lane_id,
                account_id: row.account_id,
                direction: row.direction,
                target_id,
                n_pending: 0,
                ready_at: self.now_ms,
            });
            lane.n_pending += 1;
        }
        if lanes.is_empty() {
            return Ok(Revived::default());
        }
        let lanes: Vec<RevivedLane> = lanes.into_values().collect();
        let json = to_json(&lanes)?;
        on_conn!(conn, |conn, sql| sqlx::query(sql(REVIVE_LANES))
            .bind(&json)
            .execute(&mut **conn)
            .await
            .map(drop))?;
        marks::bump(conn, marks::DELIVERIES).await?;
        let mut targets: Vec<_> = lanes.into_iter().map(|lane| (lane.direction, lane.target_id)).collect();
        targets.sort();
        targets.dedup();
        Ok(Revived { n, targets })
    }
}
