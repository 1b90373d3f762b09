//! Whether an actor of the fleet may begin anything new.

use std::sync::atomic::{AtomicU8, Ordering};

const WORKING: u8 = 0;
const LEAVING: u8 = 1;
const GONE: u8 = 2;

/// Moves one way: working, leaving, gone.
#[derive(Debug, Default)]
pub(crate) struct Standing(AtomicU8);

impl Standing {
    /// Whether new attempts may begin.
    pub(crate) fn may_begin(&self) -> bool {
        self.0.load(Ordering::Acquire) == WORKING
    }

    /// Whether another replica has taken over, so that even what is under way is left alone.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.load(Ordering::Acquire) == GONE
    }

    /// Lets what is under way end, and nothing begin.
    pub(crate) fn leave(&self) {
        self.0.fetch_max(LEAVING, Ordering::AcqRel);
    }

    /// Ends everything.
    pub(crate) fn end(&self) {
        self.0.store(GONE, Ordering::Release);
    }

    const _ORDER: () = assert!(WORKING < LEAVING && LEAVING < GONE);
}
