//! What every attempt at a target works with, and the two writes around each: its intent and its outcome.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use super::arrivals::Arrivals;
use super::backoff::Backoff;
use super::journal::Journal;
use super::standing::Standing;
use super::waiters::Waiters;
use crate::domain::failure::{Effect, ErrorClass, Failure};
use crate::domain::lease::Lease;
use crate::shared::Shared;
use crate::store::conversations::Conversation;
use crate::store::deliveries::{Delivery, Direction};
use crate::store::lanes::{Begin, Settle};
use crate::writer::{Claim, RecordIntent, RecordOutcome, WriteError};

/// An intent that was stored too slowly is stored again with another time, so often.
const MAX_LATE_INTENTS: usize = 3;
const LONGEST_SLACK_MS: i64 = 2000;
/// Texts are erased with the end of their delivery when they come of age within so long: what ends just before
/// the janitor passes is then not left behind by it.
const LONGEST_EARLY_MS: i64 = 60 * 60 * 1000;

/// What every lane of a target shares.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) shared: Shared,
    pub(crate) direction: Direction,
    pub(crate) backoff: Backoff,
    /// How long one call may take over there.
    pub(crate) timeout_ms: i64,
    /// How long a delivery may fail: `delivery.retry_for`.
    pub(crate) retry_for_ms: i64,
    /// How long texts are kept after they were accepted.
    pub(crate) texts_ms: i64,
    pub(crate) waiters: Waiters,
    /// What comes for the target: a lane is read again when something did.
    pub(crate) arrivals: Arc<Arrivals>,
    /// Under which this process delivers for the target.
    pub(crate) lease: Lease,
    /// Whether anything new may be begun.
    pub(crate) standing: Arc<Standing>,
    /// Of the settings that the actor works with.
    pub(crate) version: Arc<AtomicI64>,
}

impl Run {
    pub(crate) fn now_ms(&self) -> i64 {
        self.shared.sources.now_ms()
    }

    /// Whether a text that was accepted then is not kept beyond the end of its delivery.
    pub(super) fn is_of_age(&self, accepted_at: i64) -> bool {
        let early_ms = (self.texts_ms / 24).min(LONGEST_EARLY_MS);
        self.now_ms() - accepted_at >= self.texts_ms - early_ms
    }

    /// Stores what is about to be done, and when a look-up may be made: once a call that begins right after
    /// this can have no effect any more. Nothing may be done when the claim is lost.
    pub(crate) async fn record_intent(
        &self,
        delivery: &Delivery,
        journal: &mut Journal,
        conversation: Option<Conversation>,
    ) -> Result<Claim, Failure> {
        for _ in 0..MAX_LATE_INTENTS {
            journal.sent_at = self.now_ms();
            journal.look_at = journal.sent_at + self.timeout_ms + self.slack_ms();
            let claim = self.store_intent(delivery, journal, conversation.clone()).await?;
            // The process may have been paused since: whoever took over must not meet this call.
            if claim == Claim::Lost || !self.shared.leases.holds(self.lease) {
                return Ok(Claim::Lost);
            }
            if self.now_ms() - journal.sent_at <= self.slack_ms() {
                return Ok(Claim::Held);
            }
        }
        Err(store_failure("it stores too slowly to make a call"))
    }

    /// So much later than its intent says a call may begin.
    fn slack_ms(&self) -> i64 {
        (self.timeout_ms / 4).min(LONGEST_SLACK_MS)
    }

    async fn store_intent(
        &self,
        delivery: &Delivery,
        journal: &Journal,
        conversation: Option<Conversation>,
    ) -> Result<Claim, Failure> {
        let begin = Begin {
            lease: self.lease,
            id: delivery.id.clone(),
            held: delivery.fence,
            mark: delivery.mark,
            journal: journal.write(),
            at: journal.sent_at,
            conversation,
        };
        self.shared
            .writer
            .ask(RecordIntent(begin))
            .await
            .map_err(WriteError::from)
            .and_then(|stored| stored.map_err(WriteError::from))
            .map_err(|error| store_failure(&error.to_string()))
    }

    /// Stores how an attempt ended, however long the store does not answer.
    pub(super) async fn settle(&self, settle: Settle) {
        let mut pause = Duration::from_millis(20);
        loop {
            let stored = self.shared.writer.ask(RecordOutcome(settle.clone())).await;
            let error = match stored {
                Ok(Ok(Claim::Held)) => return,
                Ok(Ok(Claim::Lost)) => {
                    tracing::info!(
                        delivery = settle.id,
                        "an outcome came too late: the delivery went on or is gone"
                    );
                    return;
                }
                Ok(Err(error)) => WriteError::from(error),
                Err(error) => WriteError::from(error),
            };
            // The outcome is known only here. It is kept until the store takes it; if the process ends
            // before, the journal says that a look-up is due.
            tracing::warn!(delivery = settle.id, %error, "outcome could not be stored; trying again");
            if !self.standing.may_begin() && !error.is_transient() {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}

/// A failure of the hub's own store, which is nobody's fault over there.
pub(crate) fn store_failure(detail: &str) -> Failure {
    Failure {
        class: ErrorClass::Unavailable,
        effect: Effect::NotTried,
        http_status: None,
        detail: format!("the hub's own store did not answer: {detail}"),
        retry_at_ms: None,
    }
}

/// Another replica goes on.
pub(super) fn lost_lease() -> Failure {
    Failure {
        class: ErrorClass::Unavailable,
        effect: Effect::NotTried,
        http_status: None,
        detail: "another replica delivers for this target now".to_owned(),
        retry_at_ms: None,
    }
}
