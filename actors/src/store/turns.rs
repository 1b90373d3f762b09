//! Turns for questions that may take long or come in any number: lists, counts, tokens that nobody knows. They leave
//! most connections to delivery, whoever asks and however often.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Db, StoreError};

/// So many such questions are asked of a server at once; of an embedded database one.
const N_ON_A_SERVER: usize = 4;

/// Clones share the turns.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Turns {
    /// As many as this database bears.
    pub(crate) fn of(db: &Db) -> Self {
        let n_at_once = if db.is_embedded() { 1 } else { N_ON_A_SERVER };
        Self(Arc::new(Semaphore::new(n_at_once)))
    }

    /// Waits for one, in the order of those who wait. It ends when what is returned is dropped.
    pub(crate) async fn take(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let ended = |_| StoreError::Unavailable("the hub ends".to_owned());
        Arc::clone(&self.0).acquire_owned().await.map_err(ended)
    }
}
