//! Users.

use sqlx::FromRow;

use super::errands::{self, ErrandKind};
use super::{Conn, Db, StoreError, marks, tokens};
use crate::domain::user::{Profile, User, username_key};
use crate::store::Change;

statements! {
    BY_ID = "SELECT id, username, first_name, last_name, company_name, password_hash, is_staff, is_active, date_joined FROM users WHERE id = $1";
    BY_KEY = "SELECT id, username, first_name, last_name, company_name, password_hash, is_staff, is_active, date_joined FROM users WHERE username_key = $1";
    PAGE = "SELECT id, username, first_name, last_name, company_name, password_hash, is_staff, is_active, date_joined FROM users WHERE username_key LIKE $1 ESCAPE '!' OR LOWER(first_name) LIKE $1 ESCAPE '!' OR LOWER(last_name) LIKE $1 ESCAPE '!' OR LOWER(company_name) LIKE $1 ESCAPE '!' ORDER BY date_joined, id LIMIT CAST($2 AS BIGINT) OFFSET CAST($3 AS BIGINT)";
    COUNT = "SELECT COUNT(*) FROM users WHERE username_key LIKE $1 ESCAPE '!' OR LOWER(first_name) LIKE $1 ESCAPE '!' OR LOWER(last_name) LIKE $1 ESCAPE '!' OR LOWER(company_name) LIKE $1 ESCAPE '!'";
    INSERT = "INSERT INTO users (id, username, username_key, first_name, last_name, company_name, password_hash, is_staff, is_active, date_joined) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    UPDATE = "UPDATE users SET username = COALESCE($2, username), username_key = COALESCE($3, username_key), first_name = COALESCE($4, first_name), last_name = COALESCE($5, last_name), company_name = COALESCE($6, company_name) WHERE id = $1 RETURNING id, username, first_name, last_name, company_name, password_hash, is_staff, is_active, date_joined";
    SET_PASSWORD = "UPDATE users SET password_hash = $2 WHERE id = $1";
    DELETE = "DELETE FROM users WHERE id = $1";
    ADMINS = "SELECT username, password_hash FROM users WHERE is_staff AND is_active ORDER BY date_joined, id LIMIT CAST($1 AS BIGINT)";
    COUNT_ADMINS = "SELECT COUNT(*) FROM users WHERE is_staff AND is_active";
    LOCK_ADMINS = sqlite "SELECT id FROM users WHERE is_staff AND is_active ORDER BY id" postgres "SELECT id FROM users WHERE is_staff AND is_active ORDER BY id FOR NO KEY UPDATE";
    LOCK_PASSWORD = sqlite "SELECT password_hash FROM users WHERE id = $1" postgres "SELECT password_hash FROM users WHERE id = $1 FOR NO KEY UPDATE";
}

#[cfg(test)]
const SET_ACTIVE: super::Sql = {
    let both = "UPDATE users SET is_active = $2 WHERE id = $1";
    super::Sql { sqlite: both, postgres: both }
};

/// A row.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct UserRow {
    pub(crate) id: String,
    pub(crate) username: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) company_name: String,
    pub(crate) password_hash: String,
    pub(crate) is_staff: bool,
    pub(crate) is_active: bool,
    pub(crate) date_joined: i64,
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            id: row.id,
            username: row.username,
            first_name: row.first_name,
            last_name: row.last_name,
            company_name: row.company_name,
            is_staff: row.is_staff,
            is_active: row.is_active,
            date_joined_ms: row.date_joined,
        }
    }
}

/// The user with this id.
pub(crate) async fn by_id(db: &Db, id: &str) -> Result<Option<UserRow>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(BY_ID)).bind(id).fetch_optional(pool).await)?)
}

/// The user with this name, in whatever case.
pub(crate) async fn by_username(db: &Db, username: &str) -> Result<Option<UserRow>, StoreError> {
    let key = username_key(username);
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(BY_KEY)).bind(&key).fetch_optional(pool).await)?)
}

/// Names and hashes of those who may manage the others, the oldest first.
pub(crate) async fn admins(db: &Db, limit: i64) -> Result<Vec<(String, String)>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_as(sql(ADMINS)).bind(limit).fetch_all(pool).await)?)
}

/// How many users may manage the others.
pub(crate) async fn count_admins(db: &Db) -> Result<i64, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_scalar(sql(COUNT_ADMINS)).fetch_one(pool).await)?)
}

/// A page of users, oldest first, and how many there are on all pages.
pub(crate) async fn page(
    db: &Db,
    search: &str,
    limit: i64,
    offset: i64,
) -> Result<(Vec<UserRow>, i64), StoreError> {
    if search.contains('\0') {
        // No name holds it, and a server cannot even be asked.
        return Ok((Vec::new(), 0));
    }
    if !search.is_ascii() {
        return page_by_letters(db, search, limit, offset).await;
    }
    let pattern = like_pattern(search);
    let n_all: i64 =
        on_db!(db, |pool, sql| sqlx::query_scalar(sql(COUNT)).bind(&pattern).fetch_one(pool).await)?;
    let rows = on_db!(db, |pool, sql| sqlx::query_as(sql(PAGE))
        .bind(&pattern)
        .bind(limit)
        .bind(offset)
        .fetch_all(pool)
        .await)?;
    Ok((rows, n_all))
}

/// The same for a text with letters of which a database may not know the capitals (SQLite knows those of ASCII
/// only): it finds who has the rest of the text, and the letters are compared here.
async fn page_by_letters(
    db: &Db,
    search: &str,
    limit: i64,
    offset: i64,
) -> Result<(Vec<UserRow>, i64), StoreError> {
    let rest: Vec<String> = search.split(|c: char| !c.is_ascii()).map(literal).collect();
    let pattern = format!("%{}%", rest.join("%"));
    let candidates: Vec<UserRow> = on_db!(db, |pool, sql| sqlx::query_as(sql(PAGE))
        .bind(&pattern)
        .bind(i64::MAX)
        .bind(0_i64)
        .fetch_all(pool)
        .await)?;
    let sought = search.to_lowercase();
    let has_it = |name: &String| name.to_lowercase().contains(&sought);
    let is_found = |row: &UserRow| {
        [&row.username, &row.first_name, &row.last_name, &row.company_name].into_iter().any(has_it)
    };
    let found: Vec<UserRow> = candidates.into_iter().filter(is_found).collect();
    let n_all = i64::try_from(found.len()).unwrap_or(i64::MAX);
    let [n_skipped, n_shown] = [offset, limit].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    Ok((found.into_iter().skip(n_skipped).take(n_shown).collect(), n_all))
}

/// Matches what contains the text.
fn like_pattern(search: &str) -> String {
    format!("%{}%", literal(search))
}

/// The part of a pattern that matches the text and nothing else.
fn literal(search: &str) -> String {
    search.to_lowercase().replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

/// Stores a new user. A name that is taken is [`StoreError::Duplicate`].
#[derive(Debug, Clone)]
pub(crate) struct Insert {
    pub(crate) user: User,
    pub(crate) password_hash: String,
}

impl Change for Insert {
    type Output = User;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<User, StoreError> {
        let user = self.user;
        on_conn!(conn, |conn, sql| sqlx::query(sql(INSERT))
            .bind(&user.id)
            .bind(&user.username)
            .bind(username_key(&user.username))
            .bind(&user.first_name)
            .bind(&user.last_name)
            .bind(&user.company_name)
            .bind(&self.password_hash)
            .bind(user.is_staff)
            .bind(user.is_active)
            .bind(user.date_joined_ms)
            .execute(&mut **conn)
            .await
            .map(drop))?;
        Ok(user)
    }
}

/// Changes what is given of a user. `None` when there is no such user.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    pub(crate) id: String,
    pub(crate) profile: Profile,
}

impl Change for Update {
    type Output = Option<(User, i64)>;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<Self::Output, StoreError> {
        let profile = &self.profile;
        let row: Option<UserRow> = on_conn!(conn, |conn, sql| sqlx::query_as(sql(UPDATE))
            .bind(&self.id)
            .bind(&profile.username)
            .bind(profile.username.as_deref().map(username_key))
            .bind(&profile.first_name)
            .bind(&profile.last_name)
            .bind(&profile.company_name)
            .fetch_optional(&mut **conn)
            .await)?;
        let Some(row) = row else { return Ok(None) };
        let mark = marks::bump(conn, marks::TOKENS).await?;
        Ok(Some((row.into(), mark)))
    }
}

/// Sets a password and ends the user's tokens, but for the API key and the one that is spared.
/// Gives the mark, or `None` when there is no such user.
#[derive(Debug, Clone)]
pub(crate) struct SetPassword {
    pub(crate) user_id: String,
    pub(crate) password_hash: String,
    pub(crate) spared_token_id: Option<String>,
}

impl Change for SetPassword {
    type Output = Option<i64>;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<Option<i64>, StoreError> {
        let n_changed = on_conn!(conn, |conn, sql| sqlx::query(sql(SET_PASSWORD))
            .bind(&self.user_id)
            .bind(&self.password_hash)
            .execute(&mut **conn)
            .await
            .map(|done| done.rows_affected()))?;
        if n_changed == 0 {
            return Ok(None);
        }
        tokens::end_sessions(conn, &self.user_id, self.spared_token_id.as_deref()).await?;
        Ok(Some(marks::bump(conn, marks::TOKENS).await?))
    }
}

/// Allows a user to log in and use tokens, or forbids it. Gives the mark.
#[cfg(test)]
#[derive(Debug, Clone)]
pub(crate) struct SetActive {
    pub(crate) user_id: String,
    pub(crate) is_active: bool,
}

#[cfg(test)]
impl Change for SetActive {
    type Output = Option<i64>;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<Option<i64>, StoreError> {
        let n_changed = on_conn!(conn, |conn, sql| sqlx::query(sql(SET_ACTIVE))
            .bind(&self.user_id)
            .bind(self.is_active)
            .execute(&mut **conn)
            .await
            .map(|done| done.rows_affected()))?;
        if n_changed == 0 {
            return Ok(None);
        }
        Ok(Some(marks::bump(conn, marks::TOKENS).await?))
    }
}

/// How a deletion went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// Done; the mark stands there now.
    Done(i64),
    /// There is no such user.
    Absent,
    /// It is the last admin who may log in.
    LastAdmin,
}

/// Deletes a user with tokens, instances and accounts. Errands take away what the accounts leave.
#[derive(Debug, Clone)]
pub(crate) struct Delete {
    pub(crate) id: String,
    pub(crate) now_ms: i64,
}

impl Change for Delete {
    type Output = Deletion;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<Deletion, StoreError> {
        // Whoever deletes an admin holds all admins, so two cannot each leave the other as the last.
        let admins: Vec<String> =
            on_conn!(conn, |conn, sql| sqlx::query_scalar(sql(LOCK_ADMINS)).fetch_all(&mut **conn).await)?;
        if admins == [self.id.as_str()] {
            return Ok(Deletion::LastAdmin);
        }
        // Held, so that no account is linked between the look for them and the end of their user.
        if lock_password(conn, &self.id).await?.is_none() {
            return Ok(Deletion::Absent);
        }
        errands::bury_accounts_of(conn, &self.id, self.now_ms).await?;
        on_conn!(conn, |conn, sql| sqlx::query(sql(DELETE))
            .bind(&self.id)
            .execute(&mut **conn)
            .await
            .map(drop))?;
        errands::add(conn, ErrandKind::BuryUser, &self.id, self.now_ms, 0).await?;
        // The accounts went along: whoever routes what X sends has to read them again.
        marks::bump(conn, marks::SETTINGS).await?;
        Ok(Deletion::Done(marks::bump(conn, marks::TOKENS).await?))
    }
}

/// The hash of a user's password, with the user's row held until the transaction ends.
pub(super) async fn lock_password(conn: &mut Conn<'_>, user_id: &str) -> Result<Option<String>, StoreError> {
    let hash = on_conn!(conn, |conn, sql| sqlx::query_scalar(sql(LOCK_PASSWORD))
        .bind(user_id)
        .fetch_optional(&mut **conn)
        .await)?;
    Ok(hash)
}
