//! What the delivery tables promise.

use super::*;
use crate::store::deliveries::{Admission, Direction, NewDelivery, admit, by_dedup_key, of_lane};
use crate::store::lanes::{Begin, Settle, begin, next_ready_at, ready, settle};

/// A user, an instance and an account to hang deliveries on.
pub(crate) async fn furnish(db: &Db) {
    for statement in [
        "INSERT INTO users (id, username, username_key, first_name, last_name, company_name, password_hash, is_staff, is_active, date_joined) VALUES ('u1', 'a@b.c', 'a@b.c', '', '', '', '', FALSE, TRUE, 1)",
        "INSERT INTO instances (id, user_id, instance_url, auth, admin_user, client_id, sealed_secrets, rate, concurrency, mode, customer_table, case_defaults, status, status_detail, created_at) VALUES ('i1', 'u1', 'https://x', 'basic', '', '', '', '20 per 1s', 4, 'auto', 'csm_consumer', '{}', 'unchecked', '', 1)",
        "INSERT INTO accounts (id, user_id, instance_id, twitter_user_id, screen_name, sealed_secrets, reply_channel, case_policy, status, status_detail, created_at) VALUES ('a1', 'u1', 'i1', '42', 'acme', '', 'dm', '{}', 'ok', '', 1)",
    ] {
        let statement = if db.is_embedded() {
            statement.replace("'', '20 per", "x'', '20 per").replace("'acme', ''", "'acme', x''")
        } else {
            statement.to_owned()
        };
        in_transaction!(db, |conn| {
            on_conn!(conn, |conn, _sql| {
                let sql = sqlx::AssertSqlSafe(statement.clone());
                sqlx::query(sql).execute(&mut **conn).await.map(drop).expect("a row");
            });
        });
    }
}

fn new(customer: &str, source: &str) -> NewDelivery {
    NewDelivery {
        id: format!("d{source}"),
        direction: Direction::ToServicenow,
        kind: "dm".to_owned(),
        status: "queued",
        user_id: "u1".to_owned(),
        account_id: "a1".to_owned(),
        instance_id: Some("i1".to_owned()),
        target_id: "i1".to_owned(),
        customer_id: customer.to_owned(),
        lane_id: Direction::ToServicenow.lane_id("a1", customer),
        dedup_key: Some(format!("a1:dm:{source}")),
        source_id: Some(source.to_owned()),
        fingerprint: None,
        order_key: format!("{source:0>20}"),
        payload: "{}".to_owned(),
        created_at: 100,
        deadline_at: 1000,
    }
}

async fn admit_all(db: &Db, requests: &[Vec<NewDelivery>]) -> Vec<Vec<Admission>> {
    in_transaction!(db, |conn| admit(conn, requests).await.expect("rows are admitted"))
}

fn ended(id: &str, lane_id: &str, status: &'static str, n_done: i64, lane_ready_at: i64) -> Settle {
    Settle {
        id: id.to_owned(),
        lane_id: lane_id.to_owned(),
        status,
        at: 200,
        attempts: 1,
        n_done,
        lane_ready_at,
        ..Settle::default()
    }
}

#[tokio::test]
async fn an_item_is_admitted_once() {
    on_every_database(|db| async move {
        furnish(&db).await;
        let alone = Admission::Accepted { is_alone: true };
        let behind = Admission::Accepted { is_alone: false };
        let mut again = new("7", "1");
        again.id = "again".to_owned();
        let twice = [vec![new("7", "1")], vec![new("8", "3"), new("8", "4")], vec![again]];
        let admissions = admit_all(&db, &twice).await;
        assert_eq!(admissions, [vec![alone], vec![behind, behind], vec![Admission::Duplicate]]);
        let mut again = new("7", "1");
        again.id = "another".to_owned();
        assert_eq!(admit_all(&db, &[vec![again]]).await, [vec![Admission::Duplicate]]);
        let stored = by_dedup_key(&db, "a1:dm:1").await.expect("an answer").expect("a row");
        assert_eq!((stored.id.as_str(), stored.status.as_str(), stored.attempts), ("d1", "queued", 0));
    })
    .await;
}

#[tokio::test]
async fn a_lane_goes_as_written_but_what_has_begun_goes_first() {
    on_every_database(|db| async move {
        furnish(&db).await;
        admit_all(&db, &[vec![new("7", "900"), new("7", "1000"), new("7", "20")]]).await;
        let lane = Direction::ToServicenow.lane_id("a1", "7");
        let order = |rows: Vec<crate::store::deliveries::Delivery>| -> Vec<String> {
            rows.into_iter().map(|row| row.id).collect()
        };
        assert_eq!(order(of_lane(&db, &lane, 9).await.expect("rows")), ["d20", "d900", "d1000"]);

        let intent = Begin { id: "d900".to_owned(), journal: "{}".to_owned(), at: 150, conversation: None };
        in_transaction!(&db, |conn| begin(conn, &[intent]).await.expect("an intent is stored"));
        assert_eq!(order(of_lane(&db, &lane, 9).await.expect("rows")), ["d900", "d20", "d1000"]);
    })
    .await;
}

pub(crate) async fn ready_of(db: &Db, target_id: &str, now_ms: i64) -> Vec<String> {
    let lanes = ready(db, target_id, now_ms, 9, 4).await.expect("lanes");
    lanes.into_iter().map(|lane| lane.id).collect()
}

async fn ready_ids(db: &Db, now_ms: i64) -> Vec<String> {
    ready_of(db, "i1", now_ms).await
}

#[tokio::test]
async fn ready_lanes_come_with_what_is_pending_unless_it_is_much() {
    on_every_database(|db| async move {
        furnish(&db).await;
        admit_all(&db, &[vec![new("7", "12"), new("7", "9")]]).await;
        admit_all(&db, &[vec![new("8", "1"), new("8", "2"), new("8", "3")]]).await;
        let lanes = ready(&db, "i1", 100, 9, 2).await.expect("lanes");
        let pages: Vec<Vec<&str>> =
            lanes.iter().map(|lane| lane.page.iter().map(|row| row.id.as_str()).collect()).collect();
        assert_eq!(pages, [vec!["d9", "d12"], vec![]]);
    })
    .await;
}

#[tokio::test]
async fn a_lane_is_ready_while_anything_is_pending_in_it() {
    on_every_database(|db| async move {
        furnish(&db).await;
        admit_all(&db, &[vec![new("7", "1"), new("7", "2")]]).await;
        let lane = Direction::ToServicenow.lane_id("a1", "7");
        assert_eq!(ready_ids(&db, 100).await, std::slice::from_ref(&lane));
        assert_eq!(ready_ids(&db, 99).await, Vec::<String>::new());

        let retry = ended("d1", &lane, "retrying", 0, 500);
        in_transaction!(&db, |conn| settle(conn, &[retry]).await.expect("an outcome is stored"));
        assert_eq!(ready_ids(&db, 499).await, Vec::<String>::new());
        assert_eq!(next_ready_at(&db, "i1", 499).await, Ok(Some(500)));

        // A newcomer does not shorten the pause of the lane.
        admit_all(&db, &[vec![new("7", "3")]]).await;
        assert_eq!(next_ready_at(&db, "i1", 499).await, Ok(Some(500)));

        for (id, status) in [("d1", "delivered"), ("d2", "dead"), ("d3", "delivered")] {
            assert_eq!(ready_ids(&db, 600).await, std::slice::from_ref(&lane), "before {id}");
            let settled = ended(id, &lane, status, 1, 600);
            in_transaction!(&db, |conn| settle(conn, &[settled]).await.expect("an outcome is stored"));
        }
        assert_eq!(ready_ids(&db, i64::MAX).await, Vec::<String>::new());
        assert_eq!(next_ready_at(&db, "i1", 0).await, Ok(None));
    })
    .await;
}
