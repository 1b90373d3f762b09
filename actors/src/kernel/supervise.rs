//! An actor that survives its own panics.
//!
//! [`actix::Supervisor`] polls an actor without `catch_unwind`: a panic ends the task, drops the queue
//! and leaves an address that refuses for ever. Here the public [`ContextFut`] is polled under
//! `catch_unwind` instead. After a panic the actor keeps its address and its queue, `restarting` resets
//! its state, `started` runs again, and a pause that grows keeps a broken actor from spinning. One that
//! panics more than [`MAX_RESTARTS`] times within [`RESTART_WINDOW`] is taken out of service, visibly.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::dev::ContextFut;
use actix::{Actor, ArbiterHandle, Context, Supervised};
use tokio::time::{Instant, Sleep};

use super::mailbox::Mailbox;
use super::registry::{ActorState, Card, Registry};

/// So many restarts within [`RESTART_WINDOW`] are borne; the next panic takes the actor out of service.
pub const MAX_RESTARTS: usize = 5;
/// How far back restarts are counted.
pub const RESTART_WINDOW: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// On what terms an actor is run.
#[derive(Debug, Clone)]
pub struct Terms {
    /// What kind of actor it is: the `actor` label of metrics, in snake case.
    pub kind: &'static str,
    /// Which one of its kind; empty for the only one.
    pub key: String,
    /// How many asks may wait at once.
    pub capacity: usize,
    /// How long an ask waits for its answer.
    pub deadline: Duration,
}

/// Starts a supervised actor on an arbiter and enters it in the registry.
pub fn start<A, F>(arbiter: &ArbiterHandle, registry: &Registry, terms: Terms, make: F) -> Mailbox<A>
where
    A: Actor<Context = Context<A>> + Supervised + Unpin,
    F: FnOnce(&mut Context<A>) -> A + Send + 'static,
{
    let card = registry.enter(terms.kind, terms.key, terms.capacity);
    let (sender, receiver) = actix::dev::channel::channel(0);
    let mailbox = Mailbox::new(actix::Addr::new(sender), Arc::clone(&card), terms.deadline);
    let is_accepted = arbiter.spawn_fn(move || {
        let mut context = Context::with_receiver(receiver);
        let actor = make(&mut context);
        let life = Life {
            actor: Some(Box::pin(context.into_future(actor))),
            card,
            pause: None,
            restarts: VecDeque::new(),
        };
        actix_rt::spawn(life);
    });
    if !is_accepted {
        mailbox.card().set_state(ActorState::OutOfService);
    }
    mailbox
}

type Alive<A> = Pin<Box<ContextFut<A, Context<A>>>>;

/// The task that is an actor's life: polls it, buries its panics, starts it again.
struct Life<A: Actor<Context = Context<A>> + Supervised> {
    actor: Option<Alive<A>>,
    card: Arc<Card>,
    pause: Option<Pin<Box<Sleep>>>,
    restarts: VecDeque<Instant>,
}

impl<A: Actor<Context = Context<A>> + Supervised + Unpin> Life<A> {
    /// Counts a panic. Returns the pause before the restart, or `None` when there were too many.
    fn next_pause(&mut self, now: Instant) -> Option<Duration> {
        while self.restarts.front().is_some_and(|&at| now.duration_since(at) > RESTART_WINDOW) {
            self.restarts.pop_front();
        }
        if self.restarts.len() >= MAX_RESTARTS {
            return None;
        }
        let doublings = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX).min(16);
        self.restarts.push_back(now);
        Some(FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE))
    }

    fn after_panic(&mut self) {
        match self.next_pause(Instant::now()) {
            Some(pause) => {
                self.card.set_state(ActorState::Restarting);
                self.card.count_restart();
                tracing::error!(
                    actor = self.card.kind(),
                    key = self.card.key(),
                    pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                    "actor panicked and will be restarted"
                );
                self.pause = Some(Box::pin(tokio::time::sleep(pause)));
            }
            None => self.end(ActorState::OutOfService),
        }
    }

    /// Drops the actor. Dropping a `ContextFut` polls it once more, so that is guarded too.
    fn end(&mut self, state: ActorState) {
        self.card.set_state(state);
        if state == ActorState::OutOfService {
            tracing::error!(
                actor = self.card.kind(),
                key = self.card.key(),
                "actor panicked too often and was taken out of service; restart the process"
            );
        }
        let actor = self.actor.take();
        let _caught = catch_unwind(AssertUnwindSafe(|| drop(actor)));
    }

    fn restart(&mut self) -> bool {
        let Some(actor) = self.actor.as_mut() else { return false };
        match catch_unwind(AssertUnwindSafe(|| actor.as_mut().get_mut().restart())) {
            Ok(true) => {
                self.card.set_state(ActorState::Running);
                true
            }
            Ok(false) => {
                self.end(ActorState::Stopped);
                false
            }
            Err(_panic) => {
                self.after_panic();
                self.actor.is_some()
            }
        }
    }
}

impl<A: Actor<Context = Context<A>> + Supervised + Unpin> Future for Life<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if let Some(pause) = this.pause.as_mut() {
                std::task::ready!(pause.as_mut().poll(cx));
                this.pause = None;
                if !this.restart() {
                    return Poll::Ready(());
                }
                continue;
            }
            let Some(actor) = this.actor.as_mut() else { return Poll::Ready(()) };
            match catch_unwind(AssertUnwindSafe(|| actor.as_mut().poll(cx))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(())) => {
                    this.end(ActorState::Stopped);
                    return Poll::Ready(());
                }
                Err(_panic) => this.after_panic(),
            }
        }
    }
}
