//! What instances and accounts hold sealed, and which key this database is sealed with.

use super::{Conn, Db, StoreError};
use crate::store::Change;

statements! {
    OF_INSTANCES = "SELECT id, sealed_secrets FROM instances ORDER BY id";
    OF_ACCOUNTS = "SELECT id, sealed_secrets FROM accounts ORDER BY id";
    RESEAL_INSTANCE = "UPDATE instances SET sealed_secrets = $3 WHERE id = $1 AND sealed_secrets = $2";
    RESEAL_ACCOUNT = "UPDATE accounts SET sealed_secrets = $3 WHERE id = $1 AND sealed_secrets = $2";
    FINGERPRINT = "SELECT value FROM marks WHERE name = 'sealing_key'";
    HELD_FINGERPRINT = sqlite "SELECT value FROM marks WHERE name = 'sealing_key'"
        postgres "SELECT value FROM marks WHERE name = 'sealing_key' FOR UPDATE";
    ADD_FINGERPRINT = "INSERT INTO marks (name, value) VALUES ('sealing_key', $1) ON CONFLICT (name) DO NOTHING";
    MOVE_FINGERPRINT = "UPDATE marks SET value = $1 WHERE name = 'sealing_key'";
}

/// A table whose rows hold something sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SealedTable {
    /// `instances`.
    Instances,
    /// `accounts`.
    Accounts,
}

impl SealedTable {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Instances, Self::Accounts];

    /// As the seals name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Instances => "instances",
            Self::Accounts => "accounts",
        }
    }
}

/// What the rows of a table hold sealed, by id.
pub(crate) async fn all(db: &Db, table: SealedTable) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let statement = match table {
        SealedTable::Instances => OF_INSTANCES,
        SealedTable::Accounts => OF_ACCOUNTS,
    };
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(statement)).fetch_all(pool).await)?)
}

/// Seals a row's credentials anew, unless they have changed meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Reseal {
    pub(crate) table: SealedTable,
    pub(crate) id: String,
    pub(crate) before: Vec<u8>,
    pub(crate) after: Vec<u8>,
}

impl Change for Reseal {
    type Output = ();

    async fn apply(self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        let statement = match self.table {
            SealedTable::Instances => RESEAL_INSTANCE,
            SealedTable::Accounts => RESEAL_ACCOUNT,
        };
        on_conn!(conn, |conn, sql| sqlx::query(sql(statement))
            .bind(&self.id)
            .bind(&self.before)
            .bind(&self.after)
            .execute(&mut **conn)
            .await
            .map(drop))?;
        Ok(())
    }
}

/// The fingerprint of the key that this database is sealed with; `None` where no hub has said it yet.
pub(crate) async fn fingerprint(db: &Db) -> Result<Option<i64>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_scalar(sql(FINGERPRINT)).fetch_optional(pool).await)?)
}

/// The same, kept from being changed by others until the transaction ends.
pub(crate) async fn held_fingerprint(conn: &mut Conn<'_>) -> Result<Option<i64>, StoreError> {
    Ok(on_conn!(conn, |conn, sql| sqlx::query_scalar(sql(HELD_FINGERPRINT))
        .fetch_optional(&mut **conn)
        .await)?)
}

/// Says the fingerprint where none is said.
pub(crate) async fn add_fingerprint(conn: &mut Conn<'_>, fingerprint: i64) -> Result<(), StoreError> {
    on_conn!(conn, |conn, sql| sqlx::query(sql(ADD_FINGERPRINT))
        .bind(fingerprint)
        .execute(&mut **conn)
        .await
        .map(drop))?;
    Ok(())
}

/// Says another fingerprint.
pub(crate) async fn move_fingerprint(conn: &mut Conn<'_>, fingerprint: i64) -> Result<(), StoreError> {
    on_conn!(conn, |conn, sql| sqlx::query(sql(MOVE_FINGERPRINT))
        .bind(fingerprint)
        .execute(&mut **conn)
        .await
        .map(drop))?;
    Ok(())
}
