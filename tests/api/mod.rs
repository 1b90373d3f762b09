//! What the hub promises at its public port.

mod auth_contract;
mod helpers;
mod logins;
mod stopping;
mod tokens;
mod users;
