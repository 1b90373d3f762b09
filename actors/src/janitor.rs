//! The janitor: erases bodies and texts of what has ended, once they are older than their retention, and
//! later the single attempts.
//!
//! The record stays: that it was there, when, and what became of it. Ids sort by creation, so a mark
//! tells how far it came with the texts and each round looks only at what has come of age since. Attempts
//! are deleted, so a round finds only those that are left.

use std::time::Duration;

use actix::prelude::*;

use crate::hub::traffic::{TrafficSettings, millis};
use crate::kernel::Mailbox;
use crate::shared::Shared;
use crate::store::retention;
use crate::writer::{Apply, WriteError, Writer};

/// How often it looks.
const EVERY: Duration = Duration::from_mins(10);
/// A first look soon after the start, when the rush of the start is over.
const FIRST: Duration = Duration::from_secs(30);

/// How long what is kept, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    /// `retention.payloads`: texts, since they were accepted.
    pub(crate) texts_ms: i64,
    /// `retention.attempts`: attempts of what has ended, since the last one.
    pub(crate) attempts_ms: i64,
}

impl Keep {
    /// As the settings say.
    pub(crate) fn of(settings: &TrafficSettings) -> Self {
        Self { texts_ms: millis(settings.retention), attempts_ms: millis(settings.attempts_retention) }
    }
}

/// The actor.
pub(crate) struct Janitor {
    shared: Shared,
    keep: Keep,
    is_at_work: bool,
}

/// What one round did away with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Cleaned {
    n_texts: u64,
    n_attempts: u64,
}

impl Janitor {
    pub(crate) fn new(shared: Shared, keep: Keep) -> Self {
        Self { shared, keep, is_at_work: false }
    }

    fn clean(&mut self, context: &mut Context<Self>) {
        // Of several replicas one does it: whoever holds the shard of this name.
        let is_due_here = self.shared.leases.lease_of("janitor").is_some();
        if !is_due_here || std::mem::replace(&mut self.is_at_work, true) {
            return;
        }
        let cleaning = clean(self.shared.clone(), self.keep);
        context.spawn(cleaning.into_actor(self).map(|cleaned, janitor, _| {
            janitor.is_at_work = false;
            match cleaned {
                Ok(Cleaned { n_texts: 0, n_attempts: 0 }) => {}
                Ok(Cleaned { n_texts, n_attempts }) => {
                    tracing::info!(
                        n_texts,
                        n_attempts,
                        "texts and attempts were erased after their retention"
                    );
                }
                Err(error) => {
                    tracing::warn!(%error, "texts and attempts could not be erased; trying again later");
                }
            }
        }));
    }
}

async fn clean(shared: Shared, keep: Keep) -> Result<Cleaned, WriteError> {
    let now_ms = shared.sources.now_ms();
    let n_texts = erase_all(&shared.writer, now_ms.saturating_sub(keep.texts_ms)).await?;
    let n_attempts = forget_attempts(&shared, now_ms.saturating_sub(keep.attempts_ms)).await?;
    Ok(Cleaned { n_texts, n_attempts })
}

/// Erases in small commits, so that none of the others waits long.
async fn erase_all(writer: &Mailbox<Writer>, cutoff_ms: i64) -> Result<u64, WriteError> {
    let mut n_erased = 0;
    loop {
        let erased = writer.ask(Apply(retention::Erase { cutoff_ms })).await??;
        n_erased += erased.n_erased;
        if erased.is_done {
            return Ok(n_erased);
        }
    }
}

/// Deletes attempts in small commits. Looks for them beside the writer.
async fn forget_attempts(shared: &Shared, cutoff_ms: i64) -> Result<u64, WriteError> {
    let mut n_deleted = 0;
    let mut after = String::new();
    loop {
        let retention::Attempted { of_age: ids, next } =
            retention::attempted(&shared.db, &after, cutoff_ms).await?;
        if !ids.is_empty() {
            n_deleted += shared.writer.ask(Apply(retention::ForgetAttempts { ids, cutoff_ms })).await??;
        }
        let Some(next) = next else { return Ok(n_deleted) };
        after = next;
    }
}

impl Actor for Janitor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.run_later(FIRST, Self::clean);
        context.run_interval(EVERY, Self::clean);
    }
}

impl Supervised for Janitor {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.is_at_work = false;
    }
}

#[cfg(test)]
crate::kernel::panic_matrix::panics_when_told!(Janitor);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::shared_for_tests;
    use crate::store::Db;

    const DAY_MS: i64 = 24 * 60 * 60 * 1000;

    /// Deliveries of so many milliseconds before the test's clock, each with two attempts.
    async fn add_ended(shared: &Shared, before_ms: i64, n: i64) {
        let Db::Sqlite(db) = &shared.db else { unreachable!("tests of actors are embedded") };
        let at_ms = shared.sources.now_ms() - before_ms;
        for owner in [
            "INSERT OR IGNORE INTO users (id, username, username_key, first_name, last_name, company_name, password_hash, is_staff, is_active, date_joined) VALUES ('u1', 'a', 'a', '', '', '', '', 0, 1, 1)",
            "INSERT OR IGNORE INTO accounts (id, user_id, twitter_user_id, screen_name, sealed_secrets, reply_channel, case_policy, status, status_detail, created_at) VALUES ('a1', 'u1', '42', 'acme', x'', 'dm', '{}', 'ok', '', 1)",
        ] {
            sqlx::query(owner).execute(&db.writes).await.expect("an owner");
        }
        for rows in [
            "WITH RECURSIVE g (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < $2)
             INSERT INTO deliveries (id, direction, kind, status, user_id, account_id, customer_id, lane_id, order_key, payload, attempts, deadline_at, created_at)
             SELECT printf('%08x-%04x-7000-8000-%012x', $1 >> 16, $1 & 65535, n), 'to_x', 'dm', 'delivered', 'u1', 'a1', '7', 'lane', '', '{}', 2, $1, $1 FROM g",
            "INSERT INTO attempts (delivery_id, n, at, duration_ms)
             SELECT id, k, $1, $2 FROM deliveries, (SELECT 1 AS k UNION SELECT 2) WHERE created_at = $1",
        ] {
            sqlx::query(rows).bind(at_ms).bind(n).execute(&db.writes).await.expect("rows");
        }
    }

    #[actix_rt::test]
    async fn a_round_takes_everything_of_age() {
        let folder = tempfile::tempdir().expect("a folder");
        let shared = shared_for_tests(folder.path()).await.expect("a store");
        add_ended(&shared, 100 * DAY_MS, 450).await;
        add_ended(&shared, 40 * DAY_MS, 30).await;
        add_ended(&shared, DAY_MS, 20).await;
        let keep = Keep { texts_ms: 30 * DAY_MS, attempts_ms: 90 * DAY_MS };
        let first = clean(shared.clone(), keep).await;
        assert_eq!(first, Ok(Cleaned { n_texts: 480, n_attempts: 900 }));
        let again = clean(shared.clone(), keep).await;
        assert_eq!(again, Ok(Cleaned::default()));
        let shorter = Keep { attempts_ms: 30 * DAY_MS, ..keep };
        assert_eq!(clean(shared, shorter).await, Ok(Cleaned { n_texts: 0, n_attempts: 60 }));
    }
}
