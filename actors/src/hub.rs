//! The hub: opens the store, starts the actors in the order in which they need each other, and stops
//! them in reverse.

use std::time::Duration;

use actix::{Arbiter, ArbiterHandle};

use crate::domain::secret::Secret;
use crate::kernel::{Mailbox, Registry, Sources, Terms, start};
use crate::metrics::Metrics;
use crate::store::{Db, SchemaState, StoreError};
use crate::token_store::Tokens;
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

/// What the hub is to be.
#[derive(Clone)]
pub struct HubSettings {
    /// `sqlite://…` or `postgres://…`.
    pub database_url: Secret,
}

/// Why the hub did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// So many migrations are missing on a server database, which is not migrated unasked.
    #[error(
        "the schema is behind by {0} migration(s); run `casewire migrate`, or `casewire serve --migrate`"
    )]
    SchemaBehind(usize),
}

/// The running actors: what the edge asks.
#[derive(Clone)]
pub struct Hub {
    shared: Shared,
    tokens: Tokens,
}

impl Hub {
    /// Opens the store, brings an embedded one up to date, and starts the actors in the order in which
    /// they need each other.
    pub async fn start(settings: HubSettings, sources: Sources) -> Result<Self, StartError> {
        let db = Db::connect(settings.database_url.expose()).await?;
        if db.is_embedded() {
            db.migrate().await?;
        }
        if let SchemaState::Behind(n_missing) = db.schema().await? {
            return Err(StartError::SchemaBehind(n_missing));
        }
        let shared = Shared::start(db, sources);
        Ok(Self { shared, tokens: Tokens })
    }

    /// Tokens: checking them, issuing them, ending them.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// What is measured.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Which actors there are and how they fare.
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// Time, ids and randomness.
    pub fn sources(&self) -> &Sources {
        &self.shared.sources
    }

    /// Stops the actors in reverse order and closes the store.
    pub async fn stop(&self) {
        self.shared.db.close().await;
    }
}

/// Opens a database for a test of an actor.
#[cfg(test)]
pub(crate) async fn shared_for_tests(folder: &std::path::Path) -> Result<Shared, StoreError> {
    let db = Db::connect(&format!("sqlite://{}/hub.db", folder.display())).await?;
    db.migrate().await?;
    let clock = std::sync::Arc::new(crate::kernel::sources::ManualClock::at(1_700_000_000_000));
    Ok(Shared::start(db, Sources::seeded(clock, 1)))
}
