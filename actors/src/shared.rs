//! What every actor of the hub is given: the store, its writer, time and chance, metrics, the registry.

use std::time::Duration;

use actix::{Arbiter, ArbiterHandle};

use crate::cluster::leases::Leases;
use crate::cluster::signals::{Outgoing, Signals};
use crate::kernel::{Mailbox, Registry, Sources, Terms, start};
use crate::metrics::Metrics;
use crate::pulse::Backlog;
use crate::store::Db;
use crate::store::turns::Turns;
use crate::writer::Writer;

/// What every actor of the hub is given.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) db: Db,
    pub(crate) writer: Mailbox<Writer>,
    pub(crate) sources: Sources,
    pub(crate) metrics: Metrics,
    pub(crate) registry: Registry,
    /// For which instances and accounts this process delivers.
    pub(crate) leases: Leases,
    /// What the database holds, as last read for the metrics.
    pub(crate) backlog: Backlog,
    /// For lists, counts and the like.
    pub(crate) turns: Turns,
    /// What other replicas are told.
    pub(crate) signals: Signals,
    /// Where actors run that answer the HTTP layer.
    pub(crate) front: ArbiterHandle,
    /// When this process began to work on the database, in epoch milliseconds.
    pub(crate) began_at_ms: i64,
}

/// How long an ask waits: below the 5 s within which X must have its answer.
pub(crate) const ASK_DEADLINE: Duration = Duration::from_millis(4500);
/// How many asks may wait for the writer.
const WRITER_CAPACITY: usize = 8192;

impl Shared {
    /// Starts the writer on an arbiter of its own. For a process that is alone, or that delivers nothing.
    pub(crate) fn start(db: Db, sources: Sources) -> Self {
        Self::start_with(db, sources, Leases::alone(), Signals::to_nobody())
    }

    /// The same for a replica on a server database; also gives the signals that wait to be sent.
    pub(crate) fn start_replica(db: Db, sources: Sources) -> (Self, Outgoing) {
        let leases = Leases::of_replica(sources.id());
        let (signals, outgoing) = Signals::to_others();
        (Self::start_with(db, sources, leases, signals), outgoing)
    }

    fn start_with(db: Db, sources: Sources, leases: Leases, signals: Signals) -> Self {
        let metrics = Metrics::default();
        if leases.replica().is_none() {
            metrics.set_replicas(1);
        }
        let registry = Registry::default();
        let terms =
            Terms { kind: "writer", key: String::new(), capacity: WRITER_CAPACITY, deadline: ASK_DEADLINE };
        let (writer_db, writer_metrics, replica) = (db.clone(), metrics.clone(), leases.clone());
        let writer = start(&Arbiter::new().handle(), &registry, terms, move |_| {
            Writer::new(writer_db, writer_metrics, replica)
        });
        Self {
            began_at_ms: sources.now_ms(),
            turns: Turns::of(&db),
            db,
            writer,
            sources,
            metrics,
            registry,
            leases,
            signals,
            backlog: Backlog::default(),
            front: Arbiter::new().handle(),
        }
    }

    /// Terms for the only actor of a kind that answers the HTTP layer.
    pub(crate) fn front_terms(kind: &'static str, capacity: usize) -> Terms {
        Terms { kind, key: String::new(), capacity, deadline: ASK_DEADLINE }
    }
}

/// Opens a database for a test of an actor.
#[cfg(test)]
pub(crate) async fn shared_for_tests(folder: &std::path::Path) -> Result<Shared, crate::store::StoreError> {
    let db = Db::connect(&format!("sqlite://{}/hub.db", folder.display())).await?;
    db.migrate().await?;
    let clock = std::sync::Arc::new(crate::kernel::sources::ManualClock::at(1_700_000_000_000));
    Ok(Shared::start(db, Sources::seeded(clock, 1)))
}
