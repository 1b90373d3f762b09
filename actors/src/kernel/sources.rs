//! Time, ids and randomness, from outside, so that tests choose them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Mutex;

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;
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
}

/// The clock and the generator that every actor shares.
#[derive(Clone)]
pub struct Sources {
    clock: Arc<dyn Clock>,
    generator: Arc<Mutex<StdRng>>,
}

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
        Self { clock, generator: Arc::new(Mutex::new(generator)) }
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
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
