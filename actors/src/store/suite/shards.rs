//! What leases promise, on a server database.

use super::deliveries::{admit, furnish, intent, new};
use super::*;
use crate::cluster::leases::Lease;
use crate::store::batch::Batch;
use crate::store::shards::{claim, leave, release, renew, tell_alive};

const LONG_MS: i64 = 60_000;

async fn on_a_server<F, T>(test: F)
where
    F: Fn(Db, PgPool) -> T,
    T: Future<Output = ()>,
{
    let Some(db) = postgres().await else { return };
    let Db::Postgres(pool) = &db else { return };
    test(db.clone(), pool.clone()).await;
    db.close().await;
}

async fn may_begin(db: &Db, replica: &str, shard: i64, epoch: i64, mark: i64) -> bool {
    let mut intent = intent("d1", 0, mark);
    intent.lease = Lease { shard, epoch, since: None };
    let batch = Batch { replica: Some(replica), begins: vec![&intent], ..Batch::default() };
    !batch.commit(db).await.expect("a commit").begun.is_empty()
}

#[tokio::test]
async fn a_shard_has_one_owner_at_a_time() {
    on_a_server(|_, pool| async move {
        assert_eq!(renew(&pool, "one", LONG_MS).await.expect("an answer"), (vec![], 0));
        let first_ms = tell_alive(&pool, "one", LONG_MS).await.expect("an answer");
        assert!(tell_alive(&pool, "one", LONG_MS).await.expect("an answer") >= first_ms, "it is the time");
        assert_eq!(renew(&pool, "one", LONG_MS).await.expect("an answer"), (vec![], 1));
        let first = claim(&pool, "one", LONG_MS, 200).await.expect("an answer");
        let second = claim(&pool, "two", LONG_MS, 200).await.expect("an answer");
        assert_eq!((first.len(), second.len()), (200, 56));
        assert!(first.iter().all(|held| held.epoch == 1));
        assert_eq!(claim(&pool, "three", LONG_MS, 200).await, Ok(vec![]));

        let given_up = [first[0].id, first[1].id];
        release(&pool, "two", &given_up).await.expect("an answer");
        assert_eq!(claim(&pool, "three", LONG_MS, 200).await, Ok(vec![]), "they are not its own");
        release(&pool, "one", &given_up).await.expect("an answer");
        let third = claim(&pool, "three", LONG_MS, 200).await.expect("an answer");
        let taken: Vec<(i64, i64)> = third.iter().map(|held| (held.id, held.epoch)).collect();
        assert_eq!(taken, given_up.map(|id| (id, 3)));
        let (held, n_replicas) = renew(&pool, "one", LONG_MS).await.expect("an answer");
        assert_eq!((held.len(), n_replicas), (198, 1));

        leave(&pool, "one").await.expect("an answer");
        tell_alive(&pool, "two", LONG_MS).await.expect("an answer");
        assert_eq!(renew(&pool, "two", LONG_MS).await.expect("an answer").1, 1);
        assert_eq!(claim(&pool, "two", LONG_MS, 999).await.expect("an answer").len(), 198);
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_ran_out_is_claimed_and_not_renewed() {
    on_a_server(|_, pool| async move {
        assert_eq!(claim(&pool, "one", -1, 256).await.expect("an answer").len(), 256);
        assert_eq!(renew(&pool, "one", LONG_MS).await.expect("an answer").0, []);
        let taken = claim(&pool, "two", LONG_MS, 256).await.expect("an answer");
        assert!(taken.len() == 256 && taken.iter().all(|held| held.epoch == 2));
    })
    .await;
}

#[tokio::test]
async fn nothing_is_written_under_a_lease_that_is_not_held() {
    on_a_server(|db, pool| async move {
        furnish(&db).await;
        admit(&db, &[new("7", "1")]).await;
        claim(&pool, "one", LONG_MS, 7).await.expect("an answer");
        assert!(!may_begin(&db, "two", 3, 1, 10).await, "it is another's");
        assert!(!may_begin(&db, "one", 3, 0, 10).await, "it is of before");
        assert!(!may_begin(&db, "one", 9, 0, 10).await, "it is nobody's");
        assert!(may_begin(&db, "one", 3, 1, 10).await);
        release(&pool, "one", &[3]).await.expect("an answer");
        assert!(!may_begin(&db, "one", 3, 1, 10).await, "it was given up");
    })
    .await;
}

#[tokio::test]
async fn a_shard_is_not_taken_while_its_owner_writes() {
    on_a_server(|db, pool| async move {
        furnish(&db).await;
        admit(&db, &[new("7", "1")]).await;
        claim(&pool, "one", LONG_MS, 256).await.expect("an answer");
        let mut intent = intent("d1", 0, 10);
        intent.lease = Lease { shard: 3, epoch: 1, since: None };
        let batch = Batch { replica: Some("one"), begins: vec![&intent], ..Batch::default() };
        let mut transaction = db.begin().await.expect("a transaction");
        let written = batch.write(&mut transaction.conn()).await.expect("an intent");
        assert_eq!(written.begun.len(), 1);
        // Meanwhile all leases run out.
        sqlx::query("UPDATE shards SET lease_until = 0").execute(&pool).await.expect("an update");
        let taken = claim(&pool, "two", LONG_MS, 256).await.expect("an answer");
        assert!(taken.len() == 255 && taken.iter().all(|held| held.id != 3));
        transaction.commit().await.expect("a commit");
        assert_eq!(claim(&pool, "two", LONG_MS, 256).await.expect("an answer").len(), 1);
    })
    .await;
}
