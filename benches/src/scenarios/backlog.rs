//! A million messages that wait for instances which never answer: what they cost a start, and everybody else.
//!
//! Two hubs take turns: one has the backlog, the other never had it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::bench::Bench;
use crate::database::{Database, Swap};
use crate::hub::{Hub, HubOptions};
use crate::load::{self, n_due};
use crate::machine::memory_mib;
use crate::postgres::Server;
use crate::report::{Aim, Figure};
use crate::stats::{Latencies, pooled};
use crate::wire::{Connection, request};
use crate::world::{Pair, World};

pub(crate) const NAME: &str = "backlog";

/// Instances that answer.
const N_QUIET: usize = 10;
/// Instances that never answer, for which everything waits.
const N_DOWN: usize = 5;
const N_MESSAGES: usize = 1_000_000;
const MESSAGES_PER_LANE: usize = 10;
const N_CUSTOMERS: usize = 20;
/// Fresh messages a second.
const RATE: u32 = 100;
const SPAN: Duration = Duration::from_secs(3);
const N_ROUNDS: usize = 6;
const N_STARTS: usize = 3;
/// From ready until memory is looked at.
const SETTLE: Duration = Duration::from_secs(10);
/// Older than all that X sends in a bench.
const FIRST_ID: usize = 1_800_000_000_000_000_000;
const FIRST_CUSTOMER: usize = 980_000_000_000;

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = on(bench, "SQLite", None, None).await?;
    if bench.with_postgres {
        let server = Server::start(&bench.folder, "").await?;
        let (sick, well) = (server.create("sick").await?, server.create("well").await?);
        figures.extend(on(bench, "PostgreSQL", Some(sick), Some(well)).await?);
    }
    Ok(figures)
}

/// What is measured on one kind of database.
#[derive(Default)]
struct Rounds {
    ready_ms: Vec<f64>,
    ready_empty_ms: Vec<f64>,
    with: Vec<Latencies>,
    without: Vec<Latencies>,
    scrape_ms: Vec<f64>,
    scrape_empty_ms: Vec<f64>,
}

async fn on(
    bench: &Bench,
    kind: &str,
    sick_url: Option<String>,
    well_url: Option<String>,
) -> Result<Vec<Figure>> {
    let options = HubOptions { rate: "2000 per 1s", servicenow_timeout: "3s", ..HubOptions::default() };
    let sick_options = HubOptions { database_url: sick_url, ..options.clone() };
    let mut sick = World::start(bench, N_QUIET + N_DOWN, &sick_options).await?;
    let mut well = World::start(bench, N_QUIET, &HubOptions { database_url: well_url, ..options }).await?;
    sick.meet(N_QUIET, N_CUSTOMERS).await?;
    well.meet(N_QUIET, N_CUSTOMERS).await?;
    let n_messages = bench.size(N_MESSAGES, N_MESSAGES / 10);
    pile_up(&mut sick, n_messages).await?;
    let mut rounds = Rounds::default();
    for _ in 0..bench.size(N_STARTS, 1) {
        well.restart_after(async { Ok(()) }).await?;
        rounds.ready_empty_ms.push(well.hub.ready_after.as_secs_f64() * 1000.0);
        sick.restart_after(async { Ok(()) }).await?;
        rounds.ready_ms.push(sick.hub.ready_after.as_secs_f64() * 1000.0);
    }
    tokio::time::sleep(SETTLE).await;
    let ((full, _), (empty, _)) = (memory_mib(sick.hub.process()), memory_mib(well.hub.process()));
    let span = bench.span(SPAN);
    for _ in 0..bench.size(N_ROUNDS, 3) {
        rounds.scrape_empty_ms.push(scrape_ms(&well.hub).await?);
        rounds.scrape_ms.push(scrape_ms(&sick.hub).await?);
        rounds.without.push(fresh(&well, span).await?);
        rounds.with.push(fresh(&sick, span).await?);
    }
    // What a start needs for a moment, a scrape or fresh traffic beside the backlog counts too.
    let ((_, most), (_, most_empty)) = (memory_mib(sick.hub.process()), memory_mib(well.hub.process()));
    let figure = |name: &str| format!("{kind}, {n_messages} queued: {name}");
    Ok(vec![
        Figure::new(NAME, figure("from start to ready"), "ms", &rounds.ready_ms)
            .beside("ms without them", &rounds.ready_empty_ms)
            .aims(Aim::AtMost(5000.0)),
        Figure::new(NAME, figure("resident after 10 s"), "MiB", &[full]).beside("MiB without them", &[empty]),
        Figure::new(NAME, figure("most resident, from start to the last fresh message"), "MiB", &[most])
            .beside("MiB without them", &[most_empty])
            .aims(Aim::AtMost(200.0)),
        Figure::of(
            NAME,
            figure("fresh webhook to comment, p99"),
            "ms",
            pooled(&rounds.with, Latencies::p99_ms),
        )
        .beside_of("ms without them", pooled(&rounds.without, Latencies::p99_ms))
        .aims(Aim::RatioAtMost(2.0)),
        Figure::of(
            NAME,
            figure("fresh webhook to comment, p50"),
            "ms",
            pooled(&rounds.with, Latencies::p50_ms),
        )
        .beside_of("ms without them", pooled(&rounds.without, Latencies::p50_ms)),
        Figure::new(NAME, figure("GET /metrics"), "ms", &rounds.scrape_ms)
            .beside("ms without them", &rounds.scrape_empty_ms),
    ])
}

/// Lets a message wait for each instance that never answers, and makes so many of them in the database.
async fn pile_up(world: &mut World, n_messages: usize) -> Result<()> {
    for instance in &world.instances[N_QUIET..] {
        instance.hang(true);
    }
    let batch = world.write(N_DOWN, |at| Pair { company: N_QUIET + at, customer: 0 })?;
    let sent = load::closed(world.hub.address, 1, Duration::from_secs(5), &batch).await?;
    if sent.checked(NAME)?.n_ok < N_DOWN as u64 {
        bail!("not every instance has a message");
    }
    let url = world.home.database_url.clone();
    let originals = (0..N_DOWN).map(|nth| world.rows_of(N_QUIET + nth)).collect::<Result<Vec<_>>>()?;
    let begun = Instant::now();
    world.restart_after(fill(&url, &originals, n_messages)).await?;
    eprintln!("{n_messages} messages were queued in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Writes so many copies of those deliveries into the database, each lane's far apart, as they come in life.
async fn fill(url: &str, originals: &[String], n_messages: usize) -> Result<()> {
    let mut database = Database::open(url).await?;
    let mut rows = Vec::new();
    for original in originals {
        let delivery = database.row("deliveries", original).await?;
        let lane = database.row("lanes", &format!("id = '{}'", delivery.get("lane_id"))).await?;
        rows.push((delivery, lane));
    }
    let indexes = database.begin_filling(&["deliveries", "lanes"]).await?;
    let n_each = n_messages / originals.len();
    let n_lanes = n_each / MESSAGES_PER_LANE;
    for (nth, (mut delivery, mut lane)) in rows.into_iter().enumerate() {
        let (first, first_lane) = (nth * n_each, nth * n_lanes);
        let id = Swap::new(
            delivery.get("id"),
            "'00000000-0000-7000-8000-' || substr(CAST(1000000000000 + n AS TEXT), 2)",
        );
        let message = Swap::new(delivery.get("source_id"), format!("CAST({FIRST_ID} + n AS TEXT)"));
        let of_message = format!("CAST({} + (n - {first}) % {n_lanes} AS TEXT)", FIRST_CUSTOMER + first_lane);
        let customer = Swap::new(delivery.get("customer_id"), of_message);
        let of_lane = Swap::new(delivery.get("customer_id"), format!("CAST({FIRST_CUSTOMER} + n AS TEXT)"));
        delivery.rewind();
        lane.set("n_pending", &MESSAGES_PER_LANE.to_string());
        lane.set("ready_at", delivery.get("created_at"));
        lane.set("urgency", "0");
        let swaps = [id, message, customer];
        database.add_copies("deliveries", &delivery, &swaps, first as u64, n_each as u64).await?;
        database.add_copies("lanes", &lane, &[of_lane], first_lane as u64, n_lanes as u64).await?;
    }
    database.end_filling(indexes).await
}

/// The delays of messages to the instances that answer.
async fn fresh(world: &World, span: Duration) -> Result<Latencies> {
    let pair = |at: usize| Pair { company: at % N_QUIET, customer: at / N_QUIET % N_CUSTOMERS };
    let batch = world.write(n_due(RATE, span)?, pair)?;
    world.delays_of(&batch, RATE, span).await
}

async fn scrape_ms(hub: &Hub) -> Result<f64> {
    let mut connection = Connection::open(hub.address).await?;
    let begun = Instant::now();
    let reply = connection.call(&request("GET", "/metrics", "", b"")).await?;
    if reply.status != 200 || reply.body.is_empty() {
        bail!("GET /metrics gave {}", reply.status);
    }
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}
