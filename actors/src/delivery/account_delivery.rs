//! Delivery to X for one linked account.
//!
//! X takes direct messages and posts without an idempotency key. So the intent is stored first, and
//! after an uncertain end the account's own messages are searched before anything is sent again.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::gate::Gate;
use super::journal::{Journal, Step};
use super::lane_run::{Courier, Delivered, Failed, Outcome};
use super::message::{Answer, Channel};
use super::run::{Run, store_failure};
use super::target::{Equipment, Health, Opening, Target};
use crate::domain::app_limit::{DIRECT_MESSAGES_A_DAY, POSTS_A_DAY};
use crate::domain::failure::{Effect, ErrorClass, Failure};
use crate::domain::rate::Rate;
use crate::store::StoreError;
use crate::store::accounts::{self, SetStatus};
use crate::store::app_budgets::{Learn, TakeCall};
use crate::store::deliveries::{self, Delivery as Row};
use crate::writer::{Apply, Claim};
use crate::x::client::{AccountCredentials, Search, Sent, Stamp, XClient};
use crate::x::errors::{CallError, Refusal};
use crate::x::limits::{Budget, Limits};

/// The clocks of X and of the hub differ; X tells whole seconds.
const CLOCK_SLACK_MS: i64 = 60_000;
/// Conversations of one account that are worked on at once.
const CONCURRENCY: usize = 4;
/// How many sent messages are remembered: the limit of a day.
const MAX_REMEMBERED: i64 = 1440;

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
        let since = run.now_ms() - 24 * 60 * 60 * 1000;
        let mut direct_messages = Budget::for_direct_messages();
        let mut posts = Budget::for_posts();
        for (kind, sent_at) in deliveries::sent_since(&run.shared.db, &self.id, since, MAX_REMEMBERED).await?
        {
            let budget = if kind == Channel::Dm.as_str() { &mut direct_messages } else { &mut posts };
            budget.record(sent_at);
        }
        Ok(Some(Equipment {
            // X's own limits are kept by the budgets; this only bounds a burst.
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
                direct_messages: RefCell::new(direct_messages),
                posts: RefCell::new(posts),
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
    direct_messages: RefCell<Budget>,
    posts: RefCell<Budget>,
}

impl Courier for AccountCourier {
    async fn deliver(&self, run: &Run, delivery: &Row) -> Outcome {
        let journal = Journal::read(delivery.journal.as_deref()).filter(Journal::is_open);
        let fail = |failure: Failure, journal: Option<Journal>, sent_at: i64| {
            Outcome::Failed(Box::new(Failed { failure, journal, sent_at, conversation: None }))
        };
        let payload = delivery.payload.as_deref().and_then(|json| serde_json::from_str::<Answer>(json).ok());
        let Some(answer) = payload else { return fail(erased(), None, run.now_ms()) };

        if let Some(journal) = journal {
            if run.now_ms() < journal.look_at {
                return Outcome::NotYet(journal.look_at);
            }
            match self.find_sent(run, delivery, &answer, journal.sent_at).await {
                Ok(Some(message_id)) => return delivered(message_id),
                Ok(None) => {}
                // The journal stays open: the next attempt looks again, after the pause of this failure.
                Err(failure) => return fail(failure, Some(journal), run.now_ms()),
            }
        }
        if let Err(failure) = self.has_budget(run, answer.channel) {
            return fail(failure, None, run.now_ms());
        }
        let start = match self.gate.reserve().await {
            Ok(start) => start,
            Err(failure) => return fail(failure, None, run.now_ms()),
        };
        if let Err(failure) = self.take_app_call(run, delivery, answer.channel).await {
            return fail(failure, None, run.now_ms());
        }
        let mut journal = Journal::intent(Step::Send, 0);
        match run.record_intent(delivery, &mut journal, None).await {
            Ok(Claim::Held) => {}
            Ok(Claim::Lost) => return Outcome::Lost,
            Err(failure) => return fail(failure, None, run.now_ms()),
        }
        let sent_at = start.start();
        self.budget(answer.channel).borrow_mut().record(sent_at);
        let error = match self.send(run, delivery, &answer).await {
            Ok(sent) => {
                self.learn(run, answer.channel, &sent.limits).await;
                return delivered(sent.id);
            }
            Err(error) => error,
        };
        self.learn(run, answer.channel, &error.limits).await;
        self.after_failure(run, delivery, &answer, journal, *error).await
    }
}

impl AccountCourier {
    fn budget(&self, channel: Channel) -> &RefCell<Budget> {
        match channel {
            Channel::Dm => &self.direct_messages,
            Channel::Reply => &self.posts,
        }
    }

    async fn learn(&self, run: &Run, channel: Channel, limits: &Limits) {
        self.budget(channel).borrow_mut().learn(limits);
        let Some(quota) = limits.app_day else { return };
        let Some(remaining) = quota.remaining else { return };
        let told =
            Learn { budget: channel.as_str(), remaining: i64::from(remaining), reset_at: quota.reset_ms };
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
        Err(Failure {
            class: ErrorClass::RateLimited,
            effect: Effect::NotTried,
            http_status: None,
            detail:
                "what X allows the app in 24 hours is used up, or kept for accounts that had less of it; \
                     the message is sent when there is room"
                    .to_owned(),
            retry_at_ms: Some(free_at),
        })
    }

    /// Refuses before X would: the failure tells when the next call may be made.
    fn has_budget(&self, run: &Run, channel: Channel) -> Result<(), Failure> {
        let now_ms = run.now_ms();
        let free_at = self.budget(channel).borrow().free_at(now_ms);
        if free_at <= now_ms {
            return Ok(());
        }
        Err(Failure {
            class: ErrorClass::RateLimited,
            effect: Effect::NotTried,
            http_status: None,
            detail: "the account's limit at X is used up; the message is sent when it resets".to_owned(),
            retry_at_ms: Some(free_at),
        })
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
        Outcome::Failed(Box::new(Failed { failure, journal, sent_at, conversation: None }))
    }

    /// Looks for the answer among what the account has sent, leaving out what belongs to other deliveries.
    async fn find_sent(
        &self,
        run: &Run,
        delivery: &Row,
        answer: &Answer,
        sent_at: i64,
    ) -> Result<Option<String>, Failure> {
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
        found.map_err(|error| error.failure)
    }
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
