//! From a webhook to the comment on the instance, at fixed rates, over instances that answer at once.

use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::hub::HubOptions;
use crate::load::{self, Same};
use crate::reference::Nothing;
use crate::report::{Aim, Figure};
use crate::wire::request;
use crate::world::{N_SENDERS, Pair, World};

pub(crate) const NAME: &str = "latency";

const N_COMPANIES: usize = 50;
const N_CUSTOMERS: usize = 20;
const RATES: [u32; 2] = [100, 500];
const SPAN: Duration = Duration::from_secs(3);

/// The rounds of one rate.
#[derive(Default)]
struct Rounds {
    p50: Vec<f64>,
    p99: Vec<f64>,
    max: Vec<f64>,
    accepted_p99: Vec<f64>,
    late_p99: Vec<f64>,
    nothing_p99: Vec<f64>,
    cores: Vec<f64>,
}

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let options = HubOptions { rate: "2000 per 1s", concurrency: 16, ..HubOptions::default() };
    let world = World::start(bench, N_COMPANIES, &options).await?;
    let nothing = Nothing::start(42).await?;
    world.meet(N_COMPANIES, N_CUSTOMERS).await?;
    let mut rounds: [Rounds; 2] = Default::default();
    for _ in bench.rounds() {
        for (rate, rounds) in RATES.into_iter().zip(&mut rounds) {
            round(&world, &nothing, rate, bench.span(SPAN), rounds).await?;
        }
    }
    Ok(RATES.into_iter().zip(&rounds).flat_map(|(rate, rounds)| figures(rate, rounds)).collect())
}

async fn round(
    world: &World,
    nothing: &Nothing,
    rate: u32,
    span: Duration,
    rounds: &mut Rounds,
) -> Result<()> {
    let idle_request = Same(request("POST", "/", "", &[b'x'; 1000]));
    let idle =
        load::open(nothing.address, N_SENDERS, rate, span / 4, &idle_request).await?.checked("nothing")?;
    rounds.nothing_p99.push(idle.latencies().p99_ms());
    let n_messages = (u128::from(rate) * span.as_millis() / 1000 + 1).try_into()?;
    // Each conversation in turn: with 1,000 of them none has two messages under way.
    let pair = |at: usize| Pair { company: at % N_COMPANIES, customer: at / N_COMPANIES % N_CUSTOMERS };
    let batch = world.write(n_messages, pair)?;
    let n_before = world.arrivals.n_arrived();
    let cpu_before = world.hub.cpu_seconds();
    let tally = load::open(world.hub.address, N_SENDERS, rate, span, &batch).await?.checked(NAME)?;
    rounds.cores.push((world.hub.cpu_seconds() - cpu_before) / tally.elapsed.as_secs_f64());
    world.settle(n_before + tally.n_ok).await?;
    let delays = world.delays(tally.sent.iter().copied());
    rounds.p50.push(delays.p50_ms());
    rounds.p99.push(delays.p99_ms());
    rounds.max.push(delays.max_ms());
    rounds.accepted_p99.push(tally.latencies().p99_ms());
    rounds.late_p99.push(tally.lateness().p99_ms());
    Ok(())
}

fn figures(rate: u32, rounds: &Rounds) -> Vec<Figure> {
    let figure =
        |name: &str, unit, values: &[f64]| Figure::new(NAME, format!("{rate}/s: {name}"), unit, values);
    let p99 = figure("webhook to comment, p99", "ms", &rounds.p99)
        .beside("ms p99, route that does nothing", &rounds.nothing_p99);
    vec![
        figure("webhook to comment, p50", "ms", &rounds.p50),
        if rate == 500 { p99.aims(Aim::AtMost(50.0)) } else { p99 },
        figure("webhook to comment, max", "ms", &rounds.max),
        figure("webhook answered, p99", "ms", &rounds.accepted_p99)
            .beside("ms p99, route that does nothing", &rounds.nothing_p99),
        figure("sent later than due, p99", "ms", &rounds.late_p99),
        figure("hub's processor time", "cores", &rounds.cores),
    ]
}
