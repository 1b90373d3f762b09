//! The part of the hub that messages pass: what X sends, what ServiceNow sends, and their delivery.

use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use url::Url;

use super::StartError;
use super::callbacks::{recheck, tell_fleet, unsubscribe};
use super::obstacles::{correction, credentials_of, tokens_of};
use crate::delivery::account_delivery::{AccountSettings, OpenAccount};
use crate::delivery::backoff::Backoff;
use crate::delivery::fleet::{DeliverySettings, Fleet};
use crate::delivery::instance_delivery::{InstanceSettings, OpenInstance};
use crate::delivery::sweeper::Sweeper;
use crate::directory::{Desk, Directory, LoadError, load_account, load_instance, start_directory};
use crate::domain::instance::InstanceDefaults;
use crate::domain::rate::Rate;
use crate::domain::sealing::Sealer;
use crate::domain::secret::Secret;
use crate::intake::Intake;
use crate::janitor::{Janitor, Keep};
use crate::kernel::{Mailbox, start};
use crate::net::{self, Reach};
use crate::outbox::Outbox;
use crate::porter::{Porter, start_porter};
use crate::records::{Archive, Records, start_records};
use crate::replayer::{Carrier, start_replayer};
use crate::routes::Routes;
use crate::servicenow::Credentials;
use crate::servicenow::client::{NowMs, ServiceNow};
use crate::shared::Shared;
use crate::store::{StoreError, accounts, instances};
use crate::webhooks::Webhooks;
use crate::webhooks::watch::{Sight, WebhookWatch};
use crate::writer::Apply;
use crate::x::client::{AccountCredentials, XApp, XClient};
use crate::x::signature;

/// How many webhook bodies may be worked on at once; more are refused and sent again by X.
const INTAKE_CAPACITY: usize = 4096;
/// How many answers may be worked on at once, those that wait for X included.
const OUTBOX_CAPACITY: usize = 4096;
/// Delivery actors share so many threads.
const N_DELIVERY_THREADS: usize = 2;

/// How messages are carried.
#[derive(Clone)]
pub struct TrafficSettings {
    /// Seals and opens stored credentials.
    pub sealer: Sealer,
    /// Whether instances may stand in private networks.
    pub reach: Reach,
    /// `servicenow.timeout`.
    pub servicenow_timeout: Duration,
    /// `servicenow.connect_timeout`.
    pub connect_timeout: Duration,
    /// `twitter.api_url`.
    pub x_api_url: Url,
    /// `twitter.timeout`.
    pub x_timeout: Duration,
    /// Where X reaches this hub's `/api/activity/`, if `server.public_url` is set.
    pub webhook_url: Option<String>,
    /// `twitter.consumer_key`.
    pub consumer_key: Option<Secret>,
    /// `twitter.consumer_secret`.
    pub consumer_secret: Option<Secret>,
    /// `twitter.bearer_token`.
    pub bearer_token: Option<Secret>,
    /// `twitter.verify_signatures`.
    pub verifies_signatures: bool,
    /// `delivery.rate`: copied into new instances that come without one.
    pub rate: Rate,
    /// `delivery.concurrency`: the same.
    pub concurrency: u8,
    /// `delivery.retry_for`.
    pub retry_for: Duration,
    /// `delivery.backoff`.
    pub backoff: Backoff,
    /// `retention.payloads`: how long texts are kept after they were accepted.
    pub retention: Duration,
    /// `retention.attempts`: how long the attempts of a delivery that has ended are kept after the last one.
    pub attempts_retention: Duration,
    /// `delivery.queue_limit`: answers of one user that may wait.
    pub queue_limit: i64,
}

/// The actors that messages pass.
#[derive(Clone)]
pub(crate) struct Traffic {
    pub(crate) fleet: Fleet,
    pub(crate) routes: Routes,
    pub(crate) directory: Mailbox<Directory>,
    pub(crate) records: Mailbox<Records>,
    pub(crate) intake: Mailbox<Intake>,
    pub(crate) outbox: Mailbox<Outbox>,
    pub(crate) webhook: Arc<WebhookKey>,
    /// How the webhook at X was last seen.
    pub(crate) sight: Sight,
    // They run as long as somebody holds their mailboxes.
    _sweeper: Mailbox<Sweeper>,
    _janitor: Mailbox<Janitor>,
    _porter: Mailbox<Porter>,
    _watch: Mailbox<WebhookWatch>,
}

impl Traffic {
    /// Starts them in the order in which they need each other.
    pub(crate) async fn start(shared: &Shared, settings: TrafficSettings) -> Result<Self, StartError> {
        let fleet = fleet(shared, &settings)?;
        let on_changed = tell_fleet(fleet.clone());
        let retry_for_ms = millis(settings.retry_for);
        let webhooks = Webhooks::new(shared, &settings)?;
        let routes = Routes::default();
        let directory = start_directory(Desk {
            shared: shared.clone(),
            sealer: settings.sealer.clone(),
            defaults: InstanceDefaults {
                reach: settings.reach,
                rate: settings.rate,
                concurrency: settings.concurrency,
            },
            retry_for_ms,
            routes: routes.clone(),
            on_changed: Arc::clone(&on_changed),
            on_forgotten: unsubscribe(webhooks.clone()),
            on_marked: recheck(shared, &fleet),
        })
        .await?;
        let (leases, told) = (shared.leases.clone(), Arc::clone(&on_changed));
        let replayer = start_replayer(Carrier {
            shared: shared.clone(),
            retry_for_ms,
            on_changed: Arc::clone(&on_changed),
            // Of several replicas one does it: whoever holds the shard of this name.
            may_run: Arc::new(move || leases.lease_of("replayer").is_some()),
        });
        let archive = Archive { shared: shared.clone(), retry_for_ms, on_changed, replayer: Some(replayer) };
        let records = start_records(archive);
        let webhook = Arc::new(WebhookKey {
            secret: settings.consumer_secret.clone(),
            verifies_signatures: settings.verifies_signatures,
        });
        let desk = (shared.clone(), routes.clone(), fleet.clone());
        let terms = Shared::front_terms("intake", INTAKE_CAPACITY);
        let intake =
            start(&shared.front, &shared.registry, terms, move |_| Intake::new(desk.0, desk.1, desk.2));
        let desk = (shared.clone(), routes.clone(), fleet.clone());
        let mut terms = Shared::front_terms("outbox", OUTBOX_CAPACITY);
        // A caller may ask to wait for X.
        terms.deadline += crate::outbox::MAX_WAIT;
        let queue_limit = settings.queue_limit;
        let outbox = start(&shared.front, &shared.registry, terms, move |_| {
            Outbox::new(desk.0, desk.1, desk.2, queue_limit)
        });
        let swept = fleet.clone();
        let terms = Shared::front_terms("sweeper", 8);
        let sweeper = start(&shared.front, &shared.registry, terms, move |_| Sweeper::new(swept));
        let (kept, keep) = (shared.clone(), Keep::of(&settings));
        let terms = Shared::front_terms("janitor", 8);
        let janitor = start(&shared.front, &shared.registry, terms, move |_| Janitor::new(kept, keep));
        let porter = start_porter(shared, told);
        let (watch, sight) = watch_webhook(shared, webhooks);
        Ok(Self {
            fleet,
            routes,
            directory,
            records,
            intake,
            outbox,
            webhook,
            sight,
            _sweeper: sweeper,
            _janitor: janitor,
            _porter: porter,
            _watch: watch,
        })
    }
}

fn watch_webhook(shared: &Shared, webhooks: Webhooks) -> (Mailbox<WebhookWatch>, Sight) {
    let sight = Sight::default();
    let seen = sight.clone();
    let terms = Shared::front_terms("webhook_watch", 8);
    let watch = start(&shared.front, &shared.registry, terms, move |_| WebhookWatch::new(webhooks, seen));
    (watch, sight)
}

/// The app's secret, by which X and the hub know each other.
pub struct WebhookKey {
    secret: Option<Secret>,
    verifies_signatures: bool,
}

impl WebhookKey {
    /// The answer to X's challenge-response check, from the raw query of its request. `None` when there
    /// is no fit `crc_token`, or no `twitter.consumer_secret`: the same secret signs events, so nothing
    /// that could be an event is ever signed.
    pub fn response_token(&self, raw_query: &str) -> Option<String> {
        let token = signature::crc_token(raw_query)?;
        signature::crc_response(self.secret.as_ref()?, &token)
    }

    /// Whether the body comes from X: the signature over the bytes as they came, compared in constant time.
    pub fn is_genuine(&self, body: &[u8], header: Option<&str>) -> bool {
        if !self.verifies_signatures {
            return true;
        }
        let (Some(secret), Some(header)) = (self.secret.as_ref(), header) else { return false };
        signature::verify(secret, body, header)
    }
}

fn fleet(shared: &Shared, settings: &TrafficSettings) -> Result<Fleet, StartError> {
    let arbiters = (0..N_DELIVERY_THREADS).map(|_| Arbiter::new().handle()).collect();
    let delivery = DeliverySettings {
        backoff: settings.backoff,
        retry_for_ms: millis(settings.retry_for),
        servicenow_timeout_ms: millis(settings.servicenow_timeout),
        x_timeout_ms: millis(settings.x_timeout),
        texts_ms: millis(settings.retention),
    };
    let open_instance = open_instance(shared, settings)?;
    let open_account = open_account(shared, settings)?;
    Ok(Fleet::new(shared.clone(), delivery, arbiters, open_instance, open_account))
}

/// Settings that this program does not write, such as those of a newer one, are as far away as a store that is
/// down: what waits goes on when they can be read.
fn unreadable(error: LoadError) -> StoreError {
    match error {
        LoadError::Store(error) => error,
        other => StoreError::Unfit(other.to_string()),
    }
}

fn open_instance(shared: &Shared, settings: &TrafficSettings) -> Result<OpenInstance, StartError> {
    let http = net::client(settings.reach, settings.connect_timeout, settings.servicenow_timeout)?;
    let sources = shared.sources.clone();
    let now_ms: NowMs = Arc::new(move || sources.now_ms());
    let (shared, sealer) = (shared.clone(), settings.sealer.clone());
    let (timeout, reach) = (settings.servicenow_timeout, settings.reach);
    Ok(Arc::new(move |id| {
        let (shared, sealer, http, now_ms) =
            (shared.clone(), sealer.clone(), http.clone(), Arc::clone(&now_ms));
        Box::pin(async move {
            let Some(mut instance) = load_instance(&shared.db, &sealer, &id).await.map_err(unreadable)?
            else {
                return Ok(None);
            };
            let credentials = credentials_of(&instance);
            let obstacle = credentials.as_ref().err().copied();
            if let Some((status, detail)) = correction(obstacle, &instance.status, &instance.status_detail) {
                tracing::warn!(
                    instance = id,
                    status,
                    detail,
                    "whether the credentials of an instance can be used has changed"
                );
                let told = instances::SetStatus {
                    id,
                    status,
                    detail: detail.to_owned(),
                    paused_until: instance.paused_until_ms,
                    success_at: None,
                    version: Some(instance.version),
                };
                // The next time it is told again.
                let _unsaved = shared.writer.ask(Apply(told)).await;
                status.clone_into(&mut instance.status);
            }
            let credentials = credentials.unwrap_or_else(Credentials::Withheld);
            let base = instance.settings.instance_url.clone();
            let client = ServiceNow::new(http, base, credentials, timeout, reach, now_ms);
            Ok(Some(InstanceSettings {
                client,
                version: instance.version,
                created_at: instance.created_at_ms,
                rate: instance.settings.rate,
                concurrency: usize::from(instance.settings.concurrency),
                status: instance.status,
                paused_until: instance.paused_until_ms,
                customer_table: instance.settings.customer_table,
                case_defaults: instance.settings.case_defaults,
                reopen_window_ms: instance.settings.reopen_window_ms,
            }))
        })
    }))
}

fn open_account(shared: &Shared, settings: &TrafficSettings) -> Result<OpenAccount, StartError> {
    // X is where the operator says, be it a sandbox on this machine.
    let http = net::client(Reach::PrivateAllowed, settings.connect_timeout, settings.x_timeout)?;
    let client = XClient::new(http, x_app(settings));
    let (shared, sealer) = (shared.clone(), settings.sealer.clone());
    Ok(Arc::new(move |id| {
        let (shared, sealer, client) = (shared.clone(), sealer.clone(), client.clone());
        Box::pin(async move {
            let Some(mut account) = load_account(&shared.db, &sealer, &id).await.map_err(unreadable)? else {
                return Ok(None);
            };
            let tokens = tokens_of(&account);
            let obstacle = tokens.as_ref().err().copied();
            if let Some((status, detail)) = correction(obstacle, &account.status, &account.status_detail) {
                tracing::warn!(
                    account = id,
                    status,
                    detail,
                    "whether the tokens of an account can be used has changed"
                );
                let told = accounts::SetStatus {
                    id,
                    status,
                    detail: detail.to_owned(),
                    paused_until: account.paused_until_ms,
                    version: Some(account.version),
                };
                // The next time it is told again.
                let _unsaved = shared.writer.ask(Apply(told)).await;
                status.clone_into(&mut account.status);
            }
            // Without tokens the status lets nothing begin.
            let tokens = tokens.unwrap_or_default();
            Ok(Some(AccountSettings {
                client,
                credentials: AccountCredentials {
                    user_id: account.settings.twitter_user_id,
                    token: tokens.access_token,
                    token_secret: tokens.access_token_secret,
                },
                status: account.status,
                version: account.version,
                paused_until: account.paused_until_ms,
            }))
        })
    }))
}

/// The X app of these settings.
pub(crate) fn x_app(settings: &TrafficSettings) -> XApp {
    let key = settings.consumer_key.as_ref().map_or_else(String::new, |key| key.expose().to_owned());
    XApp {
        base_url: settings.x_api_url.clone(),
        consumer_key: key,
        consumer_secret: settings.consumer_secret.clone().unwrap_or_default(),
        bearer_token: settings.bearer_token.clone(),
        timeout: settings.x_timeout,
    }
}

/// A duration as the store counts.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
