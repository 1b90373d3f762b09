//! Working through a lane: one conversation in one direction, in order, an attempt at a time.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use super::backoff::{NextStep, Scope, Situation, deadline_after_waiting, next_step};
use super::journal::Journal;
use super::run::Run;
use super::target::Equipment;
use crate::cluster::signals::Signal;
use crate::domain::failure::{Effect, ErrorClass, Failure};
use crate::store::conversations::Conversation;
use crate::store::deliveries::{self, Delivery, Direction};
use crate::store::lanes::Settle;

/// Messages of one conversation that are read at once, and that are tried before it is another's turn.
const PAGE: i64 = 16;
/// How long to wait before the store is asked again.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// How one attempt ended over there.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It arrived.
    Delivered(Box<Delivered>),
    /// It did not, or nobody knows.
    Failed(Box<Failed>),
    /// Nothing was tried: whether an earlier call had its effect can be known only from then on.
    NotYet(i64),
    /// Somebody else has made an attempt meanwhile; nothing was done.
    Lost,
}

/// What is known of an arrival.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    /// The id that X gave it.
    pub(crate) message_id: Option<String>,
    /// The case that holds it.
    pub(crate) case: Option<(String, Option<String>)>,
    pub(crate) conversation: Option<Conversation>,
    /// Said in the record, such as why there was nothing to do.
    pub(crate) remark: Option<String>,
}

/// What is known of a failure.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    /// What may have been done, or how far it got.
    pub(crate) journal: Option<Journal>,
    /// When the failed call was sent, in epoch milliseconds.
    pub(crate) sent_at: i64,
    pub(crate) conversation: Option<Conversation>,
    /// For whom it holds.
    pub(crate) scope: Scope,
}

/// Why a lane is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LaneEnd {
    /// Nothing is pending in it, the process stops, or the target's settings are others now.
    Left,
    /// There is more in it, but it is another's turn.
    Yielded,
    /// What was known of its head is out of date.
    Lost,
    /// Its head waits until then; the store knows.
    Waits(i64),
    /// Its head waits until then; the store does not know.
    Deferred(i64),
    /// Nothing may be sent to the target until then.
    Pause {
        /// Epoch milliseconds.
        until: i64,
        /// Why.
        failure: Failure,
    },
    /// Nothing may be sent to the target until its credentials are changed.
    Block(Failure),
}

/// What came of a lane: for the actor's pauses and for its status.
#[derive(Debug)]
pub(crate) struct LaneReport {
    pub(crate) end: LaneEnd,
    pub(crate) n_delivered: u64,
    /// The last failure that says that the other side could not be reached.
    pub(crate) unreachable: Option<Failure>,
    /// The other side answered at least once.
    pub(crate) was_answered: bool,
}

/// What does the attempts.
pub(crate) trait Courier {
    /// Makes one attempt.
    async fn deliver(&self, run: &Run, delivery: &Delivery) -> Outcome;
}

/// Delivers what is pending in a lane of a target, in order, until it is empty, must wait, or has had its turn.
///
/// `first` is what was pending in it a moment ago, if it was read already, and how many arrivals were
/// counted before that.
pub(crate) async fn run_lane(
    run: Run,
    equipment: &Equipment<impl Courier>,
    target_id: &str,
    lane_id: &str,
    mut first: Option<(Vec<Delivery>, u64)>,
) -> LaneReport {
    let mut report =
        LaneReport { end: LaneEnd::Left, n_delivered: 0, unreachable: None, was_answered: false };
    let mut n_attempts = 0;
    loop {
        let (page, n_arrivals) = if let Some(first) = first.take() {
            first
        } else {
            let n_arrivals = run.arrivals.n_noted();
            match deliveries::of_lane(&run.shared.db, lane_id, target_id, PAGE).await {
                Ok(page) => (page, n_arrivals),
                Err(error) => {
                    tracing::warn!(%error, "pending deliveries could not be read; trying again");
                    let pause_ms = i64::try_from(STORE_PAUSE.as_millis()).unwrap_or_default();
                    report.end = LaneEnd::Deferred(run.now_ms() + pause_ms);
                    return report;
                }
            }
        };
        let is_last_page = page.len() < usize::try_from(PAGE).unwrap_or_default();
        for mut delivery in page {
            if !run.standing.may_begin() || equipment.is_outdated.get() {
                return report;
            }
            if n_attempts >= PAGE {
                report.end = LaneEnd::Yielded;
                return report;
            }
            n_attempts += 1;
            delivery.mark = run.shared.sources.mark();
            if let Some(end) = attempt(&run, &equipment.courier, &delivery, &mut report).await {
                report.end = end;
                return report;
            }
            // An older message may have come late: it goes before what has not begun.
            if run.arrivals.came_since(lane_id, n_arrivals) {
                break;
            }
        }
        if is_last_page && !run.arrivals.came_since(lane_id, n_arrivals) {
            return report;
        }
    }
}

/// One attempt. Gives why the lane is left, or `None` when it goes on.
async fn attempt(
    run: &Run,
    courier: &impl Courier,
    delivery: &Delivery,
    report: &mut LaneReport,
) -> Option<LaneEnd> {
    let begun_at = run.now_ms();
    let outcome = AssertUnwindSafe(courier.deliver(run, delivery)).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|_panic| Outcome::Failed(Box::new(panicked(delivery, begun_at))));
    let now_ms = run.now_ms();
    let mut settle = Settle {
        lease: run.lease,
        id: delivery.id.clone(),
        held: delivery.fence,
        mark: delivery.mark,
        end_mark: delivery.mark + 1,
        lane_id: delivery.lane_id.clone(),
        at: begun_at,
        duration_ms: now_ms - begun_at,
        attempts: delivery.attempts + 1,
        n_tried: 1,
        lane_ready_at: now_ms,
        ..Settle::default()
    };
    let end = match outcome {
        Outcome::NotYet(until) => return Some(LaneEnd::Deferred(until)),
        Outcome::Lost => return Some(LaneEnd::Lost),
        Outcome::Delivered(delivered) => {
            arrived(run, delivery, *delivered, &mut settle, now_ms);
            report.n_delivered += 1;
            report.was_answered = true;
            report.unreachable = None;
            None
        }
        Outcome::Failed(failed) => {
            note_failure(report, &failed.failure);
            run.shared.metrics.count_attempt(run.direction, failed.failure.class.as_str());
            failed_attempt(run, delivery, *failed, &mut settle, now_ms)
        }
    };
    settle.erases = settle.n_done > 0 && run.is_of_age(delivery.created_at);
    run.settle(settle).await;
    run.waiters.tell(&delivery.id);
    if run.direction == Direction::ToX {
        // Whoever waits for it may wait at another replica.
        run.shared.signals.send(Signal::Outcome(delivery.id.clone()));
    }
    end
}

fn note_failure(report: &mut LaneReport, failure: &Failure) {
    if failure.effect == Effect::NotTried {
        return;
    }
    let is_silent = match failure.class {
        ErrorClass::Unavailable => true,
        ErrorClass::Uncertain => failure.http_status.is_none(),
        _ => false,
    };
    if is_silent {
        report.unreachable = Some(failure.clone());
    } else {
        report.was_answered = true;
    }
}

/// A bug in the courier: the message keeps its journal, and others are not held up for ever by it.
fn panicked(delivery: &Delivery, begun_at: i64) -> Failed {
    Failed {
        failure: Failure {
            class: ErrorClass::Unexpected,
            effect: Effect::None,
            http_status: None,
            detail: "the hub panicked on this delivery; report the panic in its log".to_owned(),
            retry_at_ms: None,
        },
        journal: Journal::read(delivery.journal.as_deref()),
        sent_at: begun_at,
        conversation: None,
        scope: Scope::Target,
    }
}

fn arrived(run: &Run, delivery: &Delivery, delivered: Delivered, settle: &mut Settle, now_ms: i64) {
    settle.status = "delivered";
    settle.n_done = 1;
    settle.delivered_at = Some(now_ms);
    settle.message_id = delivered.message_id;
    (settle.case_sys_id, settle.case_number) = delivered.case.map_or((None, None), |(id, n)| (Some(id), n));
    settle.conversation = delivered.conversation;
    settle.error_detail = delivered.remark;
    run.shared.metrics.count_attempt(run.direction, "none");
    run.shared.metrics.count_delivery(run.direction, "delivered");
    run.shared.metrics.time_delivery(run.direction, now_ms - delivery.created_at);
}

fn failed_attempt(
    run: &Run,
    delivery: &Delivery,
    failed: Failed,
    settle: &mut Settle,
    now_ms: i64,
) -> Option<LaneEnd> {
    let Failed { failure, journal, sent_at, conversation, scope } = failed;
    settle.status = "retrying";
    if failure.effect == Effect::NotTried {
        settle.attempts = delivery.attempts;
        settle.n_tried = 0;
        settle.status = if delivery.attempts == 0 { "queued" } else { "retrying" };
    }
    let situation = Situation {
        n_attempts: u32::try_from(settle.attempts.max(1)).unwrap_or(u32::MAX),
        sent_at_ms: sent_at,
        now_ms,
        deadline_ms: delivery.deadline_at,
        timeout_ms: run.timeout_ms,
        scope,
    };
    let next = next_step(&failure, &situation, &run.backoff, run.shared.sources.fraction());
    let deadline_at = deadline_after_waiting(&failure, delivery.attempts, next, run.retry_for_ms);
    settle.deadline_at = deadline_at.filter(|deadline_at| *deadline_at > delivery.deadline_at);
    settle.http_status = failure.http_status.map(i64::from);
    settle.error_class = Some(failure.class.as_str());
    settle.error_detail = Some(failure.detail.clone());
    settle.conversation = conversation;
    let mut journal = journal;
    let end = match next {
        NextStep::Dead => {
            settle.status = "dead";
            settle.n_done = 1;
            run.shared.metrics.count_delivery(run.direction, "dead");
            tracing::warn!(delivery = delivery.id, class = %failure.class, detail = failure.detail, "delivery is dead");
            None
        }
        NextStep::BlockOnCredentials => {
            settle.status = "blocked";
            Some(LaneEnd::Block(failure))
        }
        NextStep::PauseInstanceUntil(until) => {
            settle.lane_ready_at = until;
            Some(LaneEnd::Pause { until, failure })
        }
        NextStep::RetryAt(at) => {
            settle.lane_ready_at = at;
            Some(LaneEnd::Waits(at))
        }
        NextStep::LookUpAt(at) => {
            settle.lane_ready_at = at;
            if let Some(journal) = journal.as_mut() {
                journal.look_at = at;
            }
            Some(LaneEnd::Waits(at))
        }
    };
    if end.is_some() {
        settle.next_attempt_at = Some(settle.lane_ready_at);
    }
    settle.journal = journal.map(|journal| journal.write());
    end
}
