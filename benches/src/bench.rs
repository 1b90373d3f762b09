//! What every scenario is given, and how long it takes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::reference;

/// The settings of a run.
pub(crate) struct Bench {
    /// The program to measure.
    pub(crate) binary: PathBuf,
    /// Holds the databases.
    pub(crate) folder: PathBuf,
    /// Shorter rounds, smaller worlds: the figures are rougher.
    pub(crate) is_quick: bool,
    /// Also measure on a PostgreSQL server where that is a choice.
    pub(crate) with_postgres: bool,
}

impl Bench {
    /// How often each measurement is repeated, in turns with its reference.
    pub(crate) fn rounds(&self) -> std::ops::Range<usize> {
        0..self.size(5, 3)
    }

    /// The length of a round: the whole, or a third of it in a quick run.
    pub(crate) fn span(&self, whole: Duration) -> Duration {
        if self.is_quick { whole / 3 } else { whole }
    }

    /// How many: all, or fewer in a quick run.
    pub(crate) fn size(&self, all: usize, quick: usize) -> usize {
        if self.is_quick { quick } else { all }
    }

    /// The disk's own rate at this moment.
    pub(crate) fn syncs_per_second(&self) -> Result<f64> {
        reference::syncs_per_second(&self.folder, Duration::from_millis(300))
    }
}
