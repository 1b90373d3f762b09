//! What the limits of the whole app promise.

use super::*;
use crate::domain::app_limit::DAY_MS;
use crate::store::app_budgets::{Learn, TakeCall};
use crate::writer::Change;

const NOW: i64 = 100 * DAY_MS;

async fn take(db: &Db, account_id: &str, mark: i64, now_ms: i64) -> i64 {
    let call = TakeCall { budget: "dm", limit: 3, account_id: account_id.to_owned(), mark, now_ms };
    in_transaction!(db, |conn| call.apply(conn).await.expect("an answer"))
}

async fn learn(db: &Db, remaining: i64, reset_at: i64) {
    let told = Learn { budget: "dm", remaining, reset_at };
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
