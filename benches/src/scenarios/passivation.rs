//! Ten thousand instances that fall silent: their actors end, and come back with the next message.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::many::Many;
use crate::bench::Bench;
use crate::hub::Hub;
use crate::machine::{memory_mib, n_open_files};
use crate::report::Figure;
use crate::stats::count;
use crate::wire::{Connection, request};

pub(crate) const NAME: &str = "passivation";

/// How often the actors are counted.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// An actor ends a quarter of an hour after its last work; that is looked after once a minute.
const SILENCE_LIMIT: Duration = Duration::from_mins(18);

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let many = Many::start(bench).await?;
    let hub = &many.world.hub;
    let n_set_up = n_actors(hub).await?;
    let (set_up_mib, _) = memory_mib(hub.process());
    let awake = many.write_to_each(bench).await?;
    let n_awake = n_actors(hub).await?;
    let (awake_mib, _) = memory_mib(hub.process());
    let silent_since = Instant::now();
    while n_actors(hub).await? > 0 {
        if silent_since.elapsed() > SILENCE_LIMIT {
            bail!("{} actors still live after {SILENCE_LIMIT:?} of silence", n_actors(hub).await?);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let minutes = silent_since.elapsed().as_secs_f64() / 60.0;
    let (silent_mib, _) = memory_mib(hub.process());
    let n_files = n_open_files(hub.process());
    let again = many.write_to_each(bench).await?;
    let name = |what: &str| format!("{} instances: {what}", many.n_companies);
    Ok(vec![
        Figure::new(NAME, name("delivery actors after a message for each"), "actors", &[count(n_awake)])
            .beside("when only set up", &[count(n_set_up)]),
        Figure::new(NAME, name("silence until none lives"), "min", &[minutes]),
        Figure::new(NAME, name("resident without actors"), "MiB", &[silent_mib])
            .beside("MiB with all awake", &[awake_mib]),
        Figure::new(NAME, name("resident when only set up"), "MiB", &[set_up_mib]),
        Figure::new(NAME, name("open files without actors"), "files", &[n_files]),
        Figure::new(NAME, name("first message after the silence, p99"), "ms", &[again.delays.p99_ms()])
            .beside("ms of the first message of all", &[awake.delays.p99_ms()]),
    ])
}

/// How many delivery actors live, of instances and of accounts, as the hub itself tells.
async fn n_actors(hub: &Hub) -> Result<u64> {
    let mut connection = Connection::open(hub.address).await?;
    let reply = connection.call(&request("GET", "/metrics", "", b"")).await?;
    let text = std::str::from_utf8(reply.body).context("GET /metrics gave no text")?;
    if reply.status != 200 || !text.contains("casewire_actors{") {
        bail!("GET /metrics gave {} and no count of actors", reply.status);
    }
    let counts = text.lines().filter_map(|line| {
        let (kind, n) = line.strip_prefix("casewire_actors{actor=\"")?.split_once("\"} ")?;
        kind.ends_with("_delivery").then(|| n.parse::<u64>())
    });
    counts.sum::<Result<u64, _>>().context("a count of actors is no number")
}
