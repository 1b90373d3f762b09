//! Limits of the whole X app: who used how much of them, and what X told.

use super::{Conn, StoreError};
use crate::domain::app_limit::{DAY_MS, Usage, free_at};
use crate::writer::Change;

statements! {
    /// Whoever has the row decides alone, in the whole cluster.
    TOLD = sqlite "SELECT remaining, reset_at FROM app_budgets WHERE budget = $1"
        postgres "SELECT remaining, reset_at FROM app_budgets WHERE budget = $1 FOR UPDATE";
    FORGET = "DELETE FROM app_calls WHERE budget = $1 AND at <= $2";
    USAGE = "SELECT COUNT(*), COUNT(CASE WHEN account_id = $2 THEN 1 END), COUNT(DISTINCT CASE WHEN account_id <> $2 THEN account_id END) + 1, MIN(at) FROM app_calls WHERE budget = $1";
    TAKE = "INSERT INTO app_calls (id, budget, account_id, at) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING";
    COUNT_DOWN = "UPDATE app_budgets SET remaining = remaining - 1 WHERE budget = $1 AND remaining > 0";
    LEARN = "UPDATE app_budgets SET remaining = CASE WHEN reset_at = $3 AND remaining < $2 THEN remaining ELSE $2 END, reset_at = $3 WHERE budget = $1";
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
        type Told = Option<(Option<i64>, Option<i64>)>;
        type Counts = (i64, i64, i64, Option<i64>);
        let Self { budget, limit, account_id, mark, now_ms } = self;
        on_conn!(conn, |conn, sql| {
            let told: Told = sqlx::query_as(sql(TOLD)).bind(budget).fetch_optional(&mut **conn).await?;
            sqlx::query(sql(FORGET)).bind(budget).bind(now_ms - DAY_MS).execute(&mut **conn).await?;
            let counting = sqlx::query_as(sql(USAGE)).bind(budget).bind(&account_id);
            let (n_total, n_own, n_accounts, oldest_at): Counts = counting.fetch_one(&mut **conn).await?;
            let told = told.and_then(|(remaining, reset_at)| remaining.zip(reset_at));
            let usage = Usage { n_total, n_own, n_accounts, oldest_at, told };
            let free_at = free_at(&usage, limit, now_ms);
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
    pub(crate) remaining: i64,
    /// When X resets it, in epoch milliseconds.
    pub(crate) reset_at: i64,
}

impl Change for Learn {
    type Output = ();

    async fn apply(self, conn: &mut Conn<'_>) -> Result<(), StoreError> {
        on_conn!(conn, |conn, sql| {
            let learning = sqlx::query(sql(LEARN)).bind(self.budget).bind(self.remaining).bind(self.reset_at);
            learning.execute(&mut **conn).await?;
            Ok(())
        })
    }
}
