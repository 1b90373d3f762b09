//! Bulk replays: where they stand, and their steps.

use sqlx::FromRow;

use super::records::{Revive, Revived};
use super::{Conn, Db, StoreError};
use crate::domain::record::{DeliveryStatus, Direction, RecordFilter};
use crate::domain::replay::{Replay, ReplayState};
use crate::store::Change;

statements! {
    // Nobody can fill the table with replays that run at once.
    ADD = "INSERT INTO replays (id, user_id, direction, instance_id, since, until, rate, n_total, n_done, n_skipped, cursor, due_at, state, created_at)
        SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS BIGINT), CAST($6 AS BIGINT), CAST($7 AS TEXT), CAST($8 AS BIGINT), 0, 0, '', CAST($9 AS BIGINT), 'running', CAST($9 AS BIGINT)
        WHERE (SELECT COUNT(*) FROM replays WHERE state = 'running' AND (user_id = $2 OR (user_id IS NULL AND CAST($2 AS TEXT) IS NULL))) < CAST($10 AS BIGINT)
        RETURNING id";
    BY_ID = "SELECT id, user_id, direction, instance_id, since, until, rate, n_total, n_done, n_skipped, cursor, state, created_at, ended_at FROM replays WHERE id = $1";
    PAGE = "SELECT id, user_id, direction, instance_id, since, until, rate, n_total, n_done, n_skipped, cursor, state, created_at, ended_at FROM replays
        WHERE user_id = $1 ORDER BY id DESC LIMIT CAST($2 AS BIGINT) OFFSET CAST($3 AS BIGINT)";
    PAGE_OF_ALL = "SELECT id, user_id, direction, instance_id, since, until, rate, n_total, n_done, n_skipped, cursor, state, created_at, ended_at FROM replays
        ORDER BY id DESC LIMIT CAST($1 AS BIGINT) OFFSET CAST($2 AS BIGINT)";
    COUNT = "SELECT COUNT(*) FROM replays WHERE user_id = $1";
    COUNT_ALL = "SELECT COUNT(*) FROM replays";
    DUE = "SELECT id, user_id, direction, instance_id, since, until, rate, n_total, n_done, n_skipped, cursor, state, created_at, ended_at,
        (SELECT COUNT(*) FROM replays AS o WHERE o.state = 'running' AND (o.user_id = replays.user_id OR (o.user_id IS NULL AND replays.user_id IS NULL))) AS n_running FROM replays
        WHERE state = 'running' AND due_at <= $1 ORDER BY due_at LIMIT 100";
    NEXT_DUE = "SELECT MIN(due_at) FROM replays WHERE state = 'running'";
    // Decides which of two that carry on the same replay takes the step: the cursor is there only once. The
    // other one does not wait for it, for what it has locked before may be what the first one needs.
    ADVANCE = sqlite "UPDATE replays SET cursor = $3, n_done = n_done + $4, n_total = CASE WHEN n_total < n_done + $4 THEN n_done + $4 ELSE n_total END, due_at = $5,
        state = CASE WHEN CAST($6 AS BIGINT) IS NULL THEN state ELSE 'done' END, ended_at = $6
        WHERE id = $1 AND cursor = $2 AND state = 'running' AND due_at <= $7
        RETURNING id"
        postgres "UPDATE replays SET cursor = $3, n_done = n_done + $4, n_total = CASE WHEN n_total < n_done + $4 THEN n_done + $4 ELSE n_total END, due_at = $5,
        state = CASE WHEN CAST($6 AS BIGINT) IS NULL THEN state ELSE 'done' END, ended_at = $6
        WHERE id = (SELECT id FROM replays WHERE id = $1 AND cursor = $2 AND state = 'running' AND due_at <= $7 FOR UPDATE SKIP LOCKED)
        RETURNING id";
    SKIP = "UPDATE replays SET n_skipped = n_skipped + $2 WHERE id = $1";
    CANCEL = "UPDATE replays SET state = 'cancelled', ended_at = $2 WHERE id = $1 AND state = 'running' RETURNING id";
}

/// So many replays of one user may run at once, and so many of operators.
const MAX_RUNNING: i64 = 10;

/// A replay as it is carried on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Course {
    pub(crate) replay: Replay,
    /// The id of the last dead letter that it has passed; empty at the start.
    pub(crate) cursor: String,
    /// How many replays of the same user run, this one included; 0 where that was not asked for.
    pub(crate) n_running: i64,
}

#[derive(FromRow)]
struct ReplayRow {
    id: String,
    user_id: Option<String>,
    direction: Option<String>,
    instance_id: Option<String>,
    since: Option<i64>,
    until: Option<i64>,
    rate: String,
    n_total: i64,
    n_done: i64,
    n_skipped: i64,
    cursor: String,
    state: String,
    created_at: i64,
    ended_at: Option<i64>,
    #[sqlx(default)]
    n_running: i64,
}

impl TryFrom<ReplayRow> for Course {
    type Error = StoreError;

    fn try_from(row: ReplayRow) -> Result<Self, StoreError> {
        let strange = |what: &str| StoreError::Refused(format!("the replay {} has a strange {what}", row.id));
        let direction = match row.direction.as_deref() {
            None => None,
            Some(name) => Some(Direction::parse(name).ok_or_else(|| strange("direction"))?),
        };
        let rate = row.rate.parse().map_err(|_| strange("rate"))?;
        let state = ReplayState::parse(&row.state).ok_or_else(|| strange("state"))?;
        let filter = RecordFilter {
            status: Some(DeliveryStatus::Dead),
            direction,
            instance_id: row.instance_id,
            since_ms: row.since,
            until_ms: row.until,
        };
        let replay = Replay {
            id: row.id,
            user_id: row.user_id,
            filter,
            rate,
            state,
            n_total: row.n_total,
            n_done: row.n_done,
            n_skipped: row.n_skipped,
            created_at_ms: row.created_at,
            ended_at_ms: row.ended_at,
        };
        Ok(Self { replay, cursor: row.cursor, n_running: row.n_running })
    }
}

/// The replay with this id.
pub(crate) async fn by_id(db: &Db, id: &str) -> Result<Option<Replay>, StoreError> {
    let row: Option<ReplayRow> =
        on_db!(db, |pool, sql| sqlx::query_as(sql(BY_ID)).bind(id).fetch_optional(pool).await)?;
    Ok(row.map(Course::try_from).transpose()?.map(|course| course.replay))
}

/// Replays of a user, or of all, the newest first.
pub(crate) async fn page(
    db: &Db,
    user_id: Option<&str>,
    limit: i64,
    offset: i64,
) -> Result<Vec<Replay>, StoreError> {
    let rows: Vec<ReplayRow> = on_db!(db, |pool, sql| {
        let query = match user_id {
            Some(user_id) => sqlx::query_as(sql(PAGE)).bind(user_id),
            None => sqlx::query_as(sql(PAGE_OF_ALL)),
        };
        query.bind(limit).bind(offset).fetch_all(pool).await
    })?;
    rows.into_iter().map(|row| Ok(Course::try_from(row)?.replay)).collect()
}

/// How many replays of a user there are, or of all.
pub(crate) async fn count(db: &Db, user_id: Option<&str>) -> Result<i64, StoreError> {
    Ok(on_db!(db, |pool, sql| {
        let query = match user_id {
            Some(user_id) => sqlx::query_scalar(sql(COUNT)).bind(user_id),
            None => sqlx::query_scalar(sql(COUNT_ALL)),
        };
        query.fetch_one(pool).await
    })?)
}

/// Replays whose next step may be taken, the longest waiting first; at most 100.
pub(crate) async fn due(db: &Db, now_ms: i64) -> Result<Vec<Course>, StoreError> {
    let rows: Vec<ReplayRow> =
        on_db!(db, |pool, sql| sqlx::query_as(sql(DUE)).bind(now_ms).fetch_all(pool).await)?;
    rows.into_iter().map(Course::try_from).collect()
}

/// When the next step of any may be taken, in epoch milliseconds; `None` when none runs.
pub(crate) async fn next_due(db: &Db) -> Result<Option<i64>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_scalar(sql(NEXT_DUE)).fetch_one(pool).await)?)
}

/// Stores a new replay. Gives `false` when as many run already as may.
#[derive(Debug, Clone)]
pub(crate) struct AddReplay(pub(crate) Replay);

impl Change for AddReplay {
    type Output = bool;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<bool, StoreError> {
        let Self(replay) = self;
        let added: Option<String> = on_conn!(conn, |conn, sql| sqlx::query_scalar(sql(ADD))
            .bind(&replay.id)
            .bind(&replay.user_id)
            .bind(replay.filter.direction.map(Direction::as_str))
            .bind(&replay.filter.instance_id)
            .bind(replay.filter.since_ms)
            .bind(replay.filter.until_ms)
            .bind(replay.rate.to_string())
            .bind(replay.n_total)
            .bind(replay.created_at_ms)
            .bind(MAX_RUNNING)
            .fetch_optional(&mut **conn)
            .await)?;
        Ok(added.is_some())
    }
}

/// One step: moves the cursor, and puts back what it passes, in one transaction.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// The id of the replay.
    pub(crate) id: String,
    /// Where the cursor must stand.
    pub(crate) from: String,
    /// Where it stands then.
    pub(crate) to: String,
    /// What is put back.
    pub(crate) revive: Revive,
    /// How many are passed whose texts were erased.
    pub(crate) n_erased: i64,
    /// When the next step may be taken; `None` if this is the last one.
    pub(crate) next_at: Option<i64>,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stepped {
    pub(crate) revived: Revived,
    /// Passed, and not put back.
    pub(crate) n_skipped: i64,
}

impl Change for Step {
    /// `None` when somebody else took this step, or the replay was cancelled; nothing was changed.
    type Output = Option<Stepped>;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<Option<Stepped>, StoreError> {
        let now_ms = self.revive.now_ms;
        let n_tried = i64::try_from(self.revive.ids.len()).unwrap_or(i64::MAX);
        let ended_at = if self.next_at.is_none() { Some(now_ms) } else { None };
        let advanced: Option<String> = on_conn!(conn, |conn, sql| sqlx::query_scalar(sql(ADVANCE))
            .bind(&self.id)
            .bind(&self.from)
            .bind(&self.to)
            .bind(n_tried + self.n_erased)
            .bind(self.next_at.unwrap_or(now_ms))
            .bind(ended_at)
            .bind(now_ms)
            .fetch_optional(&mut **conn)
            .await)?;
        if advanced.is_none() {
            return Ok(None);
        }
        let revived = self.revive.apply(conn).await?;
        let n_skipped = n_tried + self.n_erased - i64::try_from(revived.n).unwrap_or(i64::MAX);
        if n_skipped > 0 {
            on_conn!(conn, |conn, sql| sqlx::query(sql(SKIP))
                .bind(&self.id)
                .bind(n_skipped)
                .execute(&mut **conn)
                .await
                .map(drop))?;
        }
        Ok(Some(Stepped { revived, n_skipped }))
    }
}

/// Cancels a replay. Gives `false` when it is not running.
#[derive(Debug, Clone)]
pub(crate) struct CancelReplay {
    pub(crate) id: String,
    pub(crate) now_ms: i64,
}

impl Change for CancelReplay {
    type Output = bool;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<bool, StoreError> {
        let cancelled: Option<String> = on_conn!(conn, |conn, sql| sqlx::query_scalar(sql(CANCEL))
            .bind(&self.id)
            .bind(self.now_ms)
            .fetch_optional(&mut **conn)
            .await)?;
        Ok(cancelled.is_some())
    }
}
