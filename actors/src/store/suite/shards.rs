//! What leases promise, on a server database.

use super::deliveries::{admit, furnish, intent, new};
use super::*;
use crate::domain::lease::Lease;
use crate::store::batch::Batch;
use crate::store::shards::{Held, Renewed, claim, leave, release, renew};

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
    !batch.commit(db, &mut None).await.expect("a commit").begun.is_empty()
}

async fn take(pool: &PgPool, replica: &str, lease_ms: i64, n: i64) -> Vec<Held> {
    claim(pool, replica, lease_ms, n, 0).await.expect("an answer")
}

async fn go_on(pool: &PgPool, replica: &str, believed: &[Held]) -> Renewed {
    renew(pool, replica, LONG_MS, believed, true).await.expect("an answer")
}

#[tokio::test]
async fn a_shard_has_one_owner_at_a_time() {
    on_a_server(|_, pool| async move {
        let first = take(&pool, "one", LONG_MS, 200).await;
        let second = take(&pool, "two", LONG_MS, 200).await;
        assert_eq!((first.len(), second.len()), (200, 56));
        assert!(first.iter().all(|held| held.epoch == 1));
        assert_eq!(take(&pool, "three", LONG_MS, 200).await, []);

        let given_up = &first[..2];
        release(&pool, "two", given_up).await.expect("an answer");
        assert_eq!(take(&pool, "three", LONG_MS, 200).await, [], "they are not its own");
        let earlier = given_up.iter().map(|held| Held { epoch: 0, ..*held }).collect::<Vec<_>>();
        release(&pool, "one", &earlier).await.expect("an answer");
        assert_eq!(take(&pool, "three", LONG_MS, 200).await, [], "it holds them under a later lease");
        release(&pool, "one", given_up).await.expect("an answer");
        let third: Vec<Held> = given_up.iter().map(|held| Held { epoch: 3, ..*held }).collect();
        assert_eq!(take(&pool, "three", LONG_MS, 200).await, third);
        assert_eq!(go_on(&pool, "one", &first).await.held, first[2..]);

        leave(&pool, "one").await.expect("an answer");
        assert_eq!(take(&pool, "two", LONG_MS, 999).await.len(), 198);
    })
    .await;
}

#[tokio::test]
async fn only_what_is_believed_in_is_renewed() {
    on_a_server(|_, pool| async move {
        let held = take(&pool, "one", LONG_MS, 3).await;
        assert_eq!(go_on(&pool, "one", &held[..1]).await.held, held[..1]);
        assert_eq!(go_on(&pool, "two", &held).await.held, [], "they are another's");
        let earlier = Held { epoch: 0, ..held[0] };
        assert_eq!(go_on(&pool, "one", &[earlier]).await.held, [], "it is of before");
        assert_eq!(go_on(&pool, "one", &[]).await.held, []);
    })
    .await;
}

#[tokio::test]
async fn those_who_count_are_told_of_each_other() {
    on_a_server(|_, pool| async move {
        let begun = go_on(&pool, "b", &[]).await;
        assert_eq!((begun.n_others, begun.n_before), (0, 0));
        let slow = renew(&pool, "a", LONG_MS, &[], false).await.expect("an answer");
        assert_eq!((slow.n_others, slow.n_before), (1, 0));
        let again = go_on(&pool, "b", &[]).await;
        assert_eq!((again.n_others, again.n_before), (0, 0), "one that does not count is not counted");
        assert!(again.there_ms >= begun.there_ms, "it is the time");
        let (first, last) = (go_on(&pool, "a", &[]).await, go_on(&pool, "c", &[]).await);
        assert_eq!((first.n_others, first.n_before), (1, 0));
        assert_eq!((last.n_others, last.n_before), (2, 2));
        leave(&pool, "a").await.expect("an answer");
        assert_eq!(go_on(&pool, "c", &[]).await.n_before, 1);
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_ran_out_is_claimed_and_not_renewed() {
    on_a_server(|_, pool| async move {
        let ran_out = take(&pool, "one", -1, 256).await;
        assert_eq!(ran_out.len(), 256);
        assert_eq!(go_on(&pool, "one", &ran_out).await.held, []);
        let unwanted = claim(&pool, "three", LONG_MS, 256, LONG_MS).await;
        assert_eq!(unwanted, Ok(vec![]), "the others have had no time to take them");
        let taken = take(&pool, "two", -LONG_MS, 256).await;
        assert!(taken.len() == 256 && taken.iter().all(|held| held.epoch == 2));
        assert_eq!(claim(&pool, "three", LONG_MS, 256, LONG_MS).await.expect("an answer").len(), 256);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_written_under_a_lease_that_is_not_held() {
    on_a_server(|db, pool| async move {
        furnish(&db).await;
        admit(&db, &[new("7", "1")]).await;
        take(&pool, "one", LONG_MS, 7).await;
        assert!(!may_begin(&db, "two", 3, 1, 10).await, "it is another's");
        assert!(!may_begin(&db, "one", 3, 0, 10).await, "it is of before");
        assert!(!may_begin(&db, "one", 9, 0, 10).await, "it is nobody's");
        assert!(may_begin(&db, "one", 3, 1, 10).await);
        release(&pool, "one", &[Held { id: 3, epoch: 1 }]).await.expect("an answer");
        assert!(!may_begin(&db, "one", 3, 1, 10).await, "it was given up");
    })
    .await;
}

#[tokio::test]
async fn a_shard_is_not_taken_while_its_owner_writes() {
    on_a_server(|db, pool| async move {
        furnish(&db).await;
        admit(&db, &[new("7", "1")]).await;
        take(&pool, "one", LONG_MS, 256).await;
        let mut intent = intent("d1", 0, 10);
        intent.lease = Lease { shard: 3, epoch: 1, since: None };
        let batch = Batch { replica: Some("one"), begins: vec![&intent], ..Batch::default() };
        let mut transaction = db.begin().await.expect("a transaction");
        let written = batch.write(&mut transaction.conn()).await.expect("an intent");
        assert_eq!(written.begun.len(), 1);
        // Meanwhile all leases run out.
        sqlx::query("UPDATE shards SET lease_until = 0").execute(&pool).await.expect("an update");
        let taken = take(&pool, "two", LONG_MS, 256).await;
        assert!(taken.len() == 255 && taken.iter().all(|held| held.id != 3));
        transaction.commit().await.expect("a commit");
        assert_eq!(take(&pool, "two", LONG_MS, 256).await.len(), 1);
    })
    .await;
}
