//! A message as a hub has stored it, and the statements that store another one like it.

use anyhow::Result;

use crate::database::{Database, Row, Swap};

/// Far from the ids of the hub's own rows: the length counts, and that they grow.
const FIRST_ID: u64 = 1_950_000_000_000_000_000;
const FIRST_CUSTOMER: u64 = 950_000_000_000;

/// The rows that one message takes: a delivery, and the lane that it waits in.
pub(crate) struct Stored {
    delivery: Row,
    lane: Row,
}

impl Stored {
    /// Of some message from X that the hub of that database has accepted.
    pub(crate) async fn any(database: &mut Database) -> Result<Self> {
        let delivery = database.row("deliveries", "direction = 'to_servicenow'").await?;
        let lane = database.row("lanes", &format!("id = '{}'", delivery.get("lane_id"))).await?;
        Ok(Self { delivery, lane })
    }

    /// Two statements, for the delivery and for its lane. `number` and `customer` are SQL expressions of whole
    /// numbers: which message it is, and whose. `more` is swapped, too.
    pub(crate) fn inserts(mut self, number: &str, customer: &str, more: &[Swap]) -> [String; 2] {
        let id = format!("'01950000-0000-7000-8000-' || substr(CAST(1000000000000 + {number} AS TEXT), 2)");
        let mut swaps = vec![
            Swap::new(self.delivery.get("id"), id),
            Swap::new(self.delivery.get("source_id"), format!("CAST({FIRST_ID} + {number} AS TEXT)")),
            Swap::new(
                self.delivery.get("customer_id"),
                format!("CAST({FIRST_CUSTOMER} + {customer} AS TEXT)"),
            ),
        ];
        swaps.extend_from_slice(more);
        self.delivery.rewind();
        self.lane.set("n_pending", "1");
        self.lane.set("ready_at", self.delivery.get("created_at"));
        let (columns, values) = self.delivery.copy(&swaps);
        let (lane_columns, lane_values) = self.lane.copy(&swaps);
        [
            format!("INSERT INTO deliveries ({columns}) VALUES ({values})"),
            format!(
                "INSERT INTO lanes ({lane_columns}) VALUES ({lane_values}) ON CONFLICT (id) DO UPDATE SET n_pending = lanes.n_pending + excluded.n_pending, ready_at = COALESCE(lanes.ready_at, excluded.ready_at)"
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_message_gets_rows_of_its_own() {
        let mut database = Database::open("sqlite::memory:").await.unwrap();
        for sql in [
            "CREATE TABLE deliveries (id TEXT PRIMARY KEY, direction TEXT, status TEXT, attempts INTEGER, fence INTEGER, source_id TEXT UNIQUE, customer_id TEXT, lane_id TEXT, created_at INTEGER, next_attempt_at INTEGER, delivered_at INTEGER) STRICT",
            "CREATE TABLE lanes (id TEXT PRIMARY KEY, n_pending INTEGER, ready_at INTEGER) STRICT",
            "INSERT INTO deliveries VALUES ('7', 'to_servicenow', 'delivered', 3, 9, '19', '90', 'a:90', 5, 6, 8)",
            "INSERT INTO lanes VALUES ('a:90', 0, NULL)",
        ] {
            database.run(sql).await.unwrap();
        }
        for (number, customer) in [("1", "4"), ("2", "4")] {
            let stored = Stored::any(&mut database).await.unwrap();
            for insert in stored.inserts(number, customer, &[]) {
                database.run(insert).await.unwrap();
            }
        }
        let all = "SELECT CAST(COUNT(*) AS TEXT) FROM deliveries WHERE status = 'queued' AND attempts = 0";
        assert!((database.number(all).await.unwrap() - 2.0).abs() < 1e-9);
        let waiting = "SELECT CAST(n_pending AS TEXT) FROM lanes WHERE id = 'a:950000000004'";
        assert!((database.number(waiting).await.unwrap() - 2.0).abs() < 1e-9);
    }
}
