//! Instances that never answer, with a quarter of all traffic, beside others that do.
//!
//! Two hubs of the same kind take turns: one has the instances that never answer, the other has only the
//! others. The others get the same traffic in both. The disk of a shared machine stalls now and then for tens of
//! milliseconds, which makes the tail of whatever round it meets; so what counts is the median round.

use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::hub::HubOptions;
use crate::load::n_due;
use crate::report::{Aim, Figure};
use crate::stats::Latencies;
use crate::world::{Pair, World};

pub(crate) const NAME: &str = "isolation";

/// Instances that answer.
const N_OTHERS: usize = 40;
/// Instances that do not.
const N_HANGING: usize = 10;
const N_CUSTOMERS: usize = 20;
/// Messages a second to those that answer.
const RATE: u32 = 300;
/// One of so many messages goes to those that do not.
const ONE_IN: usize = 4;
const SPAN: Duration = Duration::from_secs(3);
const N_ROUNDS: usize = 11;

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    // Short enough that calls are given up, looked after and tried again while it is measured.
    let options = HubOptions { rate: "2000 per 1s", servicenow_timeout: "3s", ..HubOptions::default() };
    let sick = World::start(bench, N_OTHERS + N_HANGING, &options).await?;
    let well = World::start(bench, N_OTHERS, &options).await?;
    sick.meet(N_OTHERS + N_HANGING, N_CUSTOMERS).await?;
    well.meet(N_OTHERS, N_CUSTOMERS).await?;
    for instance in &sick.instances[N_OTHERS..] {
        instance.hang(true);
    }
    let span = bench.span(SPAN);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    // Until the first calls have been given up.
    mixed(&sick, bench.span(Duration::from_secs(4))).await?;
    for _ in 0..bench.size(N_ROUNDS, 3) {
        without.push(alone(&well, span).await?);
        with.push(mixed(&sick, span).await?);
    }
    let cpu_before = sick.hub.cpu_seconds();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let waiting = (sick.hub.cpu_seconds() - cpu_before) / 2.0;
    let figure = |what: &str, of_round: fn(&Latencies) -> f64| {
        let all = |rounds: &[Latencies]| rounds.iter().map(of_round).collect::<Vec<f64>>();
        Figure::new(NAME, format!("the others, {what}"), "ms", &all(&with))
            .beside("ms without the hanging ones", &all(&without))
    };
    Ok(vec![
        figure("p99", Latencies::p99_ms).aims(Aim::RatioAtMost(1.2)),
        figure("p50", Latencies::p50_ms),
        figure("max", Latencies::max_ms),
        Figure::new(NAME, "hub with a backlog for them, no traffic", "cores", &[waiting]),
    ])
}

/// The delays of the others while nothing else happens.
async fn alone(world: &World, span: Duration) -> Result<Latencies> {
    let batch = world.write(n_due(RATE, span)?, other)?;
    world.delays_of(&batch, RATE, span).await
}

/// The delays of the others while a quarter of all messages goes to instances that never answer.
async fn mixed(world: &World, span: Duration) -> Result<Latencies> {
    let rate = RATE / 3 * 4;
    let pair = |at: usize| {
        let nth = at / ONE_IN;
        if is_other(at) {
            other(at - nth)
        } else {
            Pair { company: N_OTHERS + nth % N_HANGING, customer: nth / N_HANGING % N_CUSTOMERS }
        }
    };
    let batch = world.write(n_due(rate, span)?, pair)?;
    world.delays_of_some(&batch, rate, span, is_other).await
}

fn is_other(at: usize) -> bool {
    at % ONE_IN != ONE_IN - 1
}

fn other(nth: usize) -> Pair {
    Pair { company: nth % N_OTHERS, customer: nth / N_OTHERS % N_CUSTOMERS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_goes_to_the_hanging_ones() {
        assert_eq!((0..400).filter(|at| !is_other(*at)).count(), 100);
    }
}
