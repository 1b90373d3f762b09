//! What the whole database holds, as it was read last: for the metrics that are the same from every replica.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::store::{Db, StoreError, deliveries, instances, lanes};

/// How long reading may take: a scrape is answered soon, whatever the database does.
const READ_LIMIT: Duration = Duration::from_secs(2);
/// A count is good for this many times as long as it took.
const GOOD_FOR: u32 = 20;

/// What was read last. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backlog(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    seen: Mutex<Seen>,
    /// Held by whoever reads.
    reading: tokio::sync::Mutex<()>,
}

/// What was seen of the database. Each is `None` before it was read for the first time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// How many deliveries wait, by direction and status.
    ///
    /// Counting looks at every one of them. It is done again only when twenty times as long has passed as it
    /// took, so that it never costs more than a twentieth of a connection, however much waits.
    pub(super) depths: Option<Vec<(String, String, i64)>>,
    counted_until: Option<Instant>,
    /// The oldest delivery that could be tried.
    pub(super) oldest_due: Option<OldestDue>,
    /// Instances by status.
    pub(super) instances: Option<Vec<(String, i64)>>,
}

/// Since when the oldest delivery that could be tried has been waiting, in epoch milliseconds, if any has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OldestDue(pub(super) Option<i64>);

impl Backlog {
    /// Reads everything anew. What cannot be read in time stays as it was: a database that is down is told by
    /// readiness, and no alarm clears itself because of it.
    pub(super) async fn read(&self, db: &Db) -> Seen {
        // Whoever asks while another one reads gets what there is, so that scrapes never queue up.
        let Ok(_reading) = self.0.reading.try_lock() else { return self.seen() };
        let begun = Instant::now();
        let is_count_due = self.seen().counted_until.is_none_or(|until| begun >= until);
        let counting = async {
            if !is_count_due {
                return None;
            }
            let depths = in_limit(deliveries::pending_by_status(db)).await;
            Some((depths, begun + begun.elapsed() * GOOD_FOR))
        };
        let (counted, oldest_due, instances) = futures_util::future::join3(
            counting,
            in_limit(lanes::oldest_due(db)),
            in_limit(instances::count_by_status(db)),
        )
        .await;
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((depths, good_until)) = counted {
            seen.depths = depths.or(seen.depths.take());
            seen.counted_until = Some(good_until);
        }
        seen.oldest_due = oldest_due.map(OldestDue).or(seen.oldest_due);
        seen.instances = instances.or(seen.instances.take());
        seen.clone()
    }

    fn seen(&self) -> Seen {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn in_limit<T>(reading: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
    tokio::time::timeout(READ_LIMIT, reading).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite::deliveries::{furnish, new};
    use crate::store::suite::on_every_database;

    #[tokio::test]
    async fn what_was_read_stays_when_the_database_is_gone() {
        on_every_database(|db| async move {
            furnish(&db).await;
            let message = new("7", "1");
            let batch = crate::store::batch::Batch { news: vec![&message], ..Default::default() };
            batch.commit(&db, &mut None).await.expect("a message");
            let backlog = Backlog::default();
            assert_eq!(backlog.seen(), Seen::default(), "nothing is said before it is read");
            let before = backlog.read(&db).await;
            let waits = ("to_servicenow".to_owned(), "queued".to_owned(), 1);
            assert_eq!(before.depths, Some(vec![waits]));
            assert_eq!(before.instances, Some(vec![("unchecked".to_owned(), 1)]));
            assert!(before.oldest_due.is_some_and(|oldest| oldest.0.is_some()));

            // While somebody reads, others are told at once what was read before.
            let reading = backlog.0.reading.lock().await;
            assert_eq!(backlog.read(&db).await, before);
            drop(reading);

            db.close().await;
            let mut after = backlog.read(&db).await;
            after.counted_until = before.counted_until;
            assert_eq!(after, before);
        })
        .await;
    }
}
