//! What PostgreSQL itself does with the same rows when each has a transaction of its own, told by `pgbench`.

use std::cell::Cell;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::database::{Database, Swap};
use crate::postgres::{Server, run};
use crate::stored::Stored;

/// Each client has numbers of its own, however many they are.
const MOST_CLIENTS: usize = 256;
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

    /// Transactions a second of so many clients at a time, for that many whole seconds.
    pub(crate) fn transactions_per_second(&self, n_clients: usize, span: Duration) -> Result<f64> {
        let first = self.n_rounds.get() * ROUND;
        self.n_rounds.set(self.n_rounds.get() + 1);
        let mut pgbench = self.server.client("pgbench");
        pgbench.args(["-n", "-M", "prepared", "-j", "2", "-c", &n_clients.min(MOST_CLIENTS).to_string()]);
        pgbench.args(["-T", &span.as_secs().max(1).to_string(), "-D", &format!("i={first}"), "-f"]);
        let report = run(pgbench.arg(self.script.path()).arg(self.database))?;
        tps_in(&report).with_context(|| format!("pgbench told no rate: {report}"))
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

fn tps_in(report: &str) -> Option<f64> {
    let line = report.lines().find(|line| line.starts_with("tps = "))?;
    line.split_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read() {
        let report = "transaction type: x\nlatency average = 5 ms\ntps = 1234.500000 (without initial connection time)\n";
        assert_eq!(tps_in(report), Some(1234.5));
        assert_eq!(tps_in("nothing"), None);
    }
}
