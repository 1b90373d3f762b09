//! What the writer is asked to do to the store.

use super::{Conn, StoreError};

/// A change that is not one of the frequent ones. Applied in the group's transaction, under a savepoint; more
/// than once, when the transaction has to begin anew.
pub(crate) trait Change: Clone + Send + 'static {
    /// What the caller gets after the commit.
    type Output: Send + 'static;
    /// Applies the change.
    fn apply(self, conn: &mut Conn<'_>) -> impl Future<Output = Result<Self::Output, StoreError>>;
}
