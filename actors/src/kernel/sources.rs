//! Time, ids and randomness, from outside, so that tests choose them.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Instant;

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;

    /// Milliseconds since some moment: however the time of day is set, they go on at the same pace.
    fn steady_ms(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
        let now = chrono::Utc::now();
        now.timestamp_millis()
    }

    fn steady_ms(&self) -> i64 {
        static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
        i64::try_from(BEGUN.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// A clock that moves only when told.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Starts at the given epoch milliseconds.
    pub fn at(now_ms: i64) -> Self {
        Self(AtomicI64::new(now_ms))
    }

    /// Moves the clock forward by so many milliseconds.
    pub fn advance(&self, by_ms: i64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn steady_ms(&self) -> i64 {
        self.now_ms()
    }
}

/// The clock and the generator that every actor shares.
#[derive(Clone)]
pub struct Sources {
    clock: Arc<dyn Clock>,
    /// How far the clock that is followed is ahead of this machine's, in milliseconds.
    ahead_ms: Arc<AtomicI64>,
    generator: Arc<Mutex<StdRng>>,
}

/// What this machine's clock showed at a moment.
#[derive(Debug)]
pub(crate) struct Reading(i64);

/// Two clocks that differ by less need not be brought together.
const NEGLIGIBLE_MS: i64 = 100;

impl Sources {
    /// The machine's clock and a generator seeded by the operating system.
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), StdRng::from_rng(&mut rand::rng()))
    }

    /// A given clock and a seeded generator, for tests.
    pub fn seeded(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self::new(clock, StdRng::seed_from_u64(seed))
    }

    fn new(clock: Arc<dyn Clock>, generator: StdRng) -> Self {
        Self { clock, ahead_ms: Arc::default(), generator: Arc::new(Mutex::new(generator)) }
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms() + self.ahead_ms.load(Ordering::Relaxed)
    }

    /// Milliseconds since some moment, for what must not be moved by a clock that is set, or by another that is
    /// followed.
    pub(crate) fn steady_ms(&self) -> i64 {
        self.clock.steady_ms()
    }

    /// To be taken before another clock is asked.
    pub(crate) fn reading(&self) -> Reading {
        Reading(self.clock.now_ms())
    }

    /// Goes by another clock, which showed this time at some moment since the reading: replicas agree on the
    /// time by going by the database's. What may be due to the way of the answer is not taken for a difference.
    pub(crate) fn follow(&self, there_ms: i64, begun: &Reading) {
        let ended_ms = self.clock.now_ms();
        let unsure_ms = (ended_ms - begun.0).abs() / 2;
        let ahead_ms = there_ms - (begun.0 + unsure_ms);
        let off_ms = ahead_ms - self.ahead_ms.load(Ordering::Relaxed);
        if off_ms.abs() <= unsure_ms + NEGLIGIBLE_MS {
            return;
        }
        tracing::warn!(
            ahead_ms,
            "the database's clock is not this machine's; going by the database's, as all replicas do"
        );
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }

    /// Random bytes, fit for keys, tokens and salts (a `ChaCha` generator).
    pub fn fill(&self, bytes: &mut [u8]) {
        let mut generator = self.generator.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        generator.fill_bytes(bytes);
    }

    /// A number from 0 (inclusive) to 1 (exclusive), for jitter.
    pub fn fraction(&self) -> f64 {
        let mut bytes = [0_u8; 4];
        self.fill(&mut bytes);
        f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
    }

    /// A number that is used once, never 0.
    pub fn mark(&self) -> i64 {
        let mut bytes = [0_u8; 8];
        self.fill(&mut bytes);
        // Positive, and never the last one: what follows it is used too.
        (i64::from_le_bytes(bytes) >> 2).unsigned_abs().max(1).cast_signed()
    }

    /// A new record id: a version 7 UUID of the present time, which sorts by creation.
    pub fn id(&self) -> String {
        let mut bytes = [0_u8; 10];
        self.fill(&mut bytes);
        let millis = u64::try_from(self.now_ms()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid().to_string()
    }

    /// 32 hex digits, used once in a signature.
    pub fn nonce(&self) -> String {
        let mut bytes = [0_u8; 16];
        self.fill(&mut bytes);
        uuid::Uuid::from_bytes(bytes).simple().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_by_another_clock_when_it_surely_differs() {
        // (what the other shows, how long the answer takes, how far it is followed)
        let cases = [
            (1_000_000, 0, 0),
            (1_000_090, 0, 0),
            (1_060_000, 0, 60_000),
            (1_060_090, 0, 60_000),
            // It may have shown that at any moment of the four seconds.
            (1_060_500, 4_000, 60_000),
            (1_002_000, 4_000, 0),
            (940_000, 10, -60_005),
        ];
        let clock = Arc::new(ManualClock::at(1_000_000));
        let sources = Sources::seeded(clock.clone(), 1);
        let mut passed_ms = 0;
        for (there_ms, takes_ms, ahead_ms) in cases {
            let begun = sources.reading();
            clock.advance(takes_ms);
            sources.follow(there_ms + passed_ms, &begun);
            passed_ms += takes_ms;
            assert_eq!(sources.now_ms() - (1_000_000 + passed_ms), ahead_ms, "{there_ms}");
        }
    }

    #[test]
    fn ids_sort_by_time_and_are_reproducible_from_a_seed() {
        let clock = Arc::new(ManualClock::at(1_700_000_000_000));
        let sources = Sources::seeded(clock.clone(), 7);
        let first = sources.id();
        clock.advance(1);
        let second = sources.id();
        assert!(first < second);
        let again = Sources::seeded(Arc::new(ManualClock::at(1_700_000_000_000)), 7);
        assert_eq!(first, again.id());
        assert!((0.0..1.0).contains(&sources.fraction()));
    }
}
