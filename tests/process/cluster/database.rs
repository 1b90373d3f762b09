//! One replica whose database goes away: what it answers meanwhile, and that it recovers by itself.

use std::time::{Duration, Instant};

use serde_json::json;

use super::chronicle::Verdict;
use super::customers::Customer;
use super::wire::{Caller, Reply, post_signed};
use super::world::{Cluster, Wanted};
use crate::postgres::server_or_skip;

/// X and operators are answered within this time, whatever the database does.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// After the database is back, intake works again within this time.
const RECOVERY_LIMIT: Duration = Duration::from_secs(10);
const WRITER: Customer = Customer { company: 0, number: 0 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_gone_or_hangs_is_told_and_got_over() {
    let Some(server) = server_or_skip("a_database_that_is_gone_or_hangs_is_told_and_got_over") else {
        return;
    };
    let settings = "servicenow: {allow_private_networks: true}\n\
                    delivery: {backoff: {first: 5ms, factor: 2, max: 100ms, jitter: 0.2}}\n";
    let wanted = Wanted { n_replicas: 1, n_instances: 1, settings, instance: json!({}) };
    let cluster = Cluster::start(&server, wanted).await;
    let mut n_taken = 0;
    expect_taken(&cluster, &mut n_taken).await;
    cluster.settle(Duration::from_secs(20)).await;
    let seen = instances(&cluster, "well").await;
    assert!(seen.iter().any(|line| line.ends_with(" 1")), "{seen:?}");
    for name in ["cut", "refusing", "hanging"] {
        let proxy = &cluster.replicas[0].proxy;
        match name {
            "cut" => proxy.cut(),
            "refusing" => proxy.refuse(),
            _ => proxy.hold(),
        }
        // One that is only cut may be connected again before anybody asks.
        if name != "cut" {
            expect_refused(name, &cluster, n_taken).await;
            let caller = Caller::new(cluster.replicas[0].base());
            let ready = within(ANSWER_LIMIT, name, caller.get("/health/ready/")).await;
            assert_eq!((ready.status, &ready.body["checks"]["database"]), (503, &json!("failing")), "{name}");
            assert_eq!(instances(&cluster, name).await, seen, "{name}: metrics are as they were");
        }
        proxy.clear_up();
        let back = Instant::now();
        expect_taken(&cluster, &mut n_taken).await;
        println!("{name}: taken again {} ms after the database was back", back.elapsed().as_millis());
    }
    cluster.settle(Duration::from_secs(30)).await;
    Verdict::of(&cluster.instances, &[(WRITER, n_taken)].into()).check();
    cluster.check_health().await;
}

async fn expect_refused(trouble: &str, cluster: &Cluster, nth: u64) {
    let replica = &cluster.replicas[0];
    let posting = post_signed(replica.base(), cluster.secret(), WRITER.body(nth), ANSWER_LIMIT);
    let refused = within(ANSWER_LIMIT, trouble, posting).await;
    assert_eq!(refused.status, 503, "{trouble}: {}", refused.text);
    assert!(refused.retry_after.is_some_and(|seconds| seconds > 0), "{trouble}: {refused:?}");
}

/// What the metrics say of the instances.
async fn instances(cluster: &Cluster, trouble: &str) -> Vec<String> {
    let caller = Caller::new(cluster.replicas[0].base());
    let page = within(ANSWER_LIMIT, trouble, caller.get("/metrics")).await;
    let lines = page.text.lines().filter(|line| line.starts_with("casewire_instances{"));
    lines.map(str::to_owned).collect()
}

async fn within(limit: Duration, what: &str, call: impl Future<Output = reqwest::Result<Reply>>) -> Reply {
    let reply = tokio::time::timeout(limit, call).await;
    reply.unwrap_or_else(|_| panic!("{what}: no answer within {limit:?}")).expect("an answer")
}

/// Posts the next message until it is taken.
async fn expect_taken(cluster: &Cluster, n_taken: &mut u64) {
    let begun = Instant::now();
    loop {
        let base = cluster.replicas[0].base();
        let posted = post_signed(base, cluster.secret(), WRITER.body(*n_taken), ANSWER_LIMIT).await;
        if posted.as_ref().is_ok_and(|reply| reply.status == 200) {
            *n_taken += 1;
            return;
        }
        assert!(begun.elapsed() < RECOVERY_LIMIT, "not taken: {posted:?}{}", cluster.log_ends());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
