//! What records and replay promise.

use super::deliveries::furnish;
use super::deliveries::ready_of;
use super::*;
use crate::domain::record::{DeliveryStatus, RecordFilter};
use crate::store::Change;
use crate::store::deliveries::{Direction, NewDelivery, by_id, of_lane};
use crate::store::lanes::Settle;
use crate::store::records::{DeadLetter, Revive, attempts, count, count_dead, dead, page};
use crate::store::suite::deliveries::{admit, new};

fn message(n: i64) -> NewDelivery {
    let source = n.to_string();
    NewDelivery { order_key: source.clone(), created_at: n * 100, ..new("7", &source) }
}

pub(super) async fn accept(db: &Db, n: i64) {
    admit(db, &[message(n)]).await;
}

pub(super) async fn end(db: &Db, n: i64, status: &'static str) {
    let settled = Settle {
        id: format!("d{n}"),
        lane_id: message(n).lane_id,
        status,
        journal: Some("{\"step\":1}".to_owned()),
        at: 200,
        duration_ms: 30,
        attempts: 5,
        n_tried: 1,
        http_status: Some(500),
        error_class: Some("unavailable"),
        error_detail: Some("it was down".to_owned()),
        n_done: 1,
        lane_ready_at: 900,
        ..Settle::default()
    };
    settle(db, &[settled]).await;
}

pub(super) async fn revive(db: &Db, ids: &[&str]) -> crate::store::records::Revived {
    let ids = ids.iter().map(|&id| id.to_owned()).collect();
    let change = Revive { ids, now_ms: 2000, deadline_ms: 9000 };
    in_transaction!(db, |conn| change.apply(conn).await.expect("applied"))
}

/// Retention erases a text.
pub(super) async fn erase(db: &Db, id: &str) {
    in_transaction!(db, |conn| on_conn!(conn, |conn, _sql| {
        let erase = sqlx::query("UPDATE deliveries SET payload = NULL WHERE id = $1").bind(id);
        erase.execute(&mut **conn).await.map(drop).expect("erased");
    }));
}

#[tokio::test]
async fn pages_go_from_the_newest_to_the_oldest() {
    on_every_database(|db| async move {
        furnish(&db).await;
        for n in 1..=5 {
            accept(&db, n).await;
        }
        end(&db, 2, "dead").await;
        end(&db, 4, "delivered").await;
        let ids = async |filter: &RecordFilter, cursor: Option<&str>, limit: i64| -> Vec<String> {
            let records = page(&db, Some("u1"), filter, cursor, limit).await.expect("rows");
            records.into_iter().map(|record| record.id).collect()
        };
        let all = RecordFilter::default();
        assert_eq!(ids(&all, None, 2).await, ["d5", "d4"]);
        assert_eq!(ids(&all, Some("d4"), 9).await, ["d3", "d2", "d1"]);
        let narrowed = |narrow: &dyn Fn(&mut RecordFilter)| {
            let mut filter = RecordFilter::default();
            narrow(&mut filter);
            filter
        };
        let dead = narrowed(&|filter| filter.status = Some(DeliveryStatus::Dead));
        assert_eq!(ids(&dead, None, 9).await, ["d2"]);
        let to_x = narrowed(&|filter| filter.direction = Some(Direction::ToX));
        assert!(ids(&to_x, None, 9).await.is_empty());
        let other = narrowed(&|filter| filter.instance_id = Some("i2".to_owned()));
        assert!(ids(&other, None, 9).await.is_empty());
        let between = narrowed(&|filter| {
            filter.since_ms = Some(200);
            filter.until_ms = Some(400);
        });
        assert_eq!(ids(&between, None, 9).await, ["d3", "d2"]);
        assert_eq!(count(&db, "u1", &between).await, Ok(2));
        assert_eq!(count(&db, "u2", &all).await, Ok(0));
        assert!(page(&db, Some("u2"), &all, None, 9).await.expect("rows").is_empty());
        assert_eq!(page(&db, None, &all, None, 9).await.expect("rows").len(), 5);
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_goes_back_into_its_lane_with_its_journal() {
    on_every_database(|db| async move {
        furnish(&db).await;
        for n in 1..=2 {
            accept(&db, n).await;
            end(&db, n, "dead").await;
        }
        assert!(ready_of(&db, "i1", i64::MAX).await.is_empty());
        let filter = RecordFilter::default();
        assert_eq!(count_dead(&db, Some("u1"), &filter).await, Ok((2, 0)));
        assert_eq!(count_dead(&db, Some("u2"), &filter).await, Ok((0, 0)));
        assert_eq!(count_dead(&db, None, &filter).await, Ok((2, 0)));
        let second = DeadLetter { id: "d2".to_owned(), is_erased: false };
        assert_eq!(dead(&db, Some("u2"), &filter, "", 9).await, Ok(vec![]));
        assert_eq!(dead(&db, Some("u1"), &filter, "d1", 9).await, Ok(vec![second.clone()]));
        assert_eq!(dead(&db, None, &filter, "d1", 9).await, Ok(vec![second]));

        let revived = revive(&db, &["d1", "gone"]).await;
        let target = ("to_servicenow".to_owned(), "i1".to_owned());
        assert_eq!((revived.n, revived.targets), (1, vec![target]));
        let row = by_id(&db, "d1").await.expect("an answer").expect("a row");
        assert_eq!((row.status.as_str(), row.attempts, row.deadline_at), ("queued", 0, 9000));
        assert_eq!((row.error_class, row.next_attempt_at), (None, Some(2000)));
        assert_eq!(row.journal.as_deref(), Some("{\"step\":1}"));
        assert_eq!(row.begun_at, Some(200));
        let lane = message(1).lane_id;
        assert_eq!(ready_of(&db, "i1", 2000).await, std::slice::from_ref(&lane));
        assert_eq!(of_lane(&db, &lane, "i1", 9).await.expect("rows").len(), 1);
        let past = attempts(&db, "d1").await.expect("attempts");
        assert_eq!(past.len(), 1);
        assert_eq!((past[0].http_status, past[0].error_detail.as_deref()), (Some(500), Some("it was down")));

        // It counts as pending once: ending it empties the lane.
        end(&db, 1, "delivered").await;
        assert!(ready_of(&db, "i1", i64::MAX).await.is_empty());
        assert_eq!(attempts(&db, "d1").await.expect("attempts").len(), 2);
    })
    .await;
}

#[tokio::test]
async fn only_what_is_dead_and_has_its_text_goes_back() {
    on_every_database(|db| async move {
        furnish(&db).await;
        for n in 1..=3 {
            accept(&db, n).await;
        }
        end(&db, 1, "delivered").await;
        end(&db, 2, "dead").await;
        erase(&db, "d2").await;
        assert_eq!(count_dead(&db, None, &RecordFilter::default()).await, Ok((1, 1)));
        let mark = marks::read(&db, marks::DELIVERIES).await;
        let revived = revive(&db, &["d1", "d2", "d3"]).await;
        assert_eq!((revived.n, revived.targets), (0, vec![]));
        assert_eq!(marks::read(&db, marks::DELIVERIES).await, mark);
        let row = by_id(&db, "d1").await.expect("an answer").expect("a row");
        assert_eq!((row.status.as_str(), row.attempts), ("delivered", 5));
    })
    .await;
}

#[tokio::test]
async fn a_replay_follows_the_account() {
    on_every_database(|db| async move {
        furnish(&db).await;
        accept(&db, 1).await;
        end(&db, 1, "dead").await;
        let delete = instances::DeleteInstance { id: "i1".to_owned(), now_ms: 40 };
        in_transaction!(&db, |conn| delete.apply(conn).await.expect("deleted"));
        let revived = revive(&db, &["d1"]).await;
        assert_eq!(revived.targets, [("to_servicenow".to_owned(), "unrouted:a1".to_owned())]);
        let row = by_id(&db, "d1").await.expect("an answer").expect("a row");
        assert_eq!((row.status.as_str(), row.instance_id), ("blocked", None));
    })
    .await;
}
