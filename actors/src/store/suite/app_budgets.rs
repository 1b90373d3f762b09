//! What the limits of the whole app promise.

use super::deliveries::furnish;
use super::*;
use crate::domain::app_limit::DAY_MS;
use crate::store::Change;
use crate::store::app_budgets::{Learn, TakeCall, taken_since};

const NOW: i64 = 100 * DAY_MS;

async fn take(db: &Db, account_id: &str, mark: i64, now_ms: i64) -> i64 {
    let call = TakeCall { budget: "dm", limit: 3, account_id: account_id.to_owned(), mark, now_ms };
    in_transaction!(db, |conn| call.apply(conn).await.expect("an answer"))
}

async fn learn(db: &Db, remaining: i64, reset_at: i64) {
    learn_limit(db, None, remaining, reset_at).await;
}

async fn learn_limit(db: &Db, limit: Option<i64>, remaining: i64, reset_at: i64) {
    let told = Learn { budget: "dm", limit, remaining, reset_at };
    in_transaction!(db, |conn| told.apply(conn).await.expect("an answer"));
}

#[tokio::test]
async fn all_accounts_share_the_limit_of_the_app() {
    on_every_database(|db| async move {
        assert_eq!(take(&db, "a", 1, NOW).await, NOW);
        assert_eq!(take(&db, "a", 1, NOW).await, NOW, "the same attempt counts once");
        assert_eq!(take(&db, "a", 2, NOW + 1).await, NOW + 1);
        assert_eq!(take(&db, "b", 3, NOW + 2).await, NOW + 2);
        assert_eq!(take(&db, "b", 4, NOW + 3).await, NOW + DAY_MS);
        assert_eq!(take(&db, "b", 5, NOW + DAY_MS).await, NOW + DAY_MS, "the first has gone by");
    })
    .await;
}

#[tokio::test]
async fn what_x_told_of_the_app_counts_for_all() {
    on_every_database(|db| async move {
        learn(&db, 2, NOW + 5000).await;
        assert_eq!(take(&db, "a", 1, NOW).await, NOW);
        learn(&db, 2, NOW + 5000).await;
        assert_eq!(take(&db, "a", 2, NOW).await, NOW, "an older answer does not add to what is left");
        assert_eq!(take(&db, "b", 3, NOW).await, NOW + 5000);
        learn(&db, 9, NOW + 9000).await;
        assert_eq!(take(&db, "b", 4, NOW).await, NOW);
    })
    .await;
}

#[tokio::test]
async fn only_what_came_after_a_reset_counts() {
    on_every_database(|db| async move {
        for mark in 1..=3 {
            assert_eq!(take(&db, "a", mark, NOW + mark).await, NOW + mark);
        }
        learn(&db, 0, NOW + 5000).await;
        assert_eq!(take(&db, "b", 4, NOW + 4999).await, NOW + 5000);
        for mark in 5..=7 {
            let at = NOW + 5000 + mark;
            assert_eq!(take(&db, "b", mark, at).await, at, "X has begun another window");
        }
        assert_eq!(take(&db, "b", 8, NOW + 6000).await, NOW + 5005 + DAY_MS);
    })
    .await;
}

#[tokio::test]
async fn the_limit_that_x_tells_goes_before_the_documented_one() {
    on_every_database(|db| async move {
        learn_limit(&db, Some(5), 4, NOW + 10).await;
        learn(&db, 4, NOW + 10).await;
        for mark in 1..=5 {
            let at = NOW + 10 + mark;
            assert_eq!(take(&db, "a", mark, at).await, at, "it stays told");
        }
        assert_eq!(take(&db, "a", 6, NOW + 20).await, NOW + 11 + DAY_MS);
        learn_limit(&db, Some(2), 2, NOW + 30).await;
        assert_eq!(take(&db, "a", 7, NOW + 40).await, NOW + 40);
        assert_eq!(take(&db, "a", 8, NOW + 41).await, NOW + 41);
        assert_eq!(take(&db, "a", 9, NOW + 42).await, NOW + 40 + DAY_MS);
    })
    .await;
}

#[tokio::test]
async fn a_part_is_kept_for_linked_accounts_that_are_quiet() {
    on_every_database(|db| async move {
        furnish(&db).await;
        in_transaction!(db, |conn| on_conn!(conn, |conn, _sql| {
            let another = "INSERT INTO accounts (id, user_id, twitter_user_id, screen_name, sealed_secrets, reply_channel, case_policy, status, status_detail, created_at)
                SELECT 'a2', user_id, '43', 'quiet', sealed_secrets, 'dm', '{}', 'ok', '', 1 FROM accounts";
            sqlx::query(another).execute(&mut **conn).await.map(drop).expect("another account");
        }));
        learn_limit(&db, Some(10), 10, NOW).await;
        for mark in 1..=8 {
            assert_eq!(take(&db, "a1", mark, NOW + mark).await, NOW + mark);
        }
        assert!(take(&db, "a1", 9, NOW + 9).await > NOW + 9, "a fifth is for the quiet one");
        assert_eq!(take(&db, "a2", 10, NOW + 10).await, NOW + 10);
        assert_eq!(taken_since(&db, "dm", "a1", NOW + 6).await, Ok(vec![NOW + 7, NOW + 8]));
        assert_eq!(taken_since(&db, "reply", "a1", NOW).await, Ok(vec![]));
    })
    .await;
}
