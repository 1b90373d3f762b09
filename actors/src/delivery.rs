//! Delivery: what is sent when, how often, and in which pieces.

pub mod backoff;
pub mod rate;
pub mod split;
