//! What is done to the replicas during a run, by a seed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use super::replica::Replica;

/// Longer than a lease lasts (10 s).
const PAST_THE_LEASE: Duration = Duration::from_secs(12);
/// What a failed run with pauses tells.
pub(crate) const PAUSE_CAVEAT: &str = "a replica was paused: if a call that it sent after its pause is the cause, this may \
    be the window that docs/scaling.md tells of under \"What stays\", between the last look at the lease and the \
    first byte; look at the times of the calls before anything else";
/// Replicas are killed and paused at most so much later than an answer of the database.
const MOMENT_US: u64 = 800;
/// How long such an answer is waited for.
const LONGEST_WAIT: Duration = Duration::from_millis(200);
const POLL: Duration = Duration::from_millis(20);

/// One kind of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// kill -9, and a start some time later.
    Kill,
    /// SIGSTOP for longer than a lease lasts, then SIGCONT.
    Pause,
    /// SIGTERM, and a start after the end.
    Terminate,
    /// Every connection to the database ends.
    Cut,
    /// The same, and none can be made for a while.
    Refuse,
    /// Everything to and from the database comes late.
    Delay,
    /// Nothing passes to or from the database for longer than a lease lasts; then everything arrives.
    Hold,
    /// The database is gone for all replicas at once.
    Outage,
}

/// One of each: dealt in an order of chance, again and again.
const DECK: [Trouble; 8] = [
    Trouble::Kill,
    Trouble::Pause,
    Trouble::Terminate,
    Trouble::Cut,
    Trouble::Refuse,
    Trouble::Delay,
    Trouble::Hold,
    Trouble::Outage,
];

/// What ends a trouble.
#[derive(Clone, Copy)]
enum Remedy {
    Start,
    Resume,
    ClearUp,
}

struct Pending {
    due: Instant,
    replica: usize,
    remedy: Remedy,
}

/// The maker.
pub(crate) struct Mischief {
    random: StdRng,
    deck: Vec<Trouble>,
    pending: Vec<Pending>,
    counts: BTreeMap<Trouble, u64>,
    slowest_end: Duration,
}

impl Mischief {
    pub(crate) fn new(seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self {
            random,
            deck: Vec::new(),
            pending: Vec::new(),
            counts: BTreeMap::new(),
            slowest_end: Duration::ZERO,
        }
    }

    /// Panics unless each kind of trouble was made.
    pub(crate) fn check_all_was_tried(&self) {
        let missing: Vec<Trouble> =
            DECK.into_iter().filter(|trouble| !self.counts.contains_key(trouble)).collect();
        assert!(missing.is_empty(), "never tried: {missing:?}");
    }

    /// What to bear in mind when something was doubled or came out of order after all.
    pub(crate) fn caveat(&self) -> &'static str {
        if self.counts.contains_key(&Trouble::Pause) { PAUSE_CAVEAT } else { "" }
    }

    /// Goes on until `is_over` says so; then sets everything right again.
    pub(crate) async fn run(&mut self, replicas: &mut [Replica], is_over: impl Fn() -> bool) {
        let mut next = Instant::now();
        while !(is_over() && self.pending.is_empty()) {
            self.remedy(replicas).await;
            if !is_over() && Instant::now() >= next && self.has_room(replicas.len()) {
                self.make(replicas).await;
                next = Instant::now() + self.chance_ms(700..2000);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// One replica at least is left in peace, if there are several.
    fn has_room(&self, n_replicas: usize) -> bool {
        self.pending.len() < n_replicas.saturating_sub(1).max(1)
    }

    fn chance_ms(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(range))
    }

    fn deal(&mut self) -> Trouble {
        if self.deck.is_empty() {
            self.deck.extend(DECK);
            self.deck.shuffle(&mut self.random);
        }
        self.deck.pop().unwrap_or(Trouble::Cut)
    }

    async fn make(&mut self, replicas: &mut [Replica]) {
        let is_left_alone = |at: &usize| self.pending.iter().all(|pending| pending.replica != *at);
        let left_alone: Vec<usize> = (0..replicas.len()).filter(is_left_alone).collect();
        let Some(&at) = left_alone.choose(&mut self.random) else { return };
        let trouble = self.deal();
        *self.counts.entry(trouble).or_default() += 1;
        println!("{} {trouble:?}", replicas[at].name);
        let moment = Duration::from_micros(self.random.random_range(0..MOMENT_US));
        let replica = &mut replicas[at];
        let (remedy, lasts) = match trouble {
            Trouble::Kill => {
                strike_after_an_answer(replica, moment).await;
                replica.kill();
                (Remedy::Start, self.chance_ms(100..2000))
            }
            Trouble::Pause => {
                strike_after_an_answer(replica, moment).await;
                replica.pause();
                (Remedy::Resume, PAST_THE_LEASE)
            }
            Trouble::Terminate => {
                self.slowest_end = self.slowest_end.max(replica.terminate().await);
                (Remedy::Start, self.chance_ms(0..500))
            }
            Trouble::Cut => {
                replica.proxy.cut();
                return;
            }
            Trouble::Refuse => {
                replica.proxy.refuse();
                (Remedy::ClearUp, self.chance_ms(500..3000))
            }
            Trouble::Delay => {
                replica.proxy.delay(self.chance_ms(20..200));
                (Remedy::ClearUp, self.chance_ms(2000..4000))
            }
            Trouble::Hold => {
                replica.proxy.hold();
                (Remedy::ClearUp, PAST_THE_LEASE)
            }
            Trouble::Outage => return self.outage(replicas).await,
        };
        self.pending.push(Pending { due: Instant::now() + lasts, replica: at, remedy });
    }

    async fn outage(&mut self, replicas: &[Replica]) {
        for replica in replicas {
            replica.proxy.refuse();
        }
        tokio::time::sleep(self.chance_ms(500..2000)).await;
        for replica in replicas {
            replica.proxy.clear_up();
        }
    }

    async fn remedy(&mut self, replicas: &mut [Replica]) {
        let now = Instant::now();
        let (due, pending) =
            std::mem::take(&mut self.pending).into_iter().partition(|pending| pending.due <= now);
        self.pending = pending;
        for Pending { replica, remedy, .. } in due {
            let replica = &mut replicas[replica];
            match remedy {
                Remedy::Start => replica.start().await,
                Remedy::Resume => replica.resume(),
                Remedy::ClearUp => replica.proxy.clear_up(),
            }
        }
    }
}

/// Waits for the moment in which it hurts most: just after the database has answered, when a call is about
/// to start because its intent is stored, or its outcome is about to be told. A pause may so come into the one window
/// that nothing closes: see [`PAUSE_CAVEAT`].
async fn strike_after_an_answer(replica: &Replica, moment: Duration) {
    replica.proxy.next_answer(LONGEST_WAIT).await;
    let answered = Instant::now();
    while answered.elapsed() < moment {
        std::hint::spin_loop();
    }
}

impl fmt::Display for Mischief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = |trouble| self.counts.get(&trouble).copied().unwrap_or_default();
        let n_cuts = n(Trouble::Cut) + n(Trouble::Refuse) + n(Trouble::Outage);
        write!(
            f,
            "{} kills, {} pauses, {} orderly ends (slowest {} ms), {n_cuts} cuts of the database ({} refusing, \
             {} of all replicas), {} holds, {} delays",
            n(Trouble::Kill),
            n(Trouble::Pause),
            n(Trouble::Terminate),
            self.slowest_end.as_millis(),
            n(Trouble::Refuse),
            n(Trouble::Outage),
            n(Trouble::Hold),
            n(Trouble::Delay),
        )
    }
}
