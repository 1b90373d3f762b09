//! What the end of a lane means for the whole target: pauses, the breaker, and what its record says.

use std::rc::Rc;

use actix::prelude::*;

use super::super::lane_run::LaneReport;
use super::super::target::{Health, Target};
use super::Delivery;
use crate::domain::failure::{ErrorClass, Failure};

/// A success is written into the record of the target at most so often.
const SUCCESS_EVERY_MS: i64 = 10_000;

impl<T: Target> Delivery<T> {
    /// Draws conclusions for the whole target from what a lane met.
    pub(super) fn judge(&mut self, report: &LaneReport, context: &mut Context<Self>) {
        if report.was_answered {
            self.breaker.close();
        }
        if report.n_delivered > 0 {
            self.n_pauses_in_a_row = 0;
            self.succeeded(context);
        }
        let Some(failure) = report.unreachable.as_ref().filter(|_| !report.was_answered) else { return };
        if let Some(nth) = self.breaker.count_failure() {
            let random = self.run.shared.sources.fraction();
            let until = self.run.now_ms() + self.run.backoff.delay_ms(nth, random);
            self.pause(until, failure, context);
        }
    }

    fn succeeded(&mut self, context: &mut Context<Self>) {
        let now_ms = self.run.now_ms();
        // A call that was under way when a pause began does not end the pause.
        if now_ms < self.paused_until {
            return;
        }
        if self.status == "ok" && now_ms - self.last_success_at < SUCCESS_EVERY_MS {
            return;
        }
        self.last_success_at = now_ms;
        self.tell("ok", String::new(), None, Some(now_ms), context);
    }

    pub(super) fn pause(&mut self, until: i64, failure: &Failure, context: &mut Context<Self>) {
        self.n_pauses_in_a_row += 1;
        self.paused_until = self.paused_until.max(until);
        self.gate.pause_until(until);
        let status = match failure.class {
            ErrorClass::RateLimited | ErrorClass::Busy => "rate_limited",
            ErrorClass::Sleeping => "sleeping",
            _ => "unreachable",
        };
        self.tell(status, failure.detail.clone(), Some(self.paused_until), None, context);
        self.look_at(until, context);
    }

    pub(super) fn tell(
        &mut self,
        status: &'static str,
        detail: String,
        paused_until: Option<i64>,
        success_at: Option<i64>,
        context: &mut Context<Self>,
    ) {
        let Some(version) = self.equipment.as_ref().map(|equipment| equipment.version) else { return };
        self.status = status;
        let health = Health { status, detail, paused_until, success_at, version };
        let (target, run) = (Rc::clone(&self.target), self.run.clone());
        let saving = async move { target.save(&run, health).await };
        context.spawn(saving.into_actor(self));
    }
}
