//! The simulated X.

pub mod bodies;

mod auth;
mod deliver;
mod dms;
mod faults;
mod inspect;
mod length;
mod limits;
mod login;
mod oauth1;
mod posts;
mod replies;
mod routes;
mod state;
mod webhooks;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::calls::{CallLog, CallRecord};
use crate::faults::{FaultPlan, Scope};
use crate::server::{self, Running, StartError};
use crate::x::bodies::XUser;
use crate::x::state::State;

pub use deliver::{DeliveryError, PostedWebhook, XDelivery, sign};
pub use faults::XFault;
pub use length::weighted_length;
pub use limits::XLimits;
pub use state::{XDm, XPost, XWebhook};

/// How a simulated X is set up.
#[derive(Clone, Debug)]
pub struct XOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The app's API key.
    pub consumer_key: String,
    /// The app's API secret: signs the webhooks and, with the token's secret, the API calls.
    pub consumer_secret: String,
    /// The app-only bearer token.
    pub bearer_token: String,
    /// The app's id, told in the echo of its messages.
    pub app_id: String,
    /// The rate limits; X's own by default.
    pub limits: XLimits,
    /// How many webhooks the app may have; X's self-serve tier has 1.
    pub webhook_limit: usize,
    /// Takes `http`, ports and any host as webhook URLs, which X does not.
    pub allow_any_url: bool,
    /// Whether what an account sends by API comes back to the registered webhook, as X does for subscribed
    /// accounts.
    pub echo: bool,
    /// Whether calls are recorded for [`XSandbox::requests`].
    pub log: bool,
    /// Server threads.
    pub workers: usize,
}

impl Default for XOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            consumer_key: "sandbox-consumer-key".to_owned(),
            consumer_secret: "sandbox-consumer-secret".to_owned(),
            bearer_token: "sandbox-bearer-token".to_owned(),
            app_id: "29820001".to_owned(),
            limits: XLimits::default(),
            webhook_limit: 1,
            allow_any_url: true,
            echo: true,
            log: true,
            workers: 1,
        }
    }
}

/// An account that gave the app its tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct XAccount {
    /// Decimal user id.
    pub id: String,
    /// The handle without `@`.
    pub screen_name: String,
    /// The name shown.
    pub name: String,
    /// OAuth 1.0a token.
    pub access_token: String,
    /// OAuth 1.0a token secret.
    pub access_token_secret: String,
}

impl XAccount {
    /// The public side of the account.
    pub fn user(&self) -> XUser {
        XUser::new(&self.id, &self.screen_name, &self.name)
    }
}

/// What the server's threads share with the handle.
pub(crate) struct XWorld {
    pub(crate) options: XOptions,
    pub(crate) url: String,
    pub(crate) log: Arc<CallLog>,
    pub(crate) client: reqwest::Client,
    state: Mutex<State>,
    faults: Mutex<FaultPlan<XFault>>,
}

impl XWorld {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, FaultPlan<XFault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running simulated X. Dropping it ends it.
pub struct XSandbox {
    world: Arc<XWorld>,
    running: Running,
}

impl XSandbox {
    /// Starts a world with no accounts. Callable from any async runtime.
    pub async fn start(options: XOptions) -> Result<Self, StartError> {
        let (listener, address) = server::listen(options.listen)?;
        let workers = options.workers;
        let world = Arc::new(XWorld {
            url: format!("http://{address}"),
            log: CallLog::new(options.log),
            client: deliver::client()?,
            state: Mutex::new(State::new()),
            faults: Mutex::new(FaultPlan::new()),
            options,
        });
        let running = server::start(vec![(listener, address, world.clone())], workers).await?;
        Ok(Self { world, running })
    }

    /// `http://127.0.0.1:<port>`, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.world.url
    }

    /// The options it was started with.
    pub fn options(&self) -> &XOptions {
        &self.world.options
    }

    /// Ends the server and waits until its port is free.
    pub async fn stop(&self) {
        self.running.stop().await;
    }

    /// Adds an account or replaces the one with the same id.
    pub fn add_account(&self, account: XAccount) {
        self.world.state().add_account(account);
    }

    /// Makes the account's tokens invalid: calls get 401 code 89.
    pub fn revoke_account(&self, id: &str) {
        self.world.state().revoke(id);
    }

    /// From now on this person takes no direct messages: 403 code 349.
    pub fn refuse_dms(&self, participant_id: &str) {
        self.world.state().refuse_dms(participant_id);
    }

    /// From now on this post is gone: replies to it get 403 code 385.
    pub fn delete_post(&self, post_id: &str) {
        self.world.state().delete_post(post_id);
    }

    /// A new id, larger than all earlier ones, in X's form (milliseconds in the upper bits).
    pub fn next_id(&self) -> String {
        self.world.state().next_id().to_string()
    }

    /// The next n sent messages (direct messages and posts) fail so.
    pub fn fail_next(&self, n: usize, fault: XFault) {
        self.fail_next_in(Scope::Messages, n, fault);
    }

    /// The next n calls in `scope` fail so.
    pub fn fail_next_in(&self, scope: Scope, n: usize, fault: XFault) {
        self.world.faults().fail_next(scope, n, fault);
    }

    /// From now on `permille` of the calls in `scope` fail, chosen by `seed` and the call's number.
    pub fn fail_rate_in(&self, scope: Scope, seed: u64, permille: u32, faults: Vec<XFault>) {
        self.world.faults().fail_rate(scope, seed, permille, faults);
    }

    /// How many calls have failed because they were made to.
    pub fn n_faults(&self) -> u64 {
        self.world.faults().n_struck()
    }

    /// Ends all planned faults.
    pub fn clear_faults(&self) {
        self.world.faults().clear();
    }

    /// The direct messages that came by API, oldest first.
    pub fn sent_dms(&self) -> Vec<XDm> {
        self.world.state().dms().filter(|dm| dm.by_api).cloned().collect()
    }

    /// How many direct messages came by API.
    pub fn n_sent_dms(&self) -> usize {
        self.world.state().dms().filter(|dm| dm.by_api).count()
    }

    /// The posts that came by API, oldest first.
    pub fn sent_posts(&self) -> Vec<XPost> {
        self.world.state().posts().to_vec()
    }

    /// The registered webhooks.
    pub fn webhooks(&self) -> Vec<XWebhook> {
        self.world.state().webhooks.clone()
    }

    /// The ids of the accounts subscribed to any webhook.
    pub fn subscriptions(&self) -> Vec<String> {
        self.world.state().subscriptions.iter().map(|(_, user)| user.clone()).collect()
    }

    /// What was sent to webhooks, oldest first: echoes, and everything delivered through this handle.
    pub fn deliveries(&self) -> Vec<XDelivery> {
        self.world.state().deliveries.clone()
    }

    /// The API calls received, oldest first.
    pub fn requests(&self) -> Vec<CallRecord> {
        self.world.log.calls()
    }

    /// How many API calls were received.
    pub fn n_requests(&self) -> u64 {
        self.world.log.n_calls()
    }

    /// Forgets the recorded calls.
    pub fn clear_requests(&self) {
        self.world.log.clear();
    }

    /// The most calls received within any period of that length.
    pub fn max_calls_in_any(&self, window: Duration) -> usize {
        self.world.log.max_calls_in_any(window)
    }

    /// Stores a message as if the person had written it on x.com; nothing is delivered. Returns its id.
    pub fn store_dm(&self, sender_id: &str, recipient_id: &str, text: &str) -> String {
        self.world.state().store_dm(sender_id, recipient_id, text, Vec::new(), false).id
    }

    /// Posts a signed body to `url`, as X would.
    pub async fn post_webhook(
        &self,
        url: &str,
        body: impl Into<Vec<u8>>,
    ) -> Result<PostedWebhook, DeliveryError> {
        self.world.post_webhook(url, body.into()).await
    }

    /// Posts a signed body to the registered webhook.
    pub async fn deliver(&self, body: impl Into<Vec<u8>>) -> Result<PostedWebhook, DeliveryError> {
        let url = self.world.state().webhook_url().ok_or(DeliveryError::NoWebhook)?;
        self.world.post_webhook(&url, body.into()).await
    }

    /// A person writes a direct message to an account: it is stored and delivered to the registered webhook.
    /// Returns the message's id and the webhook's reply.
    pub async fn say_dm(
        &self,
        account: &XUser,
        sender: &XUser,
        text: &str,
    ) -> Result<(String, PostedWebhook), DeliveryError> {
        let dm = self.world.state().store_dm(&sender.id, &account.id, text, Vec::new(), false);
        let body = bodies::dm_body(account, sender, &dm.id, text, dm.created_ms);
        Ok((dm.id, self.deliver(body).await?))
    }
}
