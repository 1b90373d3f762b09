//! Tokens: digests only.

use std::sync::Arc;

use serde::Serialize;
use sqlx::FromRow;

use super::deliveries::to_json;
use super::users::UserRow;
use super::{Conn, Db, StoreError, marks, users};
use crate::domain::token::{Session, TokenKind};
use crate::store::Change;

statements! {
    BY_DIGEST = "SELECT t.id AS token_id, t.kind, t.created_at, t.expires_at, u.id, u.username, u.first_name, u.last_name, u.company_name, u.password_hash, u.is_staff, u.is_active, u.date_joined FROM tokens t JOIN users u ON u.id = t.user_id WHERE t.digest = $1";
    LIVE_OF_USER = "SELECT id, digest, kind, name, created_at, expires_at, last_used_at FROM tokens WHERE user_id = $1 AND (expires_at IS NULL OR expires_at > $2) ORDER BY created_at, id";
    COUNT_LIVE = "SELECT COUNT(*) FROM tokens WHERE user_id = $1 AND kind = 'session' AND (expires_at IS NULL OR expires_at > $2)";
    INSERT = "INSERT INTO tokens (id, user_id, digest, kind, name, created_at, expires_at, last_used_at) VALUES ($1, $2, $3, $4, $5, $6, $7, NULL)";
    DELETE_OF_USER = "DELETE FROM tokens WHERE id = $1 AND user_id = $2 RETURNING digest";
    DELETE_BY_ID = "DELETE FROM tokens WHERE id = $1 RETURNING digest";
    DELETE_SESSIONS = "DELETE FROM tokens WHERE user_id = $1 AND kind = 'session' AND id <> $2";
    DELETE_API_KEY = "DELETE FROM tokens WHERE user_id = $1 AND kind = 'api_key'";
    DELETE_EXPIRED = "DELETE FROM tokens WHERE id IN (SELECT id FROM tokens WHERE expires_at <= $1 LIMIT CAST($2 AS BIGINT))";
    EXTEND = "UPDATE tokens SET expires_at = $2 WHERE id = $1 AND expires_at < $2";
    // Locked in the order of their ids: two replicas that note uses of the same tokens do not wait for each other.
    TOUCH = sqlite "UPDATE tokens SET last_used_at = r.value->>'at' FROM json_each($1) AS r WHERE tokens.id = r.value->>'id' AND COALESCE(last_used_at, 0) < r.value->>'at'"
        postgres "WITH held AS (SELECT tokens.id, r.at FROM json_to_recordset(CAST(CAST($1 AS TEXT) AS JSON)) AS r (id TEXT, at BIGINT)
            JOIN tokens ON tokens.id = r.id AND COALESCE(tokens.last_used_at, 0) < r.at ORDER BY tokens.id FOR NO KEY UPDATE OF tokens)
        UPDATE tokens SET last_used_at = held.at FROM held WHERE tokens.id = held.id AND COALESCE(tokens.last_used_at, 0) < held.at";
}

#[derive(FromRow)]
struct SessionRow {
    token_id: String,
    kind: String,
    created_at: i64,
    expires_at: Option<i64>,
    #[sqlx(flatten)]
    user: UserRow,
}

/// The token with this digest and its owner, expired or not.
pub(crate) async fn by_digest(db: &Db, digest: &str) -> Result<Option<Session>, StoreError> {
    let row: Option<SessionRow> =
        on_db!(db, |pool, sql| sqlx::query_as(sql(BY_DIGEST)).bind(digest).fetch_optional(pool).await)?;
    Ok(row.map(|row| Session {
        token_id: row.token_id,
        kind: TokenKind::from_name(&row.kind),
        created_at_ms: row.created_at,
        expires_at_ms: row.expires_at,
        user: Arc::new(row.user.into()),
    }))
}

/// A row.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct TokenRow {
    pub(crate) id: String,
    pub(crate) digest: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) created_at: i64,
    pub(crate) expires_at: Option<i64>,
    pub(crate) last_used_at: Option<i64>,
}

/// The tokens of a user that have not expired, oldest first.
pub(crate) async fn live_of_user(db: &Db, user_id: &str, now: i64) -> Result<Vec<TokenRow>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(LIVE_OF_USER))
        .bind(user_id)
        .bind(now)
        .fetch_all(pool)
        .await)?)
}

/// A token to store.
#[derive(Debug, Clone)]
pub(crate) struct NewToken {
    pub(crate) id: String,
    pub(crate) user_id: String,
    pub(crate) digest: String,
    pub(crate) kind: TokenKind,
    pub(crate) name: String,
    pub(crate) created_at: i64,
    pub(crate) expires_at: Option<i64>,
}

async fn insert(conn: &mut Conn<'_>, token: &NewToken) -> Result<(), StoreError> {
    on_conn!(conn, |conn, sql| sqlx::query(sql(INSERT))
        .bind(&token.id)
        .bind(&token.user_id)
        .bind(&token.digest)
        .bind(token.kind.as_str())
        .bind(&token.name)
        .bind(token.created_at)
        .bind(token.expires_at)
        .execute(&mut **conn)
        .await
        .map(drop))?;
    Ok(())
}

/// How an issue went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Issued {
    /// The token is stored.
    Done,
    /// There is no such user, or the password changed since it was verified.
    Stale,
    /// The user has as many live tokens as allowed.
    LimitReached,
}

/// Stores a session token.
#[derive(Debug, Clone)]
pub(crate) struct Issue {
    pub(crate) token: NewToken,
    /// How many live ones the user may have, this one included.
    pub(crate) limit: Option<i64>,
    /// The hash that the password was verified against; the token is refused if it changed since.
    pub(crate) verified_hash: Option<String>,
}

impl Change for Issue {
    type Output = Issued;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<Issued, StoreError> {
        // The user's row is held, so that tokens of one user are counted one after the other.
        let hash = users::lock_password(conn, &self.token.user_id).await?;
        let Some(hash) = hash else { return Ok(Issued::Stale) };
        if self.verified_hash.is_some_and(|verified| verified != hash) {
            return Ok(Issued::Stale);
        }
        if let Some(limit) = self.limit {
            let n_live: i64 = on_conn!(conn, |conn, sql| sqlx::query_scalar(sql(COUNT_LIVE))
                .bind(&self.token.user_id)
                .bind(self.token.created_at)
                .fetch_one(&mut **conn)
                .await)?;
            if n_live >= limit {
                return Ok(Issued::LimitReached);
            }
        }
        insert(conn, &self.token).await?;
        Ok(Issued::Done)
    }
}

/// Stores a user's API key in place of the earlier one. Gives the mark; `None` when there is no such user.
#[derive(Debug, Clone)]
pub(crate) struct ReplaceApiKey(pub(crate) NewToken);

impl Change for ReplaceApiKey {
    type Output = Option<i64>;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<Option<i64>, StoreError> {
        let user_id = &self.0.user_id;
        if users::lock_password(conn, user_id).await?.is_none() {
            return Ok(None);
        }
        on_conn!(conn, |conn, sql| sqlx::query(sql(DELETE_API_KEY))
            .bind(user_id)
            .execute(&mut **conn)
            .await
            .map(drop))?;
        insert(conn, &self.0).await?;
        Ok(Some(marks::bump(conn, marks::TOKENS).await?))
    }
}

/// Ends a token. Gives its digest and the mark; `None` when there is no such token (of that user).
#[derive(Debug, Clone)]
pub(crate) struct Revoke {
    pub(crate) token_id: String,
    /// Whose it must be; anyone's when `None`.
    pub(crate) user_id: Option<String>,
}

impl Change for Revoke {
    type Output = Option<(String, i64)>;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<Self::Output, StoreError> {
        let digest: Option<String> = on_conn!(conn, |conn, sql| {
            let deletion = match &self.user_id {
                Some(user_id) => sqlx::query_scalar(sql(DELETE_OF_USER)).bind(&self.token_id).bind(user_id),
                None => sqlx::query_scalar(sql(DELETE_BY_ID)).bind(&self.token_id),
            };
            deletion.fetch_optional(&mut **conn).await
        })?;
        let Some(digest) = digest else { return Ok(None) };
        Ok(Some((digest, marks::bump(conn, marks::TOKENS).await?)))
    }
}

/// Ends all of a user's tokens but the API key. Gives the mark.
#[derive(Debug, Clone)]
pub(crate) struct RevokeAll {
    pub(crate) user_id: String,
}

impl Change for RevokeAll {
    type Output = i64;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<i64, StoreError> {
        end_sessions(conn, &self.user_id, None).await?;
        marks::bump(conn, marks::TOKENS).await
    }
}

/// Ends a user's session tokens but one.
pub(super) async fn end_sessions(
    conn: &mut Conn<'_>,
    user_id: &str,
    spared_token_id: Option<&str>,
) -> Result<(), StoreError> {
    on_conn!(conn, |conn, sql| sqlx::query(sql(DELETE_SESSIONS))
        .bind(user_id)
        .bind(spared_token_id.unwrap_or_default())
        .execute(&mut **conn)
        .await
        .map(drop))?;
    Ok(())
}

/// Expired tokens that one commit deletes at most.
pub(crate) const SWEPT_AT_ONCE: u64 = 500;

/// Deletes some of what expired until then; tells how many. Fewer than [`SWEPT_AT_ONCE`] were the last.
#[derive(Debug, Clone)]
pub(crate) struct Sweep {
    pub(crate) now: i64,
}

impl Change for Sweep {
    type Output = u64;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<u64, StoreError> {
        let n_deleted = on_conn!(conn, |conn, sql| sqlx::query(sql(DELETE_EXPIRED))
            .bind(self.now)
            .bind(i64::try_from(SWEPT_AT_ONCE).unwrap_or(i64::MAX))
            .execute(&mut **conn)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(n_deleted)
    }
}

/// Makes a token live longer; one that is gone stays gone.
#[derive(Debug, Clone)]
pub(crate) struct Extend {
    pub(crate) token_id: String,
    pub(crate) expires_at: i64,
}

impl Change for Extend {
    type Output = ();

    async fn apply(self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        on_conn!(conn, |conn, sql| sqlx::query(sql(EXTEND))
            .bind(&self.token_id)
            .bind(self.expires_at)
            .execute(&mut **conn)
            .await
            .map(drop))?;
        Ok(())
    }
}

/// When a token was last used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Use {
    /// The token's id.
    pub(crate) id: String,
    /// Epoch milliseconds.
    pub(crate) at: i64,
}

/// Notes when tokens were last used; never sets a time back.
#[derive(Debug, Clone)]
pub(crate) struct Touch(pub(crate) Vec<Use>);

impl Change for Touch {
    type Output = ();

    async fn apply(self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        let json = to_json(&self.0)?;
        on_conn!(conn, |conn, sql| sqlx::query(sql(TOUCH)).bind(&json).execute(&mut **conn).await.map(drop))?;
        Ok(())
    }
}
