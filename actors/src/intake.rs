//! Intake: what X sent becomes deliveries, stored before X is answered.
//!
//! Classification is pure and costs microseconds, so it runs in the handler; whatever needs the store
//! runs in a future of its own. An item is known by (account, id of the direct message or post).

use std::collections::HashSet;
use std::sync::Arc;

use actix::prelude::*;

use crate::classify::{Class, Decision, Item, NotJson, classify};
use crate::delivery::fleet::Fleet;
use crate::delivery::message::{Answer, Inbound, InboundKind};
use crate::kernel::AskError;
use crate::routes::{Route, Routes};
use crate::shared::Shared;
use crate::store::accounts::{self, SetStatus};
use crate::store::deliveries::{self, Admission, Direction, NewDelivery};
use crate::store::{StoreError, conversations};
use crate::writer::{Admit, Apply, WriteError};

/// Takes a webhook body whose signature was checked.
#[derive(Debug, Message)]
#[rtype(result = "Result<Receipt, IntakeError>")]
pub struct Receive {
    /// The body as it came.
    pub body: bytes::Bytes,
}

/// What became of the items of a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Receipt {
    /// Kept for delivery, and on disk.
    pub accepted: u64,
    /// Kept before.
    pub duplicates: u64,
    /// Neither.
    pub ignored: u64,
}

/// Why a body was not taken. Nothing of it is stored; or, where an account of it is gone, the rest is, and counts as
/// known when it comes again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// It cannot be read, and never will.
    #[error(transparent)]
    NotJson(#[from] NotJson),
    /// The store takes nothing at the moment: X should send it again.
    #[error("the store takes nothing at the moment: {0}")]
    Unavailable(String),
}

impl From<StoreError> for IntakeError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<AskError> for IntakeError {
    fn from(error: AskError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<WriteError> for IntakeError {
    fn from(error: WriteError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// The actor.
pub struct Intake {
    desk: Desk,
}

/// What a body is worked on with. Cheap to clone.
#[derive(Clone)]
struct Desk {
    shared: Shared,
    routes: Routes,
    fleet: Fleet,
}

/// An item that may be kept.
struct Candidate {
    item: Item,
    kind: InboundKind,
    event_id: String,
    route: Arc<Route>,
    decision: Decision,
}

impl Intake {
    pub(crate) fn new(shared: Shared, routes: Routes, fleet: Fleet) -> Self {
        Self { desk: Desk { shared, routes, fleet } }
    }
}

impl Desk {
    /// Sorts out what is ignored whatever the store says.
    fn candidate(&self, item: Item) -> Result<Candidate, Class> {
        let class = item.class;
        let route = item.account_id.as_deref().and_then(|id| self.routes.route(id));
        let (Some(route), Some(kind)) = (route, InboundKind::of(class)) else { return Err(class) };
        route.touch(self.shared.sources.now_ms());
        let decision = route.case_policy.decide(&item);
        if let Decision::Ignore(reason) = decision {
            tracing::debug!(class = class.as_str(), reason = reason.as_str(), "an item is ignored");
            return Err(class);
        }
        let Some(event_id) = item.event_id.clone() else { return Err(class) };
        if item.customer.is_none() {
            return Err(class);
        }
        Ok(Candidate { item, kind, event_id, route, decision })
    }

    async fn receive(self, items: Vec<Item>) -> Result<Receipt, IntakeError> {
        let mut receipt = Receipt::default();
        let mut kept = Vec::new();
        self.learn_of_new_accounts(&items).await?;
        for item in items {
            if let Some(user_id) = &item.revoked_user_id {
                self.note_revocation(user_id).await;
            }
            let class = match self.candidate(item) {
                Err(class) => class,
                Ok(candidate) => {
                    let class = candidate.item.class;
                    if self.is_kept(&candidate).await? {
                        kept.push(candidate);
                        continue;
                    }
                    class
                }
            };
            receipt.ignored += 1;
            self.shared.metrics.count_item(class.as_str(), "ignored");
        }
        if kept.is_empty() {
            return Ok(receipt);
        }
        let admitted = self.admit(&kept).await?;
        let refusal = self.refuse_for_gone(&admitted).await;
        for (candidate, admitted) in kept.iter().zip(admitted) {
            let result = match admitted {
                Some((row, Admission::Accepted { is_alone })) => {
                    receipt.accepted += 1;
                    self.fleet.accepted(row, is_alone);
                    "accepted"
                }
                Some((_, Admission::Duplicate)) => {
                    receipt.duplicates += 1;
                    "duplicate"
                }
                None => {
                    receipt.ignored += 1;
                    "ignored"
                }
            };
            self.shared.metrics.count_item(candidate.item.class.as_str(), result);
        }
        refusal.map(|()| receipt)
    }

    /// Nothing is added for an account that is gone, and this process may not have heard of that yet: X has to send
    /// it again, for whoever is linked by then.
    async fn refuse_for_gone(
        &self,
        admitted: &[Option<(NewDelivery, Admission)>],
    ) -> Result<(), IntakeError> {
        let is_doubtful = |(_, admission): &&(NewDelivery, Admission)| *admission == Admission::Duplicate;
        let doubtful: HashSet<&str> =
            admitted.iter().flatten().filter(is_doubtful).map(|(row, _)| row.account_id.as_str()).collect();
        for account_id in doubtful {
            if accounts::by_id(&self.shared.db, account_id).await?.is_none() {
                let gone = "the account was unlinked a moment ago; send it again";
                return Err(IntakeError::Unavailable(gone.to_owned()));
            }
        }
        Ok(())
    }

    /// Stores what is kept; `None` for one that the database can never store. X would send the whole body again
    /// because of it, and drop the others with it in the end.
    async fn admit(&self, kept: &[Candidate]) -> Result<Vec<Option<(NewDelivery, Admission)>>, IntakeError> {
        let rows = kept.iter().map(|candidate| self.delivery(candidate)).collect();
        match self.shared.writer.ask(Admit(rows)).await? {
            Err(StoreError::Unstorable(_)) => {}
            admitted => return Ok(admitted?.into_iter().map(Some).collect()),
        }
        let mut admitted = Vec::with_capacity(kept.len());
        for candidate in kept {
            match self.shared.writer.ask(Admit(vec![self.delivery(candidate)])).await? {
                Err(StoreError::Unstorable(_)) => {
                    // What the database says of it may hold a part of the text.
                    tracing::error!(
                        account = candidate.route.account_id,
                        source_id = candidate.event_id,
                        "the database cannot store an item from x; it is left out"
                    );
                    admitted.push(None);
                }
                one => admitted.extend(one?.into_iter().map(Some)),
            }
        }
        Ok(admitted)
    }

    /// An account that is not known may have been linked a moment ago, at another replica.
    async fn learn_of_new_accounts(&self, items: &[Item]) -> Result<(), StoreError> {
        let is_unknown =
            |item: &Item| item.account_id.as_ref().is_some_and(|id| self.routes.route(id).is_none());
        if self.shared.leases.replica().is_some() && items.iter().any(is_unknown) {
            self.routes.refresh(&self.shared.db).await?;
        }
        Ok(())
    }

    /// What the policy leaves to the store.
    async fn is_kept(&self, candidate: &Candidate) -> Result<bool, StoreError> {
        match candidate.decision {
            Decision::Keep => Ok(true),
            Decision::Ignore(_) => Ok(false),
            Decision::KeepIfParentKnown => self.is_parent_known(candidate).await,
            Decision::KeepAsNoteIfOpenCase => self.is_outside_answer(candidate).await,
        }
    }

    async fn is_parent_known(&self, candidate: &Candidate) -> Result<bool, StoreError> {
        let Some(parent) = &candidate.item.in_reply_to else { return Ok(false) };
        let account_id = &candidate.route.account_id;
        let parent_key = post_key(account_id, parent);
        Ok(deliveries::is_part_of_a_case(&self.shared.db, &parent_key).await?
            || deliveries::was_sent(&self.shared.db, account_id, parent).await?)
    }

    /// Whether the account's own message was written elsewhere, and there is a case to note it on. What
    /// the hub itself is sending is looked at first: when that has just ended, its id is stored already.
    async fn is_outside_answer(&self, candidate: &Candidate) -> Result<bool, StoreError> {
        let db = &self.shared.db;
        let account_id = &candidate.route.account_id;
        let Some(customer) = &candidate.item.customer else { return Ok(false) };
        let lane = Direction::ToX.lane_id(account_id, &customer.id);
        for payload in deliveries::being_sent(db, &lane).await? {
            let is_echo = serde_json::from_str::<Answer>(&payload)
                .is_ok_and(|answer| answer.text.trim() == candidate.item.text.trim());
            if is_echo {
                return Ok(false);
            }
        }
        if deliveries::was_sent(db, account_id, &candidate.event_id).await? {
            return Ok(false);
        }
        let known = conversations::get(db, account_id, &customer.id).await?;
        Ok(known.is_some_and(|conversation| conversation.case_sys_id.is_some()))
    }

    fn delivery(&self, candidate: &Candidate) -> NewDelivery {
        let Candidate { item, kind, event_id, route, .. } = candidate;
        let now_ms = self.shared.sources.now_ms();
        let customer_id = item.customer.as_ref().map_or_else(String::new, |customer| customer.id.clone());
        let dedup_key = if kind.is_post() {
            post_key(&route.account_id, event_id)
        } else {
            format!("{}:dm:{event_id}", route.account_id)
        };
        let payload = Inbound::from_item(*kind, event_id, item);
        NewDelivery {
            id: self.shared.sources.id(),
            direction: Direction::ToServicenow,
            kind: kind.as_str().to_owned(),
            status: if route.instance_id.is_some() { "queued" } else { "blocked" },
            user_id: route.user_id.clone(),
            account_id: route.account_id.clone(),
            instance_id: route.instance_id.clone(),
            target_id: route.target_id(),
            lane_id: Direction::ToServicenow.lane_id(&route.account_id, &customer_id),
            customer_id,
            dedup_key: Some(dedup_key),
            source_id: Some(event_id.clone()),
            fingerprint: None,
            // Ids of X grow with time: as numbers, not as text.
            order_key: format!("{event_id:0>20}"),
            payload: serde_json::to_string(&payload).unwrap_or_default(),
            created_at: now_ms,
            deadline_at: now_ms + self.fleet.retry_for_ms(),
        }
    }

    /// The user has taken the app's rights away: the account's record says so.
    async fn note_revocation(&self, twitter_user_id: &str) {
        let Some(route) = self.routes.route(twitter_user_id) else { return };
        tracing::warn!(account = route.account_id, "the account has revoked the app's access to X");
        let change = SetStatus {
            id: route.account_id.clone(),
            status: "needs_auth",
            detail: "the account has revoked the app's access at X; link it again".to_owned(),
            paused_until: None,
            version: None,
        };
        if let Err(error) = self.shared.writer.ask(Apply(change)).await {
            tracing::warn!(%error, "the revocation could not be noted");
        }
        self.fleet.reload(Direction::ToX, &route.account_id).await;
    }
}

/// The identity of a post for an account.
fn post_key(account_id: &str, post_id: &str) -> String {
    format!("{account_id}:post:{post_id}")
}

impl Actor for Intake {
    type Context = Context<Self>;
}

impl Supervised for Intake {}

impl Handler<Receive> for Intake {
    type Result = ResponseFuture<Result<Receipt, IntakeError>>;

    fn handle(&mut self, Receive { body }: Receive, _: &mut Context<Self>) -> Self::Result {
        match classify(&body) {
            Ok(items) => Box::pin(self.desk.clone().receive(items)),
            Err(error) => Box::pin(std::future::ready(Err(error.into()))),
        }
    }
}

#[cfg(test)]
crate::kernel::panic_matrix::panics_when_told!(Intake);
