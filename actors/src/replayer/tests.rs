use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::directory::TargetChange;
use crate::domain::record::RecordFilter;
use crate::domain::replay::{Replay, ReplayState};
use crate::kernel::Sources;
use crate::kernel::panic_matrix::{PANICS, panics_when_told};
use crate::kernel::sources::ManualClock;
use crate::store::deliveries::pending_of_user;
use crate::store::lanes::Settle;
use crate::store::suite::deliveries::new;
use crate::store::{Db, replays};
use crate::writer::{Admit, RecordOutcome};

panics_when_told!(Replayer);

const NOW_MS: i64 = 1_700_000_000_000;

struct Bench {
    clock: Arc<ManualClock>,
    carrier: Carrier,
    may_run: Arc<AtomicBool>,
    told: Arc<Mutex<Vec<TargetChange>>>,
    folder: tempfile::TempDir,
}

async fn open(folder: &tempfile::TempDir, clock: &Arc<ManualClock>) -> Shared {
    let db = Db::connect(&format!("sqlite://{}/hub.db", folder.path().display())).await.unwrap();
    db.migrate().await.unwrap();
    Shared::start(db, Sources::seeded(Arc::clone(clock) as _, 1))
}

async fn bench(n_dead: usize) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(NOW_MS));
    let shared = open(&folder, &clock).await;
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
    let may_run = Arc::new(AtomicBool::new(true));
    let may = Arc::clone(&may_run);
    let carrier = Carrier {
        shared,
        retry_for_ms: 1000,
        on_changed: Arc::new(move |change| seen.lock().unwrap().push(change)),
        may_run: Arc::new(move || may.load(Ordering::SeqCst)),
    };
    let bench = Bench { clock, carrier, may_run, told, folder };
    futures_util::future::join_all((0..n_dead).map(|n| bench.add_dead(n))).await;
    bench
}

impl Bench {
    async fn add_dead(&self, n: usize) {
        let new = new(&n.to_string(), &format!("{n:04}"));
        let (id, lane_id) = (new.id.clone(), new.lane_id.clone());
        self.carrier.shared.writer.ask(Admit(vec![new])).await.unwrap().unwrap();
        let settle = Settle { id, lane_id, status: "dead", at: 200, n_done: 1, ..Settle::default() };
        self.carrier.shared.writer.ask(RecordOutcome(settle)).await.unwrap().unwrap();
    }

    async fn execute(&self, statement: &'static str) {
        let Db::Sqlite(db) = &self.carrier.shared.db else { unreachable!("tests of actors are embedded") };
        sqlx::query(statement).execute(&db.writes).await.unwrap();
    }

    async fn add_replay(&self, rate: &str) {
        self.add_replay_as("r1", Some("u1"), rate).await;
    }

    async fn add_replay_as(&self, id: &str, user_id: Option<&str>, rate: &str) {
        let replay = Replay {
            id: id.to_owned(),
            user_id: user_id.map(str::to_owned),
            filter: RecordFilter::default(),
            rate: rate.parse().unwrap(),
            state: ReplayState::Running,
            n_total: 0,
            n_done: 0,
            n_skipped: 0,
            created_at_ms: NOW_MS,
            ended_at_ms: None,
        };
        assert!(self.carrier.shared.writer.ask(Apply(replays::AddReplay(replay))).await.unwrap().unwrap());
    }

    async fn replay(&self) -> Replay {
        replays::by_id(&self.carrier.shared.db, "r1").await.unwrap().unwrap()
    }

    async fn n_pending(&self) -> i64 {
        pending_of_user(&self.carrier.shared.db, "u1").await.unwrap()
    }
}

#[actix_rt::test]
async fn it_goes_no_faster_than_its_rate() {
    let bench = bench(5).await;
    bench.add_replay("2 per 1s").await;
    for (at_ms, n_pending) in [(0, 2), (999, 2), (1000, 4), (1500, 4), (2000, 5)] {
        bench.clock.advance(NOW_MS + at_ms - bench.carrier.shared.sources.now_ms());
        let next = bench.carrier.carry_on().await.unwrap();
        assert_eq!(bench.n_pending().await, n_pending, "after {at_ms} ms");
        let expected = (at_ms < 2000).then_some(NOW_MS + (at_ms / 1000 + 1) * 1000);
        assert_eq!(next, expected, "after {at_ms} ms");
    }
    let done = bench.replay().await;
    assert_eq!((done.state, done.n_done, done.n_skipped), (ReplayState::Done, 5, 0));
    assert_eq!(bench.told.lock().unwrap().len(), 3, "the instance is told after each step");
}

#[actix_rt::test]
async fn replays_of_a_user_share_a_total() {
    let bench = bench(60).await;
    // Ten milliseconds each, so that a step of one that runs alone has ten.
    for id in ["r1", "r2", "r3", "r4", "r5"] {
        bench.add_replay_as(id, Some("u1"), "10 per 10ms").await;
    }
    bench.add_replay_as("r6", None, "10 per 10ms").await;
    bench.carrier.carry_on().await.unwrap();
    let mut done = Vec::new();
    for id in ["r1", "r2", "r3", "r4", "r5", "r6"] {
        done.push(replays::by_id(&bench.carrier.shared.db, id).await.unwrap().unwrap().n_done);
    }
    assert_eq!(done, [2, 2, 2, 2, 2, 10], "one of operators does not share with them");
}

#[actix_rt::test]
async fn erased_ones_are_skipped_counted_and_cost_no_time() {
    let bench = bench(6).await;
    bench.execute("UPDATE deliveries SET payload = NULL WHERE id IN ('d0000', 'd0002', 'd0005')").await;
    bench.add_replay("2 per 1s").await;
    assert_eq!(bench.carrier.carry_on().await, Ok(Some(NOW_MS + 1000)));
    let replay = bench.replay().await;
    assert_eq!((replay.n_done, replay.n_skipped, bench.n_pending().await), (4, 2, 2));
    bench.clock.advance(1000);
    assert_eq!(bench.carrier.carry_on().await, Ok(None));
    let replay = bench.replay().await;
    assert_eq!((replay.state, replay.n_done, replay.n_skipped), (ReplayState::Done, 6, 3));
    assert_eq!(bench.n_pending().await, 3);
}

#[actix_rt::test]
async fn it_goes_on_after_a_restart_and_repeats_nothing() {
    let bench = bench(4).await;
    bench.add_replay("2 per 1s").await;
    bench.carrier.carry_on().await.unwrap();
    // What it has put back dies again meanwhile.
    bench.execute("UPDATE deliveries SET status = 'dead' WHERE id = 'd0000'").await;
    bench.clock.advance(1000);
    let shared = open(&bench.folder, &bench.clock).await;
    let again = Carrier { shared, ..bench.carrier.clone() };
    // Both processes go on with it at the same moment.
    let (one, other) = futures_util::future::join(bench.carrier.carry_on(), again.carry_on()).await;
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(bench.replay().await.n_done, 4);
    bench.clock.advance(1000);
    assert_eq!(again.carry_on().await, Ok(None));
    let replay = bench.replay().await;
    assert_eq!((replay.state, replay.n_done, replay.n_skipped), (ReplayState::Done, 4, 0));
    let first = records::dead(&again.shared.db, None, &RecordFilter::default(), "", 9).await.unwrap();
    assert_eq!(first.len(), 1, "it is passed once only");
}

#[actix_rt::test]
async fn it_rests_while_it_may_not_run_and_when_cancelled() {
    let bench = bench(2).await;
    bench.add_replay("2 per 1s").await;
    bench.may_run.store(false, Ordering::SeqCst);
    assert_eq!(bench.carrier.carry_on().await, Ok(None));
    assert_eq!(bench.replay().await.n_done, 0);
    bench.may_run.store(true, Ordering::SeqCst);
    let cancel = replays::CancelReplay { id: "r1".to_owned(), now_ms: NOW_MS };
    assert!(bench.carrier.shared.writer.ask(Apply(cancel)).await.unwrap().unwrap());
    assert_eq!(bench.carrier.carry_on().await, Ok(None));
    assert_eq!((bench.n_pending().await, bench.replay().await.n_done), (0, 0));
}

#[actix_rt::test]
async fn every_panic_is_survived() {
    for panic in PANICS {
        let bench = bench(3).await;
        let replayer = start_replayer(bench.carrier.clone());
        let _interrupted = replayer.ask(panic).await;
        while replayer.card().restarts() == 0 {
            tokio::task::yield_now().await;
        }
        bench.add_replay("50 per 1s").await;
        replayer.nudge();
        let doing = async {
            while bench.replay().await.state == ReplayState::Running {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), doing).await.expect("it goes on");
        assert_eq!(bench.n_pending().await, 3, "{panic:?}");
    }
}
