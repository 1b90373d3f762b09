//! The book of the cluster's model against the real statements: whatever a number of replicas ask for, in whatever
//! order and however often, the store answers and ends as the book does.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::deliveries::{furnish, new};
use super::*;
use crate::cluster::model::Flaw;
use crate::cluster::model::book::{Author, Book, Entry, Name, Row, Status};
use crate::domain::lease::Lease;
use crate::store::batch::Batch;
use crate::store::deliveries::{NewDelivery, by_id};
use crate::store::lanes::{Begin, Settle};
use crate::store::shards::{Held, claim, release, renew};

const N_COURSES: u32 = 60;
const N_ROWS: usize = 2;
/// Longer than the test, and ended before it.
const LEASES_MS: [i64; 2] = [600_000, -1];

/// What somebody asks of the store. Whether an epoch, a fence or a mark is of now or of before is told by how much
/// older it is.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Claim { name: Name, is_long: bool },
    Renew { name: Name, older: i64, is_long: bool },
    Release { name: Name, older: i64 },
    Begin { name: Name, older: i64, nth: usize, held: Fence, is_new_mark: bool },
    Settle { name: Name, older: i64, nth: usize, held: Fence, is_new_mark: bool, is_delivered: bool },
}

/// What an attempt found in a row.
#[derive(Debug, Clone, Copy)]
enum Fence {
    Present,
    First,
}

fn ask() -> impl Strategy<Value = Ask> {
    let name = 0..3_u32;
    let older = prop_oneof![4 => Just(0_i64), 1 => Just(1_i64)];
    let fence = prop_oneof![3 => Just(Fence::Present), 1 => Just(Fence::First)];
    let entry = (name.clone(), older.clone(), 0..N_ROWS, fence, any::<bool>());
    prop_oneof![
        3 => (name.clone(), prop::bool::weighted(0.7)).prop_map(|(name, is_long)| Ask::Claim { name, is_long }),
        2 => (name.clone(), older.clone(), prop::bool::weighted(0.7))
            .prop_map(|(name, older, is_long)| Ask::Renew { name, older, is_long }),
        1 => (name, older).prop_map(|(name, older)| Ask::Release { name, older }),
        4 => entry.clone().prop_map(|(name, older, nth, held, is_new_mark)| {
            Ask::Begin { name, older, nth, held, is_new_mark }
        }),
        4 => (entry, any::<bool>()).prop_map(|((name, older, nth, held, is_new_mark), is_delivered)| {
            Ask::Settle { name, older, nth, held, is_new_mark, is_delivered }
        }),
    ]
}

/// Both, side by side.
struct Pair<'a> {
    db: &'a Db,
    book: Book,
    rows: Vec<NewDelivery>,
    n_marks: i64,
}

impl Pair<'_> {
    /// Gives what the book and what the store answer.
    async fn ask(&mut self, ask: Ask) -> (String, String) {
        match ask {
            Ask::Claim { name, is_long } => {
                let Db::Postgres(pool) = self.db else { return Default::default() };
                let lease_ms = LEASES_MS[usize::from(!is_long)];
                let epochs: Vec<i64> = self.book.claim(name, 0, lease_ms).into_iter().collect();
                let held = claim(pool, &name.to_string(), lease_ms, 1, 0).await.expect("an answer");
                (format!("{epochs:?}"), epochs_of(&held))
            }
            Ask::Renew { name, older, is_long } => {
                let Db::Postgres(pool) = self.db else { return Default::default() };
                let lease_ms = LEASES_MS[usize::from(!is_long)];
                let author = self.author(name, older);
                let is_held = self.book.is_held(author, 0);
                let renewed = is_held.then(|| self.book.renew(name, 0, lease_ms)).flatten();
                let believed = [Held { id: 0, epoch: author.epoch }];
                let held =
                    renew(pool, &name.to_string(), lease_ms, &believed, true).await.expect("an answer").held;
                (format!("{:?}", renewed.into_iter().collect::<Vec<_>>()), epochs_of(&held))
            }
            Ask::Release { name, older } => {
                let Db::Postgres(pool) = self.db else { return Default::default() };
                let author = self.author(name, older);
                self.book.release(author);
                let held = [Held { id: 0, epoch: author.epoch }];
                release(pool, &name.to_string(), &held).await.expect("an answer");
                Default::default()
            }
            Ask::Begin { name, older, nth, held, is_new_mark } => {
                let (author, entry) = (self.author(name, older), self.entry(nth, held, is_new_mark));
                let stands = self.book.begin(author, entry, 0);
                let begin = Begin {
                    lease: lease(author),
                    id: self.rows[nth].id.clone(),
                    held: entry.held,
                    mark: entry.mark,
                    journal: journal(entry).unwrap_or_default(),
                    at: 150,
                    conversation: None,
                };
                let replica = self.replica(name);
                let batch = Batch { replica: replica.as_deref(), begins: vec![&begin], ..Batch::default() };
                let written = batch.commit(self.db, &mut None).await.expect("a commit");
                (format!("{stands}"), format!("{}", !written.begun.is_empty()))
            }
            Ask::Settle { name, older, nth, held, is_new_mark, is_delivered } => {
                let (author, entry) = (self.author(name, older), self.entry(nth, held, is_new_mark));
                let stands = self.book.settle(author, entry, is_delivered, 0);
                let status = if is_delivered { Status::Delivered } else { Status::Retrying };
                let settle = Settle {
                    lease: lease(author),
                    id: self.rows[nth].id.clone(),
                    held: entry.held,
                    mark: entry.mark,
                    end_mark: entry.mark + 1,
                    lane_id: self.rows[nth].lane_id.clone(),
                    status: status.as_str(),
                    journal: journal(entry),
                    n_done: i64::from(is_delivered),
                    ..Settle::default()
                };
                let replica = self.replica(name);
                let batch = Batch { replica: replica.as_deref(), settles: vec![&settle], ..Batch::default() };
                let written = batch.commit(self.db, &mut None).await.expect("a commit");
                (format!("{stands}"), format!("{}", !written.settled.is_empty()))
            }
        }
    }

    fn author(&self, name: Name, older: i64) -> Author {
        Author { name, epoch: self.book.epoch() - older }
    }

    fn entry(&mut self, nth: usize, held: Fence, is_new_mark: bool) -> Entry {
        if is_new_mark || self.n_marks == 0 {
            self.n_marks += 2;
        }
        let held = match held {
            Fence::Present => self.book.rows()[nth].fence,
            Fence::First => 0,
        };
        Entry { nth, held, mark: self.n_marks, look_at: Some(self.n_marks * 10) }
    }

    /// An embedded database has one process, and no leases.
    fn replica(&self, name: Name) -> Option<String> {
        (!self.db.is_embedded()).then(|| name.to_string())
    }

    async fn stored(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for row in &self.rows {
            let row = by_id(self.db, &row.id).await.expect("an answer").expect("a row");
            let all = [Status::Queued, Status::Sending, Status::Retrying, Status::Delivered];
            let status =
                all.into_iter().find(|status| status.as_str() == row.status).expect("a known status");
            let look_at = row.journal.map(|journal| journal.parse().expect("a number"));
            rows.push(Row { status, look_at, fence: row.fence });
        }
        rows
    }
}

fn lease(author: Author) -> Lease {
    Lease { shard: 0, epoch: author.epoch, since: None }
}

fn journal(entry: Entry) -> Option<String> {
    entry.look_at.map(|look_at| look_at.to_string())
}

fn epochs_of(held: &[Held]) -> String {
    format!("{:?}", held.iter().map(|held| held.epoch).collect::<Vec<_>>())
}

/// The shard of the book is free again.
async fn forget_leases(db: &Db) {
    let Db::Postgres(pool) = db else { return };
    let reset =
        "DELETE FROM shards WHERE id > 0; UPDATE shards SET owner = NULL, epoch = 0, lease_until = NULL";
    sqlx::raw_sql(reset).execute(pool).await.expect("a free shard");
}

#[tokio::test]
async fn the_store_keeps_what_the_book_of_the_model_keeps() {
    on_every_database(|db| async move {
        furnish(&db).await;
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[11; 32]);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let courses = prop::collection::vec(ask(), 5..60);
        for nth in 0..N_COURSES {
            forget_leases(&db).await;
            let of_course = |at: usize| new(&format!("7{nth}"), &format!("{nth}{at}"));
            let rows: Vec<NewDelivery> = (0..N_ROWS).map(of_course).collect();
            super::deliveries::admit(&db, &rows).await;
            // Of a process that is alone nobody asks for a lease.
            let flaw = if db.is_embedded() { Flaw::NoShardFence } else { Flaw::None };
            let mut pair = Pair { db: &db, book: Book::new(flaw, N_ROWS), rows, n_marks: 0 };
            let asks = courses.new_tree(&mut runner).expect("a course of events").current();
            for (at, &ask) in asks.iter().enumerate() {
                let (expected, answered) = pair.ask(ask).await;
                assert_eq!(answered, expected, "{ask:?} after {:#?}", &asks[..at]);
            }
            assert_eq!(pair.stored().await, pair.book.rows(), "{asks:#?}");
        }
    })
    .await;
}
