//! What is measured, one file a scenario.

mod check;
mod intake;
mod isolation;
mod latency;
mod login;
mod memory;
mod start;
mod sustained;

use anyhow::Result;
use clap::ValueEnum;

use crate::bench::Bench;
use crate::report::Figure;

/// A scenario; the order is that of a whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// From start to ready
    Start,
    /// Resident memory: idle, with many instances known, after traffic
    Memory,
    /// Signed webhook bodies answered after they are on disk
    Intake,
    /// Requests that check a token
    Check,
    /// Logins, and what a flood of them does to token checks
    Login,
    /// From webhook to comment at fixed rates
    Latency,
    /// Messages delivered a second
    Sustained,
    /// Instances that never answer, beside others
    Isolation,
}

impl Scenario {
    /// Its name on the command line and in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Start => start::NAME,
            Self::Memory => memory::NAME,
            Self::Intake => intake::NAME,
            Self::Check => check::NAME,
            Self::Login => login::NAME,
            Self::Latency => latency::NAME,
            Self::Sustained => sustained::NAME,
            Self::Isolation => isolation::NAME,
        }
    }

    /// Measures. No process that it started is left afterwards.
    pub(crate) async fn run(self, bench: &Bench) -> Result<Vec<Figure>> {
        match self {
            Self::Start => start::run(bench).await,
            Self::Memory => memory::run(bench).await,
            Self::Intake => intake::run(bench).await,
            Self::Check => check::run(bench).await,
            Self::Login => login::run(bench).await,
            Self::Latency => latency::run(bench).await,
            Self::Sustained => sustained::run(bench).await,
            Self::Isolation => isolation::run(bench).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for scenario in Scenario::value_variants() {
            let value = scenario.to_possible_value().unwrap();
            assert_eq!(value.get_name(), scenario.name());
        }
    }
}
