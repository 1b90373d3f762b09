//! What Casewire's speed and memory are, beside a reference in the same run.
//!
//! The real program runs as a child process on a temporary database; X, the `ServiceNow` instances and
//! the load come from this process, on the same cores. Every figure is the median of some rounds, which take
//! turns with their reference. See `benches/README.md` for what each figure means.

mod arrivals;
mod bench;
mod database;
mod hub;
mod load;
mod machine;
mod one_by_one;
mod pgbench;
mod postgres;
mod reference;
mod report;
mod scenarios;
mod stats;
mod stored;
mod wire;
mod world;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum as _};

use crate::bench::Bench;
use crate::machine::{Machine, Watch};
use crate::report::{Broken, LeftOut, Others, Report};
use crate::scenarios::Scenario;
use crate::stats::Spread;

/// Measure Casewire on this machine, beside a reference in the same run
///
/// Build first: cargo build --release
#[derive(Parser, Debug)]
#[command(name = "casewire-bench", version)]
struct Arguments {
    /// Only these scenarios
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_enum)]
    only: Vec<Scenario>,
    /// Shorter rounds and smaller worlds: rougher figures
    #[arg(long)]
    quick: bool,
    /// Also measure `backlog`, `fairness` and `sustained` on a PostgreSQL server of the bench's own
    #[arg(long)]
    postgres: bool,
    /// Also write the report there as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The program to measure [default: casewire beside this program, else target/release/casewire]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Where the temporary databases lie; the disk counts [default: the system's folder for such]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let bench = Bench {
        binary: hub::find_binary(arguments.binary)?,
        folder: arguments.folder.unwrap_or_else(std::env::temp_dir).canonicalize()?,
        is_quick: arguments.quick,
        with_postgres: arguments.postgres,
    };
    if bench.with_postgres {
        postgres::find_programs().context("--postgres")?;
    }
    let mut report = Report {
        version: hub::version(&bench.binary)?,
        is_quick: bench.is_quick,
        machine: Machine::look(&bench.folder),
        fdatasync_per_second: Spread::of(&syncs(&bench)?),
        figures: Vec::new(),
        others: Vec::new(),
        left_out: Vec::new(),
        broken: Vec::new(),
    };
    let all = Scenario::value_variants().iter().copied();
    let named = &arguments.only;
    for scenario in all.filter(|one| if named.is_empty() { one.is_usual() } else { named.contains(one) }) {
        measure(scenario, &bench, &mut report).await;
    }
    println!("{}", report.table());
    if let Some(path) = arguments.json {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(&path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    if !report.broken.is_empty() {
        bail!("{} scenarios broke off", report.broken.len());
    }
    Ok(())
}

fn syncs(bench: &Bench) -> Result<Vec<f64>> {
    bench.rounds().map(|_| bench.syncs_per_second()).collect()
}

async fn measure(scenario: Scenario, bench: &Bench, report: &mut Report) {
    let name = scenario.name();
    if let (true, Err(error)) = (scenario.needs_postgres(), postgres::find_programs()) {
        let reason = format!("{error:#}");
        eprintln!("leaving out {name}: {reason}");
        report.left_out.push(LeftOut { scenario: name, reason });
        return;
    }
    eprintln!("measuring {name}");
    let watch = Watch::begin();
    let limit = scenario.limit(bench);
    let figures = tokio::time::timeout(limit, scenario.run(bench)).await;
    match figures {
        Ok(Ok(figures)) => report.figures.extend(figures),
        Ok(Err(error)) => report.broken.push(Broken { scenario: name, reason: format!("{error:#}") }),
        Err(_) => {
            let reason = format!("it took longer than {limit:?}");
            report.broken.push(Broken { scenario: name, reason });
        }
    }
    let (cores, took) = watch.others();
    report.others.push(Others { scenario: name, cores, took_s: took.as_secs_f64() });
}
