//! What allotments promise.

use super::*;
use crate::store::Change;
use crate::store::rate_allotments::{TakeAllotment, since};

async fn take(db: &Db, id: &str, previous: Option<&str>, now_ms: i64) {
    let taken = TakeAllotment {
        id: id.to_owned(),
        instance_id: "i1".to_owned(),
        n_calls: 10,
        previous: previous.map(str::to_owned),
        now_ms,
        forget_until_ms: now_ms - 1000,
    };
    in_transaction!(db, |conn| taken.apply(conn).await.expect("it is taken"));
}

async fn closings(db: &Db, until_ms: i64) -> Vec<Option<i64>> {
    let known = since(db, "i1", until_ms).await.expect("an answer");
    assert!(known.iter().all(|(n_calls, _)| *n_calls == 10));
    let mut closings: Vec<_> = known.into_iter().map(|(_, closed_at)| closed_at).collect();
    closings.sort_unstable();
    closings
}

#[tokio::test]
async fn an_allotment_is_open_until_the_next_one_is_taken() {
    on_every_database(|db| async move {
        deliveries::furnish(&db).await;
        assert_eq!(closings(&db, 0).await, []);
        take(&db, "a", None, 100).await;
        assert_eq!(closings(&db, 0).await, [None]);
        take(&db, "b", Some("a"), 200).await;
        assert_eq!(closings(&db, 0).await, [None, Some(200)]);
        assert_eq!(closings(&db, 200).await, [None], "what has gone by is left out");

        // Another owner closes what it found open; the one before does not close what is not its own.
        take(&db, "c", None, 300).await;
        take(&db, "d", Some("b"), 400).await;
        assert_eq!(closings(&db, 0).await, [None, None, Some(200), Some(300)]);

        take(&db, "e", Some("c"), 1250).await;
        assert_eq!(closings(&db, 0).await, [None, None, Some(300), Some(1250)], "forgotten");
    })
    .await;
}

#[tokio::test]
async fn allotments_go_with_their_instance() {
    on_every_database(|db| async move {
        deliveries::furnish(&db).await;
        take(&db, "a", None, 100).await;
        let delete = crate::store::instances::DeleteInstance { id: "i1".to_owned(), now_ms: 200 };
        in_transaction!(&db, |conn| delete.apply(conn).await.expect("it is deleted"));
        assert_eq!(closings(&db, 0).await, []);
        let orphan = TakeAllotment {
            id: "b".to_owned(),
            instance_id: "i1".to_owned(),
            n_calls: 1,
            previous: None,
            now_ms: 200,
            forget_until_ms: 0,
        };
        let mut transaction = db.begin().await.expect("a transaction");
        assert_eq!(orphan.apply(&mut transaction.conn()).await, Err(StoreError::Orphan));
    })
    .await;
}
