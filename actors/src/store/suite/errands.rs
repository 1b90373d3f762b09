//! What small commits decide at once, and errands carry out afterwards.

use super::deliveries::{furnish, intent, ready_of};
use super::settings::{apply, insert_account, insert_instance, message, move_account, run};
use super::users::{delete, user};
use super::*;
use crate::domain::record::RecordFilter;
use crate::store::accounts::{DeleteAccount, Move};
use crate::store::deliveries::{Direction, NewDelivery, by_dedup_key, by_id};
use crate::store::errands::{BuryAccount, BuryUser, Close, Errand, ErrandKind, due};
use crate::store::instances::counts;
use crate::store::lanes::Settle;
use crate::store::routing::{MoveOn, Reopen, Spot};
use crate::store::suite::deliveries::admit;
use crate::store::users::Deletion;

/// A message of its own conversation.
fn of_customer(n: usize) -> NewDelivery {
    let customer_id = format!("{n:05}");
    NewDelivery {
        lane_id: Direction::ToServicenow.lane_id("a1", &customer_id),
        dedup_key: Some(format!("event:u1:{n}")),
        customer_id,
        ..message(&format!("d{n:05}"), "queued", Some("i1"))
    }
}

async fn count(db: &Db, query: &'static str) -> i64 {
    in_transaction!(db, |conn| on_conn!(conn, |conn, _sql| {
        sqlx::query_scalar(query).fetch_one(&mut **conn).await.expect("a count")
    }))
}

async fn may_begin(db: &Db, id: &str, held: i64) -> bool {
    let intent = intent(id, held, held + 5);
    let batch = batch::Batch { begins: vec![&intent], ..batch::Batch::default() };
    !batch.commit(db, &mut None).await.expect("a commit").begun.is_empty()
}

async fn asked(db: &Db) -> Vec<(ErrandKind, String)> {
    let errands = due(db, i64::MAX).await.expect("errands");
    errands.into_iter().map(|errand| (errand.kind, errand.subject_id)).collect()
}

async fn page_of(db: &Db, user_id: &str) -> usize {
    let page = crate::store::records::page(db, Some(user_id), &RecordFilter::default(), None, 9999).await;
    page.expect("records").len()
}

#[tokio::test]
async fn an_account_that_is_gone_is_not_seen_and_its_rows_go_part_by_part() {
    on_every_database(|db| async move {
        furnish(&db).await;
        apply(&db, insert_account("a2", "43")).await.expect("an account");
        let rows: Vec<_> = (0..1100).map(of_customer).collect();
        admit(&db, &rows).await;
        let mut other = of_customer(2000);
        other.account_id = "a2".to_owned();
        other.lane_id = Direction::ToServicenow.lane_id("a2", "2000");
        admit(&db, &[other]).await;
        assert_eq!((counts(&db, "i1").await, page_of(&db, "u1").await), (Ok((1101, 0)), 1101));

        let deletion = DeleteAccount { id: "a1".to_owned(), now_ms: 300 };
        assert_eq!(apply(&db, deletion).await, Ok(true));
        assert_eq!(count(&db, "SELECT COUNT(*) FROM deliveries").await, 1101, "no row was touched");
        assert_eq!(ready_of(&db, "i1", 300).await, ["to_servicenow:a2:2000"]);
        assert!(!may_begin(&db, "d00001", 0).await, "nothing of it begins any more");
        assert!(may_begin(&db, "d02000", 0).await);
        assert_eq!((counts(&db, "i1").await, page_of(&db, "u1").await), (Ok((1, 0)), 1));
        assert_eq!(
            (by_id(&db, "d00001").await, crate::store::records::by_id(&db, "d00001").await),
            (Ok(None), Ok(None))
        );
        assert_eq!(by_dedup_key(&db, "event:u1:1").await, Ok(None));

        // It takes nothing any more. Linked again, it does, and the keys of before are free.
        assert_eq!(apply(&db, insert_account("a3", "42")).await, Ok(()));
        let fresh = of_customer(3000);
        assert_eq!(admit(&db, &[fresh]).await.len(), 0);
        let mut again = of_customer(1);
        again.id = "again".to_owned();
        again.account_id = "a3".to_owned();
        again.lane_id = Direction::ToServicenow.lane_id("a3", "1");
        assert_eq!(admit(&db, &[again.clone()]).await.len(), 0);
        apply(&db, crate::store::deliveries::FreeKey("event:u1:1".to_owned())).await.expect("freed");
        apply(&db, crate::store::deliveries::FreeKey("event:u1:2000".to_owned())).await.expect("kept");
        assert_eq!(admit(&db, &[again]).await.len(), 1);
        assert!(by_dedup_key(&db, "event:u1:2000").await.expect("an answer").is_some());

        assert_eq!(asked(&db).await, [(ErrandKind::BuryAccount, "a1".to_owned())]);
        let mut parts = Vec::new();
        loop {
            let n = apply(&db, BuryAccount("a1".to_owned())).await.expect("rows are taken away");
            parts.push(n);
            if n == 0 {
                break;
            }
        }
        assert_eq!(parts, [500, 500, 100, 500, 500, 100, 0]);
        let left = (
            count(&db, "SELECT COUNT(*) FROM lanes").await,
            count(&db, "SELECT COUNT(*) FROM deliveries").await,
        );
        assert_eq!(left, (2, 2), "those of other accounts");
    })
    .await;
}

#[tokio::test]
async fn a_user_who_is_gone_leaves_errands_and_a_free_name() {
    on_every_database(|db| async move {
        furnish(&db).await;
        admit(&db, &[of_customer(1)]).await;
        run(&db, "INSERT INTO cases (instance_id, sys_id, user_id, account_id, customer_id) VALUES ('i1', 'c1', 'u1', 'a1', '1')").await;
        let done = apply(&db, delete("u1")).await;
        assert!(matches!(done, Ok(Deletion::Done(_))), "{done:?}");
        apply(&db, user("u2", "a@b.c", false)).await.expect("the name is free");
        assert_eq!((page_of(&db, "u1").await, ready_of(&db, "i1", 300).await.len()), (0, 0));
        let expected =
            [(ErrandKind::BuryAccount, "a1".to_owned()), (ErrandKind::BuryUser, "u1".to_owned())];
        assert_eq!(asked(&db).await, expected);
        assert_eq!(apply(&db, BuryUser("u1".to_owned())).await, Ok(1));
        assert_eq!(apply(&db, BuryUser("u1".to_owned())).await, Ok(0));

        // An errand that was asked for again meanwhile stays.
        let errand = |asked_at| Errand {
            kind: ErrandKind::BuryUser,
            subject_id: "u1".to_owned(),
            asked_at,
            deadline_at: 0,
        };
        apply(&db, Close { errand: errand(4), again_at: None }).await.expect("nothing is closed");
        assert_eq!(asked(&db).await.len(), 2);
        apply(&db, Close { errand: errand(5), again_at: Some(900) }).await.expect("it is put off");
        assert_eq!(due(&db, 899).await.expect("errands").len(), 1);
        apply(&db, Close { errand: errand(5), again_at: None }).await.expect("it is done");
        assert_eq!(asked(&db).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_waits_follows_its_account_part_by_part_and_nothing_begins_before() {
    on_every_database(|db| async move {
        furnish(&db).await;
        apply(&db, insert_instance("i2")).await.expect("an instance");
        // Short lanes, and a long one that stands behind them.
        let mut rows: Vec<_> = (0..700).map(of_customer).collect();
        rows.extend((0..1100).map(|n| NewDelivery {
            lane_id: Direction::ToServicenow.lane_id("a1", "9"),
            dedup_key: None,
            ..message(&format!("long{n:05}"), "queued", Some("i1"))
        }));
        admit(&db, &rows).await;
        assert_eq!(apply(&db, move_account(1, Move::To(Some("i2".to_owned())))).await, Ok(true));
        let at_new = "SELECT COUNT(*) FROM deliveries WHERE instance_id = 'i2' AND fence = 1";
        let n_at_once = count(&db, at_new).await;
        assert!((1..=500).contains(&n_at_once), "{n_at_once}");
        assert_eq!(asked(&db).await, [(ErrandKind::Reroute, "a1".to_owned())]);
        // The others are nobody's until they are moved.
        assert_eq!(ready_of(&db, "i1", i64::MAX).await, Vec::<String>::new());
        assert!(!may_begin(&db, "long01099", 0).await);

        // One that comes meanwhile joins the lane where it stands, and does not begin either.
        let late =
            NewDelivery { id: "long09999".to_owned(), order_key: "zz".to_owned(), ..rows[1799].clone() };
        admit(&db, &[late]).await;
        assert!(!may_begin(&db, "long09999", 0).await);

        let (mut from, mut n_parts) = (Spot::default(), 0);
        loop {
            let part = MoveOn { account_id: "a1".to_owned(), from, now_ms: 400, deadline_ms: 9000 };
            let moved = apply(&db, part).await.expect("a part is moved");
            assert!(moved.n_rows <= 1001, "{moved:?}");
            n_parts += 1;
            match moved.next {
                Some(next) => from = next,
                None => break,
            }
        }
        assert!((4..=8).contains(&n_parts), "{n_parts}");
        assert_eq!(count(&db, "SELECT COUNT(*) FROM lanes WHERE target_id <> 'i2'").await, 0);
        assert_eq!(count(&db, at_new).await, 1800, "each was moved once");
        assert_eq!(count(&db, "SELECT COUNT(*) FROM deliveries WHERE instance_id = 'i2'").await, 1801);
        assert_eq!(counts(&db, "i2").await, Ok((1801, 0)));
        assert!(may_begin(&db, "long01099", 1).await);
        let gone = MoveOn { account_id: "gone".to_owned(), from: Spot::default(), now_ms: 1, deadline_ms: 2 };
        assert_eq!(apply(&db, gone).await.expect("nothing").n_rows, 0);
    })
    .await;
}

#[tokio::test]
async fn what_was_tried_goes_on_part_by_part_and_the_rest_is_left_alone() {
    on_every_database(|db| async move {
        furnish(&db).await;
        let rows: Vec<_> = (0..1600).map(of_customer).collect();
        admit(&db, &rows).await;
        let end = |row: &NewDelivery, status, lane_ready_at| Settle {
            id: row.id.clone(),
            lane_id: row.lane_id.clone(),
            status,
            at: 200,
            attempts: 1,
            next_attempt_at: Some(lane_ready_at),
            lane_ready_at,
            ..Settle::default()
        };
        let blocked = rows[..3].iter().map(|row| end(row, "blocked", 200));
        let retried = rows[3..1300].iter().map(|row| end(row, "retrying", 999_999));
        settle(&db, &blocked.chain(retried).collect::<Vec<_>>()).await;
        assert_eq!(ready_of(&db, "i1", 300).await.len(), 9);

        let reopen = Reopen { target_id: "i1".to_owned(), now_ms: 300, deadline_ms: 9000 };
        let mut n_parts = 1;
        while !apply(&db, reopen.clone()).await.expect("a part goes on") {
            n_parts += 1;
        }
        assert_eq!(n_parts, 3);
        let now = [
            count(&db, "SELECT COUNT(*) FROM lanes WHERE ready_at > 300").await,
            count(&db, "SELECT COUNT(*) FROM deliveries WHERE status = 'retrying' AND next_attempt_at = 300")
                .await,
            count(&db, "SELECT COUNT(*) FROM deliveries WHERE status = 'queued' AND deadline_at = 9000")
                .await,
            count(&db, "SELECT COUNT(*) FROM lanes WHERE ready_at = 100").await,
        ];
        assert_eq!(now, [0, 1297, 3, 300]);
    })
    .await;
}
