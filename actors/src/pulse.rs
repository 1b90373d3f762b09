//! How the hub fares: readiness, and the metrics that are read at the moment of asking.

mod backlog;

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

pub(crate) use backlog::Backlog;

use crate::kernel::KindSummary;
use crate::metrics::{Kind, n_panics, write_family};
use crate::shared::Shared;
use crate::store::{Db, StoreError};
use crate::writer::Flush;

/// How long a check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// Kinds of actors, so that every series exists from the start.
const KINDS: [&str; 17] = [
    "writer",
    "token_store",
    "accounts",
    "directory",
    "records",
    "replayer",
    "intake",
    "outbox",
    "sweeper",
    "janitor",
    "porter",
    "checkpointer",
    "lease_keeper",
    "switchboard",
    "webhook_watch",
    "instance_delivery",
    "account_delivery",
];
const STATUSES: [&str; 4] = ["queued", "sending", "retrying", "blocked"];
const INSTANCE_STATUSES: [&str; 6] =
    ["ok", "unreachable", "sleeping", "needs_auth", "rate_limited", "unchecked"];

/// What one check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// It works.
    Ok,
    /// It does not.
    Failing,
    /// It cannot be told.
    Unknown,
}

impl Check {
    fn of(works: bool) -> Self {
        if works { Self::Ok } else { Self::Failing }
    }
}

/// This process's own ability to accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Checks {
    /// The database answers.
    pub database: Check,
    /// The writer commits.
    pub writer: Check,
    /// No actor was taken out of service.
    pub actors: Check,
    /// The webhook at X, as last seen. Told, and no reason to be unready.
    pub webhook: Check,
}

impl Checks {
    /// Whether this process can accept.
    pub fn is_ready(&self) -> bool {
        [self.database, self.writer, self.actors].iter().all(|check| *check == Check::Ok)
    }
}

/// Looks whether this process can accept, in a bounded time.
pub(crate) async fn check(shared: &Shared, webhook: Check) -> Checks {
    let database = tokio::time::timeout(CHECK_TIMEOUT, ping(&shared.db));
    let writer = tokio::time::timeout(CHECK_TIMEOUT, shared.writer.ask(Flush));
    let (database, writer) = futures_util::future::join(database, writer).await;
    let out_of_service = shared.registry.out_of_service();
    Checks {
        database: Check::of(matches!(database, Ok(Ok(())))),
        writer: Check::of(matches!(writer, Ok(Ok(Ok(()))))),
        actors: Check::of(out_of_service.is_empty()),
        webhook,
    }
}

statements! {
    PING = "SELECT 1";
}

async fn ping(db: &Db) -> Result<(), StoreError> {
    match db {
        Db::Sqlite(db) => {
            sqlx::query(PING.sqlite).execute(&db.reads).await?;
        }
        Db::Postgres(pool) => {
            sqlx::query(PING.postgres).execute(pool).await?;
        }
    }
    Ok(())
}

/// All metrics as `OpenMetrics` text.
pub(crate) async fn metrics_text(shared: &Shared, version: &str) -> String {
    let mut text = shared.metrics.encode();
    write_database(&mut text, shared).await;
    let n_held = to_f64(i64::try_from(shared.leases.n_held()).unwrap_or(i64::MAX));
    let help = "Shards that this replica delivers for; the sum of all replicas is 256.";
    write_family(&mut text, "shards_held", Kind::Gauge, help, [(String::new(), n_held)]);
    write_actors(&mut text, shared);
    let panics = u32::try_from(n_panics()).unwrap_or(u32::MAX);
    let help = "Panics of the process.";
    write_family(&mut text, "panics", Kind::Counter, help, [(String::new(), panics.into())]);
    let build = format!("version=\"{version}\"");
    write_family(&mut text, "build", Kind::Info, "The running program.", [(build, 1.0)]);
    let _written = writeln!(text, "# EOF");
    text
}

/// What is told of the database rather than of this process.
const OF_ALL: &str = "of the whole database, the same from every replica: use max, not sum";

async fn write_database(text: &mut String, shared: &Shared) {
    let seen = shared.backlog.read(&shared.db).await;
    let help = format!("Deliveries that wait, {OF_ALL}.");
    write_family(text, "queue_depth", Kind::Gauge, &help, depths_of(seen.depths.as_deref()));

    let now_ms = shared.sources.now_ms();
    let overdue = seen.oldest_due.map(|oldest| {
        let overdue_ms = oldest.0.map_or(0, |due_ms| (now_ms - due_ms).max(0));
        (String::new(), to_f64(overdue_ms) / 1000.0)
    });
    let help = format!("How long the oldest delivery that could be tried has been waiting, {OF_ALL}.");
    write_family(text, "oldest_due_seconds", Kind::Gauge, &help, overdue);

    let help = format!("ServiceNow instances by status, {OF_ALL}.");
    write_family(text, "instances", Kind::Gauge, &help, instances_of(seen.instances.as_deref()));
}

/// No samples where nothing was read yet: 0 would be a claim.
fn depths_of(pending: Option<&[(String, String, i64)]>) -> Vec<(String, f64)> {
    let Some(pending) = pending else { return Vec::new() };
    let mut rows = Vec::new();
    for direction in ["to_servicenow", "to_x"] {
        for status in STATUSES {
            let is_it = |row: &&(String, String, i64)| row.0 == direction && row.1 == status;
            let n = pending.iter().find(is_it).map_or(0, |row| row.2);
            rows.push((format!("direction=\"{direction}\",status=\"{status}\""), to_f64(n)));
        }
    }
    rows
}

fn instances_of(by_status: Option<&[(String, i64)]>) -> Vec<(String, f64)> {
    let Some(by_status) = by_status else { return Vec::new() };
    let n_of = |status| by_status.iter().find(|row| row.0 == status).map_or(0, |row| row.1);
    INSTANCE_STATUSES.map(|status| (format!("status=\"{status}\""), to_f64(n_of(status)))).into()
}

fn write_actors(text: &mut String, shared: &Shared) {
    let summary = shared.registry.summary();
    let counts = |labels: &str, count: fn(&KindSummary) -> u64| {
        KINDS.map(|kind| {
            let n = summary.get(kind).map_or(0, count);
            (format!("actor=\"{kind}\"{labels}"), to_f64(i64::try_from(n).unwrap_or(i64::MAX)))
        })
    };
    let actors = counts("", |kind| kind.n_actors as u64);
    write_family(text, "actors", Kind::Gauge, "Actors that live.", actors);
    let restarts = counts(",reason=\"panic\"", |kind| kind.restarts);
    write_family(text, "actor_restarts", Kind::Counter, "Restarts of actors.", restarts);
    let depths = counts("", |kind| kind.depth as u64);
    write_family(text, "actor_mailbox_depth", Kind::Gauge, "Asks waiting for an answer.", depths);
}

/// Counts and milliseconds stay far below what a double holds exactly.
fn to_f64(n: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    let float = n as f64;
    float
}
