//! The actors of Casewire.
//!
//! Everything behind the HTTP edge lives here: who may call (tokens), what X sent (intake),
//! what is to be delivered (outbox) and the delivery itself, one supervised actor for each
//! ServiceNow instance and one for each X account. The edge sends messages through
//! [`kernel`] and awaits typed replies; it sees neither SQL nor a client.

#[macro_use]
mod store;

pub mod accounts;
mod checkpointer;
pub mod classify;
mod cluster;
pub mod copy;
pub mod database_url;
pub mod delivery;
pub mod directory;
pub mod doctor;
pub mod domain;
pub mod hub;
pub mod intake;
mod janitor;
pub mod kernel;
pub mod metrics;
pub mod net;
pub mod office;
pub mod outbox;
mod porter;
pub mod pulse;
pub mod records;
mod replayer;
pub mod routes;
pub mod servicenow;
mod shared;
pub mod token_store;
pub mod webhooks;
mod writer;
pub mod x;

pub use store::StoreError;
pub use writer::WriteError;
