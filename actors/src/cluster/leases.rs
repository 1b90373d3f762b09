//! Leases: for which instances and accounts this process delivers.
//!
//! An embedded database has one process, which owns everything. On a server database each target belongs
//! to one of [`N_SHARDS`] shards, and only the replica that holds the shard's lease delivers for it.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::domain::lease::Lease;
use crate::store::shards::Held;

/// Into so many shards all targets are divided.
pub(crate) const N_SHARDS: usize = 256;

/// The shard of an instance or account: the same in every process and version.
pub(crate) fn shard_of(target_id: &str) -> usize {
    usize::from(Sha256::digest(target_id.as_bytes())[0])
}

/// The leases of this process. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Leases(Option<Arc<Table>>);

#[derive(Debug)]
struct Table {
    replica: String,
    places: RwLock<Vec<Place>>,
}

/// What this process knows of a shard.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    holding: Option<Holding>,
    /// The epoch in which it was given up: an answer of the database that is older than that may still tell
    /// that it is held.
    given_up: i64,
}

#[derive(Debug, Clone, Copy)]
struct Holding {
    epoch: i64,
    since: Instant,
    /// Believed until then, whatever the database would say.
    until: Instant,
    /// It is being given up: what is under way ends, nothing new begins.
    is_leaving: bool,
}

impl Leases {
    /// Of a process that owns everything.
    pub(crate) fn alone() -> Self {
        Self(None)
    }

    /// Of a replica, which holds nothing yet.
    pub(crate) fn of_replica(replica: String) -> Self {
        let places = RwLock::new(vec![Place::default(); N_SHARDS]);
        Self(Some(Arc::new(Table { replica, places })))
    }

    /// The name of this replica; `None` for a process that owns everything.
    pub(crate) fn replica(&self) -> Option<&str> {
        self.0.as_deref().map(|table| table.replica.as_str())
    }

    /// The right to begin work for a target, if this process has it.
    pub(crate) fn lease_of(&self, target_id: &str) -> Option<Lease> {
        self.lease_at(shard_of(target_id), Instant::now())
    }

    pub(super) fn lease_at(&self, shard: usize, now: Instant) -> Option<Lease> {
        let Some(table) = &self.0 else { return Some(Lease::ALONE) };
        let holding = table.holding(shard, now).filter(|holding| !holding.is_leaving)?;
        let shard = i64::try_from(shard).unwrap_or_default();
        Some(Lease { shard, epoch: holding.epoch, since: Some(holding.since) })
    }

    /// Whether a right holds still: a call may be made under it. One that was interrupted does not come back,
    /// though the store may never have heard of that: another actor works under its successor.
    pub(crate) fn holds(&self, lease: Lease) -> bool {
        self.holds_at(lease, Instant::now())
    }

    pub(super) fn holds_at(&self, lease: Lease, now: Instant) -> bool {
        let Some(table) = &self.0 else { return true };
        let shard = usize::try_from(lease.shard).unwrap_or(usize::MAX);
        let is_same = |holding: Holding| holding.epoch == lease.epoch && Some(holding.since) == lease.since;
        table.holding(shard, now).is_some_and(is_same)
    }

    /// Takes what the database says is held, to be believed until then. Returns the shards that are new.
    pub(crate) fn take(&self, held: &[Held], asked_at: Instant, until: Instant) -> Vec<usize> {
        let Some(table) = &self.0 else { return Vec::new() };
        let mut places = table.write();
        let mut gained = Vec::new();
        for held in held {
            let Ok(shard) = usize::try_from(held.id) else { continue };
            let Some(place) = places.get_mut(shard) else { continue };
            if held.epoch <= place.given_up {
                continue;
            }
            match &mut place.holding {
                Some(known) if known.epoch == held.epoch => known.until = until,
                holding => {
                    // Nobody else made a call after the claim was answered; it was asked for before that.
                    let since = Instant::now().max(asked_at);
                    *holding = Some(Holding { epoch: held.epoch, since, until, is_leaving: false });
                    gained.push(shard);
                }
            }
        }
        gained
    }

    /// Takes away what has run out. Returns those shards.
    pub(crate) fn drop_lapsed(&self, now: Instant) -> Vec<usize> {
        let Some(table) = &self.0 else { return Vec::new() };
        let mut lapsed = Vec::new();
        for (shard, place) in table.write().iter_mut().enumerate() {
            if place.holding.is_some_and(|holding| holding.until <= now) {
                place.holding = None;
                lapsed.push(shard);
            }
        }
        lapsed
    }

    /// Begins to give up `n` more shards; returns which.
    pub(crate) fn leave(&self, n: usize) -> Vec<usize> {
        self.mark_leaving(n, |holding| !holding.is_leaving)
    }

    /// Begins to give up all shards; returns which, those included that are being given up already.
    pub(crate) fn leave_all(&self) -> Vec<usize> {
        self.mark_leaving(N_SHARDS, |_| true)
    }

    fn mark_leaving(&self, n: usize, is_meant: impl Fn(&Holding) -> bool) -> Vec<usize> {
        let Some(table) = &self.0 else { return Vec::new() };
        let mut places = table.write();
        let holdings = places.iter_mut().enumerate().rev().filter_map(|(shard, place)| {
            let holding = place.holding.as_mut().filter(|holding| is_meant(holding))?;
            Some((shard, holding))
        });
        let mark = |(shard, holding): (usize, &mut Holding)| {
            holding.is_leaving = true;
            shard
        };
        holdings.take(n).map(mark).collect()
    }

    /// What is believed in, that which is being given up included: nothing else is renewed.
    pub(crate) fn believed(&self, now: Instant) -> Vec<Held> {
        let Some(table) = &self.0 else { return Vec::new() };
        let places = table.read();
        let holdings = (0_i64..).zip(places.iter()).filter_map(|(id, place)| Some((id, place.holding?)));
        let believed = holdings.filter(|(_, holding)| holding.until > now);
        believed.map(|(id, holding)| Held { id, epoch: holding.epoch }).collect()
    }

    /// Takes away what is given up, for good: only a later claim brings it back. Returns what was held.
    pub(crate) fn remove(&self, shards: &[usize]) -> Vec<Held> {
        let Some(table) = &self.0 else { return Vec::new() };
        let mut places = table.write();
        let mut removed = Vec::new();
        for &shard in shards {
            let Some(place) = places.get_mut(shard) else { continue };
            let Some(holding) = place.holding.take() else { continue };
            place.given_up = place.given_up.max(holding.epoch);
            removed.push(Held { id: i64::try_from(shard).unwrap_or_default(), epoch: holding.epoch });
        }
        removed
    }

    /// How many shards are held, those not counted that are being given up.
    pub(crate) fn n_held(&self) -> usize {
        let Some(table) = &self.0 else { return N_SHARDS };
        let now = Instant::now();
        let is_held = |holding: &Holding| holding.until > now && !holding.is_leaving;
        table.read().iter().filter(|place| place.holding.as_ref().is_some_and(is_held)).count()
    }
}

impl Table {
    fn holding(&self, shard: usize, now: Instant) -> Option<Holding> {
        self.read().get(shard)?.holding.filter(|holding| holding.until > now)
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Place>> {
        self.places.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Place>> {
        self.places.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn held(ids_and_epochs: &[(i64, i64)]) -> Vec<Held> {
        ids_and_epochs.iter().map(|&(id, epoch)| Held { id, epoch }).collect()
    }

    #[test]
    fn what_was_given_up_does_not_come_back_with_an_old_answer() {
        let leases = Leases::of_replica("r".to_owned());
        let now = Instant::now();
        let until = now + Duration::from_secs(9);
        assert_eq!(leases.take(&held(&[(3, 7), (4, 1)]), now, until), [3, 4]);
        leases.remove(&[3]);
        assert_eq!(leases.take(&held(&[(3, 7), (4, 1)]), now, until), [] as [usize; 0]);
        assert_eq!(leases.n_held(), 1);
        assert_eq!(leases.lease_at(3, now), None);

        assert_eq!(leases.take(&held(&[(3, 9)]), now, until), [3], "it was claimed anew");
        assert_eq!(leases.remove(&[3, 5]), held(&[(3, 9)]));
        assert_eq!(leases.take(&held(&[(3, 9)]), now, until), [] as [usize; 0]);
    }

    #[test]
    fn what_has_lapsed_comes_back_with_a_renewal() {
        let leases = Leases::of_replica("r".to_owned());
        let now = Instant::now();
        let until = now + Duration::from_secs(9);
        leases.take(&held(&[(3, 7)]), now, until);
        let lease = leases.lease_at(3, now).expect("it is held");
        assert_eq!(leases.drop_lapsed(now), [] as [usize; 0]);
        assert_eq!(leases.believed(now), held(&[(3, 7)]));
        assert_eq!(leases.believed(until), []);
        assert!(leases.holds_at(lease, now) && !leases.holds_at(lease, until));
        assert_eq!(leases.drop_lapsed(until), [3]);
        assert_eq!(leases.take(&held(&[(3, 7)]), now, until), [3]);
        assert!(!leases.holds_at(lease, now), "what was begun before is not gone on with");
    }
}
