//! Under what a process delivers.

use std::time::Instant;

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
