//! The promise, with several replicas: what was accepted arrives exactly once and in order, though a quarter
//! of `ServiceNow`'s calls fail in every way there is, and replicas are killed, paused for longer than their
//! leases last, stopped, and cut off from their database in the middle.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use casewire_sandbox::ServiceNowSandbox;
use serde_json::json;

use super::agents::{self, Agents, Answers};
use super::chronicle::Verdict;
use super::customers::Customer;
use super::load::{Load, Posted};
use super::mischief::Mischief;
use super::replica::{Door, Replica};
use super::size::{N_CUSTOMERS_EACH, Size};
use super::world::{Cluster, Wanted};
use crate::postgres::server_or_skip;
use crate::process::chaos::{faults, seed};

/// Calls to `ServiceNow` may take so long.
const TIMEOUT_MS: u64 = 1000;
/// A call that takes long has had its effect so much earlier. The promise holds for an instance that does not go
/// on with a call after the hub's time-out; the simulated one may be late by this much on a busy machine.
const MARGIN_MS: u64 = 600;
/// So many of a thousand calls at ServiceNow, and of messages at X, fail.
const FAILING_PERMILLE: u32 = 250;
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
    let mut cluster = start(&server, size, seed).await;
    let begun = Instant::now();
    let run = Run::of(&mut cluster, size, seed).await;
    let calm_since = Instant::now();
    cluster.settle(PATIENCE).await;

    let mut verdict = Verdict::of(&cluster.instances, &run.posted.taken);
    verdict.add_answers(&cluster.x.sent_dms(), &run.answers);
    let n_calls: u64 = cluster.instances.iter().map(ServiceNowSandbox::n_requests).sum();
    println!(
        "chaos in a cluster, seed {seed}: {verdict}; {run}; {n_calls} calls at {} instances by {} replicas; {:.1} s \
         in all, quiet {:.1} s after the last trouble",
        size.n_instances,
        size.n_replicas,
        begun.elapsed().as_secs_f64(),
        calm_since.elapsed().as_secs_f64(),
    );
    verdict.check();
    let posted = run.posted;
    assert_eq!(posted.n_taken(), size.n_messages);
    assert!(posted.ignored.is_empty(), "answered with 200 and not kept: {:#?}", posted.ignored);
    let is_expected = posted.by_status.keys().all(|status| EXPECTED.contains(status));
    assert!(is_expected, "{:?}", posted.by_status);
    cluster.check_health().await;
}

/// A cluster whose both sides fail a quarter of the calls.
async fn start(server: &str, size: Size, seed: u64) -> Cluster {
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
    let cluster = Cluster::start(server, wanted).await;
    for (at, instance) in (0..).zip(&cluster.instances) {
        instance.fail_rate(seed + at, FAILING_PERMILLE, faults(TIMEOUT_MS, MARGIN_MS));
    }
    cluster.x.fail_rate(seed, FAILING_PERMILLE, agents::faults());
    cluster
}

/// What was said and done.
struct Run {
    posted: Posted,
    answers: Answers,
    mischief: Mischief,
}

impl Run {
    /// Customers write and agents answer, while the replicas are in trouble.
    async fn of(cluster: &mut Cluster, size: Size, seed: u64) -> Self {
        let doors: Vec<Door> = cluster.replicas.iter().map(Replica::door).collect();
        let load = Load {
            doors: doors.clone(),
            secret: cluster.secret().to_owned(),
            customers: Customer::all(size.n_instances, N_CUSTOMERS_EACH),
            n_messages: size.n_messages,
            period: size.period,
        };
        let agents = Agents {
            doors,
            token: cluster.token.clone(),
            instances: cluster.instances.clone(),
            period: size.period,
        };
        let is_over = AtomicBool::new(false);
        let mut mischief = Mischief::new(seed);
        let talking = async {
            let both = tokio::join!(load.run(), agents.run());
            is_over.store(true, Ordering::Relaxed);
            both
        };
        let making = mischief.run(&mut cluster.replicas, || is_over.load(Ordering::Relaxed));
        let ((posted, answers), ()) = tokio::join!(talking, making);
        Self { posted, answers, mischief }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { posted, answers, mischief } = self;
        write!(
            f,
            "{} messages of {} customers, {} answers of agents; {mischief}; {} posts repeated, slowest message \
             taken after {} ms",
            posted.n_taken(),
            posted.taken.len(),
            answers.values().map(Vec::len).sum::<usize>(),
            posted.n_repeated(),
            posted.slowest.as_millis(),
        )
    }
}
