//! Messages delivered a second, all the way to the comment: so many are under way all the time, and each
//! arrival lets the next one be sent. Known conversations and new ones apart.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::bench::Bench;
use crate::hub::HubOptions;
use crate::load;
use crate::postgres::Server;
use crate::report::{Aim, Figure};
use crate::stats::{count, per_second};
use crate::world::{N_SENDERS, Pair, World};

pub(crate) const NAME: &str = "sustained";

const N_COMPANIES: usize = 50;
const N_CUSTOMERS: usize = 20;
/// Messages under way: ten an instance, in conversations of their own.
const N_UNDER_WAY: usize = 500;
/// Enough that the wait for a commit, which each message has on its connection, is no limit.
const N_CONNECTIONS: usize = 128;
const SPAN: Duration = Duration::from_secs(3);
/// More than can be delivered in a second.
const N_PER_SECOND: usize = 12_000;
const INSTANCE_CASES: &str = "/api/sn_customerservice/case";

#[derive(Default)]
struct Rounds {
    rates: Vec<f64>,
    cpu_us: Vec<f64>,
}

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = on(bench, None).await?;
    if bench.with_postgres {
        let server = Server::start(&bench.folder, "").await?;
        figures.extend(on(bench, Some(server.create("hub").await?)).await?);
    }
    Ok(figures)
}

/// On a database of a server, or on the embedded one, for which the aim is set.
async fn on(bench: &Bench, database_url: Option<String>) -> Result<Vec<Figure>> {
    let (place, aim) = match database_url {
        Some(_) => ("PostgreSQL, ", None),
        None => ("", Some(Aim::AtLeast(3000.0))),
    };
    let options = HubOptions { rate: "10000 per 1s", concurrency: 16, database_url, ..HubOptions::default() };
    let world = World::start(bench, N_COMPANIES, &options).await?;
    world.meet(N_COMPANIES, N_CUSTOMERS).await?;
    let span = bench.span(SPAN);
    let (mut known, mut new) = (Rounds::default(), Rounds::default());
    let (mut syncs, mut updates) = (Vec::new(), Vec::new());
    let mut n_customers = N_CUSTOMERS;
    for _ in bench.rounds() {
        syncs.push(bench.syncs_per_second()?);
        updates.push(updates_per_second(&world, span / 4).await?);
        let again = |at: usize| Pair { company: at % N_COMPANIES, customer: at / N_COMPANIES % N_CUSTOMERS };
        round(&world, span, again, &mut known).await?;
        let first_new = n_customers;
        let once = |at: usize| Pair { company: at % N_COMPANIES, customer: first_new + at / N_COMPANIES };
        let n_sent = round(&world, span / 2, once, &mut new).await?;
        n_customers += usize::try_from(n_sent)? / N_COMPANIES + 1;
    }
    let figure = |what: &str, unit: &'static str, rounds: &[f64]| {
        Figure::new(NAME, format!("{place}{what}"), unit, rounds)
    };
    let sustained = figure("known conversations", "messages/s", &known.rates).beside("fdatasync/s", &syncs);
    Ok(vec![
        match aim {
            Some(aim) => sustained.aims(aim),
            None => sustained,
        },
        figure("known conversations, by the instances", "messages/s", &known.rates)
            .beside("updates/s that the simulated instances take", &updates),
        figure("known conversations, hub's processor time", "us/message", &known.cpu_us),
        figure("new conversations", "messages/s", &new.rates).beside("fdatasync/s", &syncs),
        figure("new conversations, hub's processor time", "us/message", &new.cpu_us),
    ])
}

/// Keeps messages under way for that long; returns how many were sent. What is under way at the end is
/// waited for and not counted.
async fn round(
    world: &World,
    span: Duration,
    pair: impl Fn(usize) -> Pair,
    rounds: &mut Rounds,
) -> Result<u64> {
    let n_messages = N_PER_SECOND * usize::try_from(span.as_millis())? / 1000;
    let batch = world.write(n_messages, pair)?;
    let arrivals = &world.arrivals;
    let n_before = arrivals.n_arrived();
    let cpu_before = world.hub.cpu_seconds();
    let begun = Instant::now();
    // Permits of arrivals in other rounds are taken away first.
    arrivals.permits.forget_permits(usize::MAX);
    arrivals.permits.add_permits(N_UNDER_WAY);
    let tally = load::permitted(world.hub.address, N_CONNECTIONS, span, &batch, &arrivals.permits).await?;
    let n_arrived = arrivals.n_arrived() - n_before;
    rounds.rates.push(per_second(n_arrived, begun.elapsed()));
    rounds.cpu_us.push((world.hub.cpu_seconds() - cpu_before) / count(n_arrived) * 1e6);
    let tally = tally.checked(NAME)?;
    world.settle(n_before + tally.n_ok).await?;
    Ok(batch.n_taken())
}

/// Updates of cases a second that one simulated instance takes from this generator: no hub delivers faster.
async fn updates_per_second(world: &World, span: Duration) -> Result<f64> {
    let instance = world.instances.first().context("there is no instance")?;
    let case = instance.cases().first().context("the instance has no case")?.sys_id.clone();
    let address = instance.url().trim_start_matches("http://").parse()?;
    // casewire:sandbox
    let headers = "authorization: Basic Y2FzZXdpcmU6c2FuZGJveA==\r\naccept: application/json\r\n";
    let body = json!({"priority": "2"}).to_string();
    let path = format!("{INSTANCE_CASES}/{case}");
    let update = Update(crate::wire::request("PUT", &path, headers, body.as_bytes()));
    Ok(load::closed(address, N_SENDERS, span, &update).await?.checked("updates of a case")?.rate())
}

/// An update of a case, which is answered with 201.
struct Update(Vec<u8>);

impl load::Source for Update {
    fn next(&self) -> Option<(u64, &[u8])> {
        Some((0, &self.0))
    }

    fn is_answer(&self, reply: &crate::wire::Reply<'_>) -> bool {
        reply.status == 201
    }
}
