//! How long it takes until somebody else delivers for the instances of a replica that is gone.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use super::chronicle::Verdict;
use super::customers::Customer;
use super::wire::{Caller, post_signed, wait_until};
use super::world::{Cluster, Wanted};
use crate::postgres::server_or_skip;

const N_REPLICAS: usize = 3;
/// Enough that every replica delivers for some.
const N_INSTANCES: usize = 24;
/// From the loss of a replica until everything arrives that its instances get.
pub(super) const REPLACED_WITHIN: Duration = Duration::from_secs(15);
/// The same from SIGTERM on: at once with nothing under way, and up to 5 s later for one that shares its shard with
/// an instance that hangs. The limit leaves room for a busy machine; what matters is that nobody waits until a lease
/// of 10 s runs out.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(10);
/// How long calls hang: longer than anybody may wait for them.
const HANGING: Duration = Duration::from_secs(15);
const BEFORE_ANOTHER_POST: Duration = Duration::from_millis(20);
/// From a start until the new replica delivers for some.
const SHARED_WITHIN: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_gone_is_replaced() {
    let Some(server) = server_or_skip("a_replica_that_is_gone_is_replaced") else { return };
    let settings = "servicenow: {allow_private_networks: true, timeout: 2s}\n\
                    delivery: {backoff: {first: 5ms, factor: 2, max: 100ms, jitter: 0.2}}\n";
    let wanted = Wanted { n_replicas: N_REPLICAS, n_instances: N_INSTANCES, settings, instance: json!({}) };
    let mut cluster = Cluster::start(&server, wanted).await;
    let mut n_rounds = 0;
    round(&cluster, 0, &mut n_rounds, REPLACED_WITHIN).await;

    share_out(&cluster, &mut n_rounds).await;
    check_what_operators_see(&cluster).await;
    let ended = cluster.replicas[0].terminate().await;
    let took = round(&cluster, 1, &mut n_rounds, HANDED_OVER_WITHIN).await;
    println!("SIGTERM: ended after {ended:.1?}; what came then had arrived {took:.1?} later");
    cluster.replicas[0].start().await;

    share_out(&cluster, &mut n_rounds).await;
    cluster.replicas[1].kill();
    let took = round(&cluster, 2, &mut n_rounds, REPLACED_WITHIN).await;
    println!("kill -9: what came then had arrived {took:.1?} later");
    cluster.replicas[1].start().await;

    share_out(&cluster, &mut n_rounds).await;
    cluster.replicas[2].pause();
    let took = round(&cluster, 0, &mut n_rounds, REPLACED_WITHIN).await;
    println!("SIGSTOP: what came then had arrived {took:.1?} later");
    cluster.replicas[2].resume();
    round(&cluster, 2, &mut n_rounds, REPLACED_WITHIN).await;

    cluster.settle(Duration::from_secs(20)).await;
    let taken = (0..N_INSTANCES).map(|company| (Customer { company, number: 0 }, n_rounds)).collect();
    Verdict::of(&cluster.instances, &taken).check();
    cluster.check_health().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_hangs_does_not_hold_up_the_others_handover() {
    let Some(server) = server_or_skip("an_instance_that_hangs_does_not_hold_up_the_others_handover") else {
        return;
    };
    let settings = "servicenow: {allow_private_networks: true, timeout: 20s}\n";
    let wanted = Wanted { n_replicas: N_REPLICAS, n_instances: N_INSTANCES, settings, instance: json!({}) };
    let mut cluster = Cluster::start(&server, wanted).await;
    let mut n_rounds = 0;
    share_out(&cluster, &mut n_rounds).await;
    // Every replica has calls under way to some that hang.
    let (hanging, healthy): (Vec<usize>, Vec<usize>) = (0..N_INSTANCES).partition(|company| company % 2 == 0);
    for &company in &hanging {
        cluster.instances[company].set_latency(HANGING);
    }
    post_round(&cluster, 1, &hanging, n_rounds).await;
    let all_hang = || hanging.iter().all(|at| cluster.instances[*at].n_in_flight() > 0);
    wait_until("the calls hang", SHARED_WITHIN, all_hang).await;

    cluster.replicas[0].ask_to_end();
    let begun = Instant::now();
    post_round(&cluster, 1, &healthy, n_rounds).await;
    let all_arrived = || healthy.iter().all(|at| has_rounds(&cluster, *at, n_rounds + 1));
    wait_until("everything for the others arrives", REPLACED_WITHIN, all_arrived).await;
    let took = begun.elapsed();
    println!("SIGTERM while instances hang: what came for others had arrived {took:.1?} later");
    cluster.replicas[0].has_ended().await;
    assert!(took < HANDED_OVER_WITHIN, "{took:?}{}", cluster.log_ends());
    cluster.replicas[0].start().await;
    // What was left under way is looked up once its time-out has passed.
    for &company in &hanging {
        cluster.instances[company].set_latency(Duration::ZERO);
    }
    cluster.settle(Duration::from_mins(2)).await;
    let taken = (0..N_INSTANCES).map(|company| (Customer { company, number: 0 }, n_rounds + 1)).collect();
    Verdict::of(&cluster.instances, &taken).check();
}

/// Waits until every replica delivers for some instances.
pub(super) async fn share_out(cluster: &Cluster, n_rounds: &mut u64) {
    let begun = Instant::now();
    loop {
        let before = n_attempts(cluster).await;
        round(cluster, 0, n_rounds, REPLACED_WITHIN).await;
        let after = n_attempts(cluster).await;
        if before.iter().zip(&after).all(|(before, after)| after > before) {
            return;
        }
        let in_time = begun.elapsed() < SHARED_WITHIN;
        assert!(in_time, "not every replica delivers: {before:?} {after:?}{}", cluster.log_ends());
    }
}

/// The replicas hold all shards between them, and say so; so does the doctor.
async fn check_what_operators_see(cluster: &Cluster) {
    let begun = Instant::now();
    loop {
        let (mut n_held, mut n_replicas) = (0, Vec::new());
        for replica in &cluster.replicas {
            let caller = Caller::new(replica.base());
            n_held += caller.gauge("casewire_shards_held").await.expect("a gauge");
            n_replicas.push(caller.gauge("casewire_replicas").await.expect("a gauge"));
        }
        if n_held == 256 && n_replicas == [N_REPLICAS as u64; N_REPLICAS] {
            break;
        }
        // Some are under way from one to another.
        assert!(begun.elapsed() < SHARED_WITHIN, "{n_held} shards are held, {n_replicas:?} replicas seen");
    }
    let doctor = cluster.replicas[0]
        .command()
        .arg("doctor")
        .stdout(Stdio::piped())
        .output()
        .expect("the command runs");
    let told = String::from_utf8_lossy(&doctor.stdout);
    assert!(told.contains("replicas       3 alive, and they hold all shards"), "{told}");
    assert!(cluster.replicas[0].log().contains("joining the replicas"), "its id is in its log");
}

async fn n_attempts(cluster: &Cluster) -> Vec<u64> {
    let mut counts = Vec::new();
    for replica in &cluster.replicas {
        counts.push(Caller::new(replica.base()).n_attempts().await.expect("metrics"));
    }
    counts
}

/// One message for every instance, posted to one replica. Returns how long it took until all had arrived.
pub(super) async fn round(
    cluster: &Cluster,
    replica: usize,
    n_rounds: &mut u64,
    limit: Duration,
) -> Duration {
    let begun = Instant::now();
    let all: Vec<usize> = (0..cluster.instances.len()).collect();
    post_round(cluster, replica, &all, *n_rounds).await;
    *n_rounds += 1;
    let all_arrived = || all.iter().all(|at| has_rounds(cluster, *at, *n_rounds));
    wait_until("everything arrives", limit, all_arrived).await;
    begun.elapsed()
}

async fn post_round(cluster: &Cluster, replica: usize, companies: &[usize], nth: u64) {
    let base = cluster.replicas[replica].base();
    for &company in companies {
        post_until_taken(cluster, base, Customer { company, number: 0 }.body(nth)).await;
    }
}

/// Posts a body until it is taken, as X does. A replica that was just woken from a pause may refuse for a moment, or not
/// answer; what it did not answer it may have kept.
async fn post_until_taken(cluster: &Cluster, base: &str, body: String) {
    let begun = Instant::now();
    let mut taken_as: &[&str] = &["accepted"];
    loop {
        let posted = post_signed(base, cluster.secret(), body.clone(), REPLACED_WITHIN).await;
        match &posted {
            Ok(reply) if reply.status == 200 => {
                let is_taken = taken_as.iter().any(|how| reply.body[*how] == 1);
                assert!(is_taken, "{}", reply.text);
                return;
            }
            Ok(reply) if ![408, 503].contains(&reply.status) => panic!("{}: {}", reply.status, reply.text),
            _ => taken_as = &["accepted", "duplicates"],
        }
        assert!(begun.elapsed() < REPLACED_WITHIN, "not taken: {posted:?}{}", cluster.log_ends());
        tokio::time::sleep(BEFORE_ANOTHER_POST).await;
    }
}

fn has_rounds(cluster: &Cluster, company: usize, n_rounds: u64) -> bool {
    let cases = cluster.instances[company].cases();
    cases.iter().map(|case| case.comments.len() as u64).sum::<u64>() >= n_rounds
}
