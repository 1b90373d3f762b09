//! Errands: the bulk of what one small commit has decided, carried out in many small commits afterwards.
//!
//! A user, an account or an instance is gone at once, and new credentials count at once, however many rows that
//! concerns. The commit that decides it stores the errand. What is left to do is found in the rows themselves, so an
//! errand that a crash interrupted is carried on where it stopped.

use sqlx::FromRow;

use super::{Conn, Db, Sql, StoreError};
use crate::store::Change;

statements! {
    ADD = "INSERT INTO errands (kind, subject_id, asked_at, due_at, deadline_at) VALUES ($1, $2, $3, $3, $4)
        ON CONFLICT (kind, subject_id) DO UPDATE SET asked_at = CASE WHEN excluded.asked_at > errands.asked_at THEN excluded.asked_at ELSE errands.asked_at + 1 END,
        due_at = excluded.due_at, deadline_at = excluded.deadline_at";
    BURY_ACCOUNTS_OF = "INSERT INTO errands (kind, subject_id, asked_at, due_at, deadline_at)
        SELECT 'bury_account', id, CAST($2 AS BIGINT), CAST($2 AS BIGINT), 0 FROM accounts WHERE user_id = $1 ON CONFLICT (kind, subject_id) DO NOTHING";
    DUE = "SELECT kind, subject_id, asked_at, deadline_at FROM errands WHERE due_at <= $1 ORDER BY due_at, kind, subject_id LIMIT 100";
    END = "DELETE FROM errands WHERE kind = $1 AND subject_id = $2 AND asked_at = $3";
    PUT_OFF = "UPDATE errands SET due_at = $4 WHERE kind = $1 AND subject_id = $2 AND asked_at = $3";
    TAKE_LANES = "DELETE FROM lanes WHERE id IN (SELECT id FROM lanes WHERE account_id = $1 ORDER BY id LIMIT CAST($2 AS BIGINT))";
    TAKE_DELIVERIES = "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE account_id = $1 LIMIT CAST($2 AS BIGINT))";
    TAKE_CONVERSATIONS = "DELETE FROM conversations WHERE account_id = $1 AND customer_id IN (SELECT customer_id FROM conversations WHERE account_id = $1 ORDER BY customer_id LIMIT CAST($2 AS BIGINT))";
    TAKE_CASES = "DELETE FROM cases WHERE (sys_id, instance_id) IN (SELECT sys_id, instance_id FROM cases WHERE user_id = $1 LIMIT CAST($2 AS BIGINT))";
}

/// Rows that one commit of an errand touches at most, give or take what belongs to them.
pub(super) const AT_ONCE: i64 = 500;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrandKind {
    /// Takes away the lanes, deliveries and conversations of an account that is gone.
    BuryAccount,
    /// Takes away the cases of a user who is gone.
    BuryUser,
    /// Moves what waits of an account to the instance that it feeds now.
    Reroute,
    /// Lets what was tried for an instance or account be tried again.
    Reopen,
}

impl ErrandKind {
    const ALL: [Self; 4] = [Self::BuryAccount, Self::BuryUser, Self::Reroute, Self::Reopen];

    fn as_str(self) -> &'static str {
        match self {
            Self::BuryAccount => "bury_account",
            Self::BuryUser => "bury_user",
            Self::Reroute => "reroute",
            Self::Reopen => "reopen",
        }
    }

    fn parse(name: &str) -> Result<Self, StoreError> {
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == name);
        kind.ok_or_else(|| StoreError::Refused(format!("the errand {name} is not known here")))
    }
}

/// An errand as it was asked for last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Errand {
    pub(crate) kind: ErrandKind,
    /// The account, the user, or the instance or account that is worked for.
    pub(crate) subject_id: String,
    pub(crate) asked_at: i64,
    /// Until when what was blocked may fail once it goes on.
    pub(crate) deadline_at: i64,
}

#[derive(FromRow)]
struct ErrandRow {
    kind: String,
    subject_id: String,
    asked_at: i64,
    deadline_at: i64,
}

/// Asks for an errand, in the transaction that decides it. One that is asked for already begins anew.
pub(super) async fn add(
    conn: &mut Conn<'_>,
    kind: ErrandKind,
    subject_id: &str,
    now_ms: i64,
    deadline_ms: i64,
) -> Result<(), StoreError> {
    on_conn!(conn, |conn, sql| sqlx::query(sql(ADD))
        .bind(kind.as_str())
        .bind(subject_id)
        .bind(now_ms)
        .bind(deadline_ms)
        .execute(&mut **conn)
        .await
        .map(drop))?;
    Ok(())
}

/// Asks for the burial of all accounts of a user.
pub(super) async fn bury_accounts_of(
    conn: &mut Conn<'_>,
    user_id: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    on_conn!(conn, |conn, sql| sqlx::query(sql(BURY_ACCOUNTS_OF))
        .bind(user_id)
        .bind(now_ms)
        .execute(&mut **conn)
        .await
        .map(drop))?;
    Ok(())
}

/// Errands that may be carried out now, those that wait longest first.
pub(crate) async fn due(db: &Db, now_ms: i64) -> Result<Vec<Errand>, StoreError> {
    let rows: Vec<ErrandRow> =
        on_db!(db, |pool, sql| sqlx::query_as(sql(DUE)).bind(now_ms).fetch_all(pool).await)?;
    let read = |row: ErrandRow| {
        Ok(Errand {
            kind: ErrandKind::parse(&row.kind)?,
            subject_id: row.subject_id,
            asked_at: row.asked_at,
            deadline_at: row.deadline_at,
        })
    };
    rows.into_iter().map(read).collect()
}

/// Forgets an errand that is done, or puts it off, unless it was asked for again meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Close {
    pub(crate) errand: Errand,
    /// When it is looked at once more; `None` when it is done.
    pub(crate) again_at: Option<i64>,
}

impl Change for Close {
    type Output = ();

    async fn apply(self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        let Errand { kind, subject_id, asked_at, .. } = self.errand;
        on_conn!(conn, |conn, sql| {
            let closing = match self.again_at {
                None => sqlx::query(sql(END)).bind(kind.as_str()).bind(subject_id).bind(asked_at),
                Some(at) => {
                    sqlx::query(sql(PUT_OFF)).bind(kind.as_str()).bind(subject_id).bind(asked_at).bind(at)
                }
            };
            closing.execute(&mut **conn).await.map(drop)
        })?;
        Ok(())
    }
}

/// Takes away some rows of an account that is gone: first what could be tried.
#[derive(Debug, Clone)]
pub(crate) struct BuryAccount(pub(crate) String);

impl Change for BuryAccount {
    /// How many rows; 0 when none is left.
    type Output = u64;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<u64, StoreError> {
        for statement in [TAKE_LANES, TAKE_DELIVERIES, TAKE_CONVERSATIONS] {
            let n_taken = take(conn, statement, &self.0).await?;
            if n_taken > 0 {
                return Ok(n_taken);
            }
        }
        Ok(0)
    }
}

/// Takes away some rows of a user who is gone.
#[derive(Debug, Clone)]
pub(crate) struct BuryUser(pub(crate) String);

impl Change for BuryUser {
    /// How many rows; 0 when none is left.
    type Output = u64;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<u64, StoreError> {
        take(conn, TAKE_CASES, &self.0).await
    }
}

async fn take(conn: &mut Conn<'_>, statement: Sql, of: &str) -> Result<u64, StoreError> {
    Ok(on_conn!(conn, |conn, sql| sqlx::query(sql(statement))
        .bind(of)
        .bind(AT_ONCE)
        .execute(&mut **conn)
        .await
        .map(|done| done.rows_affected()))?)
}
