//! Counters that tell a running process that another one changed something.
//!
//! In the same table stand a few numbers of other kinds: how far the janitor came, whether a copy is unfinished,
//! and the fingerprint of the sealing key ([`sealed`](super::sealed)).

use super::{Conn, Db, StoreError};

statements! {
    READ = "SELECT value FROM marks WHERE name = $1";
    BUMP = "UPDATE marks SET value = value + 1 WHERE name = $1 RETURNING value";
}

/// Moved by everything that ends a token or changes whose it is.
pub(crate) const TOKENS: &str = "tokens";
/// Moved by everything that changes instances, accounts or which of them belong together.
pub(crate) const SETTINGS: &str = "settings";
/// Moved by deliveries that another process should look at.
pub(crate) const DELIVERIES: &str = "deliveries";

/// Where a mark stands.
pub(crate) async fn read(db: &Db, name: &str) -> Result<i64, StoreError> {
    let value: Option<i64> =
        on_db!(db, |pool, sql| sqlx::query_scalar(sql(READ)).bind(name).fetch_optional(pool).await)?;
    value.ok_or_else(|| StoreError::Refused(format!("the mark {name} is missing")))
}

/// Moves a mark, in the transaction of what it announces. Returns where it stands then.
pub(crate) async fn bump(conn: &mut Conn<'_>, name: &str) -> Result<i64, StoreError> {
    let value =
        on_conn!(conn, |conn, sql| sqlx::query_scalar(sql(BUMP)).bind(name).fetch_one(&mut **conn).await)?;
    Ok(value)
}
