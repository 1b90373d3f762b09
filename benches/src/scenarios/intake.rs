//! Durable intake: signed bodies, each a new message, answered after it is on disk.

use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::hub::HubOptions;
use crate::load::{self, Same};
use crate::one_by_one::OneByOne;
use crate::reference::Nothing;
use crate::report::{Aim, Figure};
use crate::stats::count;
use crate::wire::request;
use crate::world::{Pair, World};

pub(crate) const NAME: &str = "intake";

const CONNECTIONS: [usize; 4] = [1, 8, 64, 256];
/// Where [`CONNECTIONS`] has one and sixty-four.
const ONE: usize = 0;
const MANY: usize = 2;
const SPAN: Duration = Duration::from_millis(1500);
/// More than any hub takes in a second; what is not sent is thrown away.
const N_PER_SECOND: usize = 30_000;
const N_CUSTOMERS: usize = 2000;
/// Of the receipt.
const N_ANSWER_BYTES: usize = 42;

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    // One company with the default settings: its instance takes 20 calls a second, the rest waits on disk.
    let world = World::start(bench, 1, &HubOptions::default()).await?;
    let nothing = Nothing::start(N_ANSWER_BYTES).await?;
    let span = bench.span(SPAN);
    let body = vec![b'x'; 1000];
    let idle_request = Same(request("POST", "/", "", &body));
    let mut rates: [Vec<f64>; 4] = Default::default();
    let (mut p99, mut cpu_us) = (Vec::new(), Vec::new());
    let (mut syncs, mut nothings) = (Vec::new(), Vec::new());
    take(&world, 64, span / 3).await?;
    let copy = world.home.path("one-by-one.db");
    let mut one_by_one = OneByOne::prepare(&world.home.database_url, &copy, N_CUSTOMERS).await?;
    let mut commits = Vec::new();
    for _ in bench.rounds() {
        syncs.push(bench.syncs_per_second()?);
        commits.push(one_by_one.transactions_per_second(span).await?);
        nothings.push(
            load::closed(nothing.address, CONNECTIONS[MANY], span, &idle_request)
                .await?
                .checked("nothing")?
                .rate(),
        );
        for (at, n_connections) in CONNECTIONS.into_iter().enumerate() {
            let cpu_before = world.hub.cpu_seconds();
            let tally = take(&world, n_connections, span).await?;
            rates[at].push(tally.rate());
            if at == MANY {
                p99.push(tally.latencies().p99_ms());
                cpu_us.push((world.hub.cpu_seconds() - cpu_before) / count(tally.n_ok) * 1e6);
            }
        }
    }
    let events = |at: usize| {
        let (n_connections, ending) = (CONNECTIONS[at], if at == ONE { "" } else { "s" });
        Figure::new(NAME, format!("{n_connections} connection{ending}"), "events/s", &rates[at])
    };
    let mut figures = Vec::new();
    for at in 0..CONNECTIONS.len() {
        figures.push(match at {
            MANY => events(at).beside("/s, route that does nothing", &nothings).aims(Aim::AtLeast(10_000.0)),
            _ => events(at).beside("fdatasync/s", &syncs),
        });
    }
    figures.push(
        Figure::new(NAME, "64 connections, by one commit per event", "events/s", &rates[MANY])
            .beside("tx/s, the same rows in one each", &commits)
            .aims(Aim::RatioAtLeast(20.0)),
    );
    figures.push(
        Figure::new(NAME, "64 connections, by one connection", "events/s", &rates[MANY])
            .beside("events/s with 1 connection", &rates[ONE]),
    );
    figures.push(
        Figure::new(NAME, "64 connections, by the disk", "events/s", &rates[MANY])
            .beside("fdatasync/s", &syncs),
    );
    figures.push(Figure::new(NAME, "64 connections, answered, p99", "ms", &p99));
    figures.push(Figure::new(NAME, "64 connections, hub's processor time", "us/event", &cpu_us));
    Ok(figures)
}

async fn take(world: &World, n_connections: usize, span: Duration) -> Result<load::Tally> {
    let per_second = if n_connections == 1 { N_PER_SECOND / 3 } else { N_PER_SECOND };
    let n_messages = per_second * usize::try_from(span.as_millis())? / 1000;
    let batch = world.write(n_messages, |at| Pair { company: 0, customer: at % N_CUSTOMERS })?;
    load::closed(world.hub.address, n_connections, span, &batch).await?.checked(NAME)
}
