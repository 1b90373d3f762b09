//! Deliveries: what was accepted, and what became of it.

use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use super::{Conn, Db, StoreError};
use crate::store::Change;

statements! {
    /// `$1`: an array of [`NewDelivery`]. Where they go is what the account says now: who accepted them may
    /// have known an older instance. For an account that is gone nothing is added.
    ADD = sqlite "INSERT INTO deliveries (id, direction, kind, status, user_id, account_id, instance_id, customer_id, lane_id, dedup_key, source_id, fingerprint, order_key, payload, attempts, next_attempt_at, deadline_at, created_at)
        SELECT value->>'id', value->>'direction', value->>'kind',
            CASE WHEN value->>'direction' <> 'to_servicenow' THEN value->>'status' WHEN (SELECT a.instance_id FROM accounts AS a WHERE a.id = value->>'account_id') IS NULL THEN 'blocked' ELSE 'queued' END,
            value->>'user_id', value->>'account_id',
            CASE WHEN value->>'direction' <> 'to_servicenow' THEN value->>'instance_id' ELSE (SELECT a.instance_id FROM accounts AS a WHERE a.id = value->>'account_id') END,
            value->>'customer_id', value->>'lane_id', value->>'dedup_key', value->>'source_id', value->>'fingerprint', value->>'order_key', value->>'payload', 0, value->>'created_at', value->>'deadline_at', value->>'created_at'
        FROM json_each($1) WHERE (SELECT a.id FROM accounts AS a WHERE a.id = value->>'account_id') IS NOT NULL
        ON CONFLICT (dedup_key) DO NOTHING";
    /// A lane that is there is where its account's change of instance has put it. Something new lifts it from among
    /// the replays, for it goes only after what is older. Rows have ids of their own, so those of them that stand in the table were added just now.
    ADD_TO_LANES = sqlite "INSERT INTO lanes (id, account_id, direction, target_id, n_pending, ready_at)
        SELECT r.value->>'lane_id', r.value->>'account_id', r.value->>'direction',
            CASE WHEN r.value->>'direction' <> 'to_servicenow' THEN r.value->>'account_id' ELSE COALESCE((SELECT a.instance_id FROM accounts AS a WHERE a.id = r.value->>'account_id'), 'unrouted:' || (r.value->>'account_id')) END,
            COUNT(*), MIN(r.value->>'created_at')
        FROM json_each($1) AS r WHERE EXISTS (SELECT 1 FROM deliveries AS d WHERE d.id = r.value->>'id') GROUP BY r.value->>'lane_id'
        ON CONFLICT (id) DO UPDATE SET n_pending = lanes.n_pending + excluded.n_pending, ready_at = COALESCE(lanes.ready_at, excluded.ready_at),
        urgency = CASE WHEN lanes.ready_at IS NULL OR lanes.urgency = 2 THEN 0 ELSE lanes.urgency END";
    ADDED = sqlite "SELECT json_group_array(json_array(d.id, json_array(l.n_pending, l.target_id))) FROM json_each($1) AS r JOIN deliveries AS d ON d.id = r.value->>'id' JOIN lanes AS l ON l.id = d.lane_id";
    /// The three above in one. What belongs together is looked up by key in an object, not joined: joins here
    /// are loops over an index.
    ADMIT = postgres "WITH r AS (SELECT * FROM json_to_recordset(CAST(CAST($1 AS TEXT) AS JSON)) AS r (id TEXT, direction TEXT, kind TEXT, status TEXT, user_id TEXT, account_id TEXT, instance_id TEXT, customer_id TEXT, lane_id TEXT, dedup_key TEXT, source_id TEXT, fingerprint TEXT, order_key TEXT, payload TEXT, created_at BIGINT, deadline_at BIGINT)),
        added AS (INSERT INTO deliveries (id, direction, kind, status, user_id, account_id, instance_id, customer_id, lane_id, dedup_key, source_id, fingerprint, order_key, payload, attempts, next_attempt_at, deadline_at, created_at)
            SELECT id, direction, kind, CASE WHEN direction <> 'to_servicenow' THEN status WHEN (SELECT a.instance_id FROM accounts AS a WHERE a.id = r.account_id) IS NULL THEN 'blocked' ELSE 'queued' END,
                user_id, account_id, CASE WHEN direction <> 'to_servicenow' THEN instance_id ELSE (SELECT a.instance_id FROM accounts AS a WHERE a.id = r.account_id) END,
                customer_id, lane_id, dedup_key, source_id, fingerprint, order_key, payload, 0, created_at, deadline_at, created_at FROM r WHERE (SELECT a.id FROM accounts AS a WHERE a.id = r.account_id) IS NOT NULL ORDER BY dedup_key
            ON CONFLICT (dedup_key) DO NOTHING RETURNING id, lane_id, account_id, direction, created_at),
        reached AS (INSERT INTO lanes (id, account_id, direction, target_id, n_pending, ready_at)
            SELECT added.lane_id, added.account_id, added.direction, CASE WHEN added.direction <> 'to_servicenow' THEN added.account_id ELSE COALESCE((SELECT a.instance_id FROM accounts AS a WHERE a.id = added.account_id), 'unrouted:' || added.account_id) END, COUNT(*), MIN(added.created_at)
            FROM added GROUP BY added.lane_id, added.account_id, added.direction ORDER BY added.lane_id
            ON CONFLICT (id) DO UPDATE SET n_pending = lanes.n_pending + excluded.n_pending, ready_at = COALESCE(lanes.ready_at, excluded.ready_at),
                urgency = CASE WHEN lanes.ready_at IS NULL OR lanes.urgency = 2 THEN 0 ELSE lanes.urgency END
            RETURNING id, n_pending, target_id)
        SELECT COALESCE(CAST(json_agg(json_build_array(added.id, (SELECT jsonb_object_agg(reached.id, json_build_array(reached.n_pending, reached.target_id)) FROM reached) -> added.lane_id)) AS TEXT), '[]') FROM added";
    // Of an account that is gone nothing is seen any more, though its rows go little by little.
    BY_DEDUP_KEY = "SELECT id, direction, kind, status, user_id, account_id, instance_id, customer_id, lane_id, source_id, fingerprint, order_key, payload, journal, begun_at, attempts, next_attempt_at, deadline_at, error_class, error_detail, message_id, case_sys_id, case_number, created_at, delivered_at, fence FROM deliveries WHERE dedup_key = $1 AND (SELECT a.id FROM accounts AS a WHERE a.id = deliveries.account_id) IS NOT NULL";
    BY_ID = "SELECT id, direction, kind, status, user_id, account_id, instance_id, customer_id, lane_id, source_id, fingerprint, order_key, payload, journal, begun_at, attempts, next_attempt_at, deadline_at, error_class, error_detail, message_id, case_sys_id, case_number, created_at, delivered_at, fence FROM deliveries WHERE id = $1 AND (SELECT a.id FROM accounts AS a WHERE a.id = deliveries.account_id) IS NOT NULL";
    OF_LANE = "SELECT id, direction, kind, status, user_id, account_id, instance_id, customer_id, lane_id, source_id, fingerprint, order_key, payload, journal, begun_at, attempts, next_attempt_at, deadline_at, error_class, error_detail, message_id, case_sys_id, case_number, created_at, delivered_at, fence
        FROM deliveries WHERE lane_id = $1 AND status IN ('queued', 'sending', 'retrying', 'blocked') AND (SELECT l.id FROM lanes AS l JOIN accounts AS a ON a.id = l.account_id WHERE l.id = $1 AND l.target_id = $2 AND $2 IN (a.id, COALESCE(a.instance_id, 'unrouted:' || a.id))) IS NOT NULL
        ORDER BY CASE WHEN begun_at IS NULL THEN 1 ELSE 0 END, order_key, id LIMIT CAST($3 AS BIGINT)";
    FREE_KEY = "UPDATE deliveries SET dedup_key = NULL WHERE dedup_key = $1 AND (SELECT a.id FROM accounts AS a WHERE a.id = deliveries.account_id) IS NULL";
    SENT_AS = "SELECT COUNT(*) FROM deliveries WHERE account_id = $1 AND message_id = $2";
    BEING_SENT = "SELECT payload FROM deliveries WHERE lane_id = $1 AND status IN ('queued', 'sending', 'retrying', 'blocked') AND begun_at IS NOT NULL AND payload IS NOT NULL";
    MESSAGE_IDS_SINCE = "SELECT message_id FROM deliveries WHERE account_id = $1 AND message_id IS NOT NULL AND delivered_at >= $2 ORDER BY message_id DESC LIMIT 1000";
    KNOWN_POST = "SELECT COUNT(*) FROM deliveries WHERE dedup_key = $1 AND case_sys_id IS NOT NULL";
    PENDING_OF_USER = "SELECT COALESCE(CAST(SUM((SELECT SUM(n_pending) FROM lanes WHERE target_id = targets.id AND ready_at IS NOT NULL)) AS BIGINT), 0) FROM (
        SELECT id FROM accounts WHERE user_id = $1 UNION ALL SELECT 'unrouted:' || id FROM accounts WHERE user_id = $1 UNION ALL SELECT id FROM instances WHERE user_id = $1) AS targets";
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// What the last write of an attempt left in the store, or 0.
    pub(crate) fence: i64,
    /// What this attempt writes there: chosen anew for each.
    #[sqlx(skip)]
    pub(crate) mark: i64,
}

impl From<NewDelivery> for Delivery {
    /// The row as it stands in the store once it is admitted.
    fn from(new: NewDelivery) -> Self {
        Self {
            id: new.id,
            direction: new.direction.as_str().to_owned(),
            kind: new.kind,
            status: new.status.to_owned(),
            user_id: new.user_id,
            account_id: new.account_id,
            instance_id: new.instance_id,
            customer_id: new.customer_id,
            lane_id: new.lane_id,
            source_id: new.source_id,
            fingerprint: new.fingerprint,
            order_key: new.order_key,
            payload: Some(new.payload),
            journal: None,
            begun_at: None,
            attempts: 0,
            next_attempt_at: Some(new.created_at),
            deadline_at: new.deadline_at,
            error_class: None,
            error_detail: None,
            message_id: None,
            case_sys_id: None,
            case_number: None,
            created_at: new.created_at,
            delivered_at: None,
            fence: 0,
            mark: 0,
        }
    }
}

/// Rows as one JSON parameter: a statement for a whole group costs one round trip.
pub(super) fn to_json(rows: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(rows).map_err(|error| StoreError::Refused(error.to_string()))
}

/// The delivery with this dedup key.
pub(crate) async fn by_dedup_key(db: &Db, key: &str) -> Result<Option<Delivery>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(BY_DEDUP_KEY)).bind(key).fetch_optional(pool).await)?)
}

/// Frees a dedup key that a delivery of an account holds which is gone.
#[derive(Debug, Clone)]
pub(crate) struct FreeKey(pub(crate) String);

impl Change for FreeKey {
    type Output = ();

    async fn apply(self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        on_conn!(conn, |conn, sql| sqlx::query(sql(FREE_KEY))
            .bind(&self.0)
            .execute(&mut **conn)
            .await
            .map(drop))?;
        Ok(())
    }
}

/// The delivery with this id.
pub(crate) async fn by_id(db: &Db, id: &str) -> Result<Option<Delivery>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(BY_ID)).bind(id).fetch_optional(pool).await)?)
}

/// The pending deliveries of a lane in the order in which they go: what has begun first, then as written. None
/// when the lane is another target's by now.
pub(crate) async fn of_lane(
    db: &Db,
    lane_id: &str,
    target_id: &str,
    limit: i64,
) -> Result<Vec<Delivery>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(OF_LANE))
        .bind(lane_id)
        .bind(target_id)
        .bind(limit)
        .fetch_all(pool)
        .await)?)
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
