//! The only way in: a bounded, timed question to an actor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Context, Handler, MailboxError, Message};
use tokio::sync::OwnedSemaphorePermit;

use super::registry::{ActorState, Card};

/// Why an actor gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// As many questions wait as the actor takes. Nothing was queued: try again later.
    #[error("the actor has as many questions waiting as it takes; try again later")]
    Overloaded,
    /// The deadline passed. The question may still be worked on.
    #[error("the actor did not answer in time")]
    TimedOut,
    /// The actor panicked or was restarted before it answered. The question may have had an effect.
    #[error("the actor was interrupted before it answered")]
    Interrupted,
    /// The actor panicked too often and was taken out of service, or has ended.
    #[error("the actor is out of service; restart the process and report the panic in its log")]
    OutOfService,
}

/// A handle to a supervised actor.
pub struct Mailbox<A: Actor> {
    addr: Addr<A>,
    card: Arc<Card>,
    deadline: Duration,
    is_nudged: Arc<AtomicBool>,
}

impl<A: Actor> Clone for Mailbox<A> {
    fn clone(&self) -> Self {
        Self {
            addr: self.addr.clone(),
            card: Arc::clone(&self.card),
            deadline: self.deadline,
            is_nudged: Arc::clone(&self.is_nudged),
        }
    }
}

impl<A: Actor> std::fmt::Debug for Mailbox<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox")
            .field("actor", &self.card.kind())
            .field("key", &self.card.key())
            .finish_non_exhaustive()
    }
}

impl<A: Actor<Context = Context<A>>> Mailbox<A> {
    pub(super) fn new(addr: Addr<A>, card: Arc<Card>, deadline: Duration) -> Self {
        Self { addr, card, deadline, is_nudged: Arc::default() }
    }

    /// Asks and waits for the answer, at most for the actor's deadline.
    ///
    /// A place is taken at once or refused with [`AskError::Overloaded`]; it is given back when the
    /// actor is done with the message, also if the caller gave up before.
    pub async fn ask<M>(&self, message: M) -> Result<M::Result, AskError>
    where
        M: Message + Send + 'static,
        M::Result: Send + 'static,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        if self.card.state() == ActorState::OutOfService {
            return Err(AskError::OutOfService);
        }
        let permit = Arc::clone(self.card.permits()).try_acquire_owned().map_err(|_| AskError::Overloaded)?;
        let question = Question { answer: Some(Box::pin(self.addr.send(message))), permit: Some(permit) };
        match tokio::time::timeout(self.deadline, question).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_closed)) => Err(self.why_closed()),
            Err(_elapsed) => Err(AskError::TimedOut),
        }
    }

    fn why_closed(&self) -> AskError {
        match self.card.state() {
            ActorState::OutOfService | ActorState::Stopped => AskError::OutOfService,
            ActorState::Running | ActorState::Restarting => AskError::Interrupted,
        }
    }

    /// Tells the actor that there is something to look at. Nudges that were not yet taken are merged
    /// into one, so there is never more than one in the queue. Returns `false` when the actor has ended.
    pub fn nudge(&self) -> bool
    where
        A: Handler<Nudge>,
        A::Context: ToEnvelope<A, Nudge>,
    {
        let is_queued = self.is_nudged.swap(true, Ordering::AcqRel);
        if !is_queued {
            self.addr.do_send(Nudge(Arc::clone(&self.is_nudged)));
        }
        self.addr.connected()
    }

    /// What the registry knows of the actor.
    pub fn card(&self) -> &Arc<Card> {
        &self.card
    }
}

/// "Look at the store": carries nothing, may be lost, is never the only copy of anything.
#[derive(Debug)]
pub struct Nudge(Arc<AtomicBool>);

impl Message for Nudge {
    type Result = ();
}

impl Drop for Nudge {
    // Cleared when the handler takes the message, or when the message is dropped unhandled:
    // the next nudge is queued again in both cases.
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

type Answer<R> = Pin<Box<dyn Future<Output = Result<R, MailboxError>> + Send>>;

/// A question under way. When its caller gives up, it is awaited in the background all the same,
/// because the message still stands in the actor's queue and must go on counting.
struct Question<R: Send + 'static> {
    answer: Option<Answer<R>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl<R: Send + 'static> Future for Question<R> {
    type Output = Result<R, MailboxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let Some(answer) = self.answer.as_mut() else { return Poll::Ready(Err(MailboxError::Closed)) };
        let answered = std::task::ready!(answer.as_mut().poll(cx));
        self.answer = None;
        self.permit = None;
        Poll::Ready(answered)
    }
}

impl<R: Send + 'static> Drop for Question<R> {
    fn drop(&mut self) {
        let (Some(answer), Some(permit)) = (self.answer.take(), self.permit.take()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let _unread = answer.await;
            drop(permit);
        });
    }
}
