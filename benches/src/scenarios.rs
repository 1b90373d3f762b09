//! What is measured, one file a scenario.

mod backlog;
mod check;
mod cluster;
mod fairness;
mod intake;
mod isolation;
mod latency;
mod login;
mod many;
mod memory;
mod passivation;
mod start;
mod sustained;

use std::time::Duration;

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
    /// A tenant that floods or has much replayed, beside a quiet one
    Fairness,
    /// A million queued messages
    Backlog,
    /// Ten thousand instances with a little traffic each
    Many,
    /// The same falling silent: takes twenty minutes, so only when named
    Passivation,
    /// Intake on PostgreSQL by one to three replicas
    Cluster,
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
            Self::Fairness => fairness::NAME,
            Self::Backlog => backlog::NAME,
            Self::Many => many::NAME,
            Self::Passivation => passivation::NAME,
            Self::Cluster => cluster::NAME,
        }
    }

    /// Whether it says nothing without a PostgreSQL server.
    pub(crate) fn needs_postgres(self) -> bool {
        self == Self::Cluster
    }

    /// Whether it is part of a run in which none is named.
    pub(crate) fn is_usual(self) -> bool {
        self != Self::Passivation
    }

    /// It takes no longer than this, whatever happens. On a second kind of database some measure all again.
    pub(crate) fn limit(self, bench: &Bench) -> Duration {
        match self {
            Self::Passivation => Duration::from_mins(25),
            _ if bench.with_postgres => Duration::from_mins(12),
            _ => Duration::from_mins(6),
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
            Self::Fairness => fairness::run(bench).await,
            Self::Backlog => backlog::run(bench).await,
            Self::Many => many::run(bench).await,
            Self::Passivation => passivation::run(bench).await,
            Self::Cluster => cluster::run(bench).await,
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
