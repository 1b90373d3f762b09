//! The hub: opens the store, starts the actors in the order in which they need each other, and stops
//! them in reverse.

mod callbacks;
pub(crate) mod key;
pub(crate) mod obstacles;
pub(crate) mod traffic;

use std::sync::Arc;
use std::time::Duration;

use crate::accounts::{Accounts, AttemptLimit};
use crate::checkpointer::Checkpointer;
use crate::cluster::{Cluster, follow_clock};
use crate::directory::{Directory, Refresh};
use crate::domain::secret::Secret;
use crate::domain::token_policy::TokenPolicy;
use crate::intake::Intake;
use crate::kernel::{Mailbox, Registry, Sources, start};
use crate::metrics::Metrics;
use crate::net::ClientError;
use crate::outbox::Outbox;
use crate::pulse::{self, Checks};
use crate::records::Records;
use crate::shared::Shared;
use crate::store::copy::refuse_moved;
use crate::store::lock::ServeLock;
use crate::store::{Db, SchemaState, StoreError, server};
use crate::token_store::{Company, Tokens};
use crate::writer::Flush;
pub use key::EarlierKey;
use traffic::Traffic;
pub use traffic::{TrafficSettings, WebhookKey};

/// What the hub is to be.
#[derive(Clone)]
pub struct HubSettings {
    /// `sqlite://…` or `postgres://…`.
    pub database_url: Secret,
    /// How messages are carried.
    pub traffic: TrafficSettings,
    /// Which databases are brought up to date at the start.
    pub migrate: Migrate,
    /// What becomes of what a key sealed that is not given any more.
    pub earlier_key: EarlierKey,
    /// How long tokens live, and how many a user may have.
    pub tokens: TokenPolicy,
    /// How many failed logins are borne.
    pub login_attempts: AttemptLimit,
}

/// Which databases are brought up to date at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Migrate {
    /// An embedded one; a server database whose schema is behind is refused.
    #[default]
    Embedded,
    /// Any.
    Any,
}

/// Why the hub did not start.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// So many migrations are missing on a server database, which is not migrated unasked.
    #[error(
        "the schema is behind by {0} migration(s); run `casewire migrate`, or `casewire serve --migrate`"
    )]
    SchemaBehind(usize),
    /// The schema was made by a newer version of this program.
    #[error("the schema is newer than this program; run a newer casewire")]
    SchemaAhead,
    /// The sealing key is not that of the database.
    #[error(
        "secrets.key: it is not the key that seals the credentials in this database; give every replica the same \
         one (that of an embedded database stands in the file beside it, its name ending in .key). To change the \
         key, keep the earlier one in secrets.previous_keys. If it is lost, `casewire serve --key-lost` goes on \
         with the new one, and what the lost one sealed must be entered again"
    )]
    OtherKey,
    /// No HTTP client can be made.
    #[error(transparent)]
    Client(Arc<ClientError>),
}

impl StartError {
    /// Whether a setting is to be mended, rather than something out there.
    pub fn is_misuse(&self) -> bool {
        matches!(self, Self::OtherKey)
    }
}

impl From<ClientError> for StartError {
    fn from(error: ClientError) -> Self {
        Self::Client(Arc::new(error))
    }
}

/// How long closing the store may take: with a server that does not answer, for ever.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// The running actors: what the edge asks.
#[derive(Clone)]
pub struct Hub {
    shared: Shared,
    tokens: Tokens,
    accounts: Mailbox<Accounts>,
    traffic: Traffic,
    // They run as long as somebody holds their mailboxes.
    _checkpointer: Option<Mailbox<Checkpointer>>,
    cluster: Option<Cluster>,
    lock: Option<ServeLock>,
}

impl Hub {
    /// Opens the store, brings an embedded one up to date, and starts the actors in the order in which
    /// they need each other.
    pub async fn start(settings: HubSettings, sources: Sources) -> Result<Self, StartError> {
        // All that the store does at a start is large; nobody who awaits this needs to carry it.
        Box::pin(Self::start_all(settings, sources)).await
    }

    async fn start_all(settings: HubSettings, sources: Sources) -> Result<Self, StartError> {
        let db = open(&settings).await?;
        let lock = ServeLock::take(&db)?;
        refuse_moved(&db).await?;
        for risk in server::risks(&db).await? {
            tracing::warn!("{risk}");
        }
        key::claim(&db, &settings.traffic.sealer, settings.earlier_key).await?;
        follow_clock(&db, &sources).await?;
        let company = if db.is_embedded() { Company::Alone } else { Company::Others };
        let (shared, outgoing) = if db.is_embedded() {
            (Shared::start(db, sources), None)
        } else {
            let (shared, outgoing) = Shared::start_replica(db, sources);
            (shared, Some(outgoing))
        };
        let checkpointer = Checkpointer::for_db(&shared.db).map(|checkpointer| {
            let terms = Shared::front_terms("checkpointer", 8);
            start(&shared.front, &shared.registry, terms, move |_| checkpointer)
        });
        let tokens = Tokens::start(&shared, settings.tokens, company);
        let accounts = Accounts::start(&shared, &tokens, settings.login_attempts);
        let traffic = Traffic::start(&shared, settings.traffic).await?;
        let cluster = outgoing.and_then(|outgoing| Cluster::start(&shared, &traffic, outgoing));
        Ok(Self { shared, tokens, accounts, traffic, _checkpointer: checkpointer, cluster, lock })
    }

    /// Users, and who may log in.
    pub fn accounts(&self) -> &Mailbox<Accounts> {
        &self.accounts
    }

    /// Tokens: checking them, issuing them, ending them.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// What X sent.
    pub fn intake(&self) -> &Mailbox<Intake> {
        &self.traffic.intake
    }

    /// What agents answered.
    pub fn outbox(&self) -> &Mailbox<Outbox> {
        &self.traffic.outbox
    }

    /// Instances and accounts.
    pub fn directory(&self) -> &Mailbox<Directory> {
        &self.traffic.directory
    }

    /// Records of deliveries.
    pub fn records(&self) -> &Mailbox<Records> {
        &self.traffic.records
    }

    /// By which X and the hub know each other.
    pub fn webhook(&self) -> &WebhookKey {
        &self.traffic.webhook
    }

    /// Whether this process can accept.
    pub async fn checks(&self) -> Checks {
        pulse::check(&self.shared, self.traffic.sight.check()).await
    }

    /// All metrics as `OpenMetrics` text.
    pub async fn metrics_text(&self, version: &str) -> String {
        pulse::metrics_text(&self.shared, version).await
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

    /// Stops the actors in reverse order and closes the store. What is under way may take so long to end; what
    /// became of the rest is looked up after the next start.
    pub async fn stop(&self, limit: Duration) {
        let leaving = async {
            if let Some(cluster) = &self.cluster {
                cluster.leave().await;
            }
            self.traffic.fleet.drain().await;
        };
        if tokio::time::timeout(limit, leaving).await.is_err() {
            tracing::warn!("some calls did not end in time; what became of them is looked up later");
        }
        if let Some(cluster) = &self.cluster {
            cluster.end().await;
        }
        // What intake noted of the accounts; at the next start it would only be a little older.
        let _unsaved = self.traffic.directory.ask(Refresh).await;
        let _uncommitted = self.shared.writer.ask(Flush).await;
        self.tokens.note_uses().await;
        if tokio::time::timeout(CLOSE_LIMIT, self.shared.db.close()).await.is_err() {
            tracing::warn!("the database does not let go of its connections");
        }
        if let Some(lock) = &self.lock {
            lock.release();
        }
    }
}

/// Opens the store and sees to its schema.
pub(crate) async fn open(settings: &HubSettings) -> Result<Db, StartError> {
    let db = Db::connect(settings.database_url.expose()).await?;
    if db.is_embedded() || settings.migrate == Migrate::Any {
        db.migrate().await?;
    }
    match db.schema().await? {
        SchemaState::Current => Ok(db),
        SchemaState::Behind(n_missing) => Err(StartError::SchemaBehind(n_missing)),
        SchemaState::Ahead => Err(StartError::SchemaAhead),
    }
}
