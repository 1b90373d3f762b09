//! How much waits for each user, so that nobody's backlog grows without end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;

use crate::store::{Db, StoreError, deliveries};

/// How much waits for each user: counted now and then, because counting costs more the more waits, and what
/// came since. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Queues(Arc<DashMap<String, Queue>>);

#[derive(Debug, Clone, Copy)]
struct Queue {
    counted_at: Instant,
    n_counted: i64,
    /// Let in since; some of them may have gone out already.
    n_since: i64,
}

/// How long a count is good.
const COUNT_GOOD_FOR: Duration = Duration::from_secs(1);
/// So many counts are kept at most.
const MAX_COUNTS: usize = 10_000;

impl Queue {
    fn unknown() -> Self {
        Self { counted_at: Instant::now(), n_counted: 0, n_since: 0 }
    }
}

impl Queues {
    /// Lets one more in, unless so many wait already.
    pub(super) async fn let_in(&self, db: &Db, user_id: &str, limit: i64) -> Result<bool, StoreError> {
        if let Some(mut queue) = self.0.get_mut(user_id) {
            let is_good = queue.counted_at.elapsed() < COUNT_GOOD_FOR;
            if is_good && queue.n_counted >= limit {
                return Ok(false);
            }
            if is_good && queue.n_counted + queue.n_since < limit {
                queue.n_since += 1;
                return Ok(true);
            }
            // This one counts again; those that come meanwhile go by what is known.
            queue.n_counted += std::mem::take(&mut queue.n_since);
            queue.counted_at = Instant::now();
        }
        let n_counted = deliveries::pending_of_user(db, user_id).await?;
        if self.0.len() >= MAX_COUNTS {
            self.0.clear();
        }
        let mut queue = self.0.entry(user_id.to_owned()).or_insert_with(Queue::unknown);
        queue.n_counted = n_counted;
        queue.counted_at = Instant::now();
        queue.n_since += 1;
        Ok(n_counted < limit)
    }
}
