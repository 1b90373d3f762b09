//! X as seen from here: signatures in both directions, calls, their limits and refusals.
//!
//! No actor and no state: credentials, clock, randomness and the HTTP client come in from outside.
//! A call that was not answered is never repeated here; its [`CallError`] says what may have
//! happened, and the caller looks before it sends again.

pub mod authorize;
pub mod client;
pub mod errors;
pub mod limits;
mod matching;
pub mod oauth1;
pub mod signature;
#[cfg(test)]
pub(crate) mod stub;
pub mod webhooks;

pub use client::{AccountCredentials, Profile, Search, Sent, Stamp, XApp, XClient};
pub use errors::{CallError, Refusal};
pub use limits::{Budget, Limits, Quota, Window};
