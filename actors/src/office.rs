//! What commands use: the store, its writer and the actors of users and tokens, and nothing that delivers.
//!
//! It works beside a running hub, on the embedded database too. What ends a token takes effect in the hub
//! before it returns.

use std::sync::Arc;

use crate::accounts::Accounts;
use crate::cluster::follow_clock;
use crate::directory::OnChanged;
use crate::hub::{HubSettings, Migrate, StartError, open};
use crate::kernel::{Mailbox, Sources};
use crate::records::{Archive, Records, start_records};
use crate::replayer::{Carrier, Replayer, start_replayer};
use crate::shared::Shared;
use crate::store::Db;
use crate::token_store::{Company, Tokens};
use crate::webhooks::Webhooks;

/// The office.
pub struct Office {
    shared: Shared,
    tokens: Tokens,
    accounts: Mailbox<Accounts>,
    records: Mailbox<Records>,
    webhooks: Webhooks,
    retry_for_ms: i64,
}

/// Carries bulk replays on for as long as it is held, beside a running hub or without one.
pub struct Replaying(
    #[expect(dead_code, reason = "the actor runs while its mailbox is held")] Mailbox<Replayer>,
);

impl Office {
    /// Opens the store, brings an embedded one up to date, and starts what commands need.
    pub async fn open(settings: HubSettings, sources: Sources) -> Result<Self, StartError> {
        let db = open(&settings).await?;
        follow_clock(&db, &sources).await?;
        let shared = Shared::start(db, sources);
        let tokens = Tokens::start(&shared, settings.tokens, Company::Others);
        let accounts = Accounts::start(&shared, &tokens, settings.login_attempts);
        let retry_for_ms = i64::try_from(settings.traffic.retry_for.as_millis()).unwrap_or(i64::MAX);
        // A running hub sees by itself, within a second, what a command put back.
        let on_changed: OnChanged = Arc::new(|_| ());
        let archive = Archive { shared: shared.clone(), retry_for_ms, on_changed, replayer: None };
        let records = start_records(archive);
        let webhooks = Webhooks::new(&shared, &settings.traffic)?;
        Ok(Self { shared, tokens, accounts, records, webhooks, retry_for_ms })
    }

    /// Users.
    pub fn accounts(&self) -> &Mailbox<Accounts> {
        &self.accounts
    }

    /// Tokens.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Records of deliveries.
    pub fn records(&self) -> &Mailbox<Records> {
        &self.records
    }

    /// Carries bulk replays on until what it gives is dropped.
    pub fn carry_replays_on(&self) -> Replaying {
        Replaying(start_replayer(Carrier {
            shared: self.shared.clone(),
            retry_for_ms: self.retry_for_ms,
            on_changed: Arc::new(|_| ()),
            may_run: Arc::new(|| true),
        }))
    }

    /// The webhook at X, and the subscriptions of the accounts.
    pub fn webhooks(&self) -> &Webhooks {
        &self.webhooks
    }

    /// Closes the store.
    pub async fn close(self) {
        self.shared.db.close().await;
    }
}

/// Brings the database to the newest schema. Tells how many migrations it applied.
pub async fn migrate(settings: &HubSettings) -> Result<usize, StartError> {
    let db = Db::connect(settings.database_url.expose()).await?;
    let n_applied = db.migrate().await?;
    db.close().await;
    // Says so if the schema is newer than this program.
    let settings = HubSettings { migrate: Migrate::Embedded, ..settings.clone() };
    open(&settings).await?.close().await;
    Ok(n_applied)
}
