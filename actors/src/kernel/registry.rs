//! Which actors there are, and how they fare: for metrics and for readiness.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Semaphore;

/// What a supervised actor is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorState {
    /// It takes messages.
    Running,
    /// It panicked and waits for its restart; messages queue up.
    Restarting,
    /// It panicked too often and was taken out of service: every ask is refused.
    OutOfService,
    /// It stopped by itself, as an idle actor does.
    Stopped,
}

impl ActorState {
    fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Running,
            1 => Self::Restarting,
            2 => Self::OutOfService,
            _ => Self::Stopped,
        }
    }
}

/// What is known of one actor. Its mailbox and its supervisor keep it up to date.
#[derive(Debug)]
pub struct Card {
    kind: &'static str,
    key: String,
    state: AtomicU8,
    restarts: AtomicU64,
    capacity: usize,
    permits: Arc<Semaphore>,
    totals: Arc<Totals>,
}

impl Card {
    /// What kind of actor this is, as metrics name it.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Which one of its kind, such as the id of its instance; empty for the only one.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What it is doing.
    pub fn state(&self) -> ActorState {
        ActorState::from_code(self.state.load(Ordering::Acquire))
    }

    /// How many asks wait for their answer.
    pub fn depth(&self) -> usize {
        self.capacity.saturating_sub(self.permits.available_permits())
    }

    /// How often it was restarted.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    pub(super) fn permits(&self) -> &Arc<Semaphore> {
        &self.permits
    }

    pub(super) fn set_state(&self, state: ActorState) {
        self.state.store(state as u8, Ordering::Release);
    }

    pub(super) fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
        let mut totals = self.totals.restarts.lock().unwrap_or_else(PoisonError::into_inner);
        *totals.entry(self.kind).or_default() += 1;
    }
}

#[derive(Debug, Default)]
struct Totals {
    restarts: Mutex<BTreeMap<&'static str, u64>>,
}

/// All live actors of one hub.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    cards: Arc<Mutex<Vec<Weak<Card>>>>,
    totals: Arc<Totals>,
}

/// One kind of actor, summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindSummary {
    /// How many there are.
    pub n_actors: usize,
    /// How many of them are out of service.
    pub n_out_of_service: usize,
    /// Asks waiting over all of them.
    pub depth: usize,
    /// Restarts since the process began, ended actors included.
    pub restarts: u64,
}

impl Registry {
    pub(super) fn enter(&self, kind: &'static str, key: String, capacity: usize) -> Arc<Card> {
        let card = Arc::new(Card {
            kind,
            key,
            state: AtomicU8::new(ActorState::Running as u8),
            restarts: AtomicU64::new(0),
            capacity,
            permits: Arc::new(Semaphore::new(capacity)),
            totals: Arc::clone(&self.totals),
        });
        let mut cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
        let is_growing = cards.len() == cards.capacity();
        if is_growing {
            cards.retain(|card| card.strong_count() > 0);
        }
        cards.push(Arc::downgrade(&card));
        card
    }

    /// Every live actor.
    pub fn cards(&self) -> Vec<Arc<Card>> {
        let cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
        cards.iter().filter_map(Weak::upgrade).collect()
    }

    /// A summary for each kind that ever restarted or lives now.
    pub fn summary(&self) -> BTreeMap<&'static str, KindSummary> {
        let mut kinds: BTreeMap<&'static str, KindSummary> = BTreeMap::new();
        for card in self.cards() {
            let kind = kinds.entry(card.kind()).or_default();
            kind.n_actors += 1;
            kind.depth += card.depth();
            if card.state() == ActorState::OutOfService {
                kind.n_out_of_service += 1;
            }
        }
        let totals = self.totals.restarts.lock().unwrap_or_else(PoisonError::into_inner);
        for (kind, restarts) in totals.iter() {
            kinds.entry(kind).or_default().restarts = *restarts;
        }
        kinds
    }

    /// Names of the actors that were taken out of service.
    pub fn out_of_service(&self) -> Vec<String> {
        let is_out = |card: &Arc<Card>| card.state() == ActorState::OutOfService;
        self.cards().iter().filter(|card| is_out(card)).map(|card| card.kind().to_owned()).collect()
    }
}
