//! The process edge of Casewire: settings, telemetry, the command line and HTTP.
//!
//! Nothing here speaks to a database, to X or to `ServiceNow`: the edge turns what comes in into
//! messages for the actors of [`casewire_actors`] and their replies into answers.

mod application;
pub mod cli;
mod http;
pub mod hub_settings;
pub mod settings;
pub mod startup;
pub mod telemetry;

pub use application::{Application, Stopper};
pub use hub_settings::hub_settings;
