//! The promise, with several replicas: what was accepted arrives exactly once and in order, though a quarter
//! of `ServiceNow`'s calls fail in every way there is, and replicas are killed, paused for longer than their
//! leases last, stopped, and cut off from their database in the middle.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::chronicle::Verdict;
use super::customers::Customer;
use super::load::Load;
use super::mischief::Mischief;
use super::postgres::server_or_skip;
use super::size::{N_CUSTOMERS_EACH, Size};
use super::world::{Cluster, Wanted};
use crate::process::chaos::{TIMEOUT_MS, faults, seed};

/// How long the last messages may take once everything is in order again.
const PATIENCE: Duration = Duration::from_mins(2);

/// What a post may be answered with, 0 for nothing. A replica that was just woken from a pause may think of a
/// request that comes now that it came slowly: 408.
const EXPECTED: [u16; 4] = [0, 200, 408, 503];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_in_a_cluster() {
    let Some(server) = server_or_skip("chaos_in_a_cluster") else { return };
    let (size, seed) = (Size::of_this_run(), seed());
    println!("seed {seed}, {size:?}");
    let settings = format!(
        "servicenow: {{allow_private_networks: true, timeout: {TIMEOUT_MS}ms}}\n\
         delivery: {{backoff: {{first: 5ms, factor: 2, max: 100ms, jitter: 0.2}}, rate: '10000 per 1s'}}\n"
    );
    let wanted = Wanted {
        n_replicas: size.n_replicas,
        n_instances: size.n_instances,
        settings: &settings,
        instance: json!({ "concurrency": 8 }),
    };
    let mut cluster = Cluster::start(&server, wanted).await;
    for (at, instance) in (0..).zip(&cluster.instances) {
        instance.fail_rate(seed + at, 250, faults());
    }

    let begun = Instant::now();
    let load = Load {
        doors: cluster.replicas.iter().map(super::replica::Replica::door).collect(),
        secret: cluster.secret().to_owned(),
        customers: Customer::all(size.n_instances, N_CUSTOMERS_EACH),
        n_messages: size.n_messages,
        period: size.period,
    };
    let is_over = AtomicBool::new(false);
    let mut mischief = Mischief::new(seed);
    let posting = async {
        let posted = load.run().await;
        is_over.store(true, Ordering::Relaxed);
        posted
    };
    let making = mischief.run(&mut cluster.replicas, || is_over.load(Ordering::Relaxed));
    let (posted, ()) = tokio::join!(posting, making);
    let calm_since = Instant::now();
    cluster.settle(PATIENCE).await;

    let verdict = Verdict::of(&cluster.instances, &posted.taken);
    let n_calls: u64 = cluster.instances.iter().map(casewire_sandbox::ServiceNowSandbox::n_requests).sum();
    println!(
        "chaos in a cluster, seed {seed}: {verdict}; {n} messages of {customers} customers to {instances} instances \
         through {replicas} replicas; {mischief}; {repeated} posts repeated, slowest message taken after {slowest} ms, \
         {n_calls} calls at ServiceNow; {seconds:.1} s in all, quiet {quiet:.1} s after the last trouble",
        n = posted.n_taken(),
        customers = posted.taken.len(),
        instances = size.n_instances,
        replicas = size.n_replicas,
        repeated = posted.n_repeated(),
        slowest = posted.slowest.as_millis(),
        seconds = begun.elapsed().as_secs_f64(),
        quiet = calm_since.elapsed().as_secs_f64(),
    );
    verdict.check();
    assert_eq!(posted.n_taken(), size.n_messages);
    assert!(posted.ignored.is_empty(), "answered with 200 and not kept: {:#?}", posted.ignored);
    let statuses: Vec<u16> = posted.by_status.keys().copied().collect();
    assert!(statuses.iter().all(|status| EXPECTED.contains(status)), "{:?}", posted.by_status);
    cluster.check_health().await;
}
