//! Delivery: one supervised actor for each ServiceNow instance and one for each X account.
//!
//! - [`message`]: what is carried, and how a customer's words look on a case.
//! - [`lane_run`]: works through one conversation in order, an attempt at a time, and stores each outcome.
//! - [`engine`]: the actor: which conversations are worked on now, how many at once, when to pause.
//! - [`instance_delivery`] and [`account_delivery`]: what one attempt does over there.
//! - `walk`: the steps of an attempt at ServiceNow; `party`: whom they are about.
//! - [`fleet`]: starts actors on demand and wakes them; [`sweeper`]: finds what nobody was woken for.
//! - `allowance`: what X lets an account do; `allotments`: what is used of a long rate.
//! - [`backoff`], [`breaker`], `rate_window`, [`split`]: policies, pure values.

pub mod backoff;

pub mod split;

pub(crate) mod account_delivery;
pub(crate) mod allotments;
mod allowance;
pub(crate) mod arrivals;
pub(crate) mod breaker;
pub(crate) mod engine;
pub(crate) mod fleet;
pub(crate) mod gate;
pub(crate) mod instance_delivery;
pub(crate) mod journal;
pub(crate) mod lane_run;
pub(crate) mod message;
mod party;
mod rate_window;
pub(crate) mod run;
mod schedule;
pub(crate) mod standing;
pub(crate) mod sweeper;
pub(crate) mod target;
pub(crate) mod waiters;
mod walk;

#[cfg(test)]
mod trial;
