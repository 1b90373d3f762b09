//! The replayer: carries bulk replays on, in small steps, no faster than each may go, nor those of a user together.
//!
//! A step is one commit: it moves the cursor of the replay and puts back the dead letters that the cursor
//! passes. Whenever the process dies, a dead letter was either passed and put back, or neither. The store
//! decides who takes a step, so that two processes that carry on the same replay take each step once.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use crate::directory::OnChanged;
use crate::domain::replay::Pace;
use crate::kernel::mailbox::Nudge;
use crate::kernel::{Mailbox, start};
use crate::records::tell;
use crate::shared::Shared;
use crate::store::records::{self, DeadLetter, Revive};
use crate::store::replays::{self, Course, Step};
use crate::writer::{Apply, WriteError};

/// How often it looks for replays that it was not told of: those that a command has stored.
const EVERY: Duration = Duration::from_secs(1);
/// How many dead letters one step looks at: erased ones do not count against the rate.
const LOOKS_AT: usize = 200;

/// Whether this process may carry replays on now. Asked before each step; must not block.
pub(crate) type MayRun = Arc<dyn Fn() -> bool + Send + Sync>;

/// What it works with. Clones share it.
#[derive(Clone)]
pub(crate) struct Carrier {
    pub(crate) shared: Shared,
    /// `delivery.retry_for`: how long a replayed delivery may fail.
    pub(crate) retry_for_ms: i64,
    pub(crate) on_changed: OnChanged,
    pub(crate) may_run: MayRun,
}

/// The actor.
pub(crate) struct Replayer {
    carrier: Carrier,
    is_at_work: bool,
    /// Somebody said that there is something new while it was at work.
    is_nudged: bool,
    timer: Option<SpawnHandle>,
}

/// Starts the replayer.
pub(crate) fn start_replayer(carrier: Carrier) -> Mailbox<Replayer> {
    let arbiter = carrier.shared.front.clone();
    let registry = carrier.shared.registry.clone();
    start(&arbiter, &registry, Shared::front_terms("replayer", 8), move |_| Replayer::new(carrier))
}

impl Carrier {
    /// Takes every step that is due. Gives the time at which the next one is, in epoch milliseconds; `None`
    /// when no replay runs, or this process may not carry it on.
    pub(crate) async fn carry_on(&self) -> Result<Option<i64>, WriteError> {
        let db = &self.shared.db;
        if !(self.may_run)() {
            return Ok(None);
        }
        for course in replays::due(db, self.shared.sources.now_ms()).await? {
            if !(self.may_run)() {
                return Ok(None);
            }
            self.step(course).await?;
        }
        Ok(replays::next_due(db).await?)
    }

    async fn step(&self, course: Course) -> Result<(), WriteError> {
        let Course { replay, cursor, n_running } = course;
        let user_id = replay.user_id.as_deref();
        let limit = i64::try_from(LOOKS_AT).unwrap_or(i64::MAX);
        let letters = records::dead(&self.shared.db, user_id, &replay.filter, &cursor, limit).await?;
        let now_ms = self.shared.sources.now_ms();
        let pace = replay.rate.pace().shared_by(n_running);
        let passed = Passed::of(letters, pace, &cursor);
        let pause_ms = if passed.ids.is_empty() { 0 } else { pace.pause_ms };
        let step = Step {
            id: replay.id.clone(),
            from: cursor,
            to: passed.last,
            revive: Revive { ids: passed.ids, now_ms, deadline_ms: now_ms.saturating_add(self.retry_for_ms) },
            n_erased: passed.n_erased,
            next_at: (!passed.is_all).then_some(now_ms.saturating_add(pause_ms)),
        };
        let Some(stepped) = self.shared.writer.ask(Apply(step)).await?? else { return Ok(()) };
        tell(&self.on_changed, &stepped.revived);
        if passed.is_all {
            tracing::info!(replay = replay.id, "a replay of dead letters has passed all of them");
        }
        Ok(())
    }
}

/// What one step passes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Passed {
    /// What it puts back.
    ids: Vec<String>,
    /// How many have no text any more.
    n_erased: i64,
    /// Where the cursor stands then.
    last: String,
    /// Nothing is left behind the cursor.
    is_all: bool,
}

impl Passed {
    /// Passes as many as the pace allows, and the erased ones between them.
    fn of(letters: Vec<DeadLetter>, pace: Pace, cursor: &str) -> Self {
        let n_found = letters.len();
        let mut n_passed = 0;
        let mut passed = Self { ids: Vec::new(), n_erased: 0, last: cursor.to_owned(), is_all: false };
        for letter in letters {
            if !letter.is_erased && passed.ids.len() >= pace.n_messages {
                break;
            }
            n_passed += 1;
            passed.last.clone_from(&letter.id);
            if letter.is_erased {
                passed.n_erased += 1;
            } else {
                passed.ids.push(letter.id);
            }
        }
        passed.is_all = n_passed == n_found && n_found < LOOKS_AT;
        passed
    }
}

impl Replayer {
    pub(crate) fn new(carrier: Carrier) -> Self {
        Self { carrier, is_at_work: false, is_nudged: false, timer: None }
    }

    fn look(&mut self, context: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_at_work, true) {
            self.is_nudged = true;
            return;
        }
        let carrier = self.carrier.clone();
        let carrying = async move { carrier.carry_on().await };
        context.spawn(carrying.into_actor(self).map(|next_at, replayer, context| {
            replayer.is_at_work = false;
            let wait = match next_at {
                Ok(next_at) => replayer.wait_until(next_at),
                Err(error) => {
                    tracing::warn!(%error, "replays could not be carried on; trying again");
                    EVERY
                }
            };
            replayer.look_after(wait, context);
        }));
    }

    fn wait_until(&mut self, next_at: Option<i64>) -> Duration {
        if std::mem::take(&mut self.is_nudged) {
            return Duration::ZERO;
        }
        let Some(next_at) = next_at else { return EVERY };
        let wait_ms = next_at.saturating_sub(self.carrier.shared.sources.now_ms());
        Duration::from_millis(u64::try_from(wait_ms).unwrap_or_default()).min(EVERY)
    }

    fn look_after(&mut self, wait: Duration, context: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        self.timer = Some(context.run_later(wait, Self::look));
    }
}

impl Actor for Replayer {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        self.look(context);
    }
}

impl Supervised for Replayer {
    fn restarting(&mut self, _: &mut Context<Self>) {
        *self = Self::new(self.carrier.clone());
    }
}

impl Handler<Nudge> for Replayer {
    type Result = ();

    fn handle(&mut self, _: Nudge, context: &mut Context<Self>) {
        self.look(context);
    }
}

#[cfg(test)]
mod tests;
