//! Resident memory of the hub: idle, knowing many instances with an account each, after traffic.

use std::time::Duration;

use anyhow::Result;
use casewire_sandbox::XAccount;

use crate::bench::Bench;
use crate::hub::{Home, HubOptions, XApp};
use crate::load;
use crate::machine::memory_mib;
use crate::report::{Aim, Figure};
use crate::world::{N_SENDERS, Pair, World, account, company, link_all};

pub(crate) const NAME: &str = "memory";

const N_KNOWN: usize = 5000;
const N_ACTIVE: usize = 50;

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = known(bench).await?;
    figures.extend(active(bench).await?);
    Ok(figures)
}

/// Idle, then with instances that are known and have nothing to do.
async fn known(bench: &Bench) -> Result<Vec<Figure>> {
    let home = Home::make(&bench.binary, &bench.folder, &HubOptions::default(), &XApp::default())?;
    let hub = home.serve().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (idle, _) = memory_mib(hub.process());
    let token = hub.token().await?;
    let n_known = bench.size(N_KNOWN, N_KNOWN / 5);
    let links: Vec<(String, XAccount)> = (0..n_known).map(unused_link).collect();
    link_all(hub.address, &token, &links).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (linked, most) = memory_mib(hub.process());
    drop(hub);
    let hub = home.serve().await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (restarted, _) = memory_mib(hub.process());
    let known = format!("{n_known} instances and accounts known");
    Ok(vec![
        Figure::new(NAME, "idle, resident", "MiB", &[idle]).aims(Aim::AtMost(30.0)),
        Figure::new(NAME, format!("{known}, after they were set up"), "MiB", &[linked])
            .beside("MiB idle", &[idle]),
        Figure::new(NAME, format!("{known}, highest meanwhile"), "MiB", &[most]).beside("MiB idle", &[idle]),
        Figure::new(NAME, format!("{known}, after a restart"), "MiB", &[restarted])
            .beside("MiB idle", &[idle]),
        Figure::new(
            NAME,
            format!("{known}, from start to ready"),
            "ms",
            &[hub.ready_after.as_secs_f64() * 1000.0],
        ),
    ])
}

/// An address where nothing listens: instances that are known are not called.
fn unused_link(nth: usize) -> (String, XAccount) {
    let (high, low) = (nth / 250, nth % 250 + 1);
    (format!("http://127.99.{high}.{low}:9"), account(&company(nth)))
}

/// After a stretch of traffic over many instances.
async fn active(bench: &Bench) -> Result<Vec<Figure>> {
    let options = HubOptions { rate: "2000 per 1s", concurrency: 16, ..HubOptions::default() };
    let world = World::start(bench, N_ACTIVE, &options).await?;
    let span = bench.span(Duration::from_secs(6));
    let per_second = 500;
    let n_messages = (u128::from(per_second) * span.as_millis() / 1000 + 1).try_into()?;
    let batch =
        world.write(n_messages, |at| Pair { company: at % N_ACTIVE, customer: at / N_ACTIVE % 20 })?;
    let tally = load::open(world.hub.address, N_SENDERS, per_second, span, &batch).await?.checked(NAME)?;
    world.settle(tally.n_ok).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (after, most) = memory_mib(world.hub.process());
    let name = format!("after {} messages to {N_ACTIVE} instances", tally.n_ok);
    Ok(vec![
        Figure::new(NAME, name, "MiB", &[after]),
        Figure::new(NAME, "the same, highest meanwhile", "MiB", &[most]),
    ])
}
