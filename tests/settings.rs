//! The settings of a user: instances, accounts, deliveries; each test starts a hub of its own.

mod accounts;
mod bench;
mod deliveries;
mod instances;
