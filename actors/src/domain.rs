//! Newtypes and rules, without I/O.

pub mod failure;
pub mod password;
pub mod secret;
pub mod token;
pub mod token_policy;
pub mod user;
