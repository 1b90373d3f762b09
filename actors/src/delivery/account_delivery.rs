//! Delivery to X for one linked account.
//!
//! X takes direct messages and posts without an idempotency key. So the intent is stored first, and
//! after an uncertain end the account's own messages are searched before anything is sent again.

use std::cell::Cell;
use std::sync::Arc;

use super::allowance::Allowance;
use super::backoff::Scope;
use super::gate::Gate;
use super::journal::{Journal, Step};
use super::lane_run::{Courier, Delivered, Failed, Outcome};
use super::message::{Answer, Channel};
use super::run::{Run, store_failure};
use super::target::{Equipment, Health, Opening, Target};
use crate::domain::app_limit::{DAY_MS, DIRECT_MESSAGES_A_DAY, POSTS_A_DAY};
use crate::domain::failure::{Effect, ErrorClass, Failure};
use crate::domain::rate::Rate;
use crate::store::StoreError;
use crate::store::accounts::{self, SetStatus};
use crate::store::app_budgets::{self, Learn, TakeCall};
use crate::store::deliveries::{self, Delivery as Row};
use crate::store::shards::Fenced;
use crate::writer::{Apply, Claim};
use crate::x::client::{AccountCredentials, Search, Sent, Stamp, XClient};
use crate::x::errors::{CallError, Refusal};
use crate::x::limits::{Budget, Limits};

/// The clocks of X and of the hub differ; X tells whole seconds.
const CLOCK_SLACK_MS: i64 = 60_000;
/// Conversations of one account that are worked on at once.
const CONCURRENCY: usize = 4;

/// What delivery needs to know of an account.
pub(crate) struct AccountSettings {
    pub(crate) client: XClient,
    pub(crate) credentials: AccountCredentials,
    pub(crate) status: String,
    pub(crate) paused_until: Option<i64>,
    /// Grows with every change of the settings.
    pub(crate) version: i64,
}

/// Reads an account's settings and makes a client for it; `None` when it is gone.
pub(crate) type OpenAccount = Arc<dyn Fn(String) -> Opening<AccountSettings> + Send + Sync>;

/// One account, as a target.
pub(crate) struct AccountTarget {
    pub(crate) id: String,
    pub(crate) open: OpenAccount,
}

impl Target for AccountTarget {
    type Courier = AccountCourier;

    async fn load(&self, run: &Run, gate: &Gate) -> Result<Option<Equipment<AccountCourier>>, StoreError> {
        let Some(account) = (self.open)(self.id.clone()).await? else { return Ok(None) };
        let since = run.now_ms() - DAY_MS;
        let taken = async |channel: Channel| {
            app_budgets::taken_since(&run.shared.db, channel.as_str(), &self.id, since).await
        };
        let direct_messages = Allowance::new(Budget::for_direct_messages(), taken(Channel::Dm).await?);
        let posts = Allowance::new(Budget::for_posts(), taken(Channel::Reply).await?);
        Ok(Some(Equipment {
            // X's own limits are kept by the allowances; this only bounds a burst.
            rate: Rate::default(),
            concurrency: CONCURRENCY,
            status: account.status,
            version: account.version,
            is_outdated: Cell::new(false),
            paused_until: account.paused_until,
            courier: AccountCourier {
                account_id: self.id.clone(),
                client: account.client,
                credentials: account.credentials,
                gate: gate.clone(),
                direct_messages,
                posts,
            },
        }))
    }

    async fn version(&self, run: &Run) -> Result<Option<i64>, StoreError> {
        Ok(accounts::by_id(&run.shared.db, &self.id).await?.map(|row| row.version))
    }

    async fn save(&self, run: &Run, health: Health) {
        let change = SetStatus {
            id: self.id.clone(),
            status: health.status,
            detail: health.detail,
            paused_until: health.paused_until,
            version: Some(health.version),
        };
        // The next change says it again.
        let change = Fenced::new(run.shared.leases.replica(), run.lease, change);
        let _unsaved = run.shared.writer.ask(Apply(change)).await;
    }

    fn id(&self) -> &str {
        &self.id
    }
}

/// Makes attempts for one account.
pub(crate) struct AccountCourier {
    account_id: String,
    client: XClient,
    credentials: AccountCredentials,
    gate: Gate,
    direct_messages: Allowance,
    posts: Allowance,
}

/// A look-up that did not tell.
struct Unseen {
    failure: Failure,
    scope: Scope,
}

impl From<Failure> for Unseen {
    fn from(failure: Failure) -> Self {
        Self { failure, scope: Scope::Target }
    }
}

impl Courier for AccountCourier {
    async fn deliver(&self, run: &Run, delivery: &Row) -> Outcome {
        let journal = Journal::read(delivery.journal.as_deref()).filter(Journal::is_open);
        let payload = delivery.payload.as_deref().and_then(|json| serde_json::from_str::<Answer>(json).ok());
        let Some(answer) = payload else { return unsent(erased(), run) };

        if let Some(journal) = journal {
            if run.now_ms() < journal.look_at {
                return Outcome::NotYet(journal.look_at);
            }
            match self.find_sent(run, delivery, &answer, journal.sent_at).await {
                Ok(Some(message_id)) => return delivered(message_id),
                Ok(None) => {}
                // The journal stays open: the next attempt looks again, after the pause of this failure.
                Err(Unseen { failure, scope }) => {
                    let (journal, sent_at) = (Some(journal), run.now_ms());
                    return failed(Failed { failure, journal, sent_at, conversation: None, scope });
                }
            }
        }
        self.try_to_send(run, delivery, &answer).await
    }
}

impl AccountCourier {
    async fn try_to_send(&self, run: &Run, delivery: &Row, answer: &Answer) -> Outcome {
        let allowance = self.allowance(answer.channel);
        // Before anything is waited for: another conversation may ask meanwhile.
        let mut place = match allowance.reserve(run.now_ms()) {
            Ok(place) => place,
            Err(failure) => return unsent(failure, run),
        };
        let start = match self.gate.reserve().await {
            Ok(start) => start,
            Err(failure) => return unsent(failure, run),
        };
        if let Err(failure) = self.take_app_call(run, delivery, answer.channel).await {
            return unsent(failure, run);
        }
        let mut journal = Journal::intent(Step::Send, 0);
        match run.record_intent(delivery, &mut journal, None).await {
            Ok(Claim::Held) => {}
            Ok(Claim::Lost) => return Outcome::Lost,
            Err(failure) => return unsent(failure, run),
        }
        place.start(start.start());
        let error = match self.send(run, delivery, answer).await {
            Ok(sent) => {
                place.answered(&sent.limits);
                self.learn_of_app(run, answer.channel, &sent.limits).await;
                return delivered(sent.id);
            }
            Err(error) => error,
        };
        place.answered(&error.limits);
        let scope = allowance.sending_was_refused(&error);
        self.learn_of_app(run, answer.channel, &error.limits).await;
        self.after_failure(run, delivery, answer, journal, *error, scope).await
    }

    fn allowance(&self, channel: Channel) -> &Allowance {
        match channel {
            Channel::Dm => &self.direct_messages,
            Channel::Reply => &self.posts,
        }
    }

    async fn learn_of_app(&self, run: &Run, channel: Channel, limits: &Limits) {
        let Some(quota) = limits.app_day else { return };
        let Some(remaining) = quota.remaining else { return };
        let told = Learn {
            budget: channel.as_str(),
            limit: quota.limit.filter(|limit| *limit > 0).map(i64::from),
            remaining: i64::from(remaining),
            reset_at: quota.reset_ms,
        };
        // X says it again with its next answer.
        let _unsaved = run.shared.writer.ask(Apply(told)).await;
    }

    /// Takes the call out of what X allows the whole app, in whichever process the others send.
    async fn take_app_call(&self, run: &Run, delivery: &Row, channel: Channel) -> Result<(), Failure> {
        let now_ms = run.now_ms();
        let call = TakeCall {
            budget: channel.as_str(),
            limit: match channel {
                Channel::Dm => DIRECT_MESSAGES_A_DAY,
                Channel::Reply => POSTS_A_DAY,
            },
            account_id: self.account_id.clone(),
            mark: delivery.mark,
            now_ms,
        };
        let free_at = match run.shared.writer.ask(Apply(call)).await {
            Ok(Ok(free_at)) => free_at,
            Ok(Err(error)) => return Err(store_failure(&error.to_string())),
            Err(error) => return Err(store_failure(&error.to_string())),
        };
        if free_at <= now_ms {
            return Ok(());
        }
        Err(self.allowance(channel).app_is_full_until(free_at))
    }

    async fn send(&self, run: &Run, delivery: &Row, answer: &Answer) -> Result<Sent, Box<CallError>> {
        let nonce = run.shared.sources.nonce();
        let stamp = Stamp { now_ms: run.now_ms(), nonce: &nonce };
        match (answer.channel, &answer.in_reply_to) {
            (Channel::Reply, Some(post)) => {
                self.client.reply(&self.credentials, post, &answer.text, stamp).await
            }
            _ => self.client.send_dm(&self.credentials, &delivery.customer_id, &answer.text, stamp).await,
        }
    }

    async fn after_failure(
        &self,
        run: &Run,
        delivery: &Row,
        answer: &Answer,
        journal: Journal,
        error: CallError,
        scope: Scope,
    ) -> Outcome {
        let sent_at = journal.sent_at;
        let is_own_repetition = error.refusal == Some(Refusal::DuplicateText);
        let mut failure = error.failure;
        if is_own_repetition || failure.effect == Effect::Possible {
            match self
                .find_sent(run, delivery, answer, sent_at.min(delivery.begun_at.unwrap_or(sent_at)))
                .await
            {
                Ok(Some(message_id)) => return delivered(message_id),
                Ok(None) => failure.effect = Effect::None,
                Err(_) if is_own_repetition => failure.effect = Effect::Possible,
                Err(_) => {}
            }
        }
        let journal = (failure.effect != Effect::None).then_some(journal);
        failed(Failed { failure, journal, sent_at, conversation: None, scope })
    }

    /// Looks for the answer among what the account has sent, leaving out what belongs to other deliveries.
    async fn find_sent(
        &self,
        run: &Run,
        delivery: &Row,
        answer: &Answer,
        sent_at: i64,
    ) -> Result<Option<String>, Unseen> {
        let allowance = self.allowance(answer.channel);
        allowance.may_look_up(run.now_ms())?;
        let since_ms = sent_at - CLOCK_SLACK_MS;
        let others =
            deliveries::message_ids_since(&run.shared.db, &self.account_id, since_ms - CLOCK_SLACK_MS)
                .await
                .map_err(|error| store_failure(&error.to_string()))?;
        let search = Search { text: &answer.text, since_ms, except: &others };
        self.gate.pass().await?;
        let nonce = run.shared.sources.nonce();
        let stamp = Stamp { now_ms: run.now_ms(), nonce: &nonce };
        let found = match (answer.channel, &answer.in_reply_to) {
            (Channel::Reply, Some(post)) => {
                self.client.find_sent_reply(&self.credentials, post, search, stamp).await
            }
            _ => self.client.find_sent_dm(&self.credentials, &delivery.customer_id, search, stamp).await,
        };
        found.map_err(|error| {
            let scope = allowance.look_up_was_refused(&error);
            Unseen { failure: error.failure, scope }
        })
    }
}

/// Nothing was sent, and nothing is to be looked up.
fn unsent(failure: Failure, run: &Run) -> Outcome {
    let sent_at = run.now_ms();
    failed(Failed { failure, journal: None, sent_at, conversation: None, scope: Scope::Target })
}

fn failed(failed: Failed) -> Outcome {
    Outcome::Failed(Box::new(failed))
}

fn delivered(message_id: String) -> Outcome {
    Outcome::Delivered(Box::new(Delivered { message_id: Some(message_id), ..Delivered::default() }))
}

fn erased() -> Failure {
    Failure {
        class: ErrorClass::Permanent,
        effect: Effect::None,
        http_status: None,
        detail: "the message was erased by retention before it could be sent".to_owned(),
        retry_at_ms: None,
    }
}
