//! Allotments: what the owner of an instance has taken out of its rate.

use super::{Conn, Db, StoreError};
use crate::store::Change;

statements! {
    /// All that are open, or only `$3`.
    CLOSE = "UPDATE rate_allotments SET closed_at = $2 WHERE instance_id = $1 AND closed_at IS NULL AND (CAST($3 AS TEXT) IS NULL OR id = $3)";
    FORGET = "DELETE FROM rate_allotments WHERE instance_id = $1 AND closed_at <= $2";
    TAKE = "INSERT INTO rate_allotments (id, instance_id, n_calls) VALUES ($1, $2, $3)";
    SINCE = "SELECT n_calls, closed_at FROM rate_allotments WHERE instance_id = $1 AND (closed_at IS NULL OR closed_at > $2)";
}

/// Takes an allotment for an instance, and closes the one before.
#[derive(Debug, Clone)]
pub(crate) struct TakeAllotment {
    /// Of the new one.
    pub(crate) id: String,
    pub(crate) instance_id: String,
    pub(crate) n_calls: u32,
    /// The one that the same owner has used up; without one, whatever earlier owners left open is closed.
    pub(crate) previous: Option<String>,
    pub(crate) now_ms: i64,
    /// What was closed until then does not count any more.
    pub(crate) forget_until_ms: i64,
}

impl Change for TakeAllotment {
    type Output = ();

    async fn apply(self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        let Self { id, instance_id, n_calls, previous, now_ms, forget_until_ms } = self;
        on_conn!(conn, |conn, sql| {
            let closing = sqlx::query(sql(CLOSE)).bind(&instance_id).bind(now_ms).bind(&previous);
            closing.execute(&mut **conn).await?;
            sqlx::query(sql(FORGET)).bind(&instance_id).bind(forget_until_ms).execute(&mut **conn).await?;
            let taking = sqlx::query(sql(TAKE)).bind(&id).bind(&instance_id).bind(i64::from(n_calls));
            taking.execute(&mut **conn).await?;
            Ok(())
        })
    }
}

/// What was taken for an instance: how many calls, and until when they had started; `None` for calls that may
/// have started a moment ago. What was closed until `until_ms` is left out.
pub(crate) async fn since(
    db: &Db,
    instance_id: &str,
    until_ms: i64,
) -> Result<Vec<(i64, Option<i64>)>, StoreError> {
    Ok(on_db!(db, |pool, sql| {
        sqlx::query_as(sql(SINCE)).bind(instance_id).bind(until_ms).fetch_all(pool).await
    })?)
}
