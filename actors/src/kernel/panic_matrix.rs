//! Every way an actor can panic, for every actor: the next ask succeeds soon, queued asks get an
//! answer or a typed error, and a neighbour on the same arbiter notices nothing.

use std::time::Duration;

use actix::fut::wrap_future;
use actix::prelude::*;

use super::registry::{ActorState, Registry};
use super::supervise::{MAX_RESTARTS, Terms, start};
use super::{AskError, Mailbox};

/// Makes an actor panic in one of the ways there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
#[expect(clippy::enum_variant_names, reason = "each names the place, and reads as Panic::InHandler")]
pub(crate) enum Panic {
    /// In a synchronous handler.
    InHandler,
    /// In a future that runs in the actor's context.
    InActorFuture,
    /// In a future that holds the mailbox until it is done.
    InWaitFuture,
    /// In a timer.
    InTimer,
}

/// All of them.
pub(crate) const PANICS: [Panic; 4] =
    [Panic::InHandler, Panic::InActorFuture, Panic::InWaitFuture, Panic::InTimer];

/// Panics as told, in any actor. Every actor of the crate passes [`Panic`] here in tests.
pub(crate) fn act_out<A>(panic: Panic, context: &mut A::Context)
where
    A: Actor,
    A::Context: AsyncContext<A>,
{
    match panic {
        Panic::InHandler => panic!("told to panic in a handler"),
        Panic::InActorFuture => {
            context.spawn(wrap_future(async { panic!("told to panic in a future") }));
        }
        Panic::InWaitFuture => {
            context.wait(wrap_future(async { panic!("told to panic in a wait") }));
        }
        Panic::InTimer => {
            context.run_later(Duration::from_millis(1), |_, _| panic!("told to panic in a timer"));
        }
    }
}

/// Gives an actor the test handlers of the panic matrix.
macro_rules! panics_when_told {
    ($actor:ty) => {
        impl actix::Handler<$crate::kernel::panic_matrix::Panic> for $actor {
            type Result = ();
            fn handle(
                &mut self,
                panic: $crate::kernel::panic_matrix::Panic,
                context: &mut actix::Context<Self>,
            ) {
                $crate::kernel::panic_matrix::act_out::<Self>(panic, context);
            }
        }
    };
}
#[allow(unused_imports, reason = "the actors of other modules use it")]
pub(crate) use panics_when_told;

#[derive(Default)]
struct Counter {
    n: u32,
    n_panics_at_start: u32,
}

impl Actor for Counter {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        if self.n_panics_at_start > 0 {
            self.n_panics_at_start -= 1;
            panic!("told to panic when started");
        }
    }
}

impl Supervised for Counter {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.n = 0;
    }
}

panics_when_told!(Counter);

#[derive(Message)]
#[rtype(result = "u32")]
struct Count;

impl Handler<Count> for Counter {
    type Result = u32;
    fn handle(&mut self, _: Count, _: &mut Context<Self>) -> u32 {
        self.n += 1;
        self.n
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct PanicInReply;

impl Handler<PanicInReply> for Counter {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, _: PanicInReply, _: &mut Context<Self>) -> ResponseFuture<()> {
        Box::pin(async { panic!("told to panic in a reply") })
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Sleep;

impl Handler<Sleep> for Counter {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, _: Sleep, _: &mut Context<Self>) -> ResponseFuture<()> {
        Box::pin(tokio::time::sleep(Duration::from_hours(1)))
    }
}

fn counter(registry: &Registry, capacity: usize, n_panics_at_start: u32) -> Mailbox<Counter> {
    let deadline = Duration::from_millis(if capacity == 1 { 20 } else { 900 });
    let terms = Terms { kind: "counter", key: String::new(), capacity, deadline };
    start(&Arbiter::current(), registry, terms, move |_| Counter { n: 0, n_panics_at_start })
}

/// Asks until there is an answer: at most a second, as long as a restart may take.
async fn ask_until_answered(mailbox: &Mailbox<Counter>) -> u32 {
    let asking = async {
        loop {
            match mailbox.ask(Count).await {
                Ok(n) => return n,
                Err(AskError::Interrupted) => tokio::task::yield_now().await,
                Err(error) => panic!("refused for good: {error}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(1), asking).await.expect("answers within a second")
}

#[test]
fn every_panic_is_survived_with_the_queue_kept() {
    for panic in PANICS {
        System::new().block_on(async {
            let registry = Registry::default();
            let mailbox = counter(&registry, 64, 0);
            let neighbour = counter(&registry, 64, 0);
            assert_eq!(mailbox.ask(Count).await, Ok(1));
            assert_eq!(neighbour.ask(Count).await, Ok(1));

            let (told, queued) = futures_util::future::join(mailbox.ask(panic), mailbox.ask(Count)).await;
            assert!(matches!(told, Ok(()) | Err(AskError::Interrupted)), "{panic:?}: {told:?}");
            assert!(matches!(queued, Ok(_) | Err(AskError::Interrupted)), "{panic:?}: {queued:?}");
            while mailbox.card().restarts() == 0 {
                tokio::task::yield_now().await;
            }
            // The queued one was counted before the panic (2), lost with it, or after it (1): the state is fresh.
            let expected = if queued == Ok(1) { 2 } else { 1 };
            assert_eq!(ask_until_answered(&mailbox).await, expected, "{panic:?}");
            assert_eq!(mailbox.card().restarts(), 1, "{panic:?}");
            assert_eq!(mailbox.card().state(), ActorState::Running);
            assert_eq!(neighbour.ask(Count).await, Ok(2), "{panic:?}: the neighbour kept its state");
            assert_eq!(registry.summary()["counter"].restarts, 1);
        });
    }
}

#[test]
fn a_panic_in_a_reply_ends_only_the_reply() {
    System::new().block_on(async {
        let mailbox = counter(&Registry::default(), 64, 0);
        assert_eq!(mailbox.ask(Count).await, Ok(1));
        assert_eq!(mailbox.ask(PanicInReply).await, Err(AskError::Interrupted));
        assert_eq!(mailbox.ask(Count).await, Ok(2));
        assert_eq!(mailbox.card().restarts(), 0);
    });
}

#[test]
fn a_panic_when_started_is_retried() {
    System::new().block_on(async {
        let mailbox = counter(&Registry::default(), 64, 2);
        assert_eq!(ask_until_answered(&mailbox).await, 1);
        assert_eq!(mailbox.card().restarts(), 2);
    });
}

#[test]
fn one_that_keeps_panicking_is_taken_out_of_service_visibly() {
    System::new().block_on(async {
        let registry = Registry::default();
        let mailbox = counter(&registry, 64, 0);
        for _ in 0..=MAX_RESTARTS {
            let _interrupted = mailbox.ask(Panic::InHandler).await;
            while mailbox.card().state() == ActorState::Restarting {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        assert_eq!(mailbox.card().state(), ActorState::OutOfService);
        assert_eq!(mailbox.ask(Count).await, Err(AskError::OutOfService));
        assert_eq!(registry.out_of_service(), ["counter"]);
    });
}

#[test]
fn the_bound_holds_also_when_callers_give_up() {
    System::new().block_on(async {
        let mailbox = counter(&Registry::default(), 1, 0);
        assert_eq!(mailbox.ask(Sleep).await, Err(AskError::TimedOut));
        assert_eq!(mailbox.ask(Count).await, Err(AskError::Overloaded), "the first is still being worked on");
        assert_eq!(mailbox.card().depth(), 1);
    });
}
