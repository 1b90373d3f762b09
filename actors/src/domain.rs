//! Newtypes and rules, without I/O.

pub mod failure;
pub mod secret;
pub mod token;
pub mod user;
