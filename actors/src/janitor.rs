//! The janitor: erases bodies and texts of what has ended, once they are older than their retention.
//!
//! The record stays: that it was there, when, and what became of it. Ids sort by creation, so a mark
//! tells how far it came and each round looks only at what has come of age since.

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

/// The actor.
pub(crate) struct Janitor {
    shared: Shared,
    /// `retention.payloads`, in milliseconds.
    keep_ms: i64,
    is_at_work: bool,
}

impl Janitor {
    pub(crate) fn new(shared: Shared, keep_ms: i64) -> Self {
        Self { shared, keep_ms, is_at_work: false }
    }

    fn clean(&mut self, context: &mut Context<Self>) {
        // Of several replicas one does it: whoever holds the shard of this name.
        let is_due_here = self.shared.leases.lease_of("janitor").is_some();
        if !is_due_here || std::mem::replace(&mut self.is_at_work, true) {
            return;
        }
        let cutoff_ms = self.shared.sources.now_ms() - self.keep_ms;
        let cleaning = erase_all(self.shared.writer.clone(), cutoff_ms);
        context.spawn(cleaning.into_actor(self).map(|erased, janitor, _| {
            janitor.is_at_work = false;
            match erased {
                Ok(0) => {}
                Ok(n_erased) => tracing::info!(n_erased, "texts were erased after their retention"),
                Err(error) => tracing::warn!(%error, "texts could not be erased; trying again later"),
            }
        }));
    }
}

/// Erases in small commits, so that none of the others waits long.
async fn erase_all(writer: Mailbox<Writer>, cutoff_ms: i64) -> Result<u64, WriteError> {
    let mut n_erased = 0;
    loop {
        let erased = writer.ask(Apply(retention::Erase { cutoff_ms })).await??;
        n_erased += erased.n_erased;
        if erased.is_done {
            return Ok(n_erased);
        }
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
