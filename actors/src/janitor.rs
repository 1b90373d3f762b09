//! The janitor: erases bodies and texts of what has ended, once they are older than their retention, and
//! later the single attempts.
//!
//! The record stays: that it was there, when, and what became of it. Ids sort by creation, so a mark
//! tells how far it came with the texts and each round looks only at what has come of age since. Attempts
//! are deleted, so a round finds only those that are left.

use std::time::Duration;

use actix::prelude::*;

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
        if std::mem::replace(&mut self.is_at_work, true) {
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
