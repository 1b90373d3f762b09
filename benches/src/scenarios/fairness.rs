//! A tenant that makes much work, beside a quiet one: two users with an instance and an account each. The work
//! is a flood of new messages, or the replay of thousands of dead letters.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use casewire_sandbox::SnFault;
use serde_json::json;

use crate::bench::Bench;
use crate::hub::HubOptions;
use crate::load::{self, Sent, n_due};
use crate::postgres::Server;
use crate::report::{Aim, Figure};
use crate::stats::{Latencies, count, per_second, pooled};
use crate::wire::Session;
use crate::world::{N_SENDERS, Owners, Pair, Plan, World};

pub(crate) const NAME: &str = "fairness";

const QUIET: usize = 0;
const LOUD: usize = 1;
/// Messages a second of the quiet tenant: the rounds of a full run together have enough for a 99th percentile.
const RATE: u32 = 5;
/// So many times as much comes from the one that floods. The last two keep a small machine, which also plays X and
/// both instances, all but busy and busy: there is no aim where everything waits for a processor.
const FLOODS: [(usize, Option<Aim>); 3] = [(100, Some(AIM)), (200, None), (400, None)];
const AIM: Aim = Aim::RatioAtMost(2.0);
/// Conversations of each: the flood is spread over as many as the other's.
const N_CUSTOMERS: usize = 50;
const SPAN: Duration = Duration::from_secs(8);
const N_ROUNDS: usize = 5;
/// Four times as fast as the hub replays if nothing is said.
const REPLAYED_PER_SECOND: usize = 200;
const REPLAY: &str = "/api/deliveries/replay/";
const REFUSAL_LIMIT: Duration = Duration::from_mins(1);

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = on(bench, "", None).await?;
    if bench.with_postgres {
        let server = Server::start(&bench.folder, "").await?;
        figures.extend(on(bench, "PostgreSQL, ", Some(server.create("hub").await?)).await?);
    }
    Ok(figures)
}

/// What the quiet tenant's messages took while the other kept the hub busy, and that one's own.
#[derive(Default)]
struct Beside {
    quiet: Vec<Latencies>,
    loud: Vec<Latencies>,
    /// Messages of the loud one a second, until the last of them was delivered.
    taken: Vec<f64>,
}

async fn on(bench: &Bench, place: &str, database_url: Option<String>) -> Result<Vec<Figure>> {
    let options = HubOptions { rate: "10000 per 1s", concurrency: 16, database_url, ..HubOptions::default() };
    let plan = Plan { owners: Owners::Each, ..Plan::of(2) };
    let world = World::start_as(bench, plan, &options).await?;
    world.meet(2, N_CUSTOMERS).await?;
    let span = bench.span(SPAN);
    let mut alone = Vec::new();
    let (mut flooded, mut replayed) =
        (FLOODS.iter().map(|_| Beside::default()).collect::<Vec<_>>(), Beside::default());
    for _ in 0..bench.size(N_ROUNDS, 3) {
        let batch = world.write(n_due(RATE, span)?, |at| of(QUIET, at))?;
        alone.push(world.delays_of(&batch, RATE, span).await?);
        for ((times, _), beside) in FLOODS.iter().zip(&mut flooded) {
            flood(&world, *times, span, beside).await?;
        }
        replay(&world, span, &mut replayed).await?;
    }
    let mut figures = Vec::new();
    for ((times, aim), beside) in FLOODS.iter().zip(&flooded) {
        let offered = f64::from(RATE) * count(*times as u64);
        let what = format!("{times} times its traffic");
        figures.extend(beside.figures(place, &what, "the flood", offered, *aim, &alone));
    }
    let offered = count(REPLAYED_PER_SECOND as u64);
    figures.extend(replayed.figures(place, "a bulk replay", "the replay", offered, Some(AIM), &alone));
    Ok(figures)
}

impl Beside {
    fn figures(
        &self,
        place: &str,
        what: &str,
        whose: &str,
        offered: f64,
        aim: Option<Aim>,
        alone: &[Latencies],
    ) -> Vec<Figure> {
        let figure = |percentile: &str, of: fn(&Latencies) -> f64| {
            let name = format!("{place}the quiet tenant, beside {what}, {percentile}");
            Figure::of(NAME, name, "ms", pooled(&self.quiet, of))
                .beside_of("ms without it", pooled(alone, of))
        };
        let n_calls: usize = self.quiet.iter().map(Latencies::n_calls).sum();
        let p99 = figure(&format!("p99 of {n_calls}"), Latencies::p99_ms);
        let p99 = match aim {
            Some(aim) => p99.aims(aim),
            None => p99,
        };
        let mut figures = vec![p99, figure("p50", Latencies::p50_ms)];
        if !self.loud.is_empty() {
            let name = format!("{place}{what}, p99 of those");
            figures.push(Figure::of(NAME, name, "ms", pooled(&self.loud, Latencies::p99_ms)));
        }
        let name = format!("{place}{what}, until the last of {whose} was delivered");
        figures.push(
            Figure::new(NAME, name, "messages/s", &self.taken).beside("messages/s offered", &[offered]),
        );
        figures
    }
}

/// Both write, one of them so many times as much.
async fn flood(world: &World, times: usize, span: Duration, beside: &mut Beside) -> Result<()> {
    let rate = RATE * u32::try_from(times + 1)?;
    let pair = |at: usize| if is_quiet(at, times) { of(QUIET, at / (times + 1)) } else { of(LOUD, at) };
    let batch = world.write(n_due(rate, span)?, pair)?;
    let begun = Instant::now();
    let sent = world.deliver(&batch, rate, span, |_| true).await?;
    let took = begun.elapsed();
    let (quiet, loud): (Vec<_>, Vec<_>) = sent.into_iter().partition(|(at, _)| is_quiet(*at, times));
    let delays = |part: Vec<(usize, Sent)>| world.delays(part.into_iter().map(|(_, sent)| sent));
    beside.taken.push(per_second(loud.len() as u64, took));
    beside.quiet.push(delays(quiet));
    beside.loud.push(delays(loud));
    Ok(())
}

/// The quiet one writes, while dead letters of the other are replayed as fast as the hub does that, and for as
/// long.
async fn replay(world: &World, span: Duration, beside: &mut Beside) -> Result<()> {
    let n_dead = REPLAYED_PER_SECOND * usize::try_from(span.as_millis())? / 1000;
    let mut owner = refuse(world, n_dead).await?;
    let n_before = world.arrivals.n_arrived();
    let batch = world.write(n_due(RATE, span)?, |at| of(QUIET, at))?;
    let rate = format!("{REPLAYED_PER_SECOND} per 1s");
    let begun = Instant::now();
    owner.post(REPLAY, &json!({"rate": rate}), 202).await?;
    let sent = world.send(&batch, RATE, span).await?;
    world.settle(n_before + (sent.len() + n_dead) as u64).await?;
    beside.taken.push(per_second(n_dead as u64, begun.elapsed()));
    beside.quiet.push(world.delays(sent.into_iter()));
    Ok(())
}

/// Lets the loud one's instance refuse so many messages for good, and then take what comes again. Returns a
/// session of the loud one.
async fn refuse(world: &World, n_dead: usize) -> Result<Session> {
    let instance = &world.instances[LOUD];
    instance.fail_rate(0, 1000, vec![SnFault::Error403BusinessRule]);
    let batch = world.write(n_dead, |at| of(LOUD, at))?;
    load::closed(world.hub.address, N_SENDERS, REFUSAL_LIMIT, &batch)
        .await?
        .checked("messages to be refused")?;
    let mut owner = Session::with_token(world.hub.address, &world.owner_token(LOUD).await?).await?;
    let begun = Instant::now();
    loop {
        let counted = owner.post(REPLAY, &json!({"dry_run": true}), 200).await?;
        if counted["matched"] == n_dead {
            break;
        }
        if begun.elapsed() > REFUSAL_LIMIT {
            bail!("{} of {n_dead} messages were dead letters after {REFUSAL_LIMIT:?}", counted["matched"]);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    instance.clear_faults();
    Ok(owner)
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
