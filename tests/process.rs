//! The program as a process: what survives when it is killed.

mod chaos;
mod cluster;
mod copy;
mod events;
mod flood;
mod hub;
mod malformed;
mod obstacles;
mod operators;
mod ops;
mod replays;
mod samples;
