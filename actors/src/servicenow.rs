//! The client of ServiceNow: cases, their comments, and customers.
//!
//! One method is one HTTP request, never more and never repeated here, so that callers can count
//! calls against the instance's rate and decide about every repetition. What an answer means is
//! decided in [`errors`], a pure function; what happens next is the delivery engine's business.
//!
//! What is known about the other side comes from the public documentation (Case API, Consumer API,
//! Table API) and from support articles. Three properties shape this module:
//!
//! 1. Writing is not idempotent and a failed answer does not mean "not written". A failure
//!    therefore says whether it may have had an effect, and each write has a look-up: a case by
//!    its `correlation_id`, a comment by a marker in its text, a customer by the social profile.
//! 2. A part of a query that the instance does not understand is dropped and the rest runs, so the
//!    key of every returned row is checked again.
//! 3. `^` has no escape in a query. Only validated keys ([`keys`]) enter one.
#![allow(clippy::doc_markdown, reason = "ServiceNow is a name, not an item")]

pub mod auth;
pub mod cases;
pub mod client;
pub mod customers;
pub mod errors;
mod fields;
pub mod journal;
pub mod keys;

#[cfg(test)]
mod tests;

pub use auth::Credentials;
pub use client::ServiceNow;
