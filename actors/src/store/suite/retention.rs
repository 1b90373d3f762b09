//! What retention promises.

use super::deliveries::furnish;
use super::*;
use crate::store::deliveries::{Direction, NewDelivery, by_id};
use crate::store::retention::{Erase, Erased};
use crate::store::suite::deliveries::admit;
use crate::writer::Change;

fn new(n: u64, status: &'static str) -> NewDelivery {
    let id = format!("{:08x}-{:04x}-7000-8000-{n:012x}", n >> 16, n & 0xffff);
    NewDelivery {
        id,
        direction: Direction::ToServicenow,
        kind: "dm".to_owned(),
        status,
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
        let rows = [new(100, "delivered"), new(200, "dead"), new(300, "queued"), new(400, "delivered")];
        admit(&db, &rows).await;
        assert_eq!(erase(&db, 150).await, Erased { n_erased: 1, is_done: true });
        // The third has not ended: neither it nor what follows is erased.
        assert_eq!(erase(&db, 500).await, Erased { n_erased: 1, is_done: true });
        let kept = [has_text(&db, &rows[2]).await, has_text(&db, &rows[3]).await];
        assert_eq!(kept, [true, true]);
        assert_eq!([has_text(&db, &rows[0]).await, has_text(&db, &rows[1]).await], [false, false]);
    })
    .await;
}
