//! The effect journal: what was about to be done when it was last written.
//!
//! It is stored before each call that is not idempotent. Whoever finds it later, after a time-out, a
//! reset or a kill -9, looks up whether the call had its effect before anything is repeated.

use serde::{Deserialize, Serialize};

/// What may have been done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// The call under way.
    pub(crate) step: Step,
    /// When it was sent, in epoch milliseconds.
    pub(crate) sent_at: i64,
    /// A look-up tells the truth only from then on, in epoch milliseconds: the call may still be
    /// running over there until its whole time-out has passed.
    pub(crate) look_at: i64,
    /// Parts of the message that are on the case for certain.
    pub(crate) n_parts_done: usize,
}

/// A call that must not be made twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Step {
    /// Nothing is under way; only `n_parts_done` counts.
    Nothing,
    /// The customer's record is made.
    CreateCustomer,
    /// A case is made, with a part of the message in it.
    CreateCase {
        /// By which it will be found.
        correlation_id: String,
    },
    /// A part of the message is added to a case.
    AddPart {
        /// The case's `sys_id`.
        case: String,
    },
    /// The answer is sent to the customer.
    Send,
}

impl Journal {
    /// Reads what was stored; nothing if it cannot be read.
    pub(crate) fn read(stored: Option<&str>) -> Option<Self> {
        serde_json::from_str(stored?).ok()
    }

    /// What is stored.
    pub(crate) fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// A call that is about to be made; its times are set when it is stored.
    pub(crate) fn intent(step: Step, n_parts_done: usize) -> Self {
        Self { step, sent_at: 0, look_at: 0, n_parts_done }
    }

    /// Only the progress, with nothing under way; `None` when there is none.
    pub(crate) fn progress(n_parts_done: usize) -> Option<Self> {
        (n_parts_done > 0).then_some(Self { step: Step::Nothing, sent_at: 0, look_at: 0, n_parts_done })
    }

    /// Whether a call may have had an effect that nobody knows of.
    pub(crate) fn is_open(&self) -> bool {
        self.step != Step::Nothing
    }
}
