//! What is erased when it has been kept long enough: texts first, later the attempts.

use super::deliveries::to_json;
use super::{Conn, Db, StoreError};
use crate::store::Change;

statements! {
    ERASED_UP_TO = "SELECT value FROM marks WHERE name = 'erased_up_to'";
    OF_AGE = "SELECT id, status FROM deliveries WHERE id >= $1 AND id < $2 ORDER BY id LIMIT CAST($3 AS BIGINT)";
    ERASE = sqlite "UPDATE deliveries SET payload = NULL, journal = NULL WHERE payload IS NOT NULL AND id IN (SELECT value FROM json_each($1))"
        postgres "UPDATE deliveries SET payload = NULL, journal = NULL WHERE payload IS NOT NULL AND id = ANY (ARRAY(SELECT json_array_elements_text(CAST(CAST($1 AS TEXT) AS JSON))))";
    NOTE = "INSERT INTO marks (name, value) VALUES ('erased_up_to', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    // Walks the key of the table: what was deleted is not met again, so no mark is needed, and a delivery
    // that was replayed meanwhile is met once more.
    ATTEMPTED = "SELECT delivery_id, MAX(at) FROM attempts WHERE delivery_id > $1 AND delivery_id < $2 GROUP BY delivery_id ORDER BY delivery_id LIMIT CAST($3 AS BIGINT)";
    // Locked, so that none of them is replayed and tried again before its attempts are gone: they are
    // numbered by their count, so either all of a delivery are there or none.
    ENDED = sqlite "SELECT d.id FROM deliveries AS d WHERE d.id IN (SELECT value FROM json_each($1)) AND d.status IN ('delivered', 'dead') AND NOT EXISTS (SELECT 1 FROM attempts AS a WHERE a.delivery_id = d.id AND a.at >= $2)"
        postgres "SELECT d.id FROM deliveries AS d WHERE d.id = ANY (ARRAY(SELECT json_array_elements_text(CAST(CAST($1 AS TEXT) AS JSON)))) AND d.status IN ('delivered', 'dead') AND NOT EXISTS (SELECT 1 FROM attempts AS a WHERE a.delivery_id = d.id AND a.at >= $2) ORDER BY d.id FOR UPDATE OF d";
    FORGET = sqlite "DELETE FROM attempts WHERE delivery_id IN (SELECT value FROM json_each($1))"
        postgres "DELETE FROM attempts WHERE delivery_id = ANY (ARRAY(SELECT json_array_elements_text(CAST(CAST($1 AS TEXT) AS JSON))))";
}

/// Records looked at in one commit.
const AT_ONCE: i64 = 500;

/// Erases texts of ended deliveries that were accepted before then, from where the last one stopped. What has
/// not ended needs its text still: that is erased with its end, by [`Settle`](super::lanes::Settle).
#[derive(Debug, Clone)]
pub(crate) struct Erase {
    pub(crate) cutoff_ms: i64,
}

/// How far one commit came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Erased {
    pub(crate) n_erased: u64,
    /// Nothing more is of age.
    pub(crate) is_done: bool,
}

impl Change for Erase {
    type Output = Erased;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<Erased, StoreError> {
        let from_ms: Option<i64> = on_conn!(conn, |conn, sql| sqlx::query_scalar(sql(ERASED_UP_TO))
            .fetch_optional(&mut **conn)
            .await)?;
        let rows: Vec<(String, String)> = on_conn!(conn, |conn, sql| sqlx::query_as(sql(OF_AGE))
            .bind(first_id_at(from_ms.unwrap_or(0)))
            .bind(first_id_at(self.cutoff_ms))
            .bind(AT_ONCE)
            .fetch_all(&mut **conn)
            .await)?;
        let ended: Vec<&str> =
            rows.iter().filter(|(_, status)| has_ended(status)).map(|(id, _)| id.as_str()).collect();
        let json = to_json(&ended)?;
        let n_erased = on_conn!(conn, |conn, sql| sqlx::query(sql(ERASE))
            .bind(&json)
            .execute(&mut **conn)
            .await
            .map(|done| done.rows_affected()))?;
        let is_last = rows.len() < usize::try_from(AT_ONCE).unwrap_or(usize::MAX);
        // Within the last millisecond there may be more: it is looked at again.
        let up_to_ms = rows.last().filter(|_| !is_last).map_or(self.cutoff_ms, |(id, _)| time_of(id));
        on_conn!(conn, |conn, sql| sqlx::query(sql(NOTE))
            .bind(up_to_ms)
            .execute(&mut **conn)
            .await
            .map(drop))?;
        let is_stuck = Some(up_to_ms) == from_ms;
        Ok(Erased { n_erased, is_done: is_last || is_stuck })
    }
}

/// Deliveries that one commit rids of their attempts at most. With a day of failures each has some thirty.
const DELIVERIES_AT_ONCE: i64 = 200;

/// A part of the deliveries that were accepted before a time and have attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attempted {
    /// Those of them whose last attempt was before that time. Some may not have ended.
    pub(crate) of_age: Vec<String>,
    /// Where the next part begins; `None` when this is the last one.
    pub(crate) next: Option<String>,
}

/// Looks for deliveries with attempts that are all older than a time, behind the one with that id.
pub(crate) async fn attempted(db: &Db, after: &str, cutoff_ms: i64) -> Result<Attempted, StoreError> {
    let rows: Vec<(String, i64)> = on_db!(db, |pool, sql| sqlx::query_as(sql(ATTEMPTED))
        .bind(after)
        .bind(first_id_at(cutoff_ms))
        .bind(DELIVERIES_AT_ONCE)
        .fetch_all(pool)
        .await)?;
    let is_last = rows.len() < usize::try_from(DELIVERIES_AT_ONCE).unwrap_or(usize::MAX);
    let next = rows.last().filter(|_| !is_last).map(|(id, _)| id.clone());
    let of_age = rows.into_iter().filter(|(_, at)| *at < cutoff_ms).map(|(id, _)| id);
    Ok(Attempted { of_age: of_age.collect(), next })
}

/// Deletes the attempts of those of these deliveries that have ended and were not tried since then. Their
/// records stay, with the count of their attempts and how the last one failed.
#[derive(Debug, Clone)]
pub(crate) struct ForgetAttempts {
    pub(crate) ids: Vec<String>,
    pub(crate) cutoff_ms: i64,
}

impl Change for ForgetAttempts {
    /// How many attempts were deleted.
    type Output = u64;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<u64, StoreError> {
        let json = to_json(&self.ids)?;
        let ended: Vec<String> = on_conn!(conn, |conn, sql| sqlx::query_scalar(sql(ENDED))
            .bind(&json)
            .bind(self.cutoff_ms)
            .fetch_all(&mut **conn)
            .await)?;
        let json = to_json(&ended)?;
        let n_deleted = on_conn!(conn, |conn, sql| sqlx::query(sql(FORGET))
            .bind(&json)
            .execute(&mut **conn)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(n_deleted)
    }
}

fn has_ended(status: &str) -> bool {
    matches!(status, "delivered" | "dead")
}

/// The smallest id of that millisecond: ids begin with 48 bits of time.
fn first_id_at(epoch_ms: i64) -> String {
    let millis = u64::try_from(epoch_ms).unwrap_or_default();
    format!("{:08x}-{:04x}-0000-0000-000000000000", millis >> 16, millis & 0xffff)
}

/// When an id was made, in epoch milliseconds.
fn time_of(id: &str) -> i64 {
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(12).collect();
    i64::from_str_radix(&digits, 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_times() {
        let id = first_id_at(1_700_000_000_123);
        assert_eq!(time_of(&id), 1_700_000_000_123);
        assert!(first_id_at(1_700_000_000_122) < id);
        let made = crate::kernel::Sources::seeded(
            std::sync::Arc::new(crate::kernel::sources::ManualClock::at(1_700_000_000_123)),
            1,
        )
        .id();
        assert!(made > id && made < first_id_at(1_700_000_000_124));
    }
}
