//! The doctor: looks at everything that is usually wrong, and says how to mend it.
//!
//! Checks that do not need each other run at the same time, each for at most [`PATIENCE`]. Nothing is
//! changed but what X tells of the subscriptions, which is stored with the accounts.

mod hub;
mod instances;
mod public;
mod server;
mod x;

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt, stream};

use crate::directory::LoadError;
use crate::hub::{HubSettings, StartError, TrafficSettings, open};
use crate::kernel::Sources;
use crate::net::{self, Reach};
use crate::shared::Shared;
use crate::store::{Db, StoreError};
use crate::webhooks::Webhooks;
use crate::x::XClient;

/// How long one check may take.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How many accounts or instances are looked at at once.
const N_AT_ONCE: usize = 8;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It is as it should be.
    Green,
    /// It works, and should be looked at.
    Yellow,
    /// It does not work.
    Red,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub area: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found and, where it is not as it should be, what to do.
    pub text: String,
}

impl Finding {
    fn green(area: &'static str, text: impl Into<String>) -> Self {
        Self { area, level: Level::Green, text: text.into() }
    }

    fn yellow(area: &'static str, text: impl Into<String>) -> Self {
        Self { area, level: Level::Yellow, text: text.into() }
    }

    /// Something that does not work, found elsewhere too.
    pub fn red(area: &'static str, text: impl Into<String>) -> Self {
        Self { area, level: Level::Red, text: text.into() }
    }
}

/// What the checks work with.
struct Ward {
    db: Db,
    settings: TrafficSettings,
    sources: Sources,
    webhooks: Webhooks,
    /// Calls of the operator's own addresses: X's, and the public URL.
    http: reqwest::Client,
    /// Calls of instances, which the guard watches.
    guarded: reqwest::Client,
    x: XClient,
}

impl Ward {
    fn now_ms(&self) -> i64 {
        self.sources.now_ms()
    }
}

/// Looks at everything. Brings an embedded database up to date first, as every command does.
pub async fn examine(settings: HubSettings, sources: Sources) -> Vec<Finding> {
    let opened = tokio::time::timeout(PATIENCE, open(&settings)).await;
    let db = match opened {
        Ok(Ok(db)) => db,
        Ok(Err(error)) => return vec![Finding::red("database", with_remedy(&error))],
        Err(_) => {
            return vec![Finding::red(
                "database",
                "no answer within 10 s: check that it runs and database.url",
            )];
        }
    };
    let shared = Shared::start(db.clone(), sources.clone());
    let ward = match ward(&shared, settings.traffic) {
        Ok(ward) => ward,
        Err(error) => return vec![Finding::red("network", error)],
    };
    let checks: Vec<futures_util::future::LocalBoxFuture<'_, Vec<Finding>>> = vec![
        bounded("database", server::database(&ward)).boxed_local(),
        bounded("replicas", server::replicas(&ward)).boxed_local(),
        bounded("credentials", hub::credentials(&ward)).boxed_local(),
        bounded("admin", hub::admin(&ward)).boxed_local(),
        bounded("outbox", hub::outbox(&ward)).boxed_local(),
        bounded("clock", x::clock(&ward)).boxed_local(),
        bounded("public url", public::public_url(&ward)).boxed_local(),
        bounded("webhook", x::webhook(&ward)).boxed_local(),
        bounded("subscriptions", x::subscriptions(&ward)).boxed_local(),
        x::accounts(&ward).boxed_local(),
        instances::instances(&ward).boxed_local(),
    ];
    let findings = join_all(checks).await.into_iter().flatten().collect();
    db.close().await;
    findings
}

/// Other texts say what to do by themselves.
fn with_remedy(error: &StartError) -> String {
    match error {
        StartError::Store(StoreError::Unavailable(_)) => {
            format!("{error}: check that it runs, and correct database.url")
        }
        error => error.to_string(),
    }
}

fn ward(shared: &Shared, settings: TrafficSettings) -> Result<Ward, String> {
    let client = |reach| net::client(reach, PATIENCE, PATIENCE).map_err(|error| error.to_string());
    let http = client(Reach::PrivateAllowed)?;
    let guarded = client(settings.reach)?;
    let webhooks = Webhooks::new(shared, &settings).map_err(|error| error.to_string())?;
    let x = XClient::new(http.clone(), crate::hub::traffic::x_app(&settings));
    Ok(Ward { db: shared.db.clone(), sources: shared.sources.clone(), settings, webhooks, http, guarded, x })
}

/// Gives a check up that takes too long.
async fn bounded(area: &'static str, check: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    let found = tokio::time::timeout(PATIENCE, check).await;
    found.unwrap_or_else(|_| {
        vec![Finding::red(area, "no answer within 10 s: check the network and try again")]
    })
}

/// Looks at each of them, several at once, and keeps their order.
async fn each<'w, F>(
    area: &'static str,
    ids: Result<Vec<(String, Vec<u8>)>, StoreError>,
    look: impl Fn(String) -> F + 'w,
) -> Vec<Finding>
where
    F: Future<Output = Vec<Finding>> + 'w,
{
    let ids = match ids {
        Ok(ids) => ids,
        Err(error) => return vec![unreadable(area, &error.into())],
    };
    let looks = stream::iter(ids).map(|(id, _)| bounded(area, look(id)));
    let found: Vec<Vec<Finding>> = looks.buffered(N_AT_ONCE).collect().await;
    found.into_iter().flatten().collect()
}

fn unreadable(area: &'static str, error: &LoadError) -> Finding {
    Finding::red(area, error.to_string())
}
