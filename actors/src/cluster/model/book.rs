//! What the store keeps of one shard and one lane, and what its statements do with it. All times are the
//! store's, in milliseconds.

use super::Flaw;

/// A replica's.
pub(crate) type Name = u32;

/// The store.
#[derive(Debug)]
pub(crate) struct Book {
    flaw: Flaw,
    owner: Option<Name>,
    epoch: i64,
    lease_until: i64,
    rows: Vec<Row>,
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Queued,
    Sending,
    Retrying,
    Delivered,
}

impl Status {
    /// As it stands in the store.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Retrying => "retrying",
            Self::Delivered => "delivered",
        }
    }
}

/// A delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) status: Status,
    /// The journal: a call may have had an effect, and a look-up tells the truth from then on.
    pub(crate) look_at: Option<i64>,
    pub(crate) fence: i64,
}

/// Who writes, and under which lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Author {
    pub(crate) name: Name,
    pub(crate) epoch: i64,
}

/// What is about to be done, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Which delivery.
    pub(crate) nth: usize,
    /// Its fence as it was read.
    pub(crate) held: i64,
    /// What the attempt's intents leave there. Its outcome leaves one more.
    pub(crate) mark: i64,
    pub(crate) look_at: Option<i64>,
}

impl Book {
    /// So many deliveries that nobody has tried, in a shard that nobody holds.
    pub(crate) fn new(flaw: Flaw, n_rows: usize) -> Self {
        let row = Row { status: Status::Queued, look_at: None, fence: 0 };
        Self { flaw, owner: None, epoch: 0, lease_until: 0, rows: vec![row; n_rows] }
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(crate) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// The first delivery that has not ended.
    pub(crate) fn head(&self) -> Option<(usize, Row)> {
        self.rows.iter().copied().enumerate().find(|(_, row)| row.status != Status::Delivered)
    }

    /// Whether a lease holds.
    pub(crate) fn is_held(&self, author: Author, now: i64) -> bool {
        self.owner == Some(author.name) && self.epoch == author.epoch && self.lease_until > now
    }

    /// Takes the shard if its lease has run out. Gives the epoch under which it is held.
    pub(crate) fn claim(&mut self, name: Name, now: i64, lease_ms: i64) -> Option<i64> {
        let is_free = self.owner.is_none() || self.lease_until <= now || self.flaw == Flaw::HastyClaim;
        if !is_free {
            return None;
        }
        self.owner = Some(name);
        self.epoch += 1;
        self.lease_until = now + lease_ms;
        Some(self.epoch)
    }

    /// Goes on holding the shard. Gives the epoch under which it is held.
    pub(crate) fn renew(&mut self, name: Name, now: i64, lease_ms: i64) -> Option<i64> {
        if self.owner != Some(name) || self.lease_until <= now {
            return None;
        }
        self.lease_until = now + lease_ms;
        Some(self.epoch)
    }

    /// Gives the shard up, if it is held under this very lease.
    pub(crate) fn release(&mut self, author: Author) {
        if self.owner == Some(author.name) && self.epoch == author.epoch {
            self.owner = None;
            self.epoch += 1;
        }
    }

    /// Stores what is about to be done. Says whether it stands.
    pub(crate) fn begin(&mut self, author: Author, entry: Entry, now: i64) -> bool {
        let stands = self.may_write(author, now)
            && self.has_fence(entry, &[entry.held, entry.mark])
            && self.rows[entry.nth].status != Status::Delivered;
        if stands {
            let Entry { look_at, mark: fence, .. } = entry;
            self.rows[entry.nth] = Row { status: Status::Sending, look_at, fence };
        }
        stands
    }

    /// Stores how it ended, once. Says whether it stands, from now on or from before.
    pub(crate) fn settle(&mut self, author: Author, entry: Entry, is_delivered: bool, now: i64) -> bool {
        if !self.may_write(author, now) {
            return false;
        }
        let fence = entry.mark + 1;
        if self.has_fence(entry, &[entry.held, entry.mark]) {
            let status = if is_delivered { Status::Delivered } else { Status::Retrying };
            self.rows[entry.nth] = Row { status, look_at: entry.look_at, fence };
        }
        self.rows[entry.nth].fence == fence
    }

    fn may_write(&self, author: Author, now: i64) -> bool {
        self.is_held(author, now) || self.flaw == Flaw::NoShardFence
    }

    fn has_fence(&self, entry: Entry, fences: &[i64]) -> bool {
        fences.contains(&self.rows[entry.nth].fence) || self.flaw == Flaw::NoRowFence
    }
}
