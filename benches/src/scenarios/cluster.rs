//! Durable intake on PostgreSQL, by one, two and three replicas, beside the embedded database and beside what
//! PostgreSQL does with the same rows by itself.

use std::time::Duration;

use anyhow::Result;

use crate::bench::Bench;
use crate::database::Database;
use crate::hub::{Hub, HubOptions};
use crate::load::{self, Tally};
use crate::pgbench::Pgbench;
use crate::postgres::Server;
use crate::report::{Aim, Figure};
use crate::stats::count;
use crate::world::{Pair, World};

pub(crate) const NAME: &str = "cluster";

const CONNECTIONS: [usize; 2] = [64, 256];
const MOST: usize = 256;
const N_REPLICAS: usize = 3;
/// Until a new replica has its share and the others have let go of it.
const SHARING: Duration = Duration::from_secs(1);
/// More than any hub takes in a second; what is not sent is thrown away.
const N_PER_SECOND: usize = 20_000;
const N_CUSTOMERS: usize = 2000;
const STATEMENTS: &str = "pg_stat_statements";

/// Events a second, by the places of [`CONNECTIONS`].
type Rates = [Vec<f64>; 2];

/// The length of a round, for everyone in it. Whole seconds, since `pgbench` knows no others.
fn span(bench: &Bench) -> Duration {
    if bench.is_quick { Duration::from_secs(1) } else { Duration::from_secs(2) }
}

#[derive(Default)]
struct Rounds {
    /// By the number of replicas.
    replicas: [Rates; N_REPLICAS],
    embedded: Rates,
    one_connection: Vec<f64>,
    pgbench: Rates,
    syncs: Vec<f64>,
}

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let mut rounds = Rounds::default();
    {
        let server = Server::start(&bench.folder, "").await?;
        let world = start(bench, &server).await?;
        let embedded = World::start(bench, 1, &HubOptions::default()).await?;
        let span = span(bench);
        take(&embedded, &[], 64, span / 3).await?;
        take(&world, &[], 64, span / 3).await?;
        let pgbench = Pgbench::prepare(&server, "hub", "scratch", N_CUSTOMERS).await?;
        for _ in bench.rounds() {
            rounds.syncs.push(bench.syncs_per_second()?);
            for (at, n_clients) in CONNECTIONS.into_iter().enumerate() {
                rounds.pgbench[at].push(pgbench.transactions_per_second(n_clients, span)?);
            }
            round(&world, &embedded, span, &mut rounds).await?;
        }
    }
    let mut figures = rounds.figures();
    figures.extend(costs(bench).await?);
    Ok(figures)
}

async fn start(bench: &Bench, server: &Server) -> Result<World> {
    let options = HubOptions { database_url: Some(server.create("hub").await?), ..HubOptions::default() };
    World::start(bench, 1, &options).await
}

/// Everything once, with one replica more each time.
async fn round(world: &World, embedded: &World, span: Duration, rounds: &mut Rounds) -> Result<()> {
    rounds.one_connection.push(take(world, &[], 1, span).await?.rate());
    for (at, n_connections) in CONNECTIONS.into_iter().enumerate() {
        rounds.embedded[at].push(take(embedded, &[], n_connections, span).await?.rate());
    }
    let mut others: Vec<Hub> = Vec::new();
    for rates in &mut rounds.replicas {
        for (at, n_connections) in CONNECTIONS.into_iter().enumerate() {
            rates[at].push(take(world, &others, n_connections, span).await?.rate());
        }
        if others.len() + 1 < N_REPLICAS {
            others.push(world.home.serve().await?);
            tokio::time::sleep(SHARING).await;
        }
    }
    for mut other in others {
        other.stop().await?;
    }
    Ok(())
}

/// New messages over so many connections, spread over the world's hub and the others.
async fn take(world: &World, others: &[Hub], n_connections: usize, span: Duration) -> Result<Tally> {
    let per_second = if n_connections == 1 { N_PER_SECOND / 4 } else { N_PER_SECOND };
    let n_messages = per_second * usize::try_from(span.as_millis())? / 1000;
    let batch = world.write(n_messages, |at| Pair { company: 0, customer: at % N_CUSTOMERS })?;
    let addresses: Vec<_> = std::iter::once(&world.hub).chain(others).map(|hub| hub.address).collect();
    load::closed_over(&addresses, n_connections, span, &batch).await?.checked(NAME)
}

impl Rounds {
    fn figures(&self) -> Vec<Figure> {
        let [one, ..] = &self.replicas;
        let mut figures = Vec::new();
        for (at, n_connections) in CONNECTIONS.into_iter().enumerate() {
            for (n_others, rates) in self.replicas.iter().enumerate() {
                let name = match n_others {
                    0 => format!("1 replica, {n_connections} connections"),
                    n => format!("{} replicas, {n_connections} connections", n + 1),
                };
                let figure = Figure::new(NAME, name, "events/s", &rates[at]);
                figures.push(match n_others {
                    0 => figure.beside("events/s on SQLite", &self.embedded[at]),
                    _ => figure.beside("events/s by 1 replica", &one[at]),
                });
            }
        }
        for (at, n_connections) in CONNECTIONS.into_iter().enumerate() {
            let name = format!("1 replica, {n_connections} connections, by one commit per event");
            figures.push(
                Figure::new(NAME, name, "events/s", &one[at])
                    .beside("tx/s by as many clients of pgbench", &self.pgbench[at]),
            );
        }
        let best = best_of(one);
        let best = |name: &str| Figure::new(NAME, format!("1 replica, {name}"), "events/s", best);
        figures.push(
            best("the better of both, by one connection")
                .beside("events/s with 1 connection", &self.one_connection)
                .aims(Aim::AtLeast(8000.0)),
        );
        figures.push(best("the better of both, by the disk").beside("fdatasync/s", &self.syncs));
        figures
    }
}

/// The rounds with the greater median.
fn best_of(rates: &Rates) -> &[f64] {
    let median = |rounds: &[f64]| crate::stats::Spread::of(rounds).median;
    if median(&rates[0]) >= median(&rates[1]) { &rates[0] } else { &rates[1] }
}

/// Statements and commits per accepted event by PostgreSQL's own count. On a server of its own: counting
/// statements costs something, and what was counted is whole only when the hub's connections have ended.
async fn costs(bench: &Bench) -> Result<Vec<Figure>> {
    let counting = Server::start(&bench.folder, STATEMENTS).await;
    let (server, has_statements) = match counting {
        Ok(server) => (server, true),
        Err(_) => (Server::start(&bench.folder, "").await?, false),
    };
    let mut world = start(bench, &server).await?;
    let mut observer = Database::open(&server.url("postgres")).await?;
    if has_statements {
        observer.run(format!("CREATE EXTENSION {STATEMENTS}")).await?;
    }
    // The hub's own start is not counted.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = Counts::read(&mut observer, has_statements).await?;
    let tally = take(&world, &[], MOST, span(bench) * 2).await?;
    let after = Counts::read(&mut observer, has_statements).await?;
    world.hub.stop().await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ended = Counts::read(&mut observer, has_statements).await?;
    let n_events = count(tally.n_ok);
    let figure = |what: &str, value: f64| {
        Figure::new(NAME, format!("1 replica, {MOST} connections, {what}"), "per event", &[value / n_events])
    };
    let mut figures = vec![figure("commits", ended.n_commits - before.n_commits).aims(Aim::AtMost(0.05))];
    if has_statements {
        let statements = figure("statements", after.n_statements - before.n_statements);
        figures.insert(0, statements.aims(Aim::AtMost(2.0)));
    }
    Ok(figures)
}

/// What the hub's database has seen so far.
struct Counts {
    n_commits: f64,
    n_statements: f64,
}

impl Counts {
    async fn read(observer: &mut Database, has_statements: bool) -> Result<Self> {
        let commits = "SELECT CAST(xact_commit AS TEXT) FROM pg_stat_database WHERE datname = 'hub'";
        let statements = format!(
            "SELECT CAST(SUM(calls) AS TEXT) FROM {STATEMENTS} WHERE dbid = (SELECT oid FROM pg_database WHERE datname = 'hub')"
        );
        let n_statements = if has_statements { observer.number(statements).await? } else { 0.0 };
        Ok(Self { n_commits: observer.number(commits).await?, n_statements })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_is_that_with_the_greater_median() {
        let rates: Rates = [vec![1.0, 9.0, 2.0], vec![3.0, 3.0, 3.0]];
        assert_eq!(best_of(&rates), [3.0, 3.0, 3.0]);
    }
}
