//! What arrives for a target while its actor is at work.
//!
//! A delivery that is alone in its lane is handed over as it was stored, so that nobody has to read it
//! again. Everything else is only counted: the actor looks at the store. Either may be lost, because the
//! sweeper finds what is ready; and a row that was handed over too late is refused by its fence.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::deliveries::Delivery;

/// So many rows wait for their actor at most; what comes then is read from the store.
const MAX_HANDED: usize = 64;
/// Of so many lanes it is known when something came for them; of more, only that it did.
const MAX_LANES: usize = 256;

/// What came for a target.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// This row was stored, and is all that is pending in its lane.
    Alone(Box<Delivery>),
    /// Something was stored behind others in this lane.
    Behind(String),
    /// There may be something, in whatever lane.
    Somewhere,
}

/// Shared by those who store deliveries and the actor that makes them.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    n_noted: AtomicU64,
    latest: Mutex<Latest>,
    news: Mutex<News>,
}

/// The numbers of the last that were noted.
#[derive(Debug, Default)]
struct Latest {
    in_lane: HashMap<String, u64>,
    anywhere: u64,
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
    /// To be called once it is stored.
    pub(crate) fn add(&self, arrival: Arrival) {
        let lane = match arrival {
            Arrival::Alone(row) => {
                let rows = &mut lock(&self.news).rows;
                if rows.len() < MAX_HANDED {
                    rows.push(*row);
                    return;
                }
                Some(row.lane_id)
            }
            Arrival::Behind(lane) => Some(lane),
            Arrival::Somewhere => None,
        };
        self.note(lane);
        lock(&self.news).must_look = true;
    }

    fn note(&self, lane: Option<String>) {
        let number = self.n_noted.fetch_add(1, Ordering::AcqRel) + 1;
        let latest = &mut *lock(&self.latest);
        match lane {
            Some(lane) if latest.in_lane.len() < MAX_LANES || latest.in_lane.contains_key(&lane) => {
                latest.in_lane.insert(lane, number);
            }
            _ => {
                latest.in_lane.clear();
                latest.anywhere = number;
            }
        }
    }

    /// The settings may have changed.
    pub(crate) fn ask_to_recheck(&self) {
        lock(&self.news).must_recheck = true;
    }

    /// Takes what has come. To be called after the nudge that told of it was taken.
    pub(crate) fn take(&self) -> News {
        std::mem::take(&mut *lock(&self.news))
    }

    /// How many were noted so far.
    pub(crate) fn n_noted(&self) -> u64 {
        self.n_noted.load(Ordering::Acquire)
    }

    /// Whether something may have come for a lane since so many were noted: then it is read again.
    pub(crate) fn came_since(&self, lane: &str, n_noted: u64) -> bool {
        let latest = lock(&self.latest);
        latest.in_lane.get(lane).is_some_and(|number| *number > n_noted) || latest.anywhere > n_noted
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite::deliveries::new;

    #[test]
    fn only_the_lane_that_something_came_for_is_read_again() {
        let arrivals = Arrivals::default();
        arrivals.add(Arrival::Behind("a".to_owned()));
        let n_noted = arrivals.n_noted();
        assert!(arrivals.came_since("a", n_noted - 1) && !arrivals.came_since("a", n_noted));
        arrivals.add(Arrival::Behind("b".to_owned()));
        assert!(arrivals.came_since("b", n_noted) && !arrivals.came_since("a", n_noted));
        arrivals.add(Arrival::Somewhere);
        assert!(arrivals.came_since("a", n_noted), "nobody said where");
        assert!(arrivals.take().must_look);
    }

    #[test]
    fn of_many_lanes_each_is_read_again() {
        let arrivals = Arrivals::default();
        for n in 0..=MAX_LANES {
            arrivals.add(Arrival::Behind(n.to_string()));
        }
        assert!(arrivals.came_since("0", 0) && arrivals.came_since("never named", 0));
        assert!(!arrivals.came_since("0", arrivals.n_noted()));
    }

    #[test]
    fn rows_are_handed_over_up_to_a_bound_and_what_is_beyond_it_is_looked_for() {
        let arrivals = Arrivals::default();
        let row = || Box::new(new("7", "a").into());
        (0..MAX_HANDED).for_each(|_| arrivals.add(Arrival::Alone(row())));
        let news = arrivals.take();
        assert_eq!((news.rows.len(), news.must_look), (MAX_HANDED, false));
        (0..=MAX_HANDED).for_each(|_| arrivals.add(Arrival::Alone(row())));
        let news = arrivals.take();
        assert_eq!((news.rows.len(), news.must_look), (MAX_HANDED, true));
    }
}
