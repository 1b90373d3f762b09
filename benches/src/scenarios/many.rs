//! Ten thousand instances with an account each, and a message a minute for every one of them.
//!
//! A few simulated instances stand for all, each under many addresses, so that the hub has as many hosts as
//! instances.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::bench::Bench;
use crate::hub::HubOptions;
use crate::load::{self, n_due};
use crate::machine::{memory_mib, n_open_files, n_threads};
use crate::report::Figure;
use crate::stats::Latencies;
use crate::world::{N_SENDERS, Owners, Pair, Plan, World};

pub(crate) const NAME: &str = "many";

const N_INSTANCES: usize = 10_000;
const N_SIMULATED: usize = 50;
/// A little over a minute, so that everyone's turn comes.
const SPAN: Duration = Duration::from_secs(66);

/// The hub and its ten thousand.
pub(super) struct Many {
    pub(super) world: World,
    pub(super) n_companies: usize,
}

/// A message for each, sent and arrived.
pub(super) struct Round {
    pub(super) rate: u32,
    pub(super) delays: Latencies,
    cores: f64,
}

impl Many {
    /// Sets all up; nobody has written yet.
    pub(super) async fn start(bench: &Bench) -> Result<Self> {
        let n_companies = bench.size(N_INSTANCES, N_INSTANCES / 5);
        let plan = Plan { n_companies, n_simulated: N_SIMULATED, owners: Owners::Superuser };
        let world = World::start_as(bench, plan, &HubOptions::default()).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(Self { world, n_companies })
    }

    /// Each gets a message within a minute; in a quick run, within a shorter span.
    pub(super) async fn write_to_each(&self, bench: &Bench) -> Result<Round> {
        let (world, n_companies) = (&self.world, self.n_companies);
        let span = bench.span(SPAN);
        let rate = u32::try_from(n_companies)? * 11 / 10 / u32::try_from(span.as_secs())?;
        let cpu_before = world.hub.cpu_seconds();
        let n_before = world.arrivals.n_arrived();
        // Nobody writes twice in a round: each message of the first is a conversation of its own.
        let batch = world.write(n_due(rate, span)?, |at| Pair { company: at % n_companies, customer: at })?;
        let tally = load::open(world.hub.address, N_SENDERS, rate, span, &batch).await?.checked(NAME)?;
        let cores = (world.hub.cpu_seconds() - cpu_before) / tally.elapsed.as_secs_f64();
        world.settle(n_before + tally.n_ok).await?;
        let n_arrived = world.arrivals.n_arrived() - n_before;
        if n_arrived < n_companies as u64 {
            bail!("{n_arrived} messages arrived, fewer than instances");
        }
        let delays = world.delays(tally.sent.iter().copied());
        Ok(Round { rate, delays, cores })
    }
}

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let many = Many::start(bench).await?;
    let process = many.world.hub.process();
    let (idle_mib, _) = memory_mib(process);
    let idle_threads = n_threads(process);
    let idle_files = n_open_files(process);
    let Round { rate, delays, cores } = many.write_to_each(bench).await?;
    let (mib, most_mib) = memory_mib(process);
    let name = |what: &str| format!("{} instances, {rate} messages/s: {what}", many.n_companies);
    Ok(vec![
        Figure::new(NAME, name("resident"), "MiB", &[mib]).beside("MiB before the traffic", &[idle_mib]),
        Figure::new(NAME, name("highest meanwhile"), "MiB", &[most_mib]),
        Figure::new(NAME, name("threads"), "threads", &[n_threads(process)])
            .beside("before the traffic", &[idle_threads]),
        Figure::new(NAME, name("open files"), "files", &[n_open_files(process)])
            .beside("before the traffic", &[idle_files]),
        Figure::new(NAME, name("hub's processor time"), "cores", &[cores]),
        Figure::new(NAME, name("webhook to comment, p99"), "ms", &[delays.p99_ms()]),
    ])
}
