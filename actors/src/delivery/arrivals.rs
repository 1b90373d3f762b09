//! What arrives for a target while its actor is at work.
//!
//! A delivery that is alone in its lane is handed over as it was stored, so that nobody has to read it
//! again. Everything else is only counted: the actor looks at the store. Either may be lost, because the
//! sweeper finds what is ready; and a row that was handed over too late is refused by its fence.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::store::deliveries::Delivery;

/// So many rows wait for their actor at most; what comes then is read from the store.
const MAX_HANDED: usize = 64;

/// Shared by those who store deliveries and the actor that makes them.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    n_noted: AtomicU64,
    news: Mutex<News>,
}

/// What an actor has not taken notice of yet.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Each was alone in its lane when it was stored.
    pub(crate) rows: Vec<Delivery>,
    /// The store holds more than these.
    pub(crate) must_look: bool,
    /// Somebody may have changed the settings without telling.
    pub(crate) must_recheck: bool,
}

impl Arrivals {
    /// Something was stored that has to be looked for.
    pub(crate) fn note(&self) {
        self.n_noted.fetch_add(1, Ordering::AcqRel);
        self.lock().must_look = true;
    }

    /// This row was stored, and is all that is pending in its lane.
    pub(crate) fn hand(&self, row: Delivery) {
        let mut news = self.lock();
        if news.rows.len() < MAX_HANDED {
            news.rows.push(row);
        } else {
            news.must_look = true;
        }
    }

    /// The settings may have changed.
    pub(crate) fn ask_to_recheck(&self) {
        self.lock().must_recheck = true;
    }

    /// Takes what has come. To be called after the nudge that told of it was taken.
    pub(crate) fn take(&self) -> News {
        std::mem::take(&mut *self.lock())
    }

    /// Counts what was noted: a lane that is worked on is read again when this has changed.
    pub(crate) fn n_noted(&self) -> u64 {
        self.n_noted.load(Ordering::Acquire)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
