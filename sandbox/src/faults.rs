//! Faults to switch on: the next n calls, or a seeded share of all calls.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::server::{Outcome, Reply};

/// Which calls a planned fault may hit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every API call, reads and writes, but no token request.
    All,
    /// `GET` calls.
    Reads,
    /// Calls that create or change something.
    Writes,
    /// Direct messages and posts being sent (X only).
    Messages,
    /// Token requests (`/oauth_token.do`).
    Token,
    /// Calls whose path begins so, token requests included.
    Path(String),
}

/// A duration written as a number of milliseconds.
pub(crate) fn duration_ms<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u64::deserialize(from).map(Duration::from_millis)
}

/// The body of `POST /_sandbox/faults` on both sides.
#[derive(Deserialize)]
pub(crate) struct FaultRequest<F> {
    /// Default: the scope that the side's `fail_next` uses.
    pub(crate) scope: Option<Scope>,
    /// For the next n calls; or
    pub(crate) n: Option<usize>,
    /// for this share of all calls.
    pub(crate) permille: Option<u32>,
    #[serde(default)]
    pub(crate) seed: u64,
    pub(crate) faults: Vec<F>,
}

impl<F: Clone> FaultRequest<F> {
    pub(crate) fn apply(self, plan: &mut FaultPlan<F>, scope: Scope) {
        let scope = self.scope.unwrap_or(scope);
        if let Some(permille) = self.permille {
            plan.fail_rate(scope, self.seed, permille, self.faults);
            return;
        }
        for fault in self.faults {
            plan.fail_next(scope.clone(), self.n.unwrap_or(1), fault);
        }
    }
}

/// What kind of call stands at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallKind {
    Read,
    Write,
    Message,
    Token,
}

impl Scope {
    fn covers(&self, kind: CallKind, path: &str) -> bool {
        match self {
            Self::All => kind != CallKind::Token,
            Self::Reads => kind == CallKind::Read,
            Self::Writes => matches!(kind, CallKind::Write | CallKind::Message),
            Self::Messages => kind == CallKind::Message,
            Self::Token => kind == CallKind::Token,
            Self::Path(prefix) => path.starts_with(prefix.as_str()),
        }
    }
}

struct Planned<F> {
    scope: Scope,
    remaining: usize,
    fault: F,
}

struct Rate<F> {
    scope: Scope,
    seed: u64,
    permille: u32,
    faults: Vec<F>,
    n_calls: u64,
}

/// The faults that one simulated world will show.
pub(crate) struct FaultPlan<F> {
    planned: VecDeque<Planned<F>>,
    rate: Option<Rate<F>>,
    n_struck: u64,
}

impl<F: Clone> FaultPlan<F> {
    pub(crate) fn new() -> Self {
        Self { planned: VecDeque::new(), rate: None, n_struck: 0 }
    }

    /// How many calls have met a fault so far; [`Self::clear`] does not forget them.
    pub(crate) fn n_struck(&self) -> u64 {
        self.n_struck
    }

    pub(crate) fn fail_next(&mut self, scope: Scope, n: usize, fault: F) {
        if n > 0 {
            self.planned.push_back(Planned { scope, remaining: n, fault });
        }
    }

    /// From now on `permille` of the calls in `scope` fail; which ones depends only on `seed` and on the
    /// number of the call, so a run can be repeated.
    pub(crate) fn fail_rate(&mut self, scope: Scope, seed: u64, permille: u32, faults: Vec<F>) {
        self.rate = (permille > 0 && !faults.is_empty()).then_some(Rate {
            scope,
            seed,
            permille,
            faults,
            n_calls: 0,
        });
    }

    pub(crate) fn clear(&mut self) {
        self.planned.clear();
        self.rate = None;
    }

    /// The fault that the present call meets, if any.
    pub(crate) fn take(&mut self, kind: CallKind, path: &str) -> Option<F> {
        let fault = self.draw(kind, path);
        self.n_struck += u64::from(fault.is_some());
        fault
    }

    fn draw(&mut self, kind: CallKind, path: &str) -> Option<F> {
        if let Some(at) = self.planned.iter().position(|planned| planned.scope.covers(kind, path)) {
            let planned = &mut self.planned[at];
            let fault = planned.fault.clone();
            planned.remaining -= 1;
            if planned.remaining == 0 {
                self.planned.remove(at);
            }
            return Some(fault);
        }
        let rate = self.rate.as_mut().filter(|rate| rate.scope.covers(kind, path))?;
        let number = rate.n_calls;
        rate.n_calls += 1;
        let draw = mix(rate.seed ^ mix(number));
        if draw % 1000 >= u64::from(rate.permille) {
            return None;
        }
        let n_faults = rate.faults.len() as u64;
        let chosen = usize::try_from(mix(draw) % n_faults).unwrap_or(0);
        rate.faults.get(chosen).cloned()
    }
}

/// Where a fault strikes.
pub(crate) enum Strike {
    /// Answered thus, instead of the call.
    Instead(Reply),
    CutInstead,
    /// The call is done, then answered thus.
    Afterwards(Reply),
    CutAfterwards,
    /// The call is done and answered with 200 and a part of its body.
    BrokenOff,
    LateAnswer(Duration),
    LateCommit(Duration),
    Never,
}

impl Strike {
    /// `answer` does the call.
    pub(crate) async fn at<Done>(self, answer: impl FnOnce() -> Done + 'static) -> Outcome
    where
        Done: Future<Output = Reply> + 'static,
    {
        match self {
            Self::Instead(reply) => Outcome::Reply(reply),
            Self::CutInstead => Outcome::Cut,
            Self::Afterwards(reply) => {
                answer().await;
                Outcome::Reply(reply)
            }
            Self::CutAfterwards => {
                answer().await;
                Outcome::Cut
            }
            Self::BrokenOff => {
                let mut reply = answer().await;
                reply.status = 200;
                reply.body.truncate(reply.body.len() * 2 / 3);
                Outcome::Reply(reply)
            }
            Self::LateAnswer(delay) => {
                let reply = answer().await;
                tokio::time::sleep(delay).await;
                Outcome::Reply(reply)
            }
            Self::LateCommit(delay) => {
                // A task of its own: it goes on when the client leaves.
                let work = actix_rt::spawn(async move {
                    tokio::time::sleep(delay).await;
                    answer().await
                });
                work.await.map_or(Outcome::Cut, Outcome::Reply)
            }
            Self::Never => std::future::pending().await,
        }
    }
}

/// The finalizer of splitmix64 (Vigna, public domain): spreads call numbers evenly.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planned_faults_wait_for_a_call_in_their_scope() {
        let mut plan = FaultPlan::new();
        plan.fail_next(Scope::Writes, 2, "w");
        plan.fail_next(Scope::Path("/api/now".into()), 1, "p");
        assert_eq!(plan.take(CallKind::Read, "/other"), None);
        assert_eq!(plan.take(CallKind::Read, "/api/now/x"), Some("p"));
        assert_eq!(plan.take(CallKind::Write, "/other"), Some("w"));
        assert_eq!(plan.take(CallKind::Token, "/oauth_token.do"), None);
        assert_eq!(plan.take(CallKind::Write, "/other"), Some("w"));
        assert_eq!(plan.take(CallKind::Write, "/other"), None);
        plan.clear();
        assert_eq!(plan.n_struck(), 3, "those that struck stay counted");
    }

    #[test]
    fn a_rate_is_repeatable_and_near_its_share() {
        let draw = |seed| {
            let mut plan = FaultPlan::new();
            plan.fail_rate(Scope::All, seed, 200, vec!['a', 'b']);
            let hits: Vec<_> = (0..10_000).map(|_| plan.take(CallKind::Write, "/")).collect();
            assert_eq!(plan.n_struck(), hits.iter().flatten().count() as u64);
            hits
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let hits = draw(7);
        let n_hits = hits.iter().flatten().count();
        assert!((1_800..2_200).contains(&n_hits), "{n_hits} of 10000");
        assert!(hits.contains(&Some('a')) && hits.contains(&Some('b')));
    }
}
