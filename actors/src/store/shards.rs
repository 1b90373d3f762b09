//! Shards: which replica delivers for which instances and accounts. On a server database only.
//!
//! All times are the database's own: replicas need not agree on theirs.

use sqlx::{FromRow, PgPool};

use super::StoreError;

statements! {
    ALIVE = postgres "INSERT INTO replicas (id, alive_until) VALUES ($1, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) + $2)
        ON CONFLICT (id) DO UPDATE SET alive_until = excluded.alive_until
        RETURNING CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";
    FORGET_REPLICAS = postgres "DELETE FROM replicas WHERE id = $1 OR alive_until < CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) - 60000";
    COUNT_REPLICAS = postgres "SELECT COUNT(*) FROM replicas WHERE alive_until > CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";
    NOW = postgres "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";
    STANDING = postgres "SELECT (SELECT COUNT(*) FROM replicas WHERE alive_until > n.now), (SELECT COUNT(*) FROM shards WHERE owner IS NULL OR lease_until <= n.now)
        FROM (SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now) AS n";
    /// A lease that has run out is not renewed: it must be claimed, like anybody's.
    RENEW = postgres "UPDATE shards SET lease_until = CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) + $2
        WHERE owner = $1 AND lease_until > CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) RETURNING id, epoch";
    /// Skips shards for which a write is under way: their owner held the lease when that began.
    CLAIM = postgres "WITH free AS (SELECT id FROM shards
            WHERE owner IS NULL OR lease_until <= CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)
            ORDER BY id LIMIT CAST($3 AS BIGINT) FOR UPDATE SKIP LOCKED)
        UPDATE shards SET owner = $1, epoch = shards.epoch + 1, lease_until = CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) + $2
        FROM free WHERE shards.id = free.id RETURNING shards.id, shards.epoch";
    RELEASE = postgres "UPDATE shards SET owner = NULL, epoch = epoch + 1, lease_until = NULL
        WHERE owner = $1 AND id IN (SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST(CAST($2 AS TEXT) AS JSON)) AS value)";
    RELEASE_ALL = postgres "UPDATE shards SET owner = NULL, epoch = epoch + 1, lease_until = NULL WHERE owner = $1";
    /// Which of these leases hold, and keeps them from being claimed until the transaction ends. Renewing
    /// them is not kept from.
    HOLD = postgres "WITH r AS (SELECT * FROM json_to_recordset(CAST(CAST($1 AS TEXT) AS JSON)) AS r (shard BIGINT, epoch BIGINT)),
        held AS (SELECT shards.id FROM shards JOIN r ON r.shard = shards.id AND r.epoch = shards.epoch
            WHERE shards.owner = $2 AND shards.lease_until > CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)
            ORDER BY shards.id FOR KEY SHARE OF shards)
        SELECT COALESCE(CAST(json_agg(id) AS TEXT), '[]') FROM held";
}

/// A shard that a replica holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub(crate) struct Held {
    /// 0 to 255.
    pub(crate) id: i64,
    /// Under which it is held.
    pub(crate) epoch: i64,
}

/// What the server's clock shows, in epoch milliseconds.
pub(crate) async fn now_ms(pool: &PgPool) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(NOW.postgres).fetch_one(pool).await?)
}

/// How many replicas are alive, and how many shards nobody holds.
pub(crate) async fn standing(pool: &PgPool) -> Result<(i64, i64), StoreError> {
    Ok(sqlx::query_as(STANDING.postgres).fetch_one(pool).await?)
}

/// Tells the others that a replica is there, for so long from now on. Returns the time there, in epoch
/// milliseconds.
pub(crate) async fn tell_alive(pool: &PgPool, replica: &str, lease_ms: i64) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(ALIVE.postgres).bind(replica).bind(lease_ms).fetch_one(pool).await?)
}

/// Goes on holding a replica's shards. Returns those that it holds still, and how many replicas there are.
pub(crate) async fn renew(
    pool: &PgPool,
    replica: &str,
    lease_ms: i64,
) -> Result<(Vec<Held>, i64), StoreError> {
    let held = sqlx::query_as(RENEW.postgres).bind(replica).bind(lease_ms).fetch_all(pool).await?;
    let n_replicas = sqlx::query_scalar(COUNT_REPLICAS.postgres).fetch_one(pool).await?;
    Ok((held, n_replicas))
}

/// Takes up to `n` shards that nobody holds.
pub(crate) async fn claim(
    pool: &PgPool,
    replica: &str,
    lease_ms: i64,
    n: i64,
) -> Result<Vec<Held>, StoreError> {
    Ok(sqlx::query_as(CLAIM.postgres).bind(replica).bind(lease_ms).bind(n).fetch_all(pool).await?)
}

/// Gives shards up, so that another replica can take them at once.
pub(crate) async fn release(pool: &PgPool, replica: &str, ids: &[i64]) -> Result<(), StoreError> {
    let ids = super::deliveries::to_json(&ids)?;
    sqlx::query(RELEASE.postgres).bind(replica).bind(ids).execute(pool).await?;
    Ok(())
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
