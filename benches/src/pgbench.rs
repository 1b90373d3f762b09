//! What PostgreSQL itself does with the same rows when each has a transaction of its own, told by `pgbench`.

use std::cell::Cell;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::database::{Database, Row, Swap};
use crate::postgres::{Server, run};

const N_CLIENTS: u64 = 64;
/// Far from the ids of the hub's own rows: the length counts, and that they grow.
const FIRST_ID: u64 = 1_950_000_000_000_000_000;
const FIRST_CUSTOMER: u64 = 950_000_000_000;
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
        let delivery = copy.row("deliveries", "direction = 'to_servicenow'").await?;
        let lane = copy.row("lanes", &format!("id = '{}'", delivery.get("lane_id"))).await?;
        let script = tempfile::NamedTempFile::new()?;
        fs::write(script.path(), script_of(delivery, lane, n_customers))?;
        Ok(Self { server, database, script, n_rounds: Cell::new(0) })
    }

    /// Transactions a second for about that long.
    pub(crate) fn transactions_per_second(&self, span: Duration) -> Result<f64> {
        let first = self.n_rounds.get() * ROUND;
        self.n_rounds.set(self.n_rounds.get() + 1);
        let mut pgbench = self.server.client("pgbench");
        pgbench.args(["-n", "-M", "prepared", "-j", "2", "-c", &N_CLIENTS.to_string()]);
        pgbench.args(["-T", &span.as_secs().max(1).to_string(), "-D", &format!("i={first}"), "-f"]);
        let report = run(pgbench.arg(self.script.path()).arg(self.database))?;
        tps_in(&report).with_context(|| format!("pgbench told no rate: {report}"))
    }
}

/// One row and its lane, in a transaction: the rows that the hub writes for a message, with its columns.
fn script_of(mut delivery: Row, mut lane: Row, n_customers: usize) -> String {
    let id = delivery.get("id").to_owned();
    let message = delivery.get("source_id").to_owned();
    let customer = delivery.get("customer_id").to_owned();
    delivery.rewind();
    lane.set("n_pending", "1");
    lane.set("ready_at", delivery.get("created_at"));
    let swaps = [
        Swap::new(
            id,
            format!(
                "CAST('01950000-0000-7000-8000-' || lpad(CAST({} AS TEXT), 12, '0') AS TEXT)",
                number("n")
            ),
        ),
        Swap::new(message, format!("CAST({FIRST_ID} + {} AS TEXT)", number("n"))),
        Swap::new(customer, format!("CAST({FIRST_CUSTOMER} + {} AS TEXT)", number("c"))),
        // What follows a colon counts as a variable, even within quotes.
        Swap::new(":", "chr(58)"),
    ];
    let (columns, values) = delivery.copy(&swaps);
    let (lane_columns, lane_values) = lane.copy(&swaps);
    format!(
        "\\set i :i + 1\n\
         \\set n :i * {N_CLIENTS} + :client_id\n\
         \\set c random(0, {})\n\
         BEGIN;\n\
         INSERT INTO deliveries ({columns}) VALUES ({values});\n\
         INSERT INTO lanes ({lane_columns}) VALUES ({lane_values}) ON CONFLICT (id) DO UPDATE SET n_pending = lanes.n_pending + excluded.n_pending, ready_at = COALESCE(lanes.ready_at, excluded.ready_at);\n\
         COMMIT;\n",
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
