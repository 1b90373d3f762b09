//! What a user connects: instances, accounts and their deliveries; each test starts a hub of its own.

mod accounts;
mod bench;
mod deletions;
mod deliveries;
mod instances;
