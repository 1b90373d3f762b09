//! Several replicas of the program on one PostgreSQL: who delivers, what the others know, and what is left
//! when they are killed, paused, stopped and cut off from their database.
//!
//! The tests need a server where databases may be made, named by `CASEWIRE_TEST_POSTGRES_URL`; without one they
//! say so and pass. They run one after the other, because they measure times. With `CASEWIRE_TEST_KEEP` set,
//! database, settings and logs of a run stay, and where they are is printed.

mod agents;
mod chaos;
mod chronicle;
mod customers;
mod database;
mod events;
mod failing;
mod failover;
mod links;
mod load;
mod mischief;
mod pair;
mod pooler;
mod programs;
mod proxy;
mod rate;
mod replica;
mod size;
mod slow;
mod takeover;
mod tokens;
pub(super) mod wire;
mod world;
