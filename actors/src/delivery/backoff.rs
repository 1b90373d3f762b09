//! What happens after a call that did not succeed: pure, by failure, history and time.
#![allow(clippy::doc_markdown, reason = "ServiceNow is a name, not an item")]

use serde::{Deserialize, Serialize};

use crate::domain::duration::duration_text;
use crate::domain::failure::{Effect, ErrorClass, Failure};

const MINUTE_MS: i64 = 60 * 1000;
/// How long a sleeping instance is left alone after each look, the last one for ever on.
const SLEEP_PROBES_MS: [i64; 4] = [MINUTE_MS, 2 * MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS];
/// A full queue over there empties within seconds.
const BUSY: Backoff = Backoff { first_ms: 2000, factor: 2.0, max_ms: MINUTE_MS, jitter: 0.2 };
/// For an instance that counts calls but does not say when to come back.
const UNTOLD_LIMIT_MS: i64 = MINUTE_MS;

/// `delivery.backoff`: the pauses between attempts. Written `{first: 2s, factor: 3, max: 1h, jitter: 0.2}`;
/// what is left out has its default.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    /// After the first attempt, in milliseconds.
    #[serde(rename = "first", with = "duration_text")]
    pub first_ms: i64,
    /// Each pause is so many times the one before; at least 1.
    pub factor: f64,
    /// No pause that the hub chooses is longer, in milliseconds.
    #[serde(rename = "max", with = "duration_text")]
    pub max_ms: i64,
    /// By which part a pause may be shorter or longer, 0 to 1.
    pub jitter: f64,
}

impl Default for Backoff {
    /// 2 s, three times as long each time, an hour at most, ±20 %.
    fn default() -> Self {
        Self { first_ms: 2000, factor: 3.0, max_ms: 60 * MINUTE_MS, jitter: 0.2 }
    }
}

impl Backoff {
    /// The pause after the n-th attempt, in milliseconds; `random` is evenly spread over 0 to 1.
    /// Jitter never takes it beyond the longest pause.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "bounded by max_ms, itself a duration"
    )]
    pub fn delay_ms(&self, n_attempts: u32, random: f64) -> i64 {
        let exponent = i32::try_from(n_attempts.saturating_sub(1)).unwrap_or(i32::MAX);
        let max_ms = self.max_ms.max(0) as f64;
        let plain_ms = (self.first_ms as f64 * self.factor.max(1.0).powi(exponent)).min(max_ms);
        let swing = self.jitter.clamp(0.0, 1.0) * (2.0 * random.clamp(0.0, 1.0) - 1.0);
        (plain_ms * (1.0 + swing)).clamp(0.0, max_ms).round() as i64
    }
}

/// What is to happen next with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// This delivery is tried again then; others of the instance go on.
    RetryAt(i64),
    /// Nothing is sent to the instance until then, this delivery included.
    PauseInstanceUntil(i64),
    /// Nothing is sent to the instance until its credentials are changed.
    BlockOnCredentials,
    /// It may have been carried out: at that time it is looked for, and only then
    /// [`after_absent`] decides.
    LookUpAt(i64),
    /// It goes to the dead letters.
    Dead,
}

/// What else has to wait when the other side asks a delivery to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// Everything that is sent to it.
    #[default]
    Target,
    /// Nothing: it counts calls of this kind by themselves, and the others of this kind are held back by that.
    Lane,
}

/// Where a delivery stands when a call of it has just failed. Times in epoch milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// How often it was tried, the failed attempt included if it counts.
    pub n_attempts: u32,
    /// When the failed call was sent.
    pub sent_at_ms: i64,
    /// Now.
    pub now_ms: i64,
    /// When it is given up: it has failed for `delivery.retry_for` by then.
    pub deadline_ms: i64,
    /// How long a call may take over there, in milliseconds: `servicenow.timeout`.
    pub timeout_ms: i64,
    /// For whom what it met holds.
    pub scope: Scope,
}

/// Decides after a failed call. `random` is evenly spread over 0 to 1.
///
/// What the hub itself did not let start is no failure over there: it never makes a dead letter and never stops
/// others.
///
/// A call that may have had an effect is always looked for first, even past the deadline: a dead
/// letter that was delivered would be delivered twice by a replay. A look-up that fails itself is
/// decided here as any read; the delivery stays one that is to be looked for.
pub fn next_step(failure: &Failure, at: &Situation, backoff: &Backoff, random: f64) -> NextStep {
    let asked_ms = failure.retry_at_ms.unwrap_or(at.now_ms);
    let pause_ms = match failure.class {
        ErrorClass::Busy => busy_ms(at.n_attempts, backoff, random),
        _ => 0,
    };
    match failure.effect {
        Effect::None => settled(failure, at, backoff, random),
        Effect::NotTried => NextStep::RetryAt(waits_until(failure, at, backoff, random)),
        Effect::Possible => NextStep::LookUpAt(asked_ms.max(at.now_ms + pause_ms)),
        // The call may be running over there until its time is up.
        Effect::Pending => NextStep::LookUpAt(asked_ms.max(at.now_ms).max(at.sent_at_ms + at.timeout_ms)),
    }
}

/// Decides after a look-up has shown that the failed call had no effect.
pub fn after_absent(failure: &Failure, at: &Situation, backoff: &Backoff, random: f64) -> NextStep {
    settled(failure, at, backoff, random)
}

/// How long an instance is left alone after such a failure, whatever becomes of the one delivery:
/// `None` when it goes on. `n_in_a_row` counts the failures of this class since the last answer.
pub fn pause_instance_until(
    failure: &Failure,
    n_in_a_row: u32,
    now_ms: i64,
    backoff: &Backoff,
    random: f64,
) -> Option<i64> {
    let chosen_ms = match failure.class {
        ErrorClass::Sleeping => {
            let nth = (n_in_a_row.max(1) as usize - 1).min(SLEEP_PROBES_MS.len() - 1);
            SLEEP_PROBES_MS[nth].min(backoff.max_ms)
        }
        ErrorClass::Busy => busy_ms(n_in_a_row, backoff, random),
        ErrorClass::RateLimited if failure.retry_at_ms.is_none() => UNTOLD_LIMIT_MS.min(backoff.max_ms),
        ErrorClass::RateLimited => 0,
        // Maintenance with an end.
        ErrorClass::Unavailable if failure.retry_at_ms.is_some() => 0,
        _ => return None,
    };
    let asked_ms = failure.retry_at_ms.unwrap_or(now_ms);
    Some(asked_ms.max(now_ms + chosen_ms))
}

fn settled(failure: &Failure, at: &Situation, backoff: &Backoff, random: f64) -> NextStep {
    match failure.class {
        ErrorClass::Permanent | ErrorClass::NotFound => return NextStep::Dead,
        ErrorClass::Auth => return NextStep::BlockOnCredentials,
        _ => {}
    }
    if at.now_ms >= at.deadline_ms && !is_only_asked_to_wait(failure, at) {
        return NextStep::Dead;
    }
    if let Some(until_ms) = pause_instance_until(failure, at.n_attempts, at.now_ms, backoff, random) {
        return match at.scope {
            Scope::Target => NextStep::PauseInstanceUntil(until_ms),
            Scope::Lane => NextStep::RetryAt(until_ms),
        };
    }
    // Time that has passed since sending, waiting for a look-up, counts as pause.
    let retry_at_ms = (at.sent_at_ms + backoff.delay_ms(at.n_attempts, random)).max(at.now_ms);
    // The last attempt is at the deadline, not an hour short of it.
    NextStep::RetryAt(retry_at_ms.min(at.deadline_ms))
}

/// The other side has too many calls, and this was the first one for the delivery: it has waited long, not failed
/// long.
fn is_only_asked_to_wait(failure: &Failure, at: &Situation) -> bool {
    at.n_attempts <= 1 && matches!(failure.class, ErrorClass::RateLimited | ErrorClass::Busy)
}

fn waits_until(failure: &Failure, at: &Situation, backoff: &Backoff, random: f64) -> i64 {
    let until_ms = failure.retry_at_ms.unwrap_or(at.sent_at_ms + backoff.delay_ms(at.n_attempts, random));
    until_ms.max(at.now_ms)
}

/// When a delivery is given up that has only waited so far, and goes on waiting until then: the time in which
/// it may fail begins with its first real attempt. `None` when it has failed before, or fails now.
pub fn deadline_after_waiting(
    failure: &Failure,
    n_attempts_before: i64,
    next: NextStep,
    retry_for_ms: i64,
) -> Option<i64> {
    let has_only_waited = n_attempts_before == 0
        && (failure.effect == Effect::NotTried
            || matches!(failure.class, ErrorClass::RateLimited | ErrorClass::Busy));
    match next {
        NextStep::RetryAt(until_ms) | NextStep::PauseInstanceUntil(until_ms) if has_only_waited => {
            Some(until_ms.saturating_add(retry_for_ms))
        }
        _ => None,
    }
}

fn busy_ms(n_in_a_row: u32, backoff: &Backoff, random: f64) -> i64 {
    BUSY.delay_ms(n_in_a_row, random).min(backoff.max_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorClass::{
        Auth, Busy, NotFound, Permanent, RateLimited, Sleeping, Unavailable, Uncertain, Unexpected,
    };
    use NextStep::{BlockOnCredentials, Dead, LookUpAt, PauseInstanceUntil, RetryAt};
    use proptest::prelude::*;

    const DEADLINE_MS: i64 = 24 * 60 * MINUTE_MS;
    const NO_SWING: f64 = 0.5;

    fn failure(class: ErrorClass, effect: Effect, retry_at_ms: Option<i64>) -> Failure {
        Failure { class, effect, http_status: None, detail: String::new(), retry_at_ms }
    }

    fn situation(n_attempts: u32, now_ms: i64) -> Situation {
        Situation {
            n_attempts,
            sent_at_ms: now_ms - 100,
            now_ms,
            deadline_ms: DEADLINE_MS,
            timeout_ms: 65_000,
            scope: Scope::Target,
        }
    }

    #[test]
    fn delays() {
        let cases = [
            (0, 0.5, 2000),
            (1, 0.5, 2000),
            (1, 0.0, 1600),
            (1, 1.0, 2400),
            (2, 0.5, 6000),
            (3, 0.5, 18_000),
            (7, 0.5, 1_458_000),
            (8, 0.5, 3_600_000),
            (8, 1.0, 3_600_000),
            (8, 0.0, 2_880_000),
            (u32::MAX, 0.5, 3_600_000),
        ];
        for (n_attempts, random, delay_ms) in cases {
            assert_eq!(Backoff::default().delay_ms(n_attempts, random), delay_ms, "{n_attempts} {random}");
        }
    }

    #[test]
    fn settings() {
        let read = |text: &str| serde_json::from_str::<Backoff>(text);
        let written = r#"{"first":"2s","factor":3.0,"max":"1h","jitter":0.2}"#;
        assert_eq!(serde_json::to_string(&Backoff::default()).unwrap(), written);
        assert_eq!(read(written).unwrap(), Backoff::default());
        assert_eq!(read(r#"{"factor": 2, "max": "5s"}"#).unwrap().max_ms, 5000);
        assert!(read(r#"{"first": 2}"#).is_err() && read(r#"{"fist": "2s"}"#).is_err());
    }

    #[test]
    fn steps() {
        let none = Effect::None;
        let now = 1_000_000;
        let soon = now - 100;
        let late = DEADLINE_MS + 1;
        let cases = [
            (failure(Permanent, none, None), 1, now, Dead),
            (failure(NotFound, none, None), 1, now, Dead),
            (failure(Auth, none, None), 1, now, BlockOnCredentials),
            (failure(Auth, none, None), 1, DEADLINE_MS, BlockOnCredentials),
            (failure(Unavailable, none, None), 1, now, RetryAt(soon + 2000)),
            (failure(Unavailable, none, None), 3, now, RetryAt(soon + 18_000)),
            (failure(Unavailable, none, Some(now + 120_000)), 1, now, PauseInstanceUntil(now + 120_000)),
            (failure(Unavailable, none, None), 9, DEADLINE_MS - 10, RetryAt(DEADLINE_MS)),
            (failure(Unavailable, none, None), 9, DEADLINE_MS, Dead),
            (failure(Unexpected, none, None), 1, now, RetryAt(soon + 2000)),
            (failure(Unexpected, none, None), 1, DEADLINE_MS + 1, Dead),
            (failure(RateLimited, none, Some(now + 7_200_000)), 1, now, PauseInstanceUntil(now + 7_200_000)),
            (failure(RateLimited, none, None), 1, now, PauseInstanceUntil(now + 60_000)),
            (failure(Busy, none, None), 1, now, PauseInstanceUntil(now + 2000)),
            (failure(Busy, none, None), 4, now, PauseInstanceUntil(now + 16_000)),
            (failure(Busy, none, None), 40, now, PauseInstanceUntil(now + 60_000)),
            (failure(Sleeping, none, None), 1, now, PauseInstanceUntil(now + 60_000)),
            (failure(Sleeping, none, None), 2, now, PauseInstanceUntil(now + 120_000)),
            (failure(Sleeping, none, None), 3, now, PauseInstanceUntil(now + 300_000)),
            (failure(Sleeping, none, None), 4, now, PauseInstanceUntil(now + 900_000)),
            (failure(Sleeping, none, None), 400, now, PauseInstanceUntil(now + 900_000)),
            (failure(Uncertain, Effect::Possible, None), 1, now, LookUpAt(now)),
            (failure(Uncertain, Effect::Possible, None), 9, DEADLINE_MS + 1, LookUpAt(DEADLINE_MS + 1)),
            (failure(Uncertain, Effect::Pending, None), 1, now, LookUpAt(soon + 65_000)),
            (failure(Permanent, Effect::Possible, None), 1, now, LookUpAt(now)),
            (failure(Auth, Effect::Possible, None), 1, now, LookUpAt(now)),
            (failure(Busy, Effect::Possible, None), 2, now, LookUpAt(now + 4000)),
            // What the hub did not let start waits, however old it is, and stops nobody else.
            (failure(RateLimited, Effect::NotTried, Some(now + 9)), 0, now, RetryAt(now + 9)),
            (failure(RateLimited, Effect::NotTried, Some(now)), 0, now, RetryAt(now)),
            (failure(RateLimited, Effect::NotTried, Some(late + 9)), 0, late, RetryAt(late + 9)),
            (failure(RateLimited, Effect::NotTried, Some(late + 9)), 7, late, RetryAt(late + 9)),
            (failure(Unavailable, Effect::NotTried, None), 1, late, RetryAt(late - 100 + 2000)),
            // One whose first call is refused for the number of calls has not failed long; another one has.
            (failure(RateLimited, none, Some(late + 9)), 1, late, PauseInstanceUntil(late + 9)),
            (failure(Busy, none, None), 1, late, PauseInstanceUntil(late + 2000)),
            (failure(RateLimited, none, Some(late + 9)), 2, late, Dead),
        ];
        for (failure, n_attempts, now_ms, step) in cases {
            let at = situation(n_attempts, now_ms);
            assert_eq!(next_step(&failure, &at, &Backoff::default(), NO_SWING), step, "{failure:?} {at:?}");
        }
    }

    #[test]
    fn what_is_counted_by_itself_stops_nobody_else() {
        let now = 1_000_000;
        let at = Situation { scope: Scope::Lane, ..situation(1, now) };
        let limited = failure(RateLimited, Effect::None, Some(now + 900_000));
        assert_eq!(next_step(&limited, &at, &Backoff::default(), NO_SWING), RetryAt(now + 900_000));
    }

    #[test]
    fn the_time_to_fail_begins_when_waiting_ends() {
        let (untried, none) = (Effect::NotTried, Effect::None);
        let cases = [
            (failure(RateLimited, untried, None), 0, RetryAt(50), Some(1050)),
            (failure(Unavailable, untried, None), 0, RetryAt(50), Some(1050)),
            (failure(RateLimited, none, None), 0, PauseInstanceUntil(50), Some(1050)),
            (failure(Busy, none, None), 0, PauseInstanceUntil(50), Some(1050)),
            (failure(RateLimited, untried, None), 1, RetryAt(50), None),
            (failure(Unavailable, none, None), 0, RetryAt(50), None),
            (failure(Busy, Effect::Possible, None), 0, LookUpAt(50), None),
            (failure(Permanent, none, None), 0, Dead, None),
        ];
        for (failure, n_before, next, deadline) in cases {
            assert_eq!(
                deadline_after_waiting(&failure, n_before, next, 1000),
                deadline,
                "{failure:?} {next:?}"
            );
        }
    }

    #[test]
    fn a_pending_call_is_looked_for_at_once_when_its_time_is_up() {
        let at = Situation { sent_at_ms: 0, now_ms: 65_010, ..situation(1, 65_010) };
        let step = next_step(&failure(Uncertain, Effect::Pending, None), &at, &Backoff::default(), NO_SWING);
        assert_eq!(step, LookUpAt(65_010));
    }

    #[test]
    fn steps_after_an_empty_look_up() {
        let now = 1_000_000;
        let possible = Effect::Possible;
        let cases = [
            (failure(Uncertain, possible, None), now, RetryAt(now - 100 + 2000)),
            (failure(Uncertain, possible, None), DEADLINE_MS, Dead),
            (failure(Permanent, possible, None), now, Dead),
            (failure(Auth, possible, None), now, BlockOnCredentials),
            (failure(Unexpected, possible, None), now, RetryAt(now - 100 + 2000)),
            (failure(Busy, possible, None), now, PauseInstanceUntil(now + 2000)),
        ];
        for (failure, now_ms, step) in cases {
            let at = situation(1, now_ms);
            assert_eq!(after_absent(&failure, &at, &Backoff::default(), NO_SWING), step, "{failure:?}");
        }
        let waited = Situation { sent_at_ms: now - 65_000, ..situation(1, now) };
        let pending = failure(Uncertain, Effect::Pending, None);
        assert_eq!(after_absent(&pending, &waited, &Backoff::default(), NO_SWING), RetryAt(now));
    }

    proptest! {
        #[test]
        fn no_pause_of_the_hubs_own_exceeds_the_longest(
            n_attempts in 0_u32..100,
            random in 0.0_f64..=1.0,
            max_ms in 0_i64..4_000_000,
            class in prop::sample::select(vec![Busy, Sleeping, RateLimited, Unavailable, Unexpected, Uncertain]),
        ) {
            let backoff = Backoff { max_ms, ..Backoff::default() };
            let now_ms = 1_000_000;
            let at = Situation { sent_at_ms: now_ms, ..situation(n_attempts, now_ms) };
            let step = next_step(&failure(class, Effect::None, None), &at, &backoff, random);
            let (RetryAt(until_ms) | PauseInstanceUntil(until_ms)) = step else { panic!("{step:?}") };
            prop_assert!(until_ms >= now_ms && until_ms - now_ms <= max_ms);
        }
    }
}
