//! A tenant that floods the hub, beside a quiet one: two users with an instance and an account each.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bench::Bench;
use crate::hub::HubOptions;
use crate::load::{Sent, n_due};
use crate::report::{Aim, Figure};
use crate::stats::{Latencies, per_second, pooled};
use crate::world::{Owners, Pair, Plan, World};

pub(crate) const NAME: &str = "fairness";

const QUIET: usize = 0;
const FLOODING: usize = 1;
/// Messages a second of the quiet tenant.
const RATE: u32 = 5;
/// So many times as much comes from the one that floods.
const TIMES: usize = 100;
/// Conversations of each: the flood is spread over as many as the other's.
const N_CUSTOMERS: usize = 50;
const SPAN: Duration = Duration::from_secs(6);
const N_ROUNDS: usize = 8;

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let options = HubOptions { rate: "10000 per 1s", concurrency: 16, ..HubOptions::default() };
    let plan = Plan { owners: Owners::Each, ..Plan::of(2) };
    let world = World::start_as(bench, plan, &options).await?;
    world.meet(2, N_CUSTOMERS).await?;
    let times = bench.size(TIMES, TIMES / 4);
    let span = bench.span(SPAN);
    let (mut with, mut without, mut flood) = (Vec::new(), Vec::new(), Vec::new());
    let mut taken = Vec::new();
    for _ in 0..bench.size(N_ROUNDS, 3) {
        let batch = world.write(n_due(RATE, span)?, |at| of(QUIET, at))?;
        without.push(world.delays_of(&batch, RATE, span).await?);
        let begun = Instant::now();
        let (quiet, flooding) = flooded(&world, times, span).await?;
        taken.push(per_second(flooding.n_calls() as u64, begun.elapsed()));
        with.push(quiet);
        flood.push(flooding);
    }
    let p99 = format!("the quiet tenant, beside {times} times its traffic, p99");
    Ok(vec![
        Figure::of(NAME, p99, "ms", pooled(&with, Latencies::p99_ms))
            .beside_of("ms without it", pooled(&without, Latencies::p99_ms))
            .aims(Aim::RatioAtMost(2.0)),
        Figure::of(NAME, "the same, p50", "ms", pooled(&with, Latencies::p50_ms))
            .beside_of("ms without it", pooled(&without, Latencies::p50_ms)),
        Figure::of(NAME, "the flooding tenant, p99", "ms", pooled(&flood, Latencies::p99_ms)),
        Figure::new(NAME, "the flood, until the last of it was delivered", "messages/s", &taken),
    ])
}

/// The delays of both while one floods.
async fn flooded(world: &World, times: usize, span: Duration) -> Result<(Latencies, Latencies)> {
    let rate = RATE * u32::try_from(times + 1)?;
    let pair = |at: usize| if is_quiet(at, times) { of(QUIET, at / (times + 1)) } else { of(FLOODING, at) };
    let batch = world.write(n_due(rate, span)?, pair)?;
    let sent = world.deliver(&batch, rate, span, |_| true).await?;
    let (quiet, flooding): (Vec<_>, Vec<_>) = sent.into_iter().partition(|(at, _)| is_quiet(*at, times));
    let delays = |part: Vec<(usize, Sent)>| world.delays(part.into_iter().map(|(_, sent)| sent));
    Ok((delays(quiet), delays(flooding)))
}

fn is_quiet(at: usize, times: usize) -> bool {
    at % (times + 1) == times
}

fn of(company: usize, nth: usize) -> Pair {
    Pair { company, customer: nth % N_CUSTOMERS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_so_many_is_quiet() {
        assert_eq!((0..1010).filter(|at| is_quiet(*at, 100)).count(), 10);
    }
}
