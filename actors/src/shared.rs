//! What every actor of the hub is given: the store, its writer, time and chance, metrics, the registry.

use std::time::Duration;

use actix::{Arbiter, ArbiterHandle};

use crate::kernel::{Mailbox, Registry, Sources, Terms, start};
use crate::metrics::Metrics;
use crate::store::Db;
use crate::writer::Writer;

/// What every actor of the hub is given.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) db: Db,
    pub(crate) writer: Mailbox<Writer>,
    pub(crate) sources: Sources,
    pub(crate) metrics: Metrics,
    pub(crate) registry: Registry,
    /// Where actors run that answer the HTTP layer.
    pub(crate) front: ArbiterHandle,
}

/// How long an ask waits: below the 5 s within which X must have its answer.
pub(crate) const ASK_DEADLINE: Duration = Duration::from_millis(4500);
/// How many asks may wait for the writer.
const WRITER_CAPACITY: usize = 8192;

impl Shared {
    /// Starts the writer on an arbiter of its own.
    pub(crate) fn start(db: Db, sources: Sources) -> Self {
        let metrics = Metrics::default();
        let registry = Registry::default();
        let terms =
            Terms { kind: "writer", key: String::new(), capacity: WRITER_CAPACITY, deadline: ASK_DEADLINE };
        let (writer_db, writer_metrics) = (db.clone(), metrics.clone());
        let writer = start(&Arbiter::new().handle(), &registry, terms, move |_| {
            Writer::new(writer_db, writer_metrics)
        });
        Self { db, writer, sources, metrics, registry, front: Arbiter::new().handle() }
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
