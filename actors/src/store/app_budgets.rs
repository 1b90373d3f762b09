//! Limits of the whole X app: who used how much of them, and what X told.

use super::{Conn, Db, StoreError};
use crate::domain::app_limit::{DAY_MS, Told, Usage, counted_from, free_at};
use crate::store::Change;

statements! {
    ENSURE = "INSERT INTO app_budgets (budget) VALUES ($1) ON CONFLICT (budget) DO NOTHING";
    /// Whoever has the row decides alone, in the whole cluster.
    TOLD = sqlite "SELECT told_limit, remaining, reset_at FROM app_budgets WHERE budget = $1"
        postgres "SELECT told_limit, remaining, reset_at FROM app_budgets WHERE budget = $1 FOR UPDATE";
    FORGET = "DELETE FROM app_calls WHERE budget = $1 AND at <= $2";
    USAGE = "SELECT COUNT(*), COUNT(CASE WHEN account_id = $2 THEN 1 END), (SELECT COUNT(*) FROM accounts), MIN(at) FROM app_calls WHERE budget = $1 AND at > $3";
    TAKE = "INSERT INTO app_calls (id, budget, account_id, at) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING";
    TAKEN_SINCE = "SELECT at FROM app_calls WHERE budget = $1 AND at > $3 AND account_id = $2 ORDER BY at";
    COUNT_DOWN = "UPDATE app_budgets SET remaining = remaining - 1 WHERE budget = $1 AND remaining > 0";
    LEARN = "UPDATE app_budgets SET remaining = CASE WHEN reset_at = $3 AND remaining < $2 THEN remaining ELSE $2 END, reset_at = $3, told_limit = COALESCE($4, told_limit) WHERE budget = $1";
}

/// When calls of this kind were taken for an account since then, in epoch milliseconds, in order; whatever became
/// of them.
pub(crate) async fn taken_since(
    db: &Db,
    budget: &str,
    account_id: &str,
    since_ms: i64,
) -> Result<Vec<i64>, StoreError> {
    Ok(on_db!(db, |pool, sql| sqlx::query_scalar(sql(TAKEN_SINCE))
        .bind(budget)
        .bind(account_id)
        .bind(since_ms)
        .fetch_all(pool)
        .await)?)
}

/// Takes a call out of the app's limit, if the account may have it now.
#[derive(Debug, Clone)]
pub(crate) struct TakeCall {
    /// `dm` or `reply`.
    pub(crate) budget: &'static str,
    /// How many calls all accounts may make in 24 hours, as long as X tells nothing else.
    pub(crate) limit: i64,
    pub(crate) account_id: String,
    /// Of the attempt: the same one takes a call once.
    pub(crate) mark: i64,
    pub(crate) now_ms: i64,
}

impl Change for TakeCall {
    /// When the call may be made: `now_ms` when it was taken.
    type Output = i64;

    async fn apply(self, conn: &mut Conn<'_>) -> Result<i64, StoreError> {
        type ToldRow = (Option<i64>, Option<i64>, Option<i64>);
        type Counts = (i64, i64, i64, Option<i64>);
        let Self { budget, limit, account_id, mark, now_ms } = self;
        on_conn!(conn, |conn, sql| {
            sqlx::query(sql(ENSURE)).bind(budget).execute(&mut **conn).await?;
            let told: ToldRow = sqlx::query_as(sql(TOLD)).bind(budget).fetch_one(&mut **conn).await?;
            let (told_limit, remaining, reset_at) = told;
            let told = remaining.zip(reset_at).map(|(remaining, reset_at)| Told { remaining, reset_at });
            sqlx::query(sql(FORGET)).bind(budget).bind(now_ms - DAY_MS).execute(&mut **conn).await?;
            let counting = sqlx::query_as(sql(USAGE)).bind(budget).bind(&account_id);
            let counting = counting.bind(counted_from(told, now_ms));
            let (n_total, n_own, n_linked, oldest_at): Counts = counting.fetch_one(&mut **conn).await?;
            let usage = Usage { n_total, n_own, n_linked, oldest_at, told };
            let free_at = free_at(&usage, told_limit.unwrap_or(limit), now_ms);
            if free_at <= now_ms {
                let taking = sqlx::query(sql(TAKE)).bind(mark).bind(budget).bind(&account_id).bind(now_ms);
                taking.execute(&mut **conn).await?;
                sqlx::query(sql(COUNT_DOWN)).bind(budget).execute(&mut **conn).await?;
            }
            Ok(free_at)
        })
    }
}

/// Takes over what X told of the app's limit.
#[derive(Debug, Clone)]
pub(crate) struct Learn {
    pub(crate) budget: &'static str,
    /// How many calls it allows, if that was told.
    pub(crate) limit: Option<i64>,
    pub(crate) remaining: i64,
    /// When X resets it, in epoch milliseconds.
    pub(crate) reset_at: i64,
}

impl Change for Learn {
    type Output = ();

    async fn apply(self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        on_conn!(conn, |conn, sql| {
            sqlx::query(sql(ENSURE)).bind(self.budget).execute(&mut **conn).await?;
            let learning = sqlx::query(sql(LEARN)).bind(self.budget).bind(self.remaining).bind(self.reset_at);
            learning.bind(self.limit).execute(&mut **conn).await?;
            Ok(())
        })
    }
}
