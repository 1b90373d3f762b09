//! The protocol of leases, fences and the effect journal as a small world, driven by chance.
//!
//! Two replicas work on the deliveries of one lane. They are paused, killed, late; leases run out; calls take
//! effect late, or never, and their answers get lost. What a replica believes of its lease is the real
//! [`Leases`]; the rest is the protocol as the store's statements keep it. Whatever happens, each delivery
//! takes effect once, in order, and no call starts under a lease that another holds. Each rule of the
//! protocol is also left out once, and then the same test must find what goes wrong.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::leases::{Lease, Leases};
use crate::store::shards::Held;

const N_REPLICAS: usize = 2;
const N_DELIVERIES: usize = 3;
const LEASE_MS: u64 = 100;
const BELIEF_MS: u64 = 90;
/// A call takes effect within this time, or never.
const TIMEOUT_MS: u64 = 60;
const SHARD: usize = 0;

/// A rule that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// Intents are stored whatever the row's fence and the shard's lease.
    UnfencedIntents,
    /// The lease is not looked at between the intent and the call.
    NoLookAtTheLease,
    /// A call whose end is unknown is made again without looking.
    NoLookUp,
    /// The look-up does not wait until the call can have no effect any more.
    HastyLookUp,
    /// A lease that ran out is believed in.
    EndlessBelief,
    /// Shards are taken whether or not their lease has run out.
    HastyClaim,
}

#[derive(Debug, Clone)]
enum Action {
    Wait(u64),
    /// A replica does its next step.
    Step(usize),
    Pause(usize),
    Resume(usize),
    Kill(usize),
    /// The oldest call under way takes effect.
    Effect,
    /// A replica learns how its call ended, or that it never will.
    Answer(usize, bool),
}

fn action() -> impl Strategy<Value = Action> {
    let replica = 0..N_REPLICAS;
    prop_oneof![
        6 => (1_u64..40).prop_map(Action::Wait),
        20 => replica.clone().prop_map(Action::Step),
        2 => replica.clone().prop_map(Action::Pause),
        2 => replica.clone().prop_map(Action::Resume),
        1 => replica.clone().prop_map(Action::Kill),
        4 => Just(Action::Effect),
        4 => (replica, any::<bool>()).prop_map(|(replica, is_known)| Action::Answer(replica, is_known)),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Queued,
    Sending { sent_at: u64 },
    Delivered,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    status: Status,
    fence: i64,
}

/// What a replica is doing with a delivery.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// It has read the row.
    Read,
    /// It has looked up that an earlier call had no effect.
    Absent,
    /// The intent is stored.
    Intended { sent_at: u64 },
    /// The call is under way.
    Called,
    /// The call had its effect.
    Known,
}

#[derive(Debug, Clone, Copy)]
struct Work {
    delivery: usize,
    row: Row,
    lease: Lease,
    mark: i64,
    phase: Phase,
}

#[derive(Debug)]
struct Replica {
    leases: Leases,
    is_paused: bool,
    work: Option<Work>,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    replica: usize,
    delivery: usize,
    started_at: u64,
}

struct World {
    flaw: Flaw,
    begun: Instant,
    now: u64,
    owner: Option<usize>,
    epoch: i64,
    lease_until: u64,
    rows: [Row; N_DELIVERIES],
    replicas: Vec<Replica>,
    calls: Vec<Call>,
    effects: Vec<usize>,
    n_marks: i64,
}

impl World {
    fn new(flaw: Flaw) -> Self {
        let replica =
            |n: usize| Replica { leases: Leases::of_replica(n.to_string()), is_paused: false, work: None };
        Self {
            flaw,
            begun: Instant::now(),
            now: 0,
            owner: None,
            epoch: 0,
            lease_until: 0,
            rows: [Row { status: Status::Queued, fence: 0 }; N_DELIVERIES],
            replicas: (0..N_REPLICAS).map(replica).collect(),
            calls: Vec::new(),
            effects: Vec::new(),
            n_marks: 0,
        }
    }

    fn instant(&self, at: u64) -> Instant {
        self.begun + Duration::from_millis(at)
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        match *action {
            Action::Wait(ms) => self.wait(ms),
            Action::Step(n) if !self.replicas[n].is_paused => return self.step(n),
            Action::Pause(n) => self.replicas[n].is_paused = true,
            Action::Resume(n) => self.replicas[n].is_paused = false,
            Action::Kill(n) => {
                let leases = Leases::of_replica(n.to_string());
                self.replicas[n] = Replica { leases, is_paused: false, work: None };
            }
            Action::Effect => {
                if !self.calls.is_empty() {
                    let call = self.calls.remove(0);
                    return self.take_effect(call);
                }
            }
            Action::Answer(n, is_known) if !self.replicas[n].is_paused => self.answer(n, is_known),
            Action::Step(_) | Action::Answer(..) => {}
        }
        Ok(())
    }

    /// Time passes; calls that took too long never have an effect.
    fn wait(&mut self, ms: u64) {
        self.now += ms;
        let now = self.now;
        self.calls.retain(|call| call.started_at + TIMEOUT_MS > now);
    }

    fn take_effect(&mut self, call: Call) -> Result<(), String> {
        if self.effects.contains(&call.delivery) {
            return Err(format!("delivery {} took effect twice", call.delivery));
        }
        if call.delivery != self.effects.len() {
            return Err(format!("delivery {} took effect out of order", call.delivery));
        }
        self.effects.push(call.delivery);
        Ok(())
    }

    fn answer(&mut self, n: usize, is_known: bool) {
        let Some(work) = self.replicas[n].work.as_mut() else { return };
        if !matches!(work.phase, Phase::Called) {
            return;
        }
        let is_under_way = self.calls.iter().any(|call| call.replica == n && call.delivery == work.delivery);
        if is_known && self.effects.contains(&work.delivery) {
            work.phase = Phase::Known;
        } else if !is_under_way || !is_known {
            // The end is not known, and the journal tells of it: the row is read again.
            self.replicas[n].work = None;
        }
    }

    fn step(&mut self, n: usize) -> Result<(), String> {
        self.claim_or_renew(n);
        let Some(work) = self.replicas[n].work else {
            self.read(n);
            return Ok(());
        };
        match work.phase {
            Phase::Read => self.look_up(n, work),
            Phase::Absent => self.intend(n, work),
            Phase::Intended { sent_at } => return self.call(n, work, sent_at),
            Phase::Called => {}
            Phase::Known => {
                if self.may_write(n, work) {
                    self.rows[work.delivery] = Row { status: Status::Delivered, fence: work.mark + 1 };
                }
                self.replicas[n].work = None;
            }
        }
        Ok(())
    }

    /// As the lease keeper does in each round.
    fn claim_or_renew(&mut self, n: usize) {
        let is_free = self.owner.is_none() || self.lease_until <= self.now || self.flaw == Flaw::HastyClaim;
        if self.owner == Some(n) && self.lease_until > self.now {
            self.lease_until = self.now + LEASE_MS;
        } else if is_free {
            self.owner = Some(n);
            self.epoch += 1;
            self.lease_until = self.now + LEASE_MS;
        } else {
            return;
        }
        let belief = if self.flaw == Flaw::EndlessBelief { 1_000_000 } else { BELIEF_MS };
        let held = [Held { id: 0, epoch: self.epoch }];
        let until = self.instant(self.now + belief);
        self.replicas[n].leases.take(&held, self.instant(self.now), until);
    }

    /// Reads the head of the lane, under the lease that the replica believes in.
    fn read(&mut self, n: usize) {
        let Some(lease) = self.replicas[n].leases.lease_at(SHARD, self.instant(self.now)) else { return };
        let Some(delivery) = self.rows.iter().position(|row| row.status != Status::Delivered) else { return };
        self.n_marks += 2;
        let work = Work { delivery, row: self.rows[delivery], lease, mark: self.n_marks, phase: Phase::Read };
        self.replicas[n].work = Some(work);
    }

    /// Finds out what became of an earlier call, once it can have no effect any more.
    fn look_up(&mut self, n: usize, work: Work) {
        let Status::Sending { sent_at } = work.row.status else {
            self.replicas[n].work = Some(Work { phase: Phase::Absent, ..work });
            return;
        };
        let may_look = self.flaw == Flaw::HastyLookUp || self.now >= sent_at + TIMEOUT_MS;
        if !may_look {
            self.replicas[n].work = None;
            return;
        }
        let is_there = self.effects.contains(&work.delivery) && self.flaw != Flaw::NoLookUp;
        let phase = if is_there { Phase::Known } else { Phase::Absent };
        self.replicas[n].work = Some(Work { phase, ..work });
    }

    /// The row's fence and the shard's lease, as the store checks them in one transaction.
    fn may_write(&self, n: usize, work: Work) -> bool {
        let row = self.rows[work.delivery];
        let holds_row = row.fence == work.row.fence || row.fence == work.mark;
        let holds_shard =
            self.owner == Some(n) && self.epoch == work.lease.epoch && self.lease_until > self.now;
        holds_row && holds_shard && row.status != Status::Delivered
    }

    fn intend(&mut self, n: usize, work: Work) {
        if !self.may_write(n, work) && self.flaw != Flaw::UnfencedIntents {
            self.replicas[n].work = None;
            return;
        }
        let sent_at = self.now;
        self.rows[work.delivery] = Row { status: Status::Sending { sent_at }, fence: work.mark };
        self.replicas[n].work = Some(Work { phase: Phase::Intended { sent_at }, ..work });
    }

    fn call(&mut self, n: usize, work: Work, sent_at: u64) -> Result<(), String> {
        let is_believed = self.replicas[n].leases.holds_at(work.lease, self.instant(self.now));
        if !is_believed && self.flaw != Flaw::NoLookAtTheLease {
            self.replicas[n].work = None;
            return Ok(());
        }
        if self.owner != Some(n) || self.epoch != work.lease.epoch {
            return Err(format!("replica {n} started a call under a lease that it had lost"));
        }
        // The call is given up this long after its intent, however late it began.
        self.calls.push(Call { replica: n, delivery: work.delivery, started_at: sent_at });
        self.replicas[n].work = Some(Work { phase: Phase::Called, ..work });
        Ok(())
    }

    /// Lets one replica end the work undisturbed.
    fn settle(&mut self) -> Result<(), String> {
        for _ in 0..400 {
            self.wait(7);
            self.replicas[0].is_paused = false;
            self.step(0)?;
            while !self.calls.is_empty() {
                let call = self.calls.remove(0);
                self.take_effect(call)?;
            }
            self.answer(0, true);
        }
        let is_done = self.rows.iter().all(|row| row.status == Status::Delivered);
        if !is_done || self.effects.len() != N_DELIVERIES {
            return Err(format!("not everything arrived: {:?}, {:?}", self.rows, self.effects));
        }
        Ok(())
    }
}

fn run(flaw: Flaw, actions: &[Action]) -> Result<(), String> {
    let mut world = World::new(flaw);
    for action in actions {
        world.act(action)?;
    }
    world.replicas[1].is_paused = true;
    world.settle()
}

fn search(flaw: Flaw, n_cases: u32) -> Result<(), String> {
    let config =
        Config { cases: n_cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let found = runner.run(&prop::collection::vec(action(), 20..160), |actions| {
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
    assert_eq!(search(Flaw::None, 1000), Ok(()));
}

#[test]
fn each_rule_is_needed() {
    let flaws = [
        Flaw::UnfencedIntents,
        Flaw::NoLookAtTheLease,
        Flaw::NoLookUp,
        Flaw::HastyLookUp,
        Flaw::EndlessBelief,
        Flaw::HastyClaim,
    ];
    for flaw in flaws {
        assert!(search(flaw, 20_000).is_err(), "{flaw:?} was not found out");
    }
}
