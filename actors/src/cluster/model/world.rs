//! Replicas, the messages between them and the store, and the calls under way. A course of events is a list of
//! [`Action`]s; what cannot be done at its time is passed over.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::Flaw;
use super::book::{Author, Book, Entry, Name, Row, Status};
use crate::cluster::leases::Leases;
use crate::domain::lease::Lease;
use crate::store::shards::Held;

const N_REPLICAS: usize = 2;
const N_DELIVERIES: usize = 3;
const LEASE_MS: i64 = 100;
const BELIEF_MS: i64 = 90;
/// A call takes effect within this time, or never.
const TIMEOUT_MS: i64 = 60;
/// So much later than its intent says a call may start.
const SLACK_MS: i64 = 15;
const SHARD: usize = 0;

/// What happens next. Numbers choose among what there is.
#[derive(Debug, Clone)]
pub(super) enum Action {
    Wait(i64),
    /// The lease keeper of a replica begins a round.
    Round(usize),
    /// A replica does the next step of its attempt.
    Step(usize),
    /// A replica begins to give its shard up; once more, and it waits no longer for what is under way.
    GiveUp(usize),
    /// A message reaches the store in time.
    Serve(usize),
    /// One that nobody waits for any more reaches the store.
    ServeLate(usize),
    /// An answer of the store reaches who asked.
    Deliver(usize),
    /// Who asked waits no longer for an answer.
    Lose(usize),
    /// A call takes effect.
    Effect(usize),
    /// A call ends without effect.
    Refuse(usize),
    /// A replica learns how its call ended, or only that it will never know.
    Hear(usize, bool),
    /// The actor of a replica panics: its attempt is gone, what it has sent is not.
    Panic(usize),
    Pause(usize),
    Resume(usize),
    Kill(usize),
}

impl Action {
    pub(super) fn any() -> impl Strategy<Value = Self> {
        any::<u32>().prop_map(Self::drawn)
    }

    /// The action that a number stands for: its lowest byte says which, each as often as its share of the 128.
    fn drawn(number: u32) -> Self {
        let [kind, size, nth, flag] = number.to_le_bytes().map(usize::from);
        let n = nth % N_REPLICAS;
        match kind % 128 {
            0..8 => Self::Wait(i64::try_from(size % 40).unwrap_or_default() + 1),
            8..10 => Self::Wait(i64::try_from(size / 2).unwrap_or_default() + 1),
            10..20 => Self::Round(n),
            20..48 => Self::Step(n),
            48..50 => Self::GiveUp(n),
            50..77 => Self::Serve(size),
            77..79 => Self::ServeLate(size),
            79..105 => Self::Deliver(size),
            105..107 => Self::Lose(size),
            107..111 => Self::Effect(size),
            111..113 => Self::Refuse(size),
            113..120 => Self::Hear(n, flag % 2 == 0),
            120..122 => Self::Panic(n),
            122..124 => Self::Pause(n),
            124..127 => Self::Resume(n),
            _ => Self::Kill(n),
        }
    }
}

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has read the row.
    Read,
    /// An earlier call, if there was one, had no effect.
    Absent,
    /// The intent is on its way to the store.
    Intending {
        since: i64,
    },
    Intended {
        since: i64,
    },
    /// The call was made.
    Called {
        at: i64,
    },
    /// How it ended is known and to be stored.
    Ended {
        is_delivered: bool,
        look_at: Option<i64>,
    },
    /// How it ended is on its way to the store.
    Settling {
        is_delivered: bool,
        look_at: Option<i64>,
    },
}

#[derive(Debug, Clone, Copy)]
struct Work {
    nth: usize,
    row: Row,
    lease: Lease,
    mark: i64,
    phase: Phase,
}

impl Work {
    fn entry(&self, look_at: Option<i64>) -> Entry {
        Entry { nth: self.nth, held: self.row.fence, mark: self.mark, look_at }
    }
}

#[derive(Debug)]
struct Replica {
    name: Name,
    leases: Leases,
    is_paused: bool,
    is_asking: bool,
    leaving: Leaving,
    work: Option<Work>,
}

/// Whether a replica gives its shard up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// Once what is under way has ended.
    WhenDone,
    /// Whatever is under way.
    AtOnce,
}

impl Replica {
    fn new(name: Name) -> Self {
        let leases = Leases::of_replica(name.to_string());
        Self { name, leases, is_paused: false, is_asking: false, leaving: Leaving::No, work: None }
    }
}

#[derive(Debug, Clone, Copy)]
enum Request {
    /// Renews what is believed in, else claims what is free.
    Lease {
        believed: Option<i64>,
    },
    Release {
        epoch: i64,
    },
    Begin {
        epoch: i64,
        entry: Entry,
    },
    Settle {
        epoch: i64,
        entry: Entry,
        is_delivered: bool,
    },
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Lease(Option<i64>),
    Released,
    Written(bool),
}

/// To the store, or on its way back.
#[derive(Debug, Clone, Copy)]
struct Message {
    from: Name,
    sent_at: i64,
    request: Request,
    answer: Option<Answer>,
    /// Somebody waits for the answer.
    is_awaited: bool,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    mark: i64,
    nth: usize,
    started_at: i64,
}

struct World {
    flaw: Flaw,
    begun: Instant,
    now: i64,
    book: Book,
    replicas: Vec<Replica>,
    messages: Vec<Message>,
    calls: Vec<Call>,
    effects: Vec<usize>,
    n_names: Name,
    n_marks: i64,
}

/// Runs a course of events, then lets one replica end the work undisturbed.
pub(super) fn run(flaw: Flaw, actions: &[Action]) -> Result<(), String> {
    let mut world = World::new(flaw);
    for action in actions {
        world.act(action)?;
    }
    world.settle()
}

impl World {
    fn new(flaw: Flaw) -> Self {
        let names = 0..Name::try_from(N_REPLICAS).unwrap_or_default();
        Self {
            flaw,
            begun: Instant::now(),
            now: 0,
            book: Book::new(flaw, N_DELIVERIES),
            n_names: names.end,
            replicas: names.map(Replica::new).collect(),
            messages: Vec::new(),
            calls: Vec::new(),
            effects: Vec::new(),
            n_marks: 0,
        }
    }

    fn instant(&self, at: i64) -> Instant {
        self.begun + Duration::from_millis(u64::try_from(at).unwrap_or_default())
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        match *action {
            Action::Wait(ms) => self.wait(ms),
            Action::Round(n) if !self.replicas[n].is_paused => self.round(n),
            Action::Step(n) if !self.replicas[n].is_paused => return self.step(n),
            Action::GiveUp(n) if !self.replicas[n].is_paused => self.give_up(n),
            Action::Serve(k) => return self.serve(k, true),
            Action::ServeLate(k) => return self.serve(k, false),
            Action::Deliver(k) => self.deliver(k, false),
            Action::Lose(k) => self.deliver(k, true),
            Action::Effect(k) => return self.end_call(k, true),
            Action::Refuse(k) => return self.end_call(k, false),
            Action::Hear(n, is_known) if !self.replicas[n].is_paused => self.hear(n, is_known),
            Action::Panic(n) => self.panic(n),
            Action::Pause(n) => self.replicas[n].is_paused = true,
            Action::Resume(n) => self.replicas[n].is_paused = false,
            Action::Kill(n) => {
                self.panic(n);
                self.replicas[n] = Replica::new(self.n_names);
                self.n_names += 1;
            }
            _ => {}
        }
        Ok(())
    }

    /// Nobody waits any more for what the attempt has sent.
    fn panic(&mut self, n: usize) {
        let Some(work) = self.replicas[n].work.take() else { return };
        for message in &mut self.messages {
            if let Request::Begin { entry, .. } | Request::Settle { entry, .. } = message.request {
                message.is_awaited &= entry.mark != work.mark;
            }
        }
    }

    /// Time passes; calls that took too long never have an effect.
    fn wait(&mut self, ms: i64) {
        self.now += ms;
        let now = self.now;
        self.calls.retain(|call| call.started_at + TIMEOUT_MS > now);
    }

    fn send(&mut self, n: usize, request: Request) {
        let from = self.replicas[n].name;
        self.messages.push(Message { from, sent_at: self.now, request, answer: None, is_awaited: true });
    }

    fn round(&mut self, n: usize) {
        if std::mem::replace(&mut self.replicas[n].is_asking, true) {
            return;
        }
        let now = self.instant(self.now);
        let believed = self.replicas[n].leases.believed(now).first().map(|held| held.epoch);
        self.send(n, Request::Lease { believed });
    }

    fn give_up(&mut self, n: usize) {
        let replica = &mut self.replicas[n];
        match replica.leaving {
            Leaving::No if replica.leases.leave(1).is_empty() => {}
            Leaving::No => replica.leaving = Leaving::WhenDone,
            Leaving::WhenDone | Leaving::AtOnce => replica.leaving = Leaving::AtOnce,
        }
    }

    /// Lets go of the shard once nothing is under way for it, or nothing is waited for any more.
    fn let_go(&mut self, n: usize) {
        let is_hasty = self.flaw == Flaw::HastyRelease;
        let replica = &mut self.replicas[n];
        let is_due = match replica.leaving {
            Leaving::No => false,
            Leaving::WhenDone => replica.work.is_none() || is_hasty,
            Leaving::AtOnce => true,
        };
        if !is_due {
            return;
        }
        replica.leaving = Leaving::No;
        let released =
            if is_hasty { replica.leases.believed(self.begun) } else { replica.leases.remove(&[SHARD]) };
        for held in released {
            self.send(n, Request::Release { epoch: held.epoch });
        }
    }

    /// The k-th message that the store has not seen reaches it.
    fn serve(&mut self, k: usize, is_awaited: bool) -> Result<(), String> {
        let is_meant = |message: &Message| message.is_awaited == is_awaited && message.answer.is_none();
        let unseen: Vec<usize> =
            (0..self.messages.len()).filter(|&at| is_meant(&self.messages[at])).collect();
        let Some(&at) = pick(&unseen, k) else { return Ok(()) };
        let message = self.messages[at];
        let author = |epoch| Author { name: message.from, epoch };
        let before = self.book.rows().to_vec();
        let (answer, author) = match message.request {
            Request::Lease { believed } => {
                let is_held = believed.is_some_and(|epoch| self.book.is_held(author(epoch), self.now));
                let epoch = if is_held {
                    self.book.renew(message.from, self.now, LEASE_MS)
                } else {
                    self.book.claim(message.from, self.now, LEASE_MS)
                };
                (Answer::Lease(epoch), None)
            }
            Request::Release { epoch } => {
                self.book.release(author(epoch));
                (Answer::Released, None)
            }
            Request::Begin { epoch, entry } => {
                let stands = self.book.begin(author(epoch), entry, self.now);
                (Answer::Written(stands), Some(author(epoch)))
            }
            Request::Settle { epoch, entry, is_delivered } => {
                let stands = self.book.settle(author(epoch), entry, is_delivered, self.now);
                (Answer::Written(stands), Some(author(epoch)))
            }
        };
        self.messages[at].answer = Some(answer);
        let has_written = self.book.rows() != before.as_slice();
        if author.is_some_and(|author| has_written && !self.book.is_held(author, self.now)) {
            return Err("something was recorded under a lease that was not held".to_owned());
        }
        Ok(())
    }

    /// Who sent the k-th awaited message gets its answer, or waits no longer.
    fn deliver(&mut self, k: usize, is_lost: bool) {
        let is_ready = |message: &Message| message.is_awaited && (is_lost || message.answer.is_some());
        let ready: Vec<usize> = (0..self.messages.len()).filter(|&at| is_ready(&self.messages[at])).collect();
        let Some(&at) = pick(&ready, k) else { return };
        let message = self.messages[at];
        let sender = self.replicas.iter().position(|replica| replica.name == message.from);
        if sender.is_some_and(|n| self.replicas[n].is_paused) {
            return;
        }
        self.messages[at].is_awaited = false;
        let Some(n) = sender else { return };
        let answer = message.answer.filter(|_| !is_lost);
        match message.request {
            Request::Lease { .. } => self.take_lease(n, message.sent_at, answer),
            Request::Release { .. } => {}
            Request::Begin { entry, .. } | Request::Settle { entry, .. } => {
                self.take_written(n, entry.mark, answer);
            }
        }
    }

    fn take_lease(&mut self, n: usize, asked_at: i64, answer: Option<Answer>) {
        let belief_ms = if self.flaw == Flaw::EndlessBelief { 1_000_000 } else { BELIEF_MS };
        let since = if self.flaw == Flaw::LateBelief { self.now } else { asked_at };
        let (asked_at, until) = (self.instant(asked_at), self.instant(since + belief_ms));
        let replica = &mut self.replicas[n];
        replica.is_asking = false;
        if let Some(Answer::Lease(Some(epoch))) = answer {
            replica.leases.take(&[Held { id: 0, epoch }], asked_at, until);
        }
    }

    fn take_written(&mut self, n: usize, mark: i64, answer: Option<Answer>) {
        let Some(work) = self.replicas[n].work.filter(|work| work.mark == mark) else { return };
        let phase = match (work.phase, answer) {
            (Phase::Intending { since }, Some(Answer::Written(true))) => Some(Phase::Intended { since }),
            // It may be stored; the call was not made.
            (Phase::Intending { .. }, None) => Some(Phase::Ended { is_delivered: false, look_at: None }),
            (Phase::Settling { is_delivered, look_at }, None) => Some(Phase::Ended { is_delivered, look_at }),
            _ => None,
        };
        self.replicas[n].work = phase.map(|phase| Work { phase, ..work });
    }

    fn step(&mut self, n: usize) -> Result<(), String> {
        self.let_go(n);
        let Some(work) = self.replicas[n].work else {
            self.read(n);
            return Ok(());
        };
        match work.phase {
            Phase::Read => self.look_up(n, work),
            Phase::Absent if self.flaw == Flaw::NoIntent => {
                self.replicas[n].work = Some(Work { phase: Phase::Intended { since: self.now }, ..work });
            }
            Phase::Absent => {
                let look_at = Some(self.now + TIMEOUT_MS + SLACK_MS);
                self.send(n, Request::Begin { epoch: work.lease.epoch, entry: work.entry(look_at) });
                self.replicas[n].work = Some(Work { phase: Phase::Intending { since: self.now }, ..work });
            }
            Phase::Intended { since } => return self.call(n, work, since),
            Phase::Ended { is_delivered, look_at } => {
                let entry = work.entry(look_at);
                self.send(n, Request::Settle { epoch: work.lease.epoch, entry, is_delivered });
                self.replicas[n].work =
                    Some(Work { phase: Phase::Settling { is_delivered, look_at }, ..work });
            }
            Phase::Intending { .. } | Phase::Called { .. } | Phase::Settling { .. } => {}
        }
        Ok(())
    }

    /// Reads the head of the lane, under the lease that the replica believes in.
    fn read(&mut self, n: usize) {
        let Some(lease) = self.replicas[n].leases.lease_at(SHARD, self.instant(self.now)) else { return };
        let Some((nth, row)) = self.book.head() else { return };
        self.n_marks += 2;
        self.replicas[n].work = Some(Work { nth, row, lease, mark: self.n_marks, phase: Phase::Read });
    }

    /// Finds out what became of an earlier call, once it can have no effect any more.
    fn look_up(&mut self, n: usize, work: Work) {
        let phase = match work.row.look_at {
            None => Some(Phase::Absent),
            Some(_) if self.flaw == Flaw::NoLookUp => Some(Phase::Absent),
            Some(look_at) if self.now < look_at && self.flaw != Flaw::HastyLookUp => None,
            Some(_) => Some(self.seen(work.nth).unwrap_or(Phase::Absent)),
        };
        self.replicas[n].work = phase.map(|phase| Work { phase, ..work });
    }

    fn seen(&self, nth: usize) -> Option<Phase> {
        self.effects.contains(&nth).then_some(Phase::Ended { is_delivered: true, look_at: None })
    }

    fn call(&mut self, n: usize, work: Work, intended_at: i64) -> Result<(), String> {
        let is_believed = self.replicas[n].leases.holds_at(work.lease, self.instant(self.now));
        if !is_believed && self.flaw != Flaw::NoLookAtTheLease {
            self.replicas[n].work = None;
            return Ok(());
        }
        if self.now > intended_at + SLACK_MS && self.flaw != Flaw::LateCall {
            self.replicas[n].work = Some(Work { phase: Phase::Absent, ..work });
            return Ok(());
        }
        let author = Author { name: self.replicas[n].name, epoch: work.lease.epoch };
        if !self.book.is_held(author, self.now) {
            return Err(format!("replica {n} started a call under a lease that it had lost"));
        }
        self.calls.push(Call { mark: work.mark, nth: work.nth, started_at: self.now });
        self.replicas[n].work = Some(Work { phase: Phase::Called { at: self.now }, ..work });
        Ok(())
    }

    fn end_call(&mut self, k: usize, takes_effect: bool) -> Result<(), String> {
        let places: Vec<usize> = (0..self.calls.len()).collect();
        let Some(&at) = pick(&places, k) else { return Ok(()) };
        let call = self.calls.remove(at);
        if !takes_effect {
            return Ok(());
        }
        if self.effects.contains(&call.nth) {
            return Err(format!("delivery {} took effect twice", call.nth));
        }
        if call.nth != self.effects.len() {
            return Err(format!("delivery {} took effect out of order", call.nth));
        }
        self.effects.push(call.nth);
        Ok(())
    }

    /// The end of a call comes to who made it. One that never answered may take effect still.
    fn hear(&mut self, n: usize, is_known: bool) {
        let Some(work) = self.replicas[n].work else { return };
        let Phase::Called { at } = work.phase else { return };
        let is_under_way = self.calls.iter().any(|call| call.mark == work.mark);
        let phase = match (is_under_way, is_known) {
            (true, true) => return,
            (true, false) if self.flaw == Flaw::ForgetfulOutcome => {
                Phase::Ended { is_delivered: false, look_at: None }
            }
            (true, false) => Phase::Ended { is_delivered: false, look_at: Some(at + TIMEOUT_MS) },
            // It was answered, clearly or not: a look tells.
            (false, _) => self.seen(work.nth).unwrap_or(Phase::Ended { is_delivered: false, look_at: None }),
        };
        self.replicas[n].work = Some(Work { phase, ..work });
    }

    /// Lets the first replica end the work: nothing is late any more, and nothing gets lost.
    fn settle(&mut self) -> Result<(), String> {
        for replica in &mut self.replicas[1..] {
            replica.is_paused = true;
        }
        self.replicas[0].is_paused = false;
        for _ in 0..200 {
            self.wait(7);
            self.round(0);
            self.step(0)?;
            for is_awaited in [true, false] {
                while self
                    .messages
                    .iter()
                    .any(|message| message.is_awaited == is_awaited && message.answer.is_none())
                {
                    self.serve(0, is_awaited)?;
                }
            }
            let name = self.replicas[0].name;
            self.messages.retain(|message| message.is_awaited && message.from == name);
            while self.messages.iter().any(|message| message.is_awaited) {
                self.deliver(0, false);
            }
            while !self.calls.is_empty() {
                self.end_call(0, true)?;
            }
            self.hear(0, true);
            if self.book.head().is_none() {
                break;
            }
        }
        let is_done = self.book.rows().iter().all(|row| row.status == Status::Delivered);
        if !is_done || self.effects.len() != N_DELIVERIES {
            return Err(format!("not everything arrived: {:?}, {:?}", self.book.rows(), self.effects));
        }
        Ok(())
    }
}

/// One of those there are.
fn pick(places: &[usize], k: usize) -> Option<&usize> {
    places.get(k % places.len().max(1))
}
