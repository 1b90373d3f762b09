use std::sync::{Arc, Mutex};

use super::*;
use crate::domain::record::{BulkReplay, RecordFilter};
use crate::domain::replay::{AT_ONCE, Replay, ReplayRate, ReplayState};
use crate::kernel::panic_matrix::{PANICS, panics_when_told};
use crate::shared::shared_for_tests;
use crate::store::Db;
use crate::store::lanes::Settle;
use crate::store::suite::deliveries::new;
use crate::writer::{Admit, RecordOutcome};

panics_when_told!(Records);

struct Bench {
    records: Mailbox<Records>,
    archive: Archive,
    told: Arc<Mutex<Vec<TargetChange>>>,
    _folder: tempfile::TempDir,
}

async fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared_for_tests(folder.path()).await.unwrap();
    let Db::Sqlite(db) = &shared.db else { unreachable!("tests of actors are embedded") };
    for statement in [
        "INSERT INTO users (id, username, username_key, first_name, last_name, company_name, password_hash, is_staff, is_active, date_joined) VALUES ('u1', 'a', 'a', '', '', '', '', 0, 1, 1)",
        "INSERT INTO instances (id, user_id, instance_url, auth, admin_user, client_id, sealed_secrets, rate, concurrency, mode, customer_table, case_defaults, status, status_detail, created_at) VALUES ('i1', 'u1', 'https://x', 'basic', '', '', x'', '20 per 1s', 4, 'auto', 'csm_consumer', '{}', 'unchecked', '', 1)",
        "INSERT INTO accounts (id, user_id, instance_id, twitter_user_id, screen_name, sealed_secrets, reply_channel, case_policy, status, status_detail, created_at) VALUES ('a1', 'u1', 'i1', '42', 'acme', x'', 'dm', '{}', 'ok', '', 1)",
    ] {
        sqlx::query(statement).execute(&db.writes).await.unwrap();
    }
    let told = Arc::<Mutex<Vec<TargetChange>>>::default();
    let seen = Arc::clone(&told);
    let archive = Archive {
        shared,
        retry_for_ms: 1000,
        on_changed: Arc::new(move |change| seen.lock().unwrap().push(change)),
        replayer: None,
    };
    Bench { records: start_records(archive.clone()), archive, told, _folder: folder }
}

impl Bench {
    /// A delivery that ended so, or waits.
    async fn add(&self, n: usize, end: Option<&'static str>) -> String {
        let new = new(&n.to_string(), &format!("{n:04}"));
        let (id, lane_id) = (new.id.clone(), new.lane_id.clone());
        self.archive.shared.writer.ask(Admit(vec![new])).await.unwrap().unwrap();
        if let Some(status) = end {
            let settle = Settle {
                id: id.clone(),
                lane_id,
                status,
                at: 200,
                attempts: 3,
                n_tried: 1,
                n_done: 1,
                error_class: Some("permanent"),
                ..Settle::default()
            };
            self.archive.shared.writer.ask(RecordOutcome(settle)).await.unwrap().unwrap();
        }
        id
    }

    async fn replay(&self, user: &str, id: &str) -> Result<Record, RecordsError> {
        let requester = Requester { user_id: user.to_owned(), is_admin: false };
        self.records.ask(ReplayRecord { requester, id: id.to_owned() }).await.unwrap()
    }

    async fn start(&self, is_dry_run: bool) -> BulkReplayed {
        let filter = RecordFilter::default();
        let replay = BulkReplay { filter, is_dry_run, rate: ReplayRate::default() };
        self.records.ask(ReplayRecords { user_id: Some("u1".to_owned()), replay }).await.unwrap().unwrap()
    }

    async fn replay_all(&self, is_dry_run: bool) -> Replayed {
        match self.start(is_dry_run).await {
            BulkReplayed::Done(replayed) => replayed,
            BulkReplayed::Started(replay) => panic!("not done: {replay:?}"),
        }
    }

    async fn add_dead(&self, n: i64) {
        let n = usize::try_from(n).unwrap();
        futures_util::future::join_all((0..n).map(|n| self.add(n, Some("dead")))).await;
    }

    async fn erase(&self, id: &str) {
        let Db::Sqlite(db) = &self.archive.shared.db else { unreachable!("tests of actors are embedded") };
        let erase = sqlx::query("UPDATE deliveries SET payload = NULL WHERE id = $1").bind(id);
        erase.execute(&db.writes).await.unwrap();
    }
}

#[actix_rt::test]
async fn one_dead_letter_goes_back_once_and_its_instance_is_told() {
    let bench = bench().await;
    let id = bench.add(1, Some("dead")).await;
    assert_eq!(bench.replay("u2", &id).await, Err(RecordsError::NotFound));
    let record = bench.replay("u1", &id).await.unwrap();
    assert_eq!((record.status.as_str(), record.n_attempts), ("queued", 0));
    assert_eq!(record.error_class, None);
    let work = TargetChange { target: Target::Instance("i1".to_owned()), kind: ChangeKind::Work };
    assert_eq!(*bench.told.lock().unwrap(), [work]);
    assert_eq!(bench.replay("u1", &id).await, Err(RecordsError::NotDead("queued".to_owned())));

    let get = GetRecord { requester: Requester { user_id: "u1".to_owned(), is_admin: false }, id };
    let (_, attempts) = bench.records.ask(get).await.unwrap().unwrap();
    assert_eq!(attempts[0].error_class.as_deref(), Some("permanent"));
}

#[actix_rt::test]
async fn what_is_not_dead_is_refused() {
    let bench = bench().await;
    let delivered = bench.add(1, Some("delivered")).await;
    let queued = bench.add(2, None).await;
    assert_eq!(bench.replay("u1", &delivered).await, Err(RecordsError::NotDead("delivered".to_owned())));
    assert_eq!(bench.replay("u1", &queued).await, Err(RecordsError::NotDead("queued".to_owned())));
    assert_eq!(bench.replay("u1", "gone").await, Err(RecordsError::NotFound));
    assert!(bench.told.lock().unwrap().is_empty());
}

#[actix_rt::test]
async fn few_dead_letters_are_replayed_at_once_and_each_once() {
    let bench = bench().await;
    bench.add_dead(AT_ONCE).await;
    bench.add(1000, Some("delivered")).await;
    bench.erase("d0003").await;
    let n = AT_ONCE;
    assert_eq!(bench.replay_all(true).await, Replayed { n_matched: n, n_replayed: 0, n_skipped: 1 });
    let both = futures_util::future::join(bench.replay_all(false), bench.replay_all(false)).await;
    assert_eq!(both.0.n_replayed + both.1.n_replayed, n - 1);
    assert_eq!(bench.replay_all(false).await, Replayed { n_matched: 1, n_replayed: 0, n_skipped: 1 });
    assert_eq!(bench.replay("u1", "d0003").await, Err(RecordsError::Erased));
}

#[actix_rt::test]
async fn many_dead_letters_become_a_replay_that_is_seen_and_cancelled_by_its_owner() {
    let bench = bench().await;
    bench.add_dead(AT_ONCE + 1).await;
    let BulkReplayed::Started(replay) = bench.start(false).await else { panic!("it is over") };
    assert_eq!((replay.state, replay.n_total, replay.n_done), (ReplayState::Running, AT_ONCE + 1, 0));
    assert!(bench.told.lock().unwrap().is_empty(), "nothing is put back within the request");

    let requester = |user: &str| Requester { user_id: user.to_owned(), is_admin: false };
    let get = async |user: &str| -> Result<Replay, RecordsError> {
        let message = GetReplay { requester: requester(user), id: replay.id.clone() };
        bench.records.ask(message).await.unwrap()
    };
    let cancel = async |user: &str| -> Result<Replay, RecordsError> {
        let message = CancelReplay { requester: requester(user), id: replay.id.clone() };
        bench.records.ask(message).await.unwrap()
    };
    assert_eq!(get("u1").await.as_ref(), Ok(&replay));
    assert_eq!(get("u2").await, Err(RecordsError::NoSuchReplay));
    assert_eq!(cancel("u2").await, Err(RecordsError::NoSuchReplay));
    let list = ListReplays { user_id: Some("u1".to_owned()), limit: 9, offset: 0 };
    let listed = bench.records.ask(list).await.unwrap().unwrap();
    assert_eq!((listed.replays.as_slice(), listed.n_total), (std::slice::from_ref(&replay), 1));
    assert_eq!(cancel("u1").await.unwrap().state, ReplayState::Cancelled);
    assert_eq!(cancel("u1").await.unwrap().state, ReplayState::Cancelled);
}

#[actix_rt::test]
async fn pages_end() {
    let bench = bench().await;
    for n in 1..=3 {
        bench.add(n, None).await;
    }
    let list = |cursor: Option<&str>| ListRecords {
        user_id: Some("u1".to_owned()),
        page: RecordPage { filter: RecordFilter::default(), limit: 2, cursor: cursor.map(str::to_owned) },
    };
    let first = bench.records.ask(list(None)).await.unwrap().unwrap();
    assert_eq!((first.records.len(), first.n_total), (2, Some(3)));
    assert_eq!(first.next_cursor.as_deref(), Some("d0002"));
    let last = bench.records.ask(list(first.next_cursor.as_deref())).await.unwrap().unwrap();
    assert_eq!((last.records.len(), last.next_cursor), (1, None));
}

#[actix_rt::test]
async fn every_panic_is_survived() {
    for panic in PANICS {
        let bench = bench().await;
        let id = bench.add(1, Some("dead")).await;
        let _interrupted = bench.records.ask(panic).await;
        while bench.records.card().restarts() == 0 {
            tokio::task::yield_now().await;
        }
        loop {
            let requester = Requester { user_id: "u1".to_owned(), is_admin: false };
            match bench.records.ask(GetRecord { requester, id: id.clone() }).await {
                Ok(found) => break assert!(found.is_ok(), "{panic:?}"),
                Err(AskError::Interrupted) => tokio::task::yield_now().await,
                Err(error) => panic!("{panic:?}: {error}"),
            }
        }
    }
}
