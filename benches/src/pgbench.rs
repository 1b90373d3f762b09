//! What PostgreSQL itself does with the same rows when each has a transaction of its own, told by `pgbench`.

use std::cell::Cell;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::database::{Database, Swap};
use crate::postgres::Server;
use crate::stats::count;
use crate::stored::Stored;

/// Each client has numbers of its own, however many they are.
const MOST_CLIENTS: usize = 256;
/// How long new connections are slower than they stay.
const WARMING_SECONDS: usize = 2;
/// More than one client does in a round.
const ROUND: u64 = 1_000_000;

/// A copy of a hub's database, and what is done in it.
pub(crate) struct Pgbench<'a> {
    server: &'a Server,
    database: &'static str,
    script: tempfile::NamedTempFile,
    n_rounds: Cell<u64>,
}

impl<'a> Pgbench<'a> {
    /// Copies the schema and the few rows of `from`, where at least one message was accepted.
    pub(crate) async fn prepare(
        server: &'a Server,
        from: &str,
        database: &'static str,
        n_customers: usize,
    ) -> Result<Self> {
        server.copy(from, database).await?;
        let mut copy = Database::open(&server.url(database)).await?;
        let stored = Stored::any(&mut copy).await?;
        let script = tempfile::NamedTempFile::new()?;
        fs::write(script.path(), script_of(stored, n_customers))?;
        Ok(Self { server, database, script, n_rounds: Cell::new(0) })
    }

    /// Transactions a second of so many clients at a time, for that many whole seconds. What they do while they
    /// get warm is not counted: each has a new process of the server, which knows no table yet, whereas the hub's
    /// connections stay.
    pub(crate) fn transactions_per_second(&self, n_clients: usize, span: Duration) -> Result<f64> {
        let first = self.n_rounds.get() * ROUND;
        self.n_rounds.set(self.n_rounds.get() + 1);
        let mut pgbench = self.server.client("pgbench");
        pgbench.args(["-n", "-M", "prepared", "-j", "2", "-c", &n_clients.min(MOST_CLIENTS).to_string()]);
        let n_counted = usize::try_from(span.as_secs())?.max(1);
        // One to spare: of the last second it does not always tell.
        pgbench.args(["-T", &(WARMING_SECONDS + n_counted + 1).to_string(), "-P", "1"]);
        pgbench.args(["-D", &format!("i={first}"), "-f"]).arg(self.script.path()).arg(self.database);
        let output = pgbench.output().context("cannot run pgbench")?;
        let told = String::from_utf8_lossy(&output.stderr);
        let rate = warm_rate(&told, n_counted).filter(|_| output.status.success());
        rate.with_context(|| format!("pgbench ended with {} and told no rate: {told}", output.status))
    }
}

/// One row and its lane, in a transaction: the rows that the hub writes for a message, with its columns.
fn script_of(stored: Stored, n_customers: usize) -> String {
    // What follows a colon counts as a variable, even within quotes.
    let [delivery, lane] = stored.inserts(&number("n"), &number("c"), &[Swap::new(":", "chr(58)")]);
    format!(
        "\\set i :i + 1\n\
         \\set n :i * {MOST_CLIENTS} + :client_id\n\
         \\set c random(0, {})\n\
         BEGIN;\n{delivery};\n{lane};\nCOMMIT;\n",
        n_customers.saturating_sub(1)
    )
}

fn number(variable: &str) -> String {
    format!("CAST(:{variable} AS BIGINT)")
}

/// The mean of the seconds after the first, of which pgbench tells one a line.
fn warm_rate(progress: &str, n_counted: usize) -> Option<f64> {
    let seconds = progress.lines().filter_map(|line| line.strip_prefix("progress: "));
    let rates = seconds.filter_map(|line| line.split(", ").nth(1)?.strip_suffix(" tps")?.parse().ok());
    let warm: Vec<f64> = rates.skip(WARMING_SECONDS).take(n_counted).collect();
    (warm.len() == n_counted).then(|| warm.iter().sum::<f64>() / count(n_counted as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_warm_seconds() {
        let second = |at: usize, tps: usize| {
            format!("progress: {at}.0 s, {tps}.0 tps, lat 1.044 ms stddev 0.3, 0 failed\n")
        };
        let told: String =
            [(1, 100), (2, 200), (3, 1000), (4, 1100)].into_iter().map(|(at, tps)| second(at, tps)).collect();
        assert_eq!(warm_rate(&told, 2), Some(1050.0));
        assert_eq!(warm_rate(&told, 3), None);
        assert_eq!(warm_rate("nothing", 1), None);
    }
}
