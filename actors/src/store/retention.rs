//! What is erased when it has been kept long enough.

use super::{Conn, StoreError};
use crate::writer::Change;

statements! {
    ERASED_UP_TO = "SELECT value FROM marks WHERE name = 'erased_up_to'";
    OF_AGE = "SELECT id, status FROM deliveries WHERE id >= $1 AND id < $2 ORDER BY id LIMIT CAST($3 AS BIGINT)";
    ERASE = sqlite "UPDATE deliveries SET payload = NULL, journal = NULL WHERE payload IS NOT NULL AND id IN (SELECT value FROM json_each($1))"
        postgres "UPDATE deliveries SET payload = NULL, journal = NULL WHERE payload IS NOT NULL AND id IN (SELECT json_array_elements_text(CAST(CAST($1 AS TEXT) AS JSON)))";
    NOTE = "INSERT INTO marks (name, value) VALUES ('erased_up_to', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
}

/// Records looked at in one commit.
const AT_ONCE: i64 = 500;

/// Erases texts of ended deliveries that were accepted before then, from where the last one stopped.
/// Stops before the first delivery that has not ended: its text is still needed.
#[derive(Debug)]
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
        let n_ended = rows.iter().take_while(|(_, status)| has_ended(status)).count();
        let meets_pending = n_ended < rows.len();
        let ended: Vec<&str> = rows[..n_ended].iter().map(|(id, _)| id.as_str()).collect();
        let json = super::deliveries::to_json(&ended)?;
        let n_erased = on_conn!(conn, |conn, sql| sqlx::query(sql(ERASE))
            .bind(&json)
            .execute(&mut **conn)
            .await
            .map(|done| done.rows_affected()))?;
        // Within the last millisecond there may be more: it is looked at again.
        let is_last = rows.len() < usize::try_from(AT_ONCE).unwrap_or(usize::MAX);
        let up_to_ms = match ended.last() {
            Some(id) if meets_pending || !is_last => time_of(id),
            None if meets_pending => from_ms.unwrap_or(0),
            _ => self.cutoff_ms,
        };
        on_conn!(conn, |conn, sql| sqlx::query(sql(NOTE))
            .bind(up_to_ms)
            .execute(&mut **conn)
            .await
            .map(drop))?;
        let is_stuck = Some(up_to_ms) == from_ms;
        Ok(Erased { n_erased, is_done: is_last || meets_pending || is_stuck })
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
