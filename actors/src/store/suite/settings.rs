//! What instances, accounts and their routing promise.

use super::deliveries::furnish;
use super::deliveries::ready_of;
use super::*;
use crate::store::Change;
use crate::store::accounts::{
    AccountColumns, DeleteAccount, InsertAccount, Move, Touch, TouchAccounts, UpdateAccount,
};
use crate::store::conversations::{Conversation, by_case, by_customer};
use crate::store::deliveries::{Delivery, Direction, NewDelivery, by_id};
use crate::store::instances::{DeleteInstance, InsertInstance, InstanceColumns, UpdateInstance, counts};
use crate::store::lanes::Settle;
use crate::store::routing::FollowAccount;
use crate::store::suite::deliveries::admit;

pub(in crate::store) async fn apply<C: Change>(db: &Db, change: C) -> Result<C::Output, StoreError> {
    in_transaction!(db, |conn| change.apply(conn).await)
}

pub(in crate::store) async fn run(db: &Db, statement: &'static str) {
    in_transaction!(db, |conn| on_conn!(conn, |conn, _sql| {
        sqlx::query(statement).execute(&mut **conn).await.map(drop).expect("it is carried out");
    }));
}

fn instance_columns() -> InstanceColumns {
    InstanceColumns {
        instance_url: "https://y".to_owned(),
        auth: "basic",
        admin_user: "hub".to_owned(),
        client_id: String::new(),
        sealed_secrets: vec![1, 2],
        rate: "5 per 1s".to_owned(),
        concurrency: 9,
        mode: "app",
        customer_table: "sys_user",
        case_defaults: "{}".to_owned(),
        reopen_window_ms: Some(7),
    }
}

pub(in crate::store) fn insert_instance(id: &str) -> InsertInstance {
    InsertInstance {
        id: id.to_owned(),
        user_id: "u1".to_owned(),
        columns: instance_columns(),
        now_ms: 50,
        deadline_ms: 5000,
    }
}

fn account_columns() -> AccountColumns {
    AccountColumns {
        screen_name: "acme".to_owned(),
        sealed_secrets: vec![3],
        reply_channel: "same",
        case_policy: "{}".to_owned(),
    }
}

pub(in crate::store) fn insert_account(id: &str, twitter_user_id: &str) -> InsertAccount {
    InsertAccount {
        id: id.to_owned(),
        user_id: "u1".to_owned(),
        twitter_user_id: twitter_user_id.to_owned(),
        instance_id: None,
        takes_only_instance: true,
        columns: account_columns(),
        now_ms: 50,
    }
}

pub(in crate::store) fn move_account(version: i64, instance: Move) -> UpdateAccount {
    UpdateAccount {
        id: "a1".to_owned(),
        version,
        columns: account_columns(),
        instance,
        clears_status: false,
        now_ms: 300,
        deadline_ms: 9000,
    }
}

fn delete_account(id: &str) -> DeleteAccount {
    DeleteAccount { id: id.to_owned(), now_ms: 300 }
}

/// A message of a customer, as intake stores it.
pub(in crate::store) fn message(id: &str, status: &'static str, instance_id: Option<&str>) -> NewDelivery {
    NewDelivery {
        id: id.to_owned(),
        direction: Direction::ToServicenow,
        kind: "dm".to_owned(),
        status,
        user_id: "u1".to_owned(),
        account_id: "a1".to_owned(),
        instance_id: instance_id.map(str::to_owned),
        target_id: instance_id.unwrap_or("unrouted:a1").to_owned(),
        customer_id: "7".to_owned(),
        lane_id: Direction::ToServicenow.lane_id("a1", "7"),
        dedup_key: None,
        source_id: None,
        fingerprint: None,
        order_key: id.to_owned(),
        payload: "{}".to_owned(),
        created_at: 100,
        deadline_at: 1000,
    }
}

async fn stored(db: &Db, id: &str) -> Delivery {
    by_id(db, id).await.expect("an answer").expect("a row")
}

async fn lanes_of(db: &Db, target: &str) -> usize {
    ready_of(db, target, i64::MAX).await.len()
}

#[tokio::test]
async fn a_change_counts_only_when_nobody_was_faster() {
    on_every_database(|db| async move {
        furnish(&db).await;
        let update = UpdateInstance {
            id: "i1".to_owned(),
            version: 1,
            columns: instance_columns(),
            clears_status: true,
            now_ms: 300,
            deadline_ms: 9000,
        };
        let mark = marks::read(&db, marks::SETTINGS).await.expect("a mark");
        assert_eq!(apply(&db, update.clone()).await, Ok(true));
        assert_eq!(apply(&db, update).await, Ok(false));
        assert_eq!(marks::read(&db, marks::SETTINGS).await, Ok(mark + 1));
        let row = instances::by_id(&db, "i1").await.expect("an answer").expect("a row");
        assert_eq!((row.version, row.concurrency, row.sealed_secrets), (2, 9, vec![1, 2]));
        assert_eq!((row.mode.as_str(), row.reopen_window_ms), ("app", Some(7)));

        assert_eq!(apply(&db, move_account(1, Move::Stay)).await, Ok(true));
        assert_eq!(apply(&db, move_account(1, Move::Stay)).await, Ok(false));
        let row = accounts::by_id(&db, "a1").await.expect("an answer").expect("a row");
        assert_eq!((row.version, row.reply_channel.as_str()), (2, "same"));
        assert_eq!(row.instance_id.as_deref(), Some("i1"));
    })
    .await;
}

#[tokio::test]
async fn new_credentials_let_what_was_blocked_go_on_at_once() {
    on_every_database(|db| async move {
        furnish(&db).await;
        let rows = vec![message("d1", "queued", Some("i1")), message("d2", "queued", Some("i1"))];
        admit(&db, &rows).await;
        let blocked = Settle {
            id: "d1".to_owned(),
            lane_id: message("d1", "queued", None).lane_id,
            status: "blocked",
            journal: Some("{\"step\":1}".to_owned()),
            at: 200,
            attempts: 3,
            n_tried: 1,
            lane_ready_at: 999_999,
            ..Settle::default()
        };
        settle(&db, &[blocked]).await;
        let status = instances::SetStatus {
            id: "i1".to_owned(),
            status: "needs_auth",
            detail: "401".to_owned(),
            paused_until: Some(999_999),
            success_at: None,
            version: Some(1),
        };
        apply(&db, status).await.expect("a status is stored");
        assert_eq!(ready_of(&db, "i1", 300).await, Vec::<String>::new());
        assert_eq!(counts(&db, "i1").await, Ok((2, 0)));

        let update = UpdateInstance {
            id: "i1".to_owned(),
            version: 1,
            columns: instance_columns(),
            clears_status: true,
            now_ms: 300,
            deadline_ms: 9000,
        };
        assert_eq!(apply(&db, update).await, Ok(true));
        let row = instances::by_id(&db, "i1").await.expect("an answer").expect("a row");
        assert_eq!((row.status.as_str(), row.paused_until), ("unchecked", None));
        assert_eq!(ready_of(&db, "i1", 300).await.len(), 1);
        let first = stored(&db, "d1").await;
        assert_eq!((first.status.as_str(), first.next_attempt_at), ("queued", Some(300)));
        assert_eq!((first.deadline_at, first.attempts), (9000, 3));
        assert_eq!(first.journal.as_deref(), Some("{\"step\":1}"));
        assert_eq!(stored(&db, "d2").await.deadline_at, 1000);
    })
    .await;
}

#[tokio::test]
async fn what_waits_follows_its_account() {
    on_every_database(|db| async move {
        furnish(&db).await;
        apply(&db, insert_instance("i2")).await.expect("an instance");
        let rows = vec![message("d1", "queued", Some("i1")), message("d2", "queued", Some("i1"))];
        admit(&db, &rows).await;

        // To another instance.
        assert_eq!(apply(&db, move_account(1, Move::To(Some("i2".to_owned())))).await, Ok(true));
        assert_eq!((lanes_of(&db, "i1").await, lanes_of(&db, "i2").await), (0, 1));
        assert_eq!(stored(&db, "d2").await.instance_id.as_deref(), Some("i2"));
        assert_eq!(counts(&db, "i2").await, Ok((2, 0)));

        // To none, by deletion of the instance: nothing that was accepted is lost.
        let delete = DeleteInstance { id: "i2".to_owned(), now_ms: 400 };
        assert_eq!(apply(&db, delete.clone()).await, Ok(true));
        assert_eq!(apply(&db, delete).await, Ok(false));
        assert_eq!((lanes_of(&db, "i2").await, lanes_of(&db, "unrouted:a1").await), (0, 1));
        let kept = stored(&db, "d1").await;
        assert_eq!((kept.status.as_str(), kept.instance_id), ("blocked", None));

        // And back again, with time to fail.
        let version = accounts::by_id(&db, "a1").await.expect("an answer").expect("a row").version;
        assert_eq!(apply(&db, move_account(version, Move::To(Some("i1".to_owned())))).await, Ok(true));
        assert_eq!((lanes_of(&db, "unrouted:a1").await, lanes_of(&db, "i1").await), (0, 1));
        let kept = stored(&db, "d1").await;
        assert_eq!((kept.status.as_str(), kept.deadline_at), ("queued", 9000));
        assert_eq!(kept.instance_id.as_deref(), Some("i1"));
    })
    .await;
}

#[tokio::test]
async fn what_is_accepted_goes_where_its_account_feeds_now() {
    on_every_database(|db| async move {
        furnish(&db).await;
        apply(&db, insert_instance("i2")).await.expect("an instance");
        admit(&db, &[message("d1", "queued", Some("i1"))]).await;
        assert_eq!(apply(&db, move_account(1, Move::To(Some("i2".to_owned())))).await, Ok(true));

        // Whoever accepts the next ones does not know of the change yet.
        let mut of_another = message("d3", "blocked", None);
        of_another.lane_id = Direction::ToServicenow.lane_id("a1", "8");
        let late = [message("d2", "queued", Some("i1")), of_another];
        let batch = batch::Batch { news: late.iter().collect(), ..batch::Batch::default() };
        let added = batch.commit(&db, &mut None).await.expect("rows are admitted").added;
        let expected = [("d2", (2, "i2")), ("d3", (1, "i2"))];
        assert_eq!(added, expected.map(|(id, (n, to))| (id.to_owned(), (n, to.to_owned()))).into());
        assert_eq!((lanes_of(&db, "i1").await, lanes_of(&db, "i2").await), (0, 2));
        for id in ["d1", "d2", "d3"] {
            let row = stored(&db, id).await;
            assert_eq!((row.status.as_str(), row.instance_id.as_deref()), ("queued", Some("i2")), "{id}");
        }

        // Whoever read the first one for the instance of before begins nothing with it any more.
        let intent = super::deliveries::intent("d1", 0, 5);
        let batch = batch::Batch { begins: vec![&intent], ..batch::Batch::default() };
        assert!(batch.commit(&db, &mut None).await.expect("a commit").begun.is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_a_change_of_instance_did_not_see_is_moved_afterwards() {
    on_every_database(|db| async move {
        furnish(&db).await;
        apply(&db, insert_instance("i2")).await.expect("an instance");
        admit(&db, &[message("d1", "queued", Some("i1"))]).await;
        let strays = async |since_ms| routing::with_strays(&db, since_ms).await.expect("accounts");
        assert_eq!(apply(&db, move_account(1, Move::To(Some("i2".to_owned())))).await, Ok(true));
        assert_eq!(strays(299).await, Vec::<String>::new());

        run(&db, "UPDATE lanes SET target_id = 'i1'").await;
        run(&db, "UPDATE deliveries SET instance_id = 'i1', fence = 0").await;
        assert_eq!(strays(300).await, Vec::<String>::new(), "it is looked for after a change only");
        assert_eq!(strays(299).await, ["a1"]);
        let follow = FollowAccount { account_id: "a1".to_owned(), now_ms: 400, deadline_ms: 9000 };
        apply(&db, follow.clone()).await.expect("it is moved");
        assert_eq!(strays(299).await, Vec::<String>::new());
        assert_eq!((lanes_of(&db, "i1").await, lanes_of(&db, "i2").await), (0, 1));
        let moved = stored(&db, "d1").await;
        assert_eq!((moved.instance_id.as_deref(), moved.fence), (Some("i2"), 1));
        apply(&db, follow).await.expect("nothing is moved");
        assert_eq!(stored(&db, "d1").await.fence, 1);
        let gone = FollowAccount { account_id: "gone".to_owned(), now_ms: 400, deadline_ms: 9000 };
        assert_eq!(apply(&db, gone).await, Ok(()));
    })
    .await;
}

#[tokio::test]
async fn what_was_found_out_under_settings_of_before_is_not_told() {
    on_every_database(|db| async move {
        furnish(&db).await;
        let of_instance = |status, version| instances::SetStatus {
            id: "i1".to_owned(),
            status,
            detail: String::new(),
            paused_until: None,
            success_at: None,
            version,
        };
        let of_account = |status, version| accounts::SetStatus {
            id: "a1".to_owned(),
            status,
            detail: String::new(),
            paused_until: None,
            version,
        };
        let expected = [(Some(1), "ok", "ok"), (Some(2), "needs_auth", "ok"), (None, "sleeping", "sleeping")];
        for (version, status, expected) in expected {
            apply(&db, of_instance(status, version)).await.expect("it is told or not");
            let row = instances::by_id(&db, "i1").await.expect("an answer").expect("a row");
            assert_eq!(row.status, expected, "{version:?}");
            apply(&db, of_account(status, version)).await.expect("it is told or not");
            let row = accounts::by_id(&db, "a1").await.expect("an answer").expect("a row");
            assert_eq!(row.status, expected, "{version:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_account_that_is_linked_again_answers_its_cases() {
    on_every_database(|db| async move {
        furnish(&db).await;
        admit(&db, &[message("d1", "queued", Some("i1"))]).await;
        let conversation = |account_id: &str| Conversation {
            instance_id: Some("i1".to_owned()),
            customer_sys_id: Some("customer".to_owned()),
            case_sys_id: Some("case".to_owned()),
            is_case_new: true,
            ..Conversation::new(account_id, "7")
        };
        let end = |id: &str, account_id: &str| Settle {
            id: id.to_owned(),
            lane_id: Direction::ToServicenow.lane_id(account_id, "7"),
            status: "delivered",
            n_done: 1,
            end_mark: 9,
            conversation: Some(conversation(account_id)),
            ..Settle::default()
        };
        settle(&db, &[end("d1", "a1")]).await;
        let by_case = async |user: &str| by_case(&db, user, "case").await.expect("an answer");
        let by_customer = async || by_customer(&db, "u1", "customer").await.expect("an answer");
        let party = |account_id: &str| Some((account_id.to_owned(), "7".to_owned()));
        assert_eq!((by_case("u1").await, by_customer().await), (party("a1"), party("a1")));
        assert_eq!(by_case("u2").await, None);

        apply(&db, delete_account("a1")).await.expect("deleted");
        assert_eq!(by_case("u1").await, party("a1"), "known, but nobody's any more");
        apply(&db, insert_account("a2", "42")).await.expect("linked again");
        assert_eq!((by_case("u1").await, by_customer().await), (party("a2"), party("a2")));

        // A message of the customer finds the case and stores it again.
        let mut next = message("d2", "queued", Some("i1"));
        next.account_id = "a2".to_owned();
        next.lane_id = Direction::ToServicenow.lane_id("a2", "7");
        admit(&db, &[next]).await;
        settle(&db, &[end("d2", "a2")]).await;
        assert_eq!(by_case("u1").await, party("a2"));
    })
    .await;
}

#[tokio::test]
async fn an_answer_to_a_customer_stays_with_its_account() {
    on_every_database(|db| async move {
        furnish(&db).await;
        let mut answer = message("d1", "queued", None);
        answer.direction = Direction::ToX;
        answer.lane_id = Direction::ToX.lane_id("a1", "7");
        answer.target_id = "a1".to_owned();
        admit(&db, &[answer]).await;
        assert_eq!(apply(&db, move_account(1, Move::To(None))).await, Ok(true));
        assert_eq!(lanes_of(&db, "a1").await, 1);
        assert_eq!(stored(&db, "d1").await.status, "queued");
    })
    .await;
}

#[tokio::test]
async fn the_first_instance_takes_what_was_accepted_before_it() {
    on_every_database(|db| async move {
        furnish(&db).await;
        apply(&db, DeleteInstance { id: "i1".to_owned(), now_ms: 40 }).await.expect("deleted");
        let rows = vec![message("d1", "blocked", None)];
        admit(&db, &rows).await;
        assert_eq!(apply(&db, insert_instance("i2")).await, Ok(true));
        let row = accounts::by_id(&db, "a1").await.expect("an answer").expect("a row");
        assert_eq!(row.instance_id.as_deref(), Some("i2"));
        assert_eq!(stored(&db, "d1").await.status, "queued");
        assert_eq!(lanes_of(&db, "i2").await, 1);
        assert_eq!(apply(&db, insert_instance("i3")).await, Ok(false));
    })
    .await;
}

#[tokio::test]
async fn a_new_account_feeds_the_only_instance() {
    on_every_database(|db| async move {
        furnish(&db).await;
        let instance_of =
            async |id: &str| accounts::by_id(&db, id).await.expect("an answer").expect("a row").instance_id;
        apply(&db, insert_account("a2", "43")).await.expect("an account");
        assert_eq!(instance_of("a2").await.as_deref(), Some("i1"));
        let alone = InsertAccount { takes_only_instance: false, ..insert_account("a3", "44") };
        apply(&db, alone).await.expect("an account");
        assert_eq!(instance_of("a3").await, None);
        apply(&db, insert_instance("i2")).await.expect("an instance");
        apply(&db, insert_account("a4", "45")).await.expect("an account");
        assert_eq!(instance_of("a4").await, None, "there are two to choose from");
        let named = InsertAccount { instance_id: Some("i2".to_owned()), ..insert_account("a5", "46") };
        apply(&db, named).await.expect("an account");
        assert_eq!(instance_of("a5").await.as_deref(), Some("i2"));
    })
    .await;
}

#[tokio::test]
async fn an_x_account_is_linked_once_and_to_what_exists() {
    on_every_database(|db| async move {
        furnish(&db).await;
        assert_eq!(apply(&db, insert_account("a2", "42")).await, Err(StoreError::Duplicate));
        let orphan = InsertAccount { instance_id: Some("gone".to_owned()), ..insert_account("a2", "43") };
        assert_eq!(apply(&db, orphan).await, Err(StoreError::Orphan));
        assert_eq!(apply(&db, delete_account("a1")).await, Ok(true));
        assert_eq!(apply(&db, delete_account("a1")).await, Ok(false));
        assert_eq!(apply(&db, insert_account("a2", "42")).await, Ok(()));
    })
    .await;
}

#[tokio::test]
async fn deleting_an_account_takes_its_work_along() {
    on_every_database(|db| async move {
        furnish(&db).await;
        let rows = vec![message("d1", "queued", Some("i1"))];
        admit(&db, &rows).await;
        apply(&db, delete_account("a1")).await.expect("deleted");
        assert_eq!(by_id(&db, "d1").await, Ok(None));
        assert_eq!(lanes_of(&db, "i1").await, 0);
    })
    .await;
}

#[tokio::test]
async fn the_last_event_never_goes_back() {
    on_every_database(|db| async move {
        furnish(&db).await;
        for (at, expected) in [(500, 500), (400, 500), (600, 600)] {
            let touches = ["a1", "gone"].map(|id| Touch { id: id.to_owned(), at });
            apply(&db, TouchAccounts(touches.to_vec())).await.expect("stored");
            let row = accounts::by_id(&db, "a1").await.expect("an answer").expect("a row");
            assert_eq!(row.last_event_at, Some(expected));
        }
    })
    .await;
}
