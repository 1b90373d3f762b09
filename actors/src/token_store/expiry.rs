//! What becomes of expired tokens.

use crate::shared::Shared;
use crate::store::tokens::{SWEPT_AT_ONCE, Sweep};
use crate::writer::{Apply, WriteError};

/// Deletes expired tokens in small commits, so that nobody waits long for them.
pub(super) async fn sweep_expired(shared: Shared) -> Result<u64, WriteError> {
    let now = shared.sources.now_ms();
    let mut n_deleted = 0;
    loop {
        let n_now = shared.writer.ask(Apply(Sweep { now })).await??;
        n_deleted += n_now;
        if n_now < SWEPT_AT_ONCE {
            return Ok(n_deleted);
        }
    }
}
