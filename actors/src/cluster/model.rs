//! The protocol of leases, fences and the effect journal as a state machine that chance drives.
//!
//! - [`book`]: what the store keeps of a shard and a lane, and what its statements do with it. The suite of the
//!   store holds the real statements against it.
//! - [`world`]: replicas that ask, write and call, while messages to the store are late or their answers lost,
//!   calls take effect late or never, and replicas are paused, killed and relieved. What a replica believes of
//!   its lease is the real [`Leases`](super::leases::Leases).
//!
//! Whatever happens, each delivery takes effect once and in order, no call starts and nothing is recorded under
//! a lease that is not held, and in the end everything has arrived. Each rule of the protocol is also left out
//! once, and then the same search must find what goes wrong.

pub(crate) mod book;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use self::world::{Action, run};

/// How many courses of events are searched, with all rules and without one.
const N_CASES: u32 = 30_000;

/// A rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// Shards are taken whether or not their lease has run out.
    HastyClaim,
    /// A lease that ran out is believed in.
    EndlessBelief,
    /// A lease is believed in from the answer on, not from the question.
    LateBelief,
    /// A shard is given up while a call for it may still start.
    HastyRelease,
    /// The lease is not looked at between the intent and the call.
    NoLookAtTheLease,
    /// A call starts however long ago its intent was stored.
    LateCall,
    /// Intents and outcomes are stored whoever holds the shard's lease.
    NoShardFence,
    /// Intents and outcomes are stored whoever wrote for the delivery meanwhile.
    NoRowFence,
    /// No intent is stored before a call.
    NoIntent,
    /// What failed without an answer is stored as if it had had no effect.
    ForgetfulOutcome,
    /// A call whose end is unknown is made again without looking.
    NoLookUp,
    /// The look-up does not wait until the call can have no effect any more.
    HastyLookUp,
}

/// All of them.
const FLAWS: [Flaw; 12] = [
    Flaw::HastyClaim,
    Flaw::EndlessBelief,
    Flaw::LateBelief,
    Flaw::HastyRelease,
    Flaw::NoLookAtTheLease,
    Flaw::LateCall,
    Flaw::NoShardFence,
    Flaw::NoRowFence,
    Flaw::NoIntent,
    Flaw::ForgetfulOutcome,
    Flaw::NoLookUp,
    Flaw::HastyLookUp,
];

fn search(flaw: Flaw) -> Result<(), String> {
    let config =
        Config { cases: N_CASES, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let found = runner.run(&prop::collection::vec(Action::any(), 20..250), |actions| {
        run(flaw, &actions).map_err(TestCaseError::fail)
    });
    match found {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, _)) => Err(reason.to_string()),
        Err(TestError::Abort(reason)) => panic!("the search was given up: {reason}"),
    }
}

#[test]
fn each_delivery_takes_effect_once_and_in_order() {
    assert_eq!(search(Flaw::None), Ok(()));
}

#[test]
fn each_rule_is_needed() {
    for flaw in FLAWS {
        let found = search(flaw).expect_err(&format!("{flaw:?} was not found out"));
        println!("{flaw:?}: {found}");
    }
}
