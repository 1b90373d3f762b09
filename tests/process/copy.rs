//! `casewire database copy`: what it refuses, and what it leaves behind. What it copies is shown by the suite of
//! the store.

use super::hub::World;
use super::operators::{Outcome, run};
use crate::postgres::{Database, server_or_skip};

/// Nobody listens there: the source is looked at first.
const NOWHERE: &str = "postgres://casewire@127.0.0.1:1/none";

async fn copy(world: &World, to: &str) -> Outcome {
    run(world, &["database", "copy", "--to", to], &[]).await
}

#[actix_rt::test]
async fn wrong_usage_is_refused_before_anything_is_opened() {
    let world = World::embedded("copy-secret").await;
    let same = format!("sqlite://{}", world.database().display());
    for (to, words) in [
        ("sqlite://other.db", "must be the URL of a PostgreSQL database"),
        ("hunter2", "must be the URL of a PostgreSQL database"),
        (&same, "name another one"),
    ] {
        let told = copy(&world, to).await;
        told.is(2, words);
        assert!(!told.stderr.contains("hunter2"), "{}", told.stderr);
    }
    let on_server = [
        ("DATABASE__URL", "postgres://casewire@127.0.0.1:1/this"),
        ("SECRETS__KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
    ];
    run(&world, &["database", "copy", "--to", NOWHERE], &on_server).await.is(2, "pg_dump");
    run(&world, &["database", "copy"], &[("COPY_TO", &same)]).await.is(2, "name another one");
    copy(&world, NOWHERE).await.is(1, "there is no database");
    assert!(!world.database().exists(), "none was made");
    assert!(!world.database().with_extension("db.key").exists(), "no key was made");
}

#[actix_rt::test]
async fn a_database_that_is_served_is_not_copied() {
    let world = World::embedded("copy-secret").await;
    let hub = world.serve().await;
    copy(&world, NOWHERE).await.is(1, "stop the hub");
    hub.kill();
    // It is free now, and whole although the hub was killed.
    copy(&world, NOWHERE).await.is(1, "the target");
    let _served_again = world.serve().await;
}

#[actix_rt::test]
async fn a_database_that_was_moved_is_not_served_until_somebody_says_so() {
    let Some(server) = server_or_skip("moving to a server") else { return };
    let target = Database::make(&server).await;
    let world = World::embedded("copy-secret").await;
    let hub = world.serve().await;
    world.log_in(&hub).await;
    hub.kill();
    copy(&world, &target.url()).await.is(0, "no hub starts on it any more");
    copy(&world, &target.url()).await.is(0, "held everything already");
    run(&world, &["serve"], &[]).await.is(1, "casewire database reopen");
    run(&world, &["database", "reopen"], &[]).await.is(0, "a hub may serve it again");
    run(&world, &["database", "reopen"], &[]).await.is(0, "it was not moved");
    let _served_again = world.serve().await;
}
