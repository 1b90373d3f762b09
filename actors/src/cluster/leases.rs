//! Leases: for which instances and accounts this process delivers.
//!
//! An embedded database has one process, which owns everything. On a server database each target belongs
//! to one of [`N_SHARDS`] shards, and only the replica that holds the shard's lease delivers for it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::store::shards::Held;

/// Into so many shards all targets are divided.
pub(crate) const N_SHARDS: usize = 256;

/// The shard of an instance or account: the same in every process and version.
pub(crate) fn shard_of(target_id: &str) -> usize {
    usize::from(Sha256::digest(target_id.as_bytes())[0])
}

/// The right to deliver for a target, as it was when it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) shard: i64,
    pub(crate) epoch: i64,
    /// Since when this process has it: nobody else has made a call under it since then. `None`: there never
    /// was anybody else.
    pub(crate) since: Option<Instant>,
}

impl Lease {
    /// That of the only process.
    pub(crate) const ALONE: Self = Self { shard: 0, epoch: 0, since: None };
}

impl Default for Lease {
    fn default() -> Self {
        Self::ALONE
    }
}

/// The leases of this process. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Leases(Option<Arc<Table>>);

#[derive(Debug)]
struct Table {
    replica: String,
    /// By shard.
    holdings: RwLock<Vec<Option<Holding>>>,
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
        let holdings = RwLock::new(vec![None; N_SHARDS]);
        Self(Some(Arc::new(Table { replica, holdings })))
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

    /// Whether a right holds still: a call may be made under it.
    pub(crate) fn holds(&self, lease: Lease) -> bool {
        self.holds_at(lease, Instant::now())
    }

    pub(super) fn holds_at(&self, lease: Lease, now: Instant) -> bool {
        let Some(table) = &self.0 else { return true };
        let shard = usize::try_from(lease.shard).unwrap_or(usize::MAX);
        table.holding(shard, now).is_some_and(|holding| holding.epoch == lease.epoch)
    }

    /// Takes what the database says is held, to be believed until then. Returns the shards that are new.
    pub(crate) fn take(&self, held: &[Held], asked_at: Instant, until: Instant) -> Vec<usize> {
        let Some(table) = &self.0 else { return Vec::new() };
        let mut holdings = table.holdings.write().unwrap_or_else(PoisonError::into_inner);
        let mut gained = Vec::new();
        for held in held {
            let Ok(shard) = usize::try_from(held.id) else { continue };
            let Some(place) = holdings.get_mut(shard) else { continue };
            match place {
                Some(known) if known.epoch == held.epoch => known.until = until,
                _ => {
                    // Nobody else made a call after the claim was answered; it was asked for before that.
                    let since = Instant::now().max(asked_at);
                    *place = Some(Holding { epoch: held.epoch, since, until, is_leaving: false });
                    gained.push(shard);
                }
            }
        }
        gained
    }

    /// Takes away what has run out. Returns those shards.
    pub(crate) fn drop_lapsed(&self, now: Instant) -> Vec<usize> {
        let Some(table) = &self.0 else { return Vec::new() };
        let mut holdings = table.holdings.write().unwrap_or_else(PoisonError::into_inner);
        let mut lapsed = Vec::new();
        for (shard, place) in holdings.iter_mut().enumerate() {
            if place.is_some_and(|holding| holding.until <= now) {
                *place = None;
                lapsed.push(shard);
            }
        }
        lapsed
    }

    /// Begins to give up `n` shards; returns which.
    pub(crate) fn leave(&self, n: usize) -> Vec<usize> {
        let Some(table) = &self.0 else { return Vec::new() };
        let mut holdings = table.holdings.write().unwrap_or_else(PoisonError::into_inner);
        let mut leaving = Vec::new();
        for (shard, place) in holdings.iter_mut().enumerate().rev() {
            let Some(holding) = place.as_mut().filter(|holding| !holding.is_leaving) else { continue };
            if leaving.len() == n {
                break;
            }
            holding.is_leaving = true;
            leaving.push(shard);
        }
        leaving
    }

    /// Takes away what was given up.
    pub(crate) fn remove(&self, shards: &[usize]) {
        let Some(table) = &self.0 else { return };
        let mut holdings = table.holdings.write().unwrap_or_else(PoisonError::into_inner);
        for &shard in shards {
            if let Some(place) = holdings.get_mut(shard) {
                *place = None;
            }
        }
    }

    /// How many shards are held, those not counted that are being given up.
    pub(crate) fn n_held(&self) -> usize {
        let Some(table) = &self.0 else { return N_SHARDS };
        let now = Instant::now();
        let holdings = table.holdings.read().unwrap_or_else(PoisonError::into_inner);
        holdings.iter().flatten().filter(|holding| holding.until > now && !holding.is_leaving).count()
    }
}

impl Table {
    fn holding(&self, shard: usize, now: Instant) -> Option<Holding> {
        let holdings = self.holdings.read().unwrap_or_else(PoisonError::into_inner);
        holdings.get(shard).copied().flatten().filter(|holding| holding.until > now)
    }
}
