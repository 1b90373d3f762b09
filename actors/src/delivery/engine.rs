//! The delivery actor: one for each ServiceNow instance and one for each X account, started on demand.
//!
//! It decides which lanes are worked on now, how many at once, and when to pause. Its state is only what
//! the store can tell again: after a panic, or an idle quarter of an hour, it is built anew.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::arrivals::News;
use super::breaker::Breaker;
use super::fleet::Ended;
use super::gate::Gate;
use super::lane_run::{LaneEnd, LaneReport, run_lane};
use super::run::Run;
use super::schedule::Schedule;
use super::target::{Equipment, Target};
use crate::domain::rate::Rate;
use crate::kernel::mailbox::Nudge;
use crate::store::lanes::ReadyLane;
use crate::store::{StoreError, lanes};

/// Lanes with so many messages are read whole with the look at what is ready.
const SMALL_LANE: i64 = 4;
/// An actor without work for so long ends; the next message starts another.
const IDLE: Duration = Duration::from_mins(15);
/// How long after a lane was lost to somebody else the store is asked again.
const LOST_PAUSE_MS: i64 = 100;
/// How long after a failure the version of the settings is asked for again.
const AGAIN: Duration = Duration::from_millis(500);
/// How often an idle actor looks whether it may end.
const IDLE_CHECK: Duration = Duration::from_mins(1);

mod judgement;

/// The actor.
pub(crate) struct Delivery<T: Target> {
    target: Rc<T>,
    run: Run,
    on_end: Ended,
    gate: Gate,
    equipment: Option<Rc<Equipment<T::Courier>>>,
    schedule: Schedule,
    is_loading: bool,
    must_look_again: bool,
    /// What a look read of the settings before one of these is not used.
    n_reloads: u64,
    is_blocked: bool,
    paused_until: i64,
    breaker: Breaker,
    n_pauses_in_a_row: u32,
    status: &'static str,
    last_success_at: i64,
    last_work_at: i64,
    timer: Option<(i64, SpawnHandle)>,
    draining: Vec<oneshot::Sender<()>>,
}

/// What one look at the store found.
struct Ready {
    lanes: Vec<ReadyLane>,
    /// Arrivals counted before it.
    n_arrivals: u64,
    /// When the next lane becomes ready that is not now.
    next_at: Option<i64>,
}

/// Settings or credentials of the target have changed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Reload;

/// Answers when nothing is being worked on. Sent after the flag that stops new work.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Drain;

impl<T: Target> Delivery<T> {
    /// An actor that has read nothing yet.
    pub(crate) fn new(target: Rc<T>, run: Run, on_end: Ended) -> Self {
        let gate =
            Gate::new(run.shared.clone(), target.id(), Rate::default(), run.lease, Arc::clone(&run.standing));
        Self::behind(gate, target, run, on_end)
    }

    fn behind(gate: Gate, target: Rc<T>, run: Run, on_end: Ended) -> Self {
        let now_ms = run.now_ms();
        let breaker = Breaker::new(run.shared.metrics.open_breakers());
        Self {
            target,
            run,
            on_end,
            gate,
            equipment: None,
            schedule: Schedule::default(),
            is_loading: false,
            must_look_again: false,
            n_reloads: 0,
            is_blocked: false,
            paused_until: 0,
            breaker,
            n_pauses_in_a_row: 0,
            status: "",
            last_success_at: 0,
            last_work_at: now_ms,
            timer: None,
            draining: Vec::new(),
        }
    }

    fn tell_if_drained(&mut self) {
        if self.schedule.is_still() {
            for waiting in self.draining.drain(..) {
                let _gave_up = waiting.send(());
            }
        }
    }

    /// Reads which lanes are ready, unless that is under way; then it is done once more afterwards.
    fn look(&mut self, context: &mut Context<Self>) {
        if self.is_loading {
            self.must_look_again = true;
            return;
        }
        self.is_loading = true;
        self.must_look_again = false;
        let (target, run, gate) = (Rc::clone(&self.target), self.run.clone(), self.gate.clone());
        let (known, n_reloads) = (self.equipment.clone(), self.n_reloads);
        self.schedule.look_begins();
        let limit = self.schedule.limit();
        let reading = async move {
            let equipment = match known {
                Some(equipment) => Some(equipment),
                None => target.load(&run, &gate).await?.map(Rc::new),
            };
            let now_ms = run.now_ms();
            let n_lanes = i64::try_from(limit).unwrap_or(i64::MAX);
            let n_arrivals = run.arrivals.n_noted();
            let lanes = lanes::ready(&run.shared.db, target.id(), now_ms, n_lanes, SMALL_LANE).await?;
            let next_at = lanes::next_ready_at(&run.shared.db, target.id(), now_ms).await?;
            Ok::<_, StoreError>((equipment, Ready { lanes, n_arrivals, next_at }))
        };
        context.spawn(reading.into_actor(self).map(move |read, actor, context| {
            actor.is_loading = false;
            // Somebody asked meanwhile; what was read may be older than what they told of.
            let is_outdated = actor.must_look_again;
            match read {
                Ok((Some(equipment), ready)) => {
                    if actor.n_reloads == n_reloads {
                        actor.take_equipment(equipment);
                    }
                    actor.take_ready(ready, limit, context);
                }
                Ok((None, _)) => context.stop(),
                Err(error) => {
                    tracing::warn!(target_id = actor.target.id(), %error, "ready lanes could not be read");
                    let later = actor.run.now_ms() + 500;
                    actor.look_at(later, context);
                }
            }
            if is_outdated {
                actor.look(context);
            }
        }));
    }

    fn take_equipment(&mut self, equipment: Rc<Equipment<T::Courier>>) {
        if self.equipment.is_some() {
            return;
        }
        self.is_blocked = equipment.status == "needs_auth";
        if let Some(until) = equipment.paused_until {
            self.paused_until = until;
            self.gate.pause_until(until);
        }
        self.gate.set_rate(equipment.rate);
        self.run.version.store(equipment.version, Ordering::Release);
        self.equipment = Some(equipment);
    }

    fn take_ready(&mut self, ready: Ready, limit: usize, context: &mut Context<Self>) {
        let now_ms = self.run.now_ms();
        self.schedule.take_ready(ready.lanes, ready.n_arrivals, limit, now_ms);
        if let Some(at) = [ready.next_at, self.schedule.next_deferred()].into_iter().flatten().min() {
            self.look_at(at, context);
        }
        self.dispatch(context);
    }

    /// Takes what was handed over; looks at the store when there is more.
    fn take_news(&mut self, news: News, context: &mut Context<Self>) {
        let n_arrivals = self.run.arrivals.n_noted();
        let may_start = self.equipment.is_some() && self.may_start();
        self.schedule.take_handed(news.rows, n_arrivals, may_start);
        self.dispatch(context);
        let is_busy = !self.may_start() || self.schedule.is_full(self.n_at_once());
        if self.equipment.is_none() {
            self.look(context);
        } else if news.must_look && is_busy {
            // What it would find could not start. When a lane or a pause ends, there is a look anyway.
            self.schedule.fall_behind();
        } else if news.must_look {
            self.look(context);
        }
        if news.must_recheck {
            self.recheck(context);
        }
    }

    /// Loads the settings again when those in the store are others.
    fn recheck(&mut self, context: &mut Context<Self>) {
        let (target, run) = (Rc::clone(&self.target), self.run.clone());
        let checking = async move { target.version(&run).await };
        context.spawn(checking.into_actor(self).map(|version, actor, context| {
            let known = actor.equipment.as_ref().map(|equipment| equipment.version);
            match version {
                Ok(version) if known.is_some() && version != known => actor.reload(context),
                Ok(_) => {}
                Err(_) => {
                    context.run_later(AGAIN, Self::recheck);
                }
            }
        }));
    }

    fn reload(&mut self, context: &mut Context<Self>) {
        if let Some(equipment) = self.equipment.take() {
            equipment.is_outdated.set(true);
        }
        self.n_reloads += 1;
        self.is_blocked = false;
        self.paused_until = 0;
        self.gate.resume();
        self.breaker.close();
        self.look(context);
    }

    /// Sets the timer that looks again, unless an earlier one is set.
    fn look_at(&mut self, at_ms: i64, context: &mut Context<Self>) {
        if let Some((set_for, handle)) = self.timer {
            if set_for <= at_ms && set_for > self.run.now_ms() {
                return;
            }
            context.cancel_future(handle);
        }
        let wait_ms = u64::try_from(at_ms - self.run.now_ms()).unwrap_or_default();
        let handle = context.run_later(Duration::from_millis(wait_ms + 1), |actor, context| {
            actor.timer = None;
            actor.look(context);
        });
        self.timer = Some((at_ms, handle));
    }

    /// Starts as many lanes as may run at once.
    fn dispatch(&mut self, context: &mut Context<Self>) {
        let Some(equipment) = self.equipment.clone() else {
            self.schedule.forget_firsts();
            return;
        };
        let now_ms = self.run.now_ms();
        let n_at_once = self.n_at_once();
        if now_ms < self.paused_until {
            let until = self.paused_until;
            self.look_at(until, context);
        }
        while self.may_start() && self.run.standing.may_begin() {
            let Some((lane, first)) = self.schedule.start_next(n_at_once) else { break };
            self.last_work_at = now_ms;
            let (run, equipment, target) = (self.run.clone(), Rc::clone(&equipment), Rc::clone(&self.target));
            let work = async move {
                let report = run_lane(run, &equipment, target.id(), &lane, first).await;
                (lane, report, equipment.is_outdated.get())
            };
            context.spawn(work.into_actor(self).map(|(lane, report, is_outdated), actor, context| {
                actor.lane_ended(&lane, report, is_outdated, context);
            }));
        }
        self.schedule.forget_firsts();
    }

    fn may_start(&self) -> bool {
        !self.is_blocked && self.run.now_ms() >= self.paused_until
    }

    fn n_at_once(&self) -> usize {
        // After an outage one conversation tries alone.
        if self.breaker.is_open() {
            return 1;
        }
        self.equipment.as_ref().map_or(1, |equipment| equipment.concurrency)
    }

    fn lane_ended(&mut self, lane: &str, report: LaneReport, is_outdated: bool, context: &mut Context<Self>) {
        self.last_work_at = self.run.now_ms();
        // What it met under settings of before says nothing about those of now.
        if is_outdated {
            self.schedule.end(lane, self.n_at_once(), false);
            self.look(context);
        } else {
            self.judge(&report, context);
            let has_yielded = report.end == LaneEnd::Yielded;
            let must_look = self.schedule.end(lane, self.n_at_once(), has_yielded);
            self.follow(lane, report.end, context);
            if must_look {
                self.look(context);
            }
        }
        self.dispatch(context);
        self.tell_if_drained();
    }

    /// Does what the end of a lane asks for.
    fn follow(&mut self, lane: &str, end: LaneEnd, context: &mut Context<Self>) {
        match end {
            LaneEnd::Left | LaneEnd::Yielded => {}
            // It did not get its turn before this process ends: nothing is left to look for here.
            LaneEnd::Waits(_) if !self.run.standing.may_begin() => {}
            // Not at once: where it was the lease that was lost, a look finds the same again.
            LaneEnd::Lost => self.look_at(self.run.now_ms() + LOST_PAUSE_MS, context),
            LaneEnd::Waits(until) => self.look_at(until, context),
            LaneEnd::Deferred(until) => {
                self.schedule.defer(lane, until);
                self.look_at(until, context);
            }
            LaneEnd::Pause { until, failure } => self.pause(until, &failure, context),
            LaneEnd::Block(failure) => {
                self.is_blocked = true;
                self.tell("needs_auth", failure.detail, None, None, context);
            }
        }
    }

    fn end_if_idle(&mut self, context: &mut Context<Self>) {
        // Longer than any rate's period that is counted here alone.
        let idle_ms = i64::try_from(IDLE.as_millis()).unwrap_or(i64::MAX);
        let is_busy = self.is_loading || !self.schedule.is_empty();
        if !is_busy && self.run.now_ms() - self.last_work_at > idle_ms {
            context.stop();
        }
    }
}

impl<T: Target> Actor for Delivery<T> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.run_interval(IDLE_CHECK, Self::end_if_idle);
        self.look(context);
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        (self.on_end)(self.target.id());
    }
}

impl<T: Target> Supervised for Delivery<T> {
    fn restarting(&mut self, _: &mut Context<Self>) {
        // What has been sent stays counted, and a pause stays a pause.
        let gate = self.gate.clone();
        *self = Self::behind(gate, Rc::clone(&self.target), self.run.clone(), self.on_end.clone());
        self.paused_until = self.gate.paused_until();
    }
}

impl<T: Target> Handler<Nudge> for Delivery<T> {
    type Result = ();

    fn handle(&mut self, nudge: Nudge, context: &mut Context<Self>) {
        drop(nudge);
        if self.run.standing.is_gone() {
            // Another replica has taken over: what is under way here is none of our business any more.
            context.stop();
            return;
        }
        let news = self.run.arrivals.take();
        self.take_news(news, context);
    }
}

impl<T: Target> Handler<Reload> for Delivery<T> {
    type Result = ();

    fn handle(&mut self, _: Reload, context: &mut Context<Self>) {
        self.reload(context);
    }
}

impl<T: Target> Handler<Drain> for Delivery<T> {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, _: &mut Context<Self>) -> Self::Result {
        let (sender, drained) = oneshot::channel();
        self.draining.push(sender);
        self.tell_if_drained();
        Box::pin(async move {
            let _interrupted = drained.await;
        })
    }
}

#[cfg(test)]
impl<T: Target> Handler<crate::kernel::panic_matrix::Panic> for Delivery<T> {
    type Result = ();

    fn handle(&mut self, panic: crate::kernel::panic_matrix::Panic, context: &mut Context<Self>) {
        crate::kernel::panic_matrix::act_out::<Self>(panic, context);
    }
}
