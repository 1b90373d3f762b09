//! Outbox: an agent's answer on its way to X, stored before ServiceNow is answered.

mod queues;

use std::time::Duration;

use actix::prelude::*;
use sha2::{Digest, Sha256};

use self::queues::Queues;
use crate::delivery::fleet::Fleet;
use crate::delivery::message::Answer;
pub use crate::delivery::message::Channel;
use crate::domain::account::ReplyChannel;
use crate::kernel::AskError;
use crate::routes::{Route, Routes};
use crate::shared::Shared;
use crate::store::deliveries::{self, Admission, Delivery, Direction, FreeKey, NewDelivery};
use crate::store::{StoreError, conversations};
use crate::writer::{Admit, Apply};

/// The longest time a caller may ask to wait for the outcome.
pub const MAX_WAIT: Duration = Duration::from_secs(30);

/// How often the outcome is looked for that another replica would tell of.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Sends an answer to a customer, once for each `event_id`.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<AnswerState, OutboxError>")]
pub struct SendAnswer {
    /// Whose token it was.
    pub user_id: String,
    /// The text for the customer, 1 to 10,000 characters.
    pub message: String,
    /// The customer's `sys_id`, or
    pub target: Option<String>,
    /// the case's `sys_id`.
    pub case: Option<String>,
    /// The sender's own unique id.
    pub event_id: Option<String>,
    /// How to reach the customer; `None` for the account's own choice.
    pub channel: Option<Channel>,
    /// Shown in the records.
    pub author: Option<String>,
    /// Shown in the records.
    pub number: Option<String>,
    /// How long to wait for the outcome.
    pub wait: Duration,
}

/// Tells how an answer stands.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Option<AnswerState>, OutboxError>")]
pub struct ShowAnswer {
    /// Its id.
    pub id: String,
    /// Whose it must be; `None` for anyone's.
    pub user_id: Option<String>,
}

/// How an answer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerState {
    /// The delivery.
    pub id: String,
    /// The sender's own id.
    pub event_id: Option<String>,
    /// `queued`, `sending`, `retrying`, `blocked`, `delivered` or `dead`.
    pub status: String,
    /// The id that X gave it.
    pub message_id: Option<String>,
    /// When the next attempt is due, in epoch milliseconds.
    pub retry_at_ms: Option<i64>,
    /// Why it has not arrived.
    pub detail: Option<String>,
    /// `dm` or `reply`.
    pub channel: String,
    /// Attempts so far.
    pub attempts: i64,
    /// When it was accepted, in epoch milliseconds.
    pub created_at_ms: i64,
    /// When it arrived, in epoch milliseconds.
    pub delivered_at_ms: Option<i64>,
}

/// Why an answer was not taken. Nothing is stored, unless the store itself cannot be asked whether it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// The same `event_id` was used for something else.
    #[error("this event_id was used before with another message, target, case or channel")]
    Conflict,
    /// Nobody is known under this target or case.
    #[error("no customer of yours is known under this target or case")]
    UnknownTarget,
    /// There is no X account to send from.
    #[error("no X account is linked; link one to send messages")]
    NoAccount,
    /// The customer has written no post that could be answered.
    #[error("the customer has written no post to reply to; use the channel dm")]
    NothingToReplyTo,
    /// As many answers wait as one user may have.
    #[error("too many of your messages wait to be delivered; try again later")]
    QueueFull,
    /// The store takes nothing at the moment.
    #[error("the store takes nothing at the moment: {0}")]
    Unavailable(String),
}

impl From<StoreError> for OutboxError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<AskError> for OutboxError {
    fn from(error: AskError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// The actor.
pub struct Outbox {
    desk: Desk,
}

#[derive(Clone)]
struct Desk {
    shared: Shared,
    routes: Routes,
    fleet: Fleet,
    /// `delivery.queue_limit`.
    queue_limit: i64,
    queues: Queues,
}

impl Outbox {
    pub(crate) fn new(shared: Shared, routes: Routes, fleet: Fleet, queue_limit: i64) -> Self {
        Self { desk: Desk { shared, routes, fleet, queue_limit, queues: Queues::default() } }
    }
}

impl Desk {
    async fn send(self, request: SendAnswer) -> Result<AnswerState, OutboxError> {
        let dedup_key = request.event_id.as_ref().map(|id| format!("event:{}:{id}", request.user_id));
        let fingerprint = fingerprint(&request);
        if let Some(key) = &dedup_key
            && let Some(earlier) = deliveries::by_dedup_key(&self.shared.db, key).await?
        {
            return same_or_conflict(earlier, &fingerprint);
        }
        let (route, customer_id) = self.find_party(&request).await?;
        let (channel, in_reply_to) = self.choose_channel(&request, &route, &customer_id).await?;
        if !self.queues.let_in(&self.shared.db, &request.user_id, self.queue_limit).await? {
            return Err(OutboxError::QueueFull);
        }
        let answer = Answer {
            text: request.message.clone(),
            channel,
            in_reply_to,
            author: request.author.clone(),
            number: request.number.clone(),
        };
        let new =
            self.delivery(&request, &route, customer_id, &answer, dedup_key.clone(), fingerprint.clone());
        self.store_and_wait(new, dedup_key, &fingerprint, request.wait).await
    }

    async fn find_party(&self, request: &SendAnswer) -> Result<(std::sync::Arc<Route>, String), OutboxError> {
        let db = &self.shared.db;
        let mut party = None;
        if let Some(case) = &request.case {
            party = conversations::by_case(db, &request.user_id, case).await?;
        }
        if let (None, Some(target)) = (&party, &request.target) {
            party = conversations::by_customer(db, &request.user_id, target).await?;
        }
        let (account_id, customer_id) = party.ok_or(OutboxError::UnknownTarget)?;
        let route = self.routes.by_account_id(&account_id).ok_or(OutboxError::NoAccount)?;
        Ok((route, customer_id))
    }

    async fn choose_channel(
        &self,
        request: &SendAnswer,
        route: &Route,
        customer_id: &str,
    ) -> Result<(Channel, Option<String>), OutboxError> {
        let known = conversations::get(&self.shared.db, &route.account_id, customer_id).await?;
        let last_post = known.as_ref().and_then(|conversation| conversation.last_post_id.clone());
        let wrote_publicly =
            known.as_ref().is_some_and(|conversation| conversation.last_channel.as_deref() == Some("reply"));
        let is_public = match (request.channel, route.reply_channel) {
            (Some(channel), _) => channel == Channel::Reply,
            (None, ReplyChannel::Dm) => false,
            (None, ReplyChannel::Reply) => last_post.is_some(),
            (None, ReplyChannel::Same) => wrote_publicly && last_post.is_some(),
        };
        match (is_public, last_post) {
            (false, _) => Ok((Channel::Dm, None)),
            (true, Some(post)) => Ok((Channel::Reply, Some(post))),
            (true, None) => Err(OutboxError::NothingToReplyTo),
        }
    }

    fn delivery(
        &self,
        request: &SendAnswer,
        route: &Route,
        customer_id: String,
        answer: &Answer,
        dedup_key: Option<String>,
        fingerprint: String,
    ) -> NewDelivery {
        let now_ms = self.shared.sources.now_ms();
        let id = self.shared.sources.id();
        NewDelivery {
            direction: Direction::ToX,
            kind: answer.channel.as_str().to_owned(),
            status: "queued",
            user_id: request.user_id.clone(),
            account_id: route.account_id.clone(),
            instance_id: route.instance_id.clone(),
            target_id: route.account_id.clone(),
            lane_id: Direction::ToX.lane_id(&route.account_id, &customer_id),
            customer_id,
            dedup_key,
            source_id: request.event_id.clone(),
            fingerprint: Some(fingerprint),
            order_key: id.clone(),
            payload: serde_json::to_string(answer).unwrap_or_default(),
            created_at: now_ms,
            deadline_at: now_ms + self.fleet.retry_for_ms(),
            id,
        }
    }

    async fn store_and_wait(
        &self,
        new: NewDelivery,
        dedup_key: Option<String>,
        fingerprint: &str,
        wait: Duration,
    ) -> Result<AnswerState, OutboxError> {
        let (id, account_id) = (new.id.clone(), new.target_id.clone());
        let deadline = tokio::time::Instant::now() + wait;
        let mut outcome = self.fleet.waiters().wait_for(&id);
        let admitted = match self.admit(new).await {
            Ok(admitted) => admitted,
            // The answer may be all that was lost: who is asked to try again would send it twice.
            Err(_) if self.is_stored(&id).await => None,
            Err(error) => return Err(self.not_told(&id, outcome, error)),
        };
        if let Some((_, Admission::Duplicate)) = &admitted {
            drop(outcome);
            self.fleet.waiters().forget(&id);
            let key = dedup_key.ok_or_else(gone)?;
            let earlier = deliveries::by_dedup_key(&self.shared.db, &key).await?;
            return same_or_conflict(earlier.ok_or_else(gone)?, fingerprint);
        }
        match admitted {
            Some((row, Admission::Accepted { is_alone })) => self.fleet.accepted(row, is_alone),
            _ => self.fleet.wake(Direction::ToX, &account_id),
        }
        loop {
            let _told_or_not = tokio::time::timeout_at(self.next_look(deadline), &mut outcome).await;
            let is_over = tokio::time::Instant::now() >= deadline;
            let next = self.fleet.waiters().wait_for(&id);
            drop(std::mem::replace(&mut outcome, next));
            let stored = match deliveries::by_id(&self.shared.db, &id).await {
                Ok(Some(stored)) => stored,
                Ok(None) => return Err(self.not_told(&id, outcome, gone())),
                Err(error) => return Err(self.not_told(&id, outcome, error.into())),
            };
            let has_ended = matches!(stored.status.as_str(), "delivered" | "dead");
            if has_ended || is_over {
                drop(outcome);
                self.fleet.waiters().forget(&id);
                return Ok(state_of(stored));
            }
        }
    }

    /// Stores an answer. Where its `event_id` is that of a record which went with its account, it is free again.
    async fn admit(&self, new: NewDelivery) -> Result<Option<(NewDelivery, Admission)>, OutboxError> {
        let admitted = self.shared.writer.ask(Admit(vec![new])).await??.pop();
        let Some((new, Admission::Duplicate)) = admitted else { return Ok(admitted) };
        let Some(key) = new.dedup_key.clone() else { return Ok(Some((new, Admission::Duplicate))) };
        if deliveries::by_dedup_key(&self.shared.db, &key).await?.is_some() {
            return Ok(Some((new, Admission::Duplicate)));
        }
        self.shared.writer.ask(Apply(FreeKey(key))).await??;
        Ok(self.shared.writer.ask(Admit(vec![new])).await??.pop())
    }

    async fn is_stored(&self, id: &str) -> bool {
        matches!(deliveries::by_id(&self.shared.db, id).await, Ok(Some(_)))
    }

    /// Until when an outcome is waited for before the store is asked: what another replica tells may be lost.
    fn next_look(&self, deadline: tokio::time::Instant) -> tokio::time::Instant {
        match self.shared.leases.replica() {
            Some(_) => deadline.min(tokio::time::Instant::now() + LOOK_EVERY),
            None => deadline,
        }
    }

    fn not_told(
        &self,
        id: &str,
        outcome: tokio::sync::oneshot::Receiver<()>,
        error: OutboxError,
    ) -> OutboxError {
        drop(outcome);
        self.fleet.waiters().forget(id);
        error
    }

    async fn show(self, request: ShowAnswer) -> Result<Option<AnswerState>, OutboxError> {
        let stored = deliveries::by_id(&self.shared.db, &request.id).await?;
        let is_theirs = |delivery: &Delivery| {
            let is_answer = delivery.direction == Direction::ToX.as_str();
            is_answer && request.user_id.as_ref().is_none_or(|user| *user == delivery.user_id)
        };
        Ok(stored.filter(is_theirs).map(state_of))
    }
}

/// The account was unlinked while the answer was taken. When it is asked for again, it may be linked again.
fn gone() -> OutboxError {
    OutboxError::Unavailable("the account was unlinked a moment ago; try again".to_owned())
}

/// A repetition gives the state of the first; another request under the same id is refused.
fn same_or_conflict(earlier: Delivery, fingerprint: &str) -> Result<AnswerState, OutboxError> {
    if earlier.fingerprint.as_deref() == Some(fingerprint) {
        Ok(state_of(earlier))
    } else {
        Err(OutboxError::Conflict)
    }
}

/// What makes two requests the same, as a digest: each field with its length, so that none runs into the next.
fn fingerprint(request: &SendAnswer) -> String {
    let mut digest = Sha256::new();
    let channel = request.channel.map(Channel::as_str);
    let fields =
        [Some(request.message.as_str()), request.target.as_deref(), request.case.as_deref(), channel];
    for field in fields {
        let length = field.map_or(u64::MAX, |text| text.len() as u64);
        digest.update(length.to_be_bytes());
        digest.update(field.unwrap_or_default().as_bytes());
    }
    digest.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        use std::fmt::Write;
        let _written = write!(hex, "{byte:02x}");
        hex
    })
}

fn state_of(delivery: Delivery) -> AnswerState {
    let has_ended = matches!(delivery.status.as_str(), "delivered" | "dead");
    AnswerState {
        id: delivery.id,
        event_id: delivery.source_id,
        message_id: delivery.message_id,
        retry_at_ms: delivery.next_attempt_at.filter(|_| !has_ended),
        detail: delivery.error_detail,
        channel: delivery.kind,
        attempts: delivery.attempts,
        created_at_ms: delivery.created_at,
        delivered_at_ms: delivery.delivered_at,
        status: delivery.status,
    }
}

impl Actor for Outbox {
    type Context = Context<Self>;
}

impl Supervised for Outbox {}

impl Handler<SendAnswer> for Outbox {
    type Result = ResponseFuture<Result<AnswerState, OutboxError>>;

    fn handle(&mut self, request: SendAnswer, _: &mut Context<Self>) -> Self::Result {
        Box::pin(self.desk.clone().send(request))
    }
}

impl Handler<ShowAnswer> for Outbox {
    type Result = ResponseFuture<Result<Option<AnswerState>, OutboxError>>;

    fn handle(&mut self, request: ShowAnswer, _: &mut Context<Self>) -> Self::Result {
        Box::pin(self.desk.clone().show(request))
    }
}

#[cfg(test)]
crate::kernel::panic_matrix::panics_when_told!(Outbox);
