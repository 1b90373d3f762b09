//! Shards: which replica delivers for which instances and accounts. On a server database only.
//!
//! All times are the database's own: replicas need not agree on theirs.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgPool, Row};

use super::batch::read;
use super::deliveries::to_json;
use super::{Conn, StoreError, in_time};
use crate::domain::lease::Lease;
use crate::store::Change;

statements! {
    /// Goes on holding what a replica believes to hold, and tells the others that it is there, in one statement:
    /// a replica that is slow does both in time or neither. A lease that has run out is not renewed: it must be
    /// claimed, like anybody's.
    RENEW = postgres "WITH here AS (SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now_ms),
        alive AS (INSERT INTO replicas (id, alive_until) SELECT $1, now_ms + $2 FROM here WHERE $4 ON CONFLICT (id) DO UPDATE SET alive_until = excluded.alive_until),
        believed AS (SELECT * FROM json_to_recordset(CAST(CAST($3 AS TEXT) AS JSON)) AS r (id BIGINT, epoch BIGINT)),
        renewed AS (UPDATE shards SET lease_until = here.now_ms + $2 FROM believed, here
            WHERE shards.id = believed.id AND shards.epoch = believed.epoch AND shards.owner = $1 AND shards.lease_until > here.now_ms
            RETURNING shards.id, shards.epoch)
        SELECT now_ms, (SELECT COUNT(*) FROM replicas WHERE id <> $1 AND alive_until > now_ms) AS n_others,
            (SELECT COUNT(*) FROM replicas WHERE id < $1 AND alive_until > now_ms) AS n_before,
            (SELECT COALESCE(CAST(json_agg(renewed) AS TEXT), '[]') FROM renewed) AS held FROM here";
    IS_THERE = postgres "SELECT 1";
    FORGET_REPLICAS = postgres "DELETE FROM replicas WHERE id = $1 OR alive_until < CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) - 60000";
    NOW = postgres "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";
    STANDING = postgres "SELECT (SELECT COUNT(*) FROM replicas WHERE alive_until > n.now), (SELECT COUNT(*) FROM shards WHERE owner IS NULL OR lease_until <= n.now)
        FROM (SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now) AS n";
    /// Skips shards for which a write is under way: their owner held the lease when that began.
    CLAIM = postgres "WITH free AS (SELECT id FROM shards
            WHERE (owner IS NULL AND $4 = 0) OR lease_until <= CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) - $4
            ORDER BY id LIMIT CAST($3 AS BIGINT) FOR UPDATE SKIP LOCKED)
        UPDATE shards SET owner = $1, epoch = shards.epoch + 1, lease_until = CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) + $2
        FROM free WHERE shards.id = free.id RETURNING shards.id, shards.epoch";
    /// Only under the lease that is given up: late, it takes nothing from a later one.
    RELEASE = postgres "UPDATE shards SET owner = NULL, epoch = shards.epoch + 1, lease_until = NULL
        FROM json_to_recordset(CAST(CAST($2 AS TEXT) AS JSON)) AS r (id BIGINT, epoch BIGINT)
        WHERE shards.id = r.id AND shards.epoch = r.epoch AND shards.owner = $1";
    RELEASE_ALL = postgres "UPDATE shards SET owner = NULL, epoch = epoch + 1, lease_until = NULL WHERE owner = $1";
    /// Which of these leases hold, and keeps them from being claimed until the transaction ends. Renewing
    /// them is not kept from.
    HOLD = postgres "WITH r AS (SELECT * FROM json_to_recordset(CAST(CAST($1 AS TEXT) AS JSON)) AS r (id BIGINT, epoch BIGINT)),
        held AS (SELECT shards.id, shards.epoch FROM shards JOIN r ON r.id = shards.id AND r.epoch = shards.epoch
            WHERE shards.owner = $2 AND shards.lease_until > CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)
            ORDER BY shards.id FOR KEY SHARE OF shards)
        SELECT COALESCE(CAST(json_agg(held) AS TEXT), '[]') FROM held";
}

/// A shard that a replica holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow, Serialize, Deserialize)]
pub(crate) struct Held {
    /// 0 to 255.
    pub(crate) id: i64,
    /// Under which it is held.
    pub(crate) epoch: i64,
}

/// What a renewal found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Renewed {
    /// The time there, in epoch milliseconds.
    pub(crate) there_ms: i64,
    /// What is held on.
    pub(crate) held: Vec<Held>,
    /// How many other replicas there are, and how many of them come first in the order of names.
    pub(crate) n_others: i64,
    pub(crate) n_before: i64,
}

/// What the server's clock shows, in epoch milliseconds.
pub(crate) async fn now_ms(pool: &PgPool) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(NOW.postgres).fetch_one(pool).await?)
}

/// How many replicas are alive, and how many shards nobody holds.
pub(crate) async fn standing(pool: &PgPool) -> Result<(i64, i64), StoreError> {
    Ok(sqlx::query_as(STANDING.postgres).fetch_one(pool).await?)
}

/// Asks for nothing but an answer.
pub(crate) async fn is_there(pool: &PgPool) -> Result<(), StoreError> {
    sqlx::query(IS_THERE.postgres).execute(pool).await?;
    Ok(())
}

/// Goes on holding those shards, as far as the replica holds them still. When it `counts`, the others are told
/// that it is there, for as long as a lease lasts.
pub(crate) async fn renew(
    pool: &PgPool,
    replica: &str,
    lease_ms: i64,
    believed: &[Held],
    counts: bool,
) -> Result<Renewed, StoreError> {
    let renewing =
        sqlx::query(RENEW.postgres).bind(replica).bind(lease_ms).bind(to_json(&believed)?).bind(counts);
    let row = renewing.fetch_one(pool).await?;
    let held: String = row.try_get("held")?;
    Ok(Renewed {
        there_ms: row.try_get("now_ms")?,
        held: read(&held)?,
        n_others: row.try_get("n_others")?,
        n_before: row.try_get("n_before")?,
    })
}

/// Takes up to `n` shards that nobody holds; with `left_for_ms` above 0 only those whose lease ran out that long
/// ago, and that nobody wanted since.
pub(crate) async fn claim(
    pool: &PgPool,
    replica: &str,
    lease_ms: i64,
    n: i64,
    left_for_ms: i64,
) -> Result<Vec<Held>, StoreError> {
    let claiming = sqlx::query_as(CLAIM.postgres).bind(replica).bind(lease_ms).bind(n).bind(left_for_ms);
    Ok(claiming.fetch_all(pool).await?)
}

/// Which of these leases, by (shard, epoch), the replica holds. None of them is claimed by another before the
/// transaction ends.
pub(super) async fn hold(
    conn: &mut PgConnection,
    replica: &str,
    leases: impl IntoIterator<Item = Lease>,
) -> Result<HashSet<(i64, i64)>, StoreError> {
    let leases: HashSet<(i64, i64)> = leases.into_iter().map(|lease| (lease.shard, lease.epoch)).collect();
    if leases.is_empty() {
        return Ok(leases);
    }
    let held: Vec<Held> = leases.iter().map(|&(id, epoch)| Held { id, epoch }).collect();
    let holding = sqlx::query_scalar(HOLD.postgres).bind(to_json(&held)?).bind(replica);
    let answer: String = holding.fetch_one(conn).await?;
    let held: Vec<Held> = read(&answer)?;
    Ok(held.into_iter().map(|held| (held.id, held.epoch)).collect())
}

/// A change that is made only under a lease that holds: `None` when it does not any more.
#[derive(Debug, Clone)]
pub(crate) struct Fenced<C> {
    /// Who makes it, when several replicas do.
    replica: Option<String>,
    lease: Lease,
    change: C,
}

impl<C> Fenced<C> {
    /// For this replica, when there are several, under one of its leases.
    pub(crate) fn new(replica: Option<&str>, lease: Lease, change: C) -> Self {
        Self { replica: replica.map(str::to_owned), lease, change }
    }
}

impl<C: Change> Change for Fenced<C> {
    type Output = Option<C::Output>;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<Option<C::Output>, StoreError> {
        let Self { replica, lease, change } = self;
        if let (Conn::Postgres(conn), Some(replica)) = (&mut *conn, replica)
            && hold(conn, &replica, [lease]).await?.is_empty()
        {
            return Ok(None);
        }
        change.apply(conn).await.map(Some)
    }
}

/// Gives shards up, so that another replica can take them at once.
pub(crate) async fn release(pool: &PgPool, replica: &str, held: &[Held]) -> Result<(), StoreError> {
    in_time(async {
        sqlx::query(RELEASE.postgres).bind(replica).bind(to_json(&held)?).execute(pool).await?;
        Ok(())
    })
    .await
}

/// Counts no more among the replicas: the others take what this one gives up.
pub(crate) async fn forget(pool: &PgPool, replica: &str) -> Result<(), StoreError> {
    sqlx::query(FORGET_REPLICAS.postgres).bind(replica).execute(pool).await?;
    Ok(())
}

/// Gives everything up, before the process ends.
pub(crate) async fn leave(pool: &PgPool, replica: &str) -> Result<(), StoreError> {
    sqlx::query(RELEASE_ALL.postgres).bind(replica).execute(pool).await?;
    forget(pool, replica).await
}
