//! A replica that reaches its database slowly: nobody waits for it, and its share does not wander.

use std::time::Duration;

use serde_json::json;

use super::chronicle::Verdict;
use super::customers::Customer;
use super::takeover::{REPLACED_WITHIN, round, share_out};
use super::wire::wait_until;
use super::world::{Cluster, Wanted};
use crate::postgres::server_or_skip;

const N_INSTANCES: usize = 24;
/// Each way: a question with its answer, after a look whether the connection is there, takes longer than the hub
/// waits; but all of it reaches the database.
const DELAY: Duration = Duration::from_millis(900);
/// From the first question that is slow until the others deliver: it reaches the database, and its lease of 10 s begins
/// anew then.
const RELIEVED_WITHIN: Duration = Duration::from_secs(20);
/// So many times the others are given time to change their minds.
const N_ROUNDS: usize = 8;
const BETWEEN: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_replica_holds_up_nobody() {
    let Some(server) = server_or_skip("a_slow_replica_holds_up_nobody") else { return };
    let settings = "servicenow: {allow_private_networks: true, timeout: 2s}\n\
                    delivery: {backoff: {first: 5ms, factor: 2, max: 100ms, jitter: 0.2}}\n";
    let wanted = Wanted { n_replicas: 3, n_instances: N_INSTANCES, settings, instance: json!({}) };
    let cluster = Cluster::start(&server, wanted).await;
    let mut n_rounds = 0;
    share_out(&cluster, &mut n_rounds).await;

    cluster.replicas[2].proxy.delay(DELAY);
    round(&cluster, 0, &mut n_rounds, RELIEVED_WITHIN).await;
    let n_before = n_takeovers(&cluster);
    for nth in 0..N_ROUNDS {
        tokio::time::sleep(BETWEEN).await;
        round(&cluster, nth % 2, &mut n_rounds, Duration::from_secs(2)).await;
    }
    assert_eq!(n_takeovers(&cluster), n_before, "shards wander{}", cluster.log_ends());

    cluster.replicas[2].proxy.clear_up();
    let n_before = n_takeovers(&cluster)[2];
    let shares_again = || n_takeovers(&cluster)[2] > n_before;
    wait_until("it takes its share again", REPLACED_WITHIN, shares_again).await;
    round(&cluster, 2, &mut n_rounds, REPLACED_WITHIN).await;
    cluster.settle(Duration::from_secs(20)).await;
    let taken = (0..N_INSTANCES).map(|company| (Customer { company, number: 0 }, n_rounds)).collect();
    Verdict::of(&cluster.instances, &taken).check();
    cluster.check_health().await;
}

/// How often each replica has taken shards over.
fn n_takeovers(cluster: &Cluster) -> Vec<usize> {
    cluster.replicas.iter().map(|replica| replica.log().matches("took over shards").count()).collect()
}
