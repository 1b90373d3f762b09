//! A simulated X and a simulated ServiceNow for the demo, the black-box tests and the benches.
//!
//! Both speak plain HTTP on loopback, keep everything in memory, are strict about the documented contracts and
//! fail on demand in the ways in which the real ones are known to fail. Every world stands alone: a test
//! process may run as many as it likes, each on a port of its own, on threads of their own.
//!
//! - [`XSandbox`]: accounts, OAuth 1.0a, direct messages, posts, rate limits, webhooks with their check, and
//!   signed webhook bodies ([`bodies`]).
//! - [`ServiceNowSandbox`]: authentication, the Case, Table, Consumer and Contact APIs, the journal.
//!
//! What is not simulated is listed on the `GET /` page of each side. The same views that tests take in process
//! are served as JSON below `/_sandbox/`.

mod calls;
mod client;
mod clock;
mod faults;
mod server;
mod servicenow;
mod x;

pub use calls::CallRecord;
pub use client::{ApiClient, CallError};
pub use faults::Scope;
pub use server::StartError;
pub use servicenow::{
    CaseView, JournalView, OAuthClient, RecordView, ServiceNowSandbox, SnFault, SnOptions, SnUser,
};
pub use x::bodies::{self, XUser};
pub use x::{
    DeliveryError, PostedWebhook, XAccount, XDelivery, XDm, XFault, XLimits, XOptions, XPost, XSandbox,
    XWebhook, sign, weighted_length,
};
