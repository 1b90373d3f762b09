//! What the delivery tables promise.

use super::*;
use crate::domain::lease::Lease;
use crate::store::batch::{Batch, Written};
use crate::store::conversations::Conversation;
use crate::store::deliveries::{Direction, NewDelivery, by_dedup_key, of_lane};
use crate::store::lanes::{Begin, Settle, next_ready_at, oldest_due, ready, ready_targets};

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

/// A message of a customer of the account that [`furnish`] links.
pub(crate) fn new(customer: &str, source: &str) -> NewDelivery {
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

/// Stores new deliveries; says of those that were added how many are pending in their lane.
pub(in crate::store) async fn admit(db: &Db, rows: &[NewDelivery]) -> BTreeMap<String, i64> {
    let batch = Batch { news: rows.iter().collect(), ..Batch::default() };
    let added = batch.commit(db, &mut None).await.expect("rows are admitted").added;
    added.into_iter().map(|(id, (n_pending, _))| (id, n_pending)).collect()
}

pub(in crate::store) fn intent(id: &str, held: i64, mark: i64) -> Begin {
    Begin {
        lease: Lease::ALONE,
        id: id.to_owned(),
        held,
        mark,
        journal: "{}".to_owned(),
        at: 150,
        conversation: None,
    }
}

fn ended(id: &str, lane_id: &str, status: &'static str, n_done: i64, lane_ready_at: i64) -> Settle {
    Settle {
        id: id.to_owned(),
        lane_id: lane_id.to_owned(),
        status,
        at: 200,
        attempts: 1,
        n_tried: 1,
        n_done,
        lane_ready_at,
        ..Settle::default()
    }
}

#[tokio::test]
async fn an_item_is_admitted_once() {
    on_every_database(|db| async move {
        furnish(&db).await;
        let mut again = new("7", "1");
        again.id = "again".to_owned();
        let added = admit(&db, &[new("7", "1"), new("8", "3"), new("8", "4"), again]).await;
        let expected = [("d1", 1), ("d3", 2), ("d4", 2)].map(|(id, n)| (id.to_owned(), n));
        assert_eq!(added, BTreeMap::from(expected));
        let mut again = new("7", "1");
        again.id = "another".to_owned();
        assert_eq!(admit(&db, &[again]).await, BTreeMap::new());
        let stored = by_dedup_key(&db, "a1:dm:1").await.expect("an answer").expect("a row");
        assert_eq!((stored.id.as_str(), stored.status.as_str(), stored.attempts), ("d1", "queued", 0));
    })
    .await;
}

#[tokio::test]
async fn a_lane_goes_as_written_but_what_has_begun_goes_first() {
    on_every_database(|db| async move {
        furnish(&db).await;
        admit(&db, &[new("7", "900"), new("7", "1000"), new("7", "20")]).await;
        let lane = Direction::ToServicenow.lane_id("a1", "7");
        let order = |rows: Vec<crate::store::deliveries::Delivery>| -> Vec<String> {
            rows.into_iter().map(|row| row.id).collect()
        };
        assert_eq!(order(of_lane(&db, &lane, "i1", 9).await.expect("rows")), ["d20", "d900", "d1000"]);
        assert_eq!(of_lane(&db, &lane, "i2", 9).await, Ok(vec![]), "it is not that one's");

        let written =
            Batch { begins: vec![&intent("d900", 0, 5)], ..Batch::default() }.commit(&db, &mut None).await;
        assert_eq!(written.expect("an intent is stored").begun.len(), 1);
        assert_eq!(order(of_lane(&db, &lane, "i1", 9).await.expect("rows")), ["d900", "d20", "d1000"]);
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
        admit(&db, &[new("7", "12"), new("7", "9")]).await;
        admit(&db, &[new("8", "1"), new("8", "2"), new("8", "3")]).await;
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
        admit(&db, &[new("7", "1"), new("7", "2")]).await;
        let lane = Direction::ToServicenow.lane_id("a1", "7");
        assert_eq!(ready_ids(&db, 100).await, std::slice::from_ref(&lane));
        assert_eq!(ready_ids(&db, 99).await, Vec::<String>::new());

        let retry = ended("d1", &lane, "retrying", 0, 500);
        settle(&db, &[retry]).await;
        assert_eq!(ready_ids(&db, 499).await, Vec::<String>::new());
        assert_eq!(next_ready_at(&db, "i1", 499).await, Ok(Some(500)));

        // A newcomer does not shorten the pause of the lane.
        admit(&db, &[new("7", "3")]).await;
        assert_eq!(next_ready_at(&db, "i1", 499).await, Ok(Some(500)));

        for (id, status) in [("d1", "delivered"), ("d2", "dead"), ("d3", "delivered")] {
            assert_eq!(ready_ids(&db, 600).await, std::slice::from_ref(&lane), "before {id}");
            let settled = ended(id, &lane, status, 1, 600);
            settle(&db, &[settled]).await;
        }
        assert_eq!(ready_ids(&db, i64::MAX).await, Vec::<String>::new());
        assert_eq!(next_ready_at(&db, "i1", 0).await, Ok(None));
    })
    .await;
}

#[tokio::test]
async fn an_attempt_that_lost_its_delivery_writes_nothing() {
    on_every_database(|db| async move {
        furnish(&db).await;
        admit(&db, &[new("7", "1")]).await;
        let lane = Direction::ToServicenow.lane_id("a1", "7");
        let try_begin = async |held: i64, mark: i64| -> Written {
            let intent = intent("d1", held, mark);
            Batch { begins: vec![&intent], ..Batch::default() }
                .commit(&db, &mut None)
                .await
                .expect("a commit")
        };
        let try_settle = async |held: i64, mark: i64, end_mark: i64, conversation: Option<Conversation>| {
            let settle =
                Settle { held, mark, end_mark, conversation, ..ended("d1", &lane, "retrying", 0, 500) };
            let batch = Batch { settles: vec![&settle], ..Batch::default() };
            !batch.commit(&db, &mut None).await.expect("a commit").settled.is_empty()
        };
        let n_attempts = async || {
            let attempts = crate::store::records::attempts(&db, "d1").await.expect("attempts");
            attempts.len()
        };
        let conversation = || Some(Conversation::new("a1", "7"));

        assert_eq!(try_begin(0, 10).await.begun.len(), 1);
        assert_eq!(try_begin(0, 10).await.begun.len(), 1, "the same again changes nothing");
        assert_eq!(try_begin(0, 20).await.begun.len(), 0, "it was read before another began");
        assert!(!try_settle(0, 20, 21, conversation()).await);
        assert_eq!(n_attempts().await, 0);
        assert_eq!(conversations::get(&db, "a1", "7").await, Ok(None));

        assert!(try_settle(0, 10, 11, conversation()).await);
        assert!(try_settle(0, 10, 11, conversation()).await, "its answer may have been lost");
        assert_eq!(n_attempts().await, 1);
        assert!(conversations::get(&db, "a1", "7").await.expect("an answer").is_some());
        assert_eq!(next_ready_at(&db, "i1", 0).await, Ok(Some(500)));
        assert_eq!(try_begin(0, 10).await.begun.len(), 0, "its outcome is known");
        assert_eq!(try_begin(11, 30).await.begun.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_refused_batch_leaves_no_transaction_behind() {
    on_every_database(|db| async move {
        furnish(&db).await;
        admit(&db, &[new("7", "0")]).await;
        let mut namesake = new("7", "1");
        namesake.id = "d0".to_owned();
        let batch = Batch { news: vec![&namesake], ..Batch::default() };
        assert_eq!(batch.commit(&db, &mut None).await, Err(StoreError::Duplicate));
        assert_eq!(admit(&db, &[new("7", "1")]).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn first_attempts_go_before_repeated_ones() {
    on_every_database(|db| async move {
        furnish(&db).await;
        admit(&db, &[new("7", "1"), new("8", "2")]).await;
        let lane = |customer: &str| Direction::ToServicenow.lane_id("a1", customer);
        settle(&db, &[ended("d1", &lane("7"), "retrying", 0, 50)]).await;
        assert_eq!(ready_ids(&db, 100).await, [lane("8"), lane("7")]);
        assert_eq!(next_ready_at(&db, "i1", 60).await, Ok(Some(100)));
        assert_eq!(oldest_due(&db).await, Ok(Some(50)));
        let targets = [("to_servicenow".to_owned(), "i1".to_owned())];
        assert_eq!(ready_targets(&db, 50).await.as_deref(), Ok(targets.as_slice()));
        assert_eq!(ready_targets(&db, 49).await.as_deref(), Ok([].as_slice()));
        settle(&db, &[Settle { held: 0, ..ended("d1", &lane("7"), "delivered", 1, 50) }]).await;
        admit(&db, &[new("7", "3")]).await;
        settle(&db, &[ended("d2", &lane("8"), "retrying", 0, 100)]).await;
        assert_eq!(ready_ids(&db, 100).await, [lane("7"), lane("8")]);
    })
    .await;
}

#[tokio::test]
async fn what_only_waited_is_no_attempt_and_stays_first() {
    on_every_database(|db| async move {
        furnish(&db).await;
        admit(&db, &[new("7", "1"), new("8", "2"), new("9", "3")]).await;
        let lane = |customer: &str| Direction::ToServicenow.lane_id("a1", customer);
        let waited = |id: &str, lane_id: &str, held, end_mark| Settle {
            attempts: 0,
            n_tried: 0,
            held,
            end_mark,
            deadline_at: Some(5000),
            ..ended(id, lane_id, "retrying", 0, 50)
        };
        settle(&db, &[ended("d1", &lane("7"), "retrying", 0, 40), waited("d2", &lane("8"), 0, 5)]).await;
        settle(&db, &[waited("d1", &lane("7"), 0, 6)]).await;
        assert_eq!(ready_ids(&db, 100).await, [lane("8"), lane("9"), lane("7")]);
        let row = by_dedup_key(&db, "a1:dm:2").await.expect("an answer").expect("a row");
        assert_eq!((row.attempts, row.deadline_at), (0, 5000));
        let attempts = crate::store::records::attempts(&db, "d2").await.expect("attempts");
        assert_eq!(attempts.len(), 0);
        settle(&db, &[ended("d3", &lane("9"), "retrying", 0, 10)]).await;
        let row = by_dedup_key(&db, "a1:dm:3").await.expect("an answer").expect("a row");
        assert_eq!(row.deadline_at, 1000, "it stays where it was");
    })
    .await;
}

#[tokio::test]
async fn something_new_lifts_its_lane_from_among_the_replays() {
    on_every_database(|db| async move {
        furnish(&db).await;
        let lane = |customer: &str| Direction::ToServicenow.lane_id("a1", customer);
        admit(&db, &[new("7", "1"), new("8", "2"), new("9", "3")]).await;
        let dead =
            |id: &str, customer: &str| Settle { end_mark: 5, ..ended(id, &lane(customer), "dead", 1, 50) };
        settle(&db, &[dead("d1", "7"), dead("d2", "8")]).await;
        settle(&db, &[ended("d3", &lane("9"), "retrying", 0, 60)]).await;
        super::records::revive(&db, &["d1", "d2"]).await;
        assert_eq!(ready_ids(&db, 3000).await, [lane("9"), lane("7"), lane("8")]);
        admit(&db, &[new("8", "4"), new("9", "5")]).await;
        assert_eq!(ready_ids(&db, 3000).await, [lane("8"), lane("9"), lane("7")], "a retry keeps its place");
        let page = of_lane(&db, &lane("8"), "i1", 9).await.expect("rows");
        let ids: Vec<&str> = page.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids, ["d2", "d4"], "within the lane it goes as written");
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_refuses_for_a_while_and_nothing_more() {
    on_every_database(|db| async move {
        furnish(&db).await;
        let Db::Sqlite(sqlite) = &db else { return };
        let limit = async |n_pages: &'static str| {
            let pragma = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {n_pages}"));
            sqlx::query(pragma).execute(&sqlite.writes).await.expect("a pragma");
        };
        // No fewer than there are: the database is full from now on.
        limit("1").await;
        let mut large = new("7", "1");
        large.payload = "x".repeat(200_000);
        let batch = Batch { news: vec![&large], ..Batch::default() };
        let refused = batch.commit(&db, &mut None).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");

        // A transaction of several statements that cannot be committed.
        let mut transaction = db.begin().await.expect("a transaction");
        let begun = batch.write(&mut transaction.conn()).await;
        assert!(matches!(begun, Err(StoreError::Unavailable(_))), "{begun:?}");
        // As SQLite does by itself where the disk itself is full.
        if let Transaction::Sqlite(conn) = &mut transaction {
            drop(sqlx::query("ROLLBACK").execute(&mut **conn).await);
        }
        let ended = transaction.commit().await;
        assert!(ended.is_err(), "there was nothing to commit");

        limit("1000000").await;
        let transaction = db.begin().await.expect("the next transaction begins");
        transaction.commit().await.expect("and ends");
        assert_eq!(admit(&db, &[new("7", "2")]).await.len(), 1);
        assert_eq!(by_dedup_key(&db, "a1:dm:1").await, Ok(None));
    })
    .await;
}

#[tokio::test]
async fn commits_side_by_side_never_wait_for_each_other_in_a_circle() {
    on_every_database(|db| async move {
        furnish(&db).await;
        let message = |lane: u32, round: u32| new(&lane.to_string(), &format!("{lane}r{round}"));
        let messages =
            |round: u32| -> Vec<NewDelivery> { (10..50).map(|lane| message(lane, round)).collect() };
        admit(&db, &messages(0)).await;
        let (mut one, mut other) = (None, None);
        for round in 0..20 {
            // What ends goes through the lanes in one order, what comes in the other.
            let outcomes: Vec<Settle> = messages(round)
                .iter()
                .rev()
                .map(|row| Settle { end_mark: 1, ..ended(&row.id, &row.lane_id, "delivered", 1, 0) })
                .collect();
            let ending = Batch { settles: outcomes.iter().collect(), ..Batch::default() };
            let news = messages(round + 1);
            let coming = Batch { news: news.iter().collect(), ..Batch::default() };
            let (ended, came) =
                futures_util::future::join(ending.commit(&db, &mut one), coming.commit(&db, &mut other))
                    .await;
            assert_eq!(ended.map(|written| written.settled.len()), Ok(40), "round {round}");
            assert_eq!(came.map(|written| written.added.len()), Ok(40), "round {round}");
        }
    })
    .await;
}
