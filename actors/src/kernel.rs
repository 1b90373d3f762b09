//! What every actor of this crate stands on.
//!
//! actix gives addresses, contexts and arbiters. Three things it does not give are made here, because
//! the hub's promise needs them:
//!
//! - [`supervise`]: an actor that panics is restarted at the same address with its queue kept.
//!   actix's own `Supervisor` restarts only after `ctx.stop()`; a panic ends the address for ever.
//! - [`mailbox`]: a bound that holds, a deadline and typed refusals. `Addr::send` and `do_send`
//!   both ignore the mailbox capacity.
//! - [`registry`]: which actors there are, how deep their queues are and how often they restarted.
//!
//! [`sources`] brings time, ids and randomness in from outside.

pub mod mailbox;
pub mod registry;
pub mod sources;
pub mod supervise;

#[cfg(test)]
pub(crate) mod panic_matrix;

pub use mailbox::{AskError, Mailbox};
pub use registry::{ActorState, KindSummary, Registry};
pub use sources::Sources;
pub use supervise::{Terms, start};
