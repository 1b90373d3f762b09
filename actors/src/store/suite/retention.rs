//! What retention promises.

use futures_util::future::join_all;

use super::deliveries::furnish;
use super::*;
use crate::store::Change;
use crate::store::deliveries::{Direction, NewDelivery, by_id};
use crate::store::lanes::Settle;
use crate::store::records::{attempts, by_id as record};
use crate::store::retention::{Attempted, Erase, Erased, ForgetAttempts, attempted};
use crate::store::suite::deliveries::admit;

fn new(n: u64) -> NewDelivery {
    let id = format!("{:08x}-{:04x}-7000-8000-{n:012x}", n >> 16, n & 0xffff);
    NewDelivery {
        id,
        direction: Direction::ToServicenow,
        kind: "dm".to_owned(),
        status: "queued",
        user_id: "u1".to_owned(),
        account_id: "a1".to_owned(),
        instance_id: Some("i1".to_owned()),
        target_id: "i1".to_owned(),
        customer_id: "7".to_owned(),
        lane_id: "lane".to_owned(),
        dedup_key: None,
        source_id: None,
        fingerprint: None,
        order_key: String::new(),
        payload: "{}".to_owned(),
        created_at: 1,
        deadline_at: 2,
    }
}

async fn erase(db: &Db, cutoff_ms: i64) -> Erased {
    in_transaction!(db, |conn| Erase { cutoff_ms }.apply(conn).await.expect("texts are erased"))
}

async fn has_text(db: &Db, row: &NewDelivery) -> bool {
    by_id(db, &row.id).await.expect("an answer").expect("a row").payload.is_some()
}

#[tokio::test]
async fn texts_of_age_are_erased_and_records_stay() {
    on_every_database(|db| async move {
        furnish(&db).await;
        let rows = [100, 200, 300, 400, 600].map(new);
        admit(&db, &rows).await;
        for (nth, status) in [(0, "delivered"), (1, "dead"), (3, "delivered"), (4, "delivered")] {
            try_once(&db, &rows[nth], status, 410).await;
        }
        let texts = async || join_all(rows.iter().map(|row| has_text(&db, row))).await;
        assert_eq!(erase(&db, 150).await, Erased { n_erased: 1, is_done: true });
        assert_eq!(texts().await, [false, true, true, true, true]);
        // The third has not ended: its text is needed, and nobody else's is kept for that.
        assert_eq!(erase(&db, 500).await, Erased { n_erased: 2, is_done: true });
        assert_eq!(texts().await, [false, false, true, false, true]);
        // It is erased with its end.
        let end = Settle { erases: true, ..outcome(&rows[2], "dead", 510) };
        settle(&db, &[end]).await;
        assert_eq!(texts().await, [false, false, false, false, true]);
    })
    .await;
}

async fn forget(db: &Db, ids: &[&NewDelivery], cutoff_ms: i64) -> u64 {
    let ids = ids.iter().map(|row| row.id.clone()).collect();
    let change = ForgetAttempts { ids, cutoff_ms };
    in_transaction!(db, |conn| change.apply(conn).await.expect("attempts are deleted"))
}

fn outcome(row: &NewDelivery, status: &'static str, at: i64) -> Settle {
    Settle {
        id: row.id.clone(),
        lane_id: row.lane_id.clone(),
        status,
        at,
        attempts: 7,
        n_tried: 1,
        error_class: Some("unavailable"),
        ..Settle::default()
    }
}

async fn try_once(db: &Db, row: &NewDelivery, status: &'static str, at: i64) {
    settle(db, &[outcome(row, status, at)]).await;
}

async fn n_attempts(db: &Db, row: &NewDelivery) -> usize {
    attempts(db, &row.id).await.expect("attempts").len()
}

#[tokio::test]
async fn attempts_of_age_are_deleted_when_the_delivery_has_ended() {
    on_every_database(|db| async move {
        furnish(&db).await;
        let [dead, pending, late, young, untried] = [100, 200, 300, 900, 150].map(new);
        admit(&db, &[dead.clone(), pending.clone(), late.clone(), young.clone(), untried]).await;
        try_once(&db, &dead, "retrying", 110).await;
        try_once(&db, &dead, "dead", 120).await;
        try_once(&db, &pending, "retrying", 210).await;
        try_once(&db, &late, "dead", 310).await;
        try_once(&db, &late, "dead", 600).await;
        try_once(&db, &young, "delivered", 910).await;

        let found = attempted(&db, "", 500).await.expect("ids");
        let of_age = vec![dead.id.clone(), pending.id.clone()];
        assert_eq!(found, Attempted { of_age, next: None });
        assert_eq!(attempted(&db, &pending.id, 500).await, Ok(Attempted::default()));
        // The third was tried since it was looked for.
        assert_eq!(forget(&db, &[&dead, &pending, &late], 500).await, 2);
        assert_eq!([n_attempts(&db, &dead).await, n_attempts(&db, &pending).await], [0, 1]);
        assert_eq!([n_attempts(&db, &late).await, n_attempts(&db, &young).await], [2, 1]);
        let (_, kept) = record(&db, &dead.id).await.expect("an answer").expect("a record");
        assert_eq!((kept.n_attempts, kept.error_class.as_deref()), (7, Some("unavailable")));

        // Replayed, it counts from one again, and its new attempts are deleted in their time.
        try_once(&db, &dead, "dead", 130).await;
        assert_eq!(attempts(&db, &dead.id).await.expect("attempts")[0].n, 1);
        assert_eq!(forget(&db, &[&dead], 500).await, 1);
    })
    .await;
}

#[tokio::test]
async fn attempts_are_looked_for_part_by_part() {
    on_every_database(|db| async move {
        furnish(&db).await;
        let rows: Vec<_> = (1..=201).map(new).collect();
        admit(&db, &rows).await;
        for row in &rows {
            try_once(&db, row, "delivered", 300).await;
        }
        let first = attempted(&db, "", 1000).await.expect("ids");
        assert_eq!((first.of_age.len(), first.next.as_deref()), (200, Some(rows[199].id.as_str())));
        let last = attempted(&db, &rows[199].id, 1000).await.expect("ids");
        assert_eq!(last, Attempted { of_age: vec![rows[200].id.clone()], next: None });
    })
    .await;
}
