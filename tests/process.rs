//! The program as a process: what survives when it is killed.

mod chaos;
mod copy;
mod hub;
mod malformed;
mod operators;
mod replays;
mod samples;
