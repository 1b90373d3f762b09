//! What bulk replays promise.

use super::deliveries::furnish;
use super::records::{accept, end, erase, revive};
use super::*;
use crate::domain::record::{DeliveryStatus, Direction, RecordFilter};
use crate::domain::replay::{Replay, ReplayState};
use crate::store::Change;
use crate::store::deliveries::by_id as delivery;
use crate::store::records::Revive;
use crate::store::replays::{AddReplay, CancelReplay, Step, Stepped, by_id, count, due, next_due, page};

fn replay(id: &str, user_id: Option<&str>) -> Replay {
    Replay {
        id: id.to_owned(),
        user_id: user_id.map(str::to_owned),
        filter: RecordFilter {
            status: Some(DeliveryStatus::Dead),
            direction: Some(Direction::ToServicenow),
            instance_id: Some("i1".to_owned()),
            since_ms: Some(1),
            until_ms: Some(5000),
        },
        rate: "2 per 1s".parse().expect("a rate"),
        state: ReplayState::Running,
        n_total: 3,
        n_done: 0,
        n_skipped: 0,
        created_at_ms: 1000,
        ended_at_ms: None,
    }
}

async fn add(db: &Db, replay: Replay) -> bool {
    in_transaction!(db, |conn| AddReplay(replay).apply(conn).await.expect("stored"))
}

fn step(from: &str, ids: &[&str], n_erased: i64, next_at: Option<i64>) -> Step {
    let ids: Vec<String> = ids.iter().map(|&id| id.to_owned()).collect();
    Step {
        id: "r1".to_owned(),
        from: from.to_owned(),
        to: ids.last().cloned().unwrap_or_else(|| from.to_owned()),
        revive: Revive { ids, now_ms: 2000, deadline_ms: 9000 },
        n_erased,
        next_at,
    }
}

async fn take(db: &Db, step: Step) -> Option<Stepped> {
    in_transaction!(db, |conn| step.apply(conn).await.expect("an answer"))
}

async fn cancel(db: &Db, id: &str) -> bool {
    let change = CancelReplay { id: id.to_owned(), now_ms: 3000 };
    in_transaction!(db, |conn| change.apply(conn).await.expect("an answer"))
}

async fn read(db: &Db) -> Replay {
    by_id(db, "r1").await.expect("an answer").expect("a replay")
}

async fn status(db: &Db, id: &str) -> String {
    delivery(db, id).await.expect("an answer").expect("a row").status
}

#[tokio::test]
async fn a_replay_is_kept_as_it_was_asked_for() {
    on_every_database(|db| async move {
        furnish(&db).await;
        assert_eq!(next_due(&db).await, Ok(None));
        let asked = replay("r1", Some("u1"));
        assert!(add(&db, asked.clone()).await);
        assert_eq!(read(&db).await, asked);
        assert!(add(&db, replay("r2", None)).await);
        let ids = async |user: Option<&str>, limit: i64, offset: i64| -> Vec<String> {
            let replays = page(&db, user, limit, offset).await.expect("rows");
            replays.into_iter().map(|replay| replay.id).collect()
        };
        assert_eq!(ids(None, 9, 0).await, ["r2", "r1"]);
        assert_eq!(ids(None, 1, 1).await, ["r1"]);
        assert_eq!(ids(Some("u1"), i64::MAX, 0).await, ["r1"]);
        assert!(ids(Some("u2"), 9, 0).await.is_empty());
        assert_eq!([count(&db, None).await, count(&db, Some("u1")).await], [Ok(2), Ok(1)]);
        assert_eq!(by_id(&db, "r3").await, Ok(None));
        assert!(due(&db, 999).await.expect("rows").is_empty());
        assert_eq!(due(&db, 1000).await.expect("rows").len(), 2);
        assert_eq!(next_due(&db).await, Ok(Some(1000)));
    })
    .await;
}

#[tokio::test]
async fn only_so_many_run_at_once() {
    on_every_database(|db| async move {
        furnish(&db).await;
        for n in 1..=10 {
            assert!(add(&db, replay(&format!("r{n}"), Some("u1"))).await);
            assert!(add(&db, replay(&format!("o{n}"), None)).await);
        }
        assert!(!add(&db, replay("r11", Some("u1"))).await);
        assert!(!add(&db, replay("o11", None)).await);
        assert!(cancel(&db, "r3").await);
        assert!(add(&db, replay("r11", Some("u1"))).await);
    })
    .await;
}

#[tokio::test]
async fn a_step_moves_the_cursor_and_puts_back_what_it_passes() {
    on_every_database(|db| async move {
        furnish(&db).await;
        for n in 1..=4 {
            accept(&db, n).await;
            end(&db, n, "dead").await;
        }
        erase(&db, "d2").await;
        assert!(add(&db, replay("r1", Some("u1"))).await);
        // Somebody puts the third back by hand.
        assert_eq!(revive(&db, &["d3"]).await.n, 1);

        let first = take(&db, step("", &["d1"], 0, Some(2500))).await.expect("taken");
        assert_eq!((first.revived.n, first.n_skipped), (1, 0));
        let row = delivery(&db, "d1").await.expect("an answer").expect("a row");
        assert_eq!((row.status.as_str(), row.attempts, row.deadline_at), ("queued", 0, 9000));
        assert_eq!((row.next_attempt_at, row.error_class), (Some(2000), None));
        assert_eq!(next_due(&db).await, Ok(Some(2500)));
        assert_eq!(due(&db, 2500).await.expect("rows")[0].cursor, "d1");

        // The same step again, one that is not due, and one from elsewhere.
        end(&db, 1, "dead").await;
        assert_eq!(take(&db, step("", &["d1"], 0, Some(2500))).await, None);
        assert_eq!(take(&db, step("d1", &["d4"], 0, None)).await, None, "not before 2500");
        assert_eq!((status(&db, "d1").await.as_str(), status(&db, "d4").await.as_str()), ("dead", "dead"));

        let mut last = step("d1", &["d3", "d4"], 1, None);
        last.revive.now_ms = 2500;
        let last = take(&db, last).await.expect("taken");
        assert_eq!((last.revived.n, last.n_skipped), (1, 2));
        let done = read(&db).await;
        assert_eq!((done.state, done.ended_at_ms), (ReplayState::Done, Some(2500)));
        // One more than there were when it began.
        assert_eq!((done.n_total, done.n_done, done.n_skipped, done.n_replayed()), (4, 4, 2, 2));
        assert_eq!(next_due(&db).await, Ok(None));
        assert!(!cancel(&db, "r1").await);
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_replay_takes_no_step() {
    on_every_database(|db| async move {
        furnish(&db).await;
        accept(&db, 1).await;
        end(&db, 1, "dead").await;
        assert!(add(&db, replay("r1", None)).await);
        assert!(cancel(&db, "r1").await);
        assert!(!cancel(&db, "r1").await);
        assert_eq!(take(&db, step("", &["d1"], 0, None)).await, None);
        assert_eq!(status(&db, "d1").await, "dead");
        let cancelled = read(&db).await;
        assert_eq!((cancelled.state, cancelled.ended_at_ms), (ReplayState::Cancelled, Some(3000)));
    })
    .await;
}

#[tokio::test]
async fn of_two_that_take_the_same_step_one_does() {
    on_every_database(|db| async move {
        furnish(&db).await;
        for n in 1..=2 {
            accept(&db, n).await;
            end(&db, n, "dead").await;
        }
        assert!(add(&db, replay("r1", None)).await);
        let both =
            futures_util::future::join_all((0..2).map(|_| take(&db, step("", &["d1", "d2"], 0, Some(2000)))));
        let n_taken = both.await.into_iter().flatten().count();
        assert_eq!((n_taken, read(&db).await.n_done), (1, 2));
        let lane = Direction::ToServicenow.lane_id("a1", "7");
        let pending = crate::store::deliveries::of_lane(&db, &lane, "i1", 9).await.expect("rows");
        assert_eq!(pending.len(), 2);
    })
    .await;
}
