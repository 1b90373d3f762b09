//! Newtypes and rules, without I/O.

pub mod account;
pub(crate) mod app_limit;
pub mod duration;
pub mod failure;
pub mod fields;
pub mod instance;
pub(crate) mod lease;
pub mod password;
pub mod rate;
pub mod record;
pub mod replay;
pub mod requester;
pub mod sealing;
pub mod secret;
pub mod time;
pub mod token;
pub mod token_policy;
pub mod user;
