//! Callers of `/api/events/` who wait a moment for the outcome.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::oneshot;

/// Who waits for which delivery. Clones share the list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiters(Arc<DashMap<String, Vec<oneshot::Sender<()>>>>);

impl Waiters {
    /// Waits for the next outcome of a delivery. To be called before it is stored.
    pub(crate) fn wait_for(&self, delivery_id: &str) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.0.entry(delivery_id.to_owned()).or_default().push(sender);
        receiver
    }

    /// Tells all who wait that an outcome of the delivery is stored.
    pub(crate) fn tell(&self, delivery_id: &str) {
        let Some((_, waiting)) = self.0.remove(delivery_id) else { return };
        for waiter in waiting {
            let _gave_up = waiter.send(());
        }
    }

    /// Forgets those who gave up waiting for a delivery.
    pub(crate) fn forget(&self, delivery_id: &str) {
        self.0.remove_if_mut(delivery_id, |_, waiting| {
            waiting.retain(|waiter| !waiter.is_closed());
            waiting.is_empty()
        });
    }
}
