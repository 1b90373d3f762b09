//! What X lets one account do of one kind: send direct messages, or post replies.
//!
//! X counts each kind by itself, and its look-ups apart from sending. So what is used up of one never holds up
//! another, and only the conversations that need it wait.

use std::cell::{Cell, RefCell};

use super::backoff::Scope;
use crate::domain::failure::{Effect, ErrorClass, Failure};
use crate::x::errors::CallError;
use crate::x::limits::{Budget, Limits};

/// A call starts within so long after it was taken out of the limit of the whole app. Whoever takes an account
/// over knows only when that was.
const STARTS_WITHIN_MS: i64 = 10_000;

/// The limits of one kind of call of an account.
pub(super) struct Allowance {
    budget: RefCell<Budget>,
    /// What is asked of the store before is refused again.
    app_free_at: Cell<i64>,
    look_ups_free_at: Cell<i64>,
}

/// A place in the limits for a call that is about to start; given back when it does not.
pub(super) struct Place<'a> {
    allowance: &'a Allowance,
    is_started: bool,
    is_over: bool,
}

impl Place<'_> {
    /// The call starts now.
    pub(super) fn start(&mut self, at_ms: i64) {
        self.is_started = true;
        self.allowance.budget.borrow_mut().start_reserved(at_ms);
    }

    /// The call is over, and this was told with its answer.
    pub(super) fn answered(mut self, limits: &Limits) {
        self.is_over = true;
        self.allowance.budget.borrow_mut().answered(limits);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut budget = self.allowance.budget.borrow_mut();
        match (self.is_started, self.is_over) {
            (false, _) => budget.release_reserved(),
            (true, false) => budget.answered(&Limits::default()),
            (true, true) => {}
        }
    }
}

impl Allowance {
    /// With these calls of the last 24 hours, whoever made them and however they ended.
    pub(super) fn new(mut budget: Budget, taken_at: Vec<i64>) -> Self {
        for at_ms in taken_at {
            budget.record(at_ms + STARTS_WITHIN_MS);
        }
        Self { budget: RefCell::new(budget), app_free_at: Cell::new(0), look_ups_free_at: Cell::new(0) }
    }

    /// Takes a place, so that no other call takes it until this one starts. Refuses before X would.
    pub(super) fn reserve(&self, now_ms: i64) -> Result<Place<'_>, Failure> {
        if self.app_free_at.get() > now_ms {
            return Err(app_refusal(self.app_free_at.get()));
        }
        match self.budget.borrow_mut().reserve(now_ms) {
            Ok(()) => Ok(Place { allowance: self, is_started: false, is_over: false }),
            Err(free_at) => Err(refusal(
                "the account's limit at X is used up; the message is sent when it resets".to_owned(),
                free_at,
            )),
        }
    }

    /// What X allows the whole app has no room for the account until then.
    pub(super) fn app_is_full_until(&self, free_at: i64) -> Failure {
        self.app_free_at.set(free_at);
        app_refusal(free_at)
    }

    /// Whether it may be looked up what was sent.
    pub(super) fn may_look_up(&self, now_ms: i64) -> Result<(), Failure> {
        let free_at = self.look_ups_free_at.get();
        if free_at <= now_ms {
            return Ok(());
        }
        Err(refusal(
            "the account's look-ups at X are used up; they go on when X resets them".to_owned(),
            free_at,
        ))
    }

    /// X refused to send. Says what else that holds for.
    pub(super) fn sending_was_refused(&self, error: &CallError) -> Scope {
        let Some(until_ms) = closed_until(error) else { return Scope::Target };
        self.budget.borrow_mut().close_until(until_ms);
        Scope::Lane
    }

    /// X refused a look-up. Says what else that holds for.
    pub(super) fn look_up_was_refused(&self, error: &CallError) -> Scope {
        let Some(until_ms) = closed_until(error) else { return Scope::Target };
        self.look_ups_free_at.set(until_ms.max(self.look_ups_free_at.get()));
        Scope::Lane
    }
}

/// Until when X takes no call of this kind, where it says so of this kind alone. What a gateway, the spam guard or
/// the bill of the app refuse is not told apart.
fn closed_until(error: &CallError) -> Option<i64> {
    let Limits { endpoint, user_day, app_day, .. } = error.limits;
    let is_told_apart = endpoint.or(user_day).or(app_day).is_some();
    let is_limit = error.failure.class == ErrorClass::RateLimited && error.refusal.is_none();
    if is_limit && is_told_apart { error.failure.retry_at_ms } else { None }
}

fn app_refusal(free_at: i64) -> Failure {
    let detail = "what X allows the app in 24 hours is used up, or kept for accounts that had less of it; \
                  the message is sent when there is room";
    refusal(detail.to_owned(), free_at)
}

fn refusal(detail: String, free_at: i64) -> Failure {
    Failure {
        class: ErrorClass::RateLimited,
        effect: Effect::NotTried,
        http_status: None,
        detail,
        retry_at_ms: Some(free_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x::errors::{Call, judge};
    use crate::x::limits::Quota;

    const NOW_MS: i64 = 1_700_000_000_000;

    fn allowance(n_taken: i64) -> Allowance {
        Allowance::new(Budget::for_direct_messages(), (0..n_taken).map(|n| NOW_MS - n).rev().collect())
    }

    fn refused(status: u16, body: &str, limits: Limits) -> CallError {
        *judge(Call::Write, status, body.as_bytes(), limits, NOW_MS)
    }

    #[test]
    fn a_place_is_given_back_unless_its_call_starts() {
        let allowance = allowance(14);
        let place = allowance.reserve(NOW_MS).expect("one is left");
        assert!(allowance.reserve(NOW_MS).is_err(), "it is taken");
        drop(place);
        let mut place = allowance.reserve(NOW_MS).expect("it was given back");
        place.start(NOW_MS);
        drop(place);
        let failure = allowance.reserve(NOW_MS).err().expect("fifteen were made");
        assert_eq!((failure.effect, failure.class), (Effect::NotTried, ErrorClass::RateLimited));
        assert!(failure.retry_at_ms > Some(NOW_MS + 14 * 60_000), "{failure:?}");
    }

    #[test]
    fn only_what_x_tells_apart_is_closed_alone() {
        let quota =
            |remaining| Quota { limit: Some(15), remaining: Some(remaining), reset_ms: NOW_MS + 5000 };
        let endpoint = Limits { endpoint: Some(quota(0)), ..Limits::default() };
        let left = Limits { endpoint: Some(quota(3)), ..Limits::default() };
        let gateway = Limits { retry_after_s: Some(9), ..Limits::default() };
        let spam = r#"{"errors":[{"code":226,"message":"automated"}]}"#;
        let cases = [
            ("its window is used up", refused(429, "", endpoint), Scope::Lane),
            ("X does not say which window", refused(429, "", left), Scope::Lane),
            ("a gateway", refused(429, "", gateway), Scope::Target),
            ("nothing is told", refused(429, "", Limits::default()), Scope::Target),
            ("the spam guard", refused(403, spam, endpoint), Scope::Target),
            ("the bill", refused(402, "{}", endpoint), Scope::Target),
            ("another refusal", refused(503, "", endpoint), Scope::Target),
        ];
        for (what, error, scope) in cases {
            let (sends, looks) = (allowance(0), allowance(0));
            assert_eq!(
                (sends.sending_was_refused(&error), looks.look_up_was_refused(&error)),
                (scope, scope),
                "{what}"
            );
            let is_closed = scope == Scope::Lane;
            assert_eq!(sends.reserve(NOW_MS).is_err(), is_closed, "{what}");
            assert_eq!(sends.may_look_up(NOW_MS), Ok(()), "{what}");
            assert_eq!(looks.may_look_up(NOW_MS).is_err(), is_closed, "{what}");
            assert!(looks.reserve(NOW_MS).is_ok() && sends.reserve(NOW_MS + 5000).is_ok(), "{what}");
        }
    }

    #[test]
    fn the_store_is_not_asked_again_while_the_app_is_full() {
        let allowance = allowance(0);
        assert_eq!(allowance.app_is_full_until(NOW_MS + 9).retry_at_ms, Some(NOW_MS + 9));
        assert!(allowance.reserve(NOW_MS + 8).is_err());
        assert!(allowance.reserve(NOW_MS + 9).is_ok());
    }
}
