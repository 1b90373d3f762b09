//! Deliveries: what was accepted, and what became of it.

use serde::Serialize;
use sqlx::FromRow;

use super::{Conn, Db, StoreError};

statements! {
    ADMIT = sqlite "INSERT INTO deliveries (id, direction, kind, status, user_id, account_id, instance_id, customer_id, lane_id, dedup_key, source_id, fingerprint, order_key, payload, attempts, next_attempt_at, deadline_at, created_at)
        SELECT value->>'id', value->>'direction', value->>'kind', value->>'status', value->>'user_id', value->>'account_id', value->>'instance_id', value->>'customer_id', value->>'lane_id', value->>'dedup_key', value->>'source_id', value->>'fingerprint', value->>'order_key', value->>'payload', 0, value->>'created_at', value->>'deadline_at', value->>'created_at'
        FROM json_each($1) WHERE true
        ON CONFLICT (dedup_key) DO NOTHING RETURNING id"
        postgres "INSERT INTO deliveries (id, direction, kind, status, user_id, account_id, instance_id, customer_id, lane_id, dedup_key, source_id, fingerprint, order_key, payload, attempts, next_attempt_at, deadline_at, created_at)
        SELECT id, direction, kind, status, user_id, account_id, instance_id, customer_id, lane_id, dedup_key, source_id, fingerprint, order_key, payload, 0, created_at, deadline_at, created_at
        FROM json_to_recordset(CAST(CAST($1 AS TEXT) AS JSON)) AS r (id TEXT, direction TEXT, kind TEXT, status TEXT, user_id TEXT, account_id TEXT, instance_id TEXT, customer_id TEXT, lane_id TEXT, dedup_key TEXT, source_id TEXT, fingerprint TEXT, order_key TEXT, payload TEXT, created_at BIGINT, deadline_at BIGINT)
        ON CONFLICT (dedup_key) DO NOTHING RETURNING id";
    ADMIT_TO_LANES = sqlite "INSERT INTO lanes (id, account_id, direction, target_id, n_pending, ready_at)
        SELECT value->>'id', value->>'account_id', value->>'direction', value->>'target_id', value->>'n_pending', value->>'ready_at'
        FROM json_each($1) WHERE true
        ON CONFLICT (id) DO UPDATE SET n_pending = lanes.n_pending + excluded.n_pending, target_id = excluded.target_id, ready_at = COALESCE(lanes.ready_at, excluded.ready_at)
        RETURNING id, n_pending"
        postgres "INSERT INTO lanes (id, account_id, direction, target_id, n_pending, ready_at)
        SELECT id, account_id, direction, target_id, n_pending, ready_at
        FROM json_to_recordset(CAST(CAST($1 AS TEXT) AS JSON)) AS r (id TEXT, account_id TEXT, direction TEXT, target_id TEXT, n_pending BIGINT, ready_at BIGINT)
        ON CONFLICT (id) DO UPDATE SET n_pending = lanes.n_pending + excluded.n_pending, target_id = excluded.target_id, ready_at = COALESCE(lanes.ready_at, excluded.ready_at)
        RETURNING id, n_pending";
    BY_DEDUP_KEY = "SELECT id, direction, kind, status, user_id, account_id, instance_id, customer_id, lane_id, source_id, fingerprint, order_key, payload, journal, begun_at, attempts, next_attempt_at, deadline_at, error_class, error_detail, message_id, case_sys_id, case_number, created_at, delivered_at FROM deliveries WHERE dedup_key = $1";
    BY_ID = "SELECT id, direction, kind, status, user_id, account_id, instance_id, customer_id, lane_id, source_id, fingerprint, order_key, payload, journal, begun_at, attempts, next_attempt_at, deadline_at, error_class, error_detail, message_id, case_sys_id, case_number, created_at, delivered_at FROM deliveries WHERE id = $1";
    OF_LANE = "SELECT id, direction, kind, status, user_id, account_id, instance_id, customer_id, lane_id, source_id, fingerprint, order_key, payload, journal, begun_at, attempts, next_attempt_at, deadline_at, error_class, error_detail, message_id, case_sys_id, case_number, created_at, delivered_at
        FROM deliveries WHERE lane_id = $1 AND status IN ('queued', 'sending', 'retrying', 'blocked')
        ORDER BY CASE WHEN begun_at IS NULL THEN 1 ELSE 0 END, order_key, id LIMIT CAST($2 AS BIGINT)";
    SENT_AS = "SELECT COUNT(*) FROM deliveries WHERE account_id = $1 AND message_id = $2";
    BEING_SENT = "SELECT payload FROM deliveries WHERE lane_id = $1 AND status IN ('queued', 'sending', 'retrying', 'blocked') AND begun_at IS NOT NULL AND payload IS NOT NULL";
    SENT_SINCE = "SELECT kind, delivered_at FROM (SELECT kind, delivered_at, message_id FROM deliveries WHERE account_id = $1 AND message_id IS NOT NULL AND delivered_at >= $2 ORDER BY message_id DESC LIMIT CAST($3 AS BIGINT)) AS sent ORDER BY delivered_at";
    MESSAGE_IDS_SINCE = "SELECT message_id FROM deliveries WHERE account_id = $1 AND message_id IS NOT NULL AND delivered_at >= $2 ORDER BY message_id DESC LIMIT 1000";
    KNOWN_POST = "SELECT COUNT(*) FROM deliveries WHERE dedup_key = $1 AND case_sys_id IS NOT NULL";
    PENDING_OF_USER = "SELECT COALESCE(CAST(SUM(lanes.n_pending) AS BIGINT), 0) FROM lanes JOIN accounts ON accounts.id = lanes.account_id WHERE accounts.user_id = $1";
    COUNT_DEAD = "SELECT COUNT(*) FROM deliveries WHERE status = 'dead'";
    PENDING_BY_STATUS = "SELECT direction, status, COUNT(*) AS n FROM deliveries WHERE status IN ('queued', 'sending', 'retrying', 'blocked') GROUP BY direction, status";
}

/// A delivery to be stored.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NewDelivery {
    pub(crate) id: String,
    pub(crate) direction: Direction,
    pub(crate) kind: String,
    pub(crate) status: &'static str,
    pub(crate) user_id: String,
    pub(crate) account_id: String,
    pub(crate) instance_id: Option<String>,
    /// The instance or account whose actor delivers it.
    #[serde(skip)]
    pub(crate) target_id: String,
    pub(crate) customer_id: String,
    pub(crate) lane_id: String,
    pub(crate) dedup_key: Option<String>,
    pub(crate) source_id: Option<String>,
    pub(crate) fingerprint: Option<String>,
    pub(crate) order_key: String,
    pub(crate) payload: String,
    pub(crate) created_at: i64,
    pub(crate) deadline_at: i64,
}

/// Which way a delivery goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// A customer's message on its way to a case.
    ToServicenow,
    /// An agent's answer on its way to the customer.
    ToX,
}

impl Direction {
    /// The stable name in records, metrics and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ToServicenow => "to_servicenow",
            Self::ToX => "to_x",
        }
    }

    /// The id of the lane for a conversation in this direction.
    pub(crate) fn lane_id(self, account_id: &str, customer_id: &str) -> String {
        format!("{}:{account_id}:{customer_id}", self.as_str())
    }
}

/// What became of a new delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Stored now.
    Accepted {
        /// Nothing else waited in its lane.
        is_alone: bool,
    },
    /// Stored before.
    Duplicate,
}

/// A stored delivery.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) direction: String,
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) user_id: String,
    pub(crate) account_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) customer_id: String,
    pub(crate) lane_id: String,
    pub(crate) source_id: Option<String>,
    pub(crate) fingerprint: Option<String>,
    pub(crate) order_key: String,
    pub(crate) payload: Option<String>,
    pub(crate) journal: Option<String>,
    pub(crate) begun_at: Option<i64>,
    pub(crate) attempts: i64,
    pub(crate) next_attempt_at: Option<i64>,
    pub(crate) deadline_at: i64,
    pub(crate) error_class: Option<String>,
    pub(crate) error_detail: Option<String>,
    pub(crate) message_id: Option<String>,
    pub(crate) case_sys_id: Option<String>,
    pub(crate) case_number: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) delivered_at: Option<i64>,
}

#[derive(Serialize)]
struct LaneArrival<'a> {
    id: &'a str,
    account_id: &'a str,
    direction: Direction,
    target_id: &'a str,
    n_pending: i64,
    ready_at: i64,
}

/// Stores new deliveries of several callers, and makes their lanes ready. Those whose `dedup_key`
/// stands in a row already, or earlier in the same batch, are duplicates and change nothing.
pub(crate) async fn admit(
    conn: &mut Conn<'_>,
    requests: &[Vec<NewDelivery>],
) -> Result<Vec<Vec<Admission>>, StoreError> {
    let all: Vec<&NewDelivery> = requests.iter().flatten().collect();
    let json = to_json(&all)?;
    let inserted: Vec<String> =
        on_conn!(conn, |conn, sql| sqlx::query_scalar(sql(ADMIT)).bind(&json).fetch_all(&mut **conn).await)?;
    let inserted: std::collections::HashSet<&str> = inserted.iter().map(String::as_str).collect();
    let depths = admit_to_lanes(conn, &all, &inserted).await?;

    let admission = |new: &NewDelivery| {
        if !inserted.contains(new.id.as_str()) {
            return Admission::Duplicate;
        }
        Admission::Accepted { is_alone: depths.get(new.lane_id.as_str()) == Some(&1) }
    };
    Ok(requests.iter().map(|rows| rows.iter().map(admission).collect()).collect())
}

async fn admit_to_lanes(
    conn: &mut Conn<'_>,
    all: &[&NewDelivery],
    inserted: &std::collections::HashSet<&str>,
) -> Result<std::collections::HashMap<String, i64>, StoreError> {
    // In order of their ids: two writers that touch the same lanes never wait for each other in a circle.
    let mut arrivals: std::collections::BTreeMap<&str, LaneArrival<'_>> = std::collections::BTreeMap::new();
    for new in all.iter().filter(|new| inserted.contains(new.id.as_str())) {
        let arrival = arrivals.entry(&new.lane_id).or_insert_with(|| LaneArrival {
            id: &new.lane_id,
            account_id: &new.account_id,
            direction: new.direction,
            target_id: &new.target_id,
            n_pending: 0,
            ready_at: new.created_at,
        });
        arrival.n_pending += 1;
    }
    if arrivals.is_empty() {
        return Ok(std::collections::HashMap::new());
    }
    let arrivals: Vec<&LaneArrival<'_>> = arrivals.values().collect();
    let json = to_json(&arrivals)?;
    let depths: Vec<(String, i64)> = on_conn!(conn, |conn, sql| sqlx::query_as(sql(ADMIT_TO_LANES))
        .bind(&json)
        .fetch_all(&mut **conn)
        .await)?;
    Ok(depths.into_iter().collect())
}

/// Rows as one JSON parameter: a statement for a whole group costs one round trip.
pub(super) fn to_json(rows: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(rows).map_err(|error| StoreError::Refused(error.to_string()))
}

/// The delivery with this dedup key.
pub(crate) async fn by_dedup_key(db: &Db, key: &str) -> Result<Option<Delivery>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(BY_DEDUP_KEY)).bind(key).fetch_optional(pool).await)?)
}

/// The delivery with this id.
pub(crate) async fn by_id(db: &Db, id: &str) -> Result<Option<Delivery>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(BY_ID)).bind(id).fetch_optional(pool).await)?)
}

/// The pending deliveries of a lane in the order in which they go: what has begun first, then as written.
pub(crate) async fn of_lane(db: &Db, lane_id: &str, limit: i64) -> Result<Vec<Delivery>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(OF_LANE)).bind(lane_id).bind(limit).fetch_all(pool).await)?)
}

/// Whether X gave this id to something that the hub sent for the account.
pub(crate) async fn was_sent(db: &Db, account_id: &str, message_id: &str) -> Result<bool, StoreError> {
    let n: i64 = on_db!(db, |pool, sql| sqlx::query_scalar(sql(SENT_AS))
        .bind(account_id)
        .bind(message_id)
        .fetch_one(pool)
        .await)?;
    Ok(n > 0)
}

/// What was sent for an account since then, the latest `limit` of it: (kind, epoch milliseconds), in order.
pub(crate) async fn sent_since(
    db: &Db,
    account_id: &str,
    since_ms: i64,
    limit: i64,
) -> Result<Vec<(String, i64)>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(SENT_SINCE))
        .bind(account_id)
        .bind(since_ms)
        .bind(limit)
        .fetch_all(pool)
        .await)?)
}

/// The ids that X gave to what was sent for an account since then.
pub(crate) async fn message_ids_since(
    db: &Db,
    account_id: &str,
    since_ms: i64,
) -> Result<Vec<String>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_scalar(sql(MESSAGE_IDS_SINCE))
        .bind(account_id)
        .bind(since_ms)
        .fetch_all(pool)
        .await)?)
}

/// Payloads of the deliveries of a lane that have begun and not ended.
pub(crate) async fn being_sent(db: &Db, lane_id: &str) -> Result<Vec<String>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_scalar(sql(BEING_SENT)).bind(lane_id).fetch_all(pool).await)?)
}

/// Whether the item with this dedup key became part of a case.
pub(crate) async fn is_part_of_a_case(db: &Db, dedup_key: &str) -> Result<bool, StoreError> {
    let n: i64 =
        on_db!(db, |pool, sql| sqlx::query_scalar(sql(KNOWN_POST)).bind(dedup_key).fetch_one(pool).await)?;
    Ok(n > 0)
}

/// How many deliveries of a user wait.
pub(crate) async fn pending_of_user(db: &Db, user_id: &str) -> Result<i64, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_scalar(sql(PENDING_OF_USER)).bind(user_id).fetch_one(pool).await)?)
}

/// How many dead letters there are.
pub(crate) async fn count_dead(db: &Db) -> Result<i64, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_scalar(sql(COUNT_DEAD)).fetch_one(pool).await)?)
}

/// How many deliveries wait, by direction and status.
pub(crate) async fn pending_by_status(db: &Db) -> Result<Vec<(String, String, i64)>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(PENDING_BY_STATUS)).fetch_all(pool).await)?)
}
