//! Whether connections are sessions. A pooler in transaction mode gives every statement to whichever server
//! process is free: then nobody hears a `LISTEN`, and what is set for a session is set for somebody else.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::StoreError;

/// So many times both connections are asked who serves them. When nobody else uses the pooler's connections,
/// the first time decides; the others are for when somebody does.
const N_ROUNDS: u32 = 4;

/// Refuses two connections through a pooler whose connections are no sessions.
///
/// Never others: one session stays with one process of the server, and two have two.
pub(super) async fn refuse_shared_sessions(
    one: &mut PgConnection,
    other: &mut PgConnection,
) -> Result<(), StoreError> {
    if is_shared(one, other).await? { Err(StoreError::SharedSessions) } else { Ok(()) }
}

async fn is_shared(one: &mut PgConnection, other: &mut PgConnection) -> Result<bool, StoreError> {
    let mut served_one = BTreeSet::from([server_process(one).await?]);
    for _ in 0..N_ROUNDS {
        let serves_other = server_process(other).await?;
        // Twice: a pooler that takes its two connections in turn would give each of us always the same.
        served_one.extend([server_process(one).await?, server_process(one).await?]);
        if served_one.len() > 1 || served_one.contains(&serves_other) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Asked as plain text: in transaction mode even the preparation of a statement may fail.
async fn server_process(connection: &mut PgConnection) -> Result<i32, StoreError> {
    use sqlx::Row as _;
    let row = sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(connection).await?;
    Ok(row.try_get_unchecked(0)?)
}
