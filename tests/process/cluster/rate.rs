//! The rate of an instance holds while its owner changes.
//!
//! What counts is when calls arrive at the instance: in no second more than allowed, without any tolerance here. On its
//! way each call is late by a time of its own, so of two calls a whole second apart the first may arrive late and the
//! second at once; that is why the hub counts a call for a twentieth longer than the limit's period.

use std::time::{Duration, Instant};

use casewire_sandbox::CallRecord;
use serde_json::json;

use super::chronicle::Verdict;
use super::customers::Customer;
use super::load::Load;
use super::mischief::PAUSE_CAVEAT;
use super::replica::{Door, Replica};
use super::wire::Caller;
use super::world::{Cluster, Wanted};
use crate::postgres::server_or_skip;

const N_CALLS: usize = 5;
const PERIOD: Duration = Duration::from_secs(1);
const N_CUSTOMERS: usize = 40;
/// More than can be delivered during the test, so that there is always something to send.
const N_MESSAGES: u64 = 600;
/// How long an owner goes on, once it is seen to work, before it is disturbed: less than a call is counted, so that there
/// is something to forget.
const TERM: Duration = Duration::from_millis(500);
/// A replica that is gone is replaced within this time.
const REPLACED_WITHIN: Duration = Duration::from_secs(15);
/// Longer than a lease lasts (10 s).
const PAST_THE_LEASE: Duration = Duration::from_secs(12);
const PATIENCE: Duration = Duration::from_mins(1);

/// How an owner is lost.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Terminate,
    Kill,
    Pause,
}

/// Eight quick handovers, and between them those in which the owner before does not say what it did last.
const LOSSES: [Loss; 10] = [
    Loss::Terminate,
    Loss::Terminate,
    Loss::Terminate,
    Loss::Kill,
    Loss::Terminate,
    Loss::Terminate,
    Loss::Pause,
    Loss::Terminate,
    Loss::Terminate,
    Loss::Terminate,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_exact_while_owners_change() {
    let Some(server) = server_or_skip("a_rate_is_exact_while_owners_change") else { return };
    let settings = "servicenow: {allow_private_networks: true, timeout: 2s}\n\
                    delivery: {backoff: {first: 5ms, factor: 2, max: 100ms, jitter: 0.2}}\n";
    let instance = json!({ "rate": "5 per 1s", "concurrency": 3 });
    let wanted = Wanted { n_replicas: 3, n_instances: 1, settings, instance };
    let mut cluster = Cluster::start(&server, wanted).await;
    let load = Load {
        doors: cluster.replicas.iter().map(Replica::door).collect(),
        secret: cluster.secret().to_owned(),
        customers: Customer::all(1, N_CUSTOMERS),
        n_messages: N_MESSAGES,
        period: Duration::ZERO,
    };
    let posted = load.run().await;

    let begun = Instant::now();
    for loss in LOSSES {
        let owner = find_owner(&cluster.replicas, None).await;
        tokio::time::sleep(TERM).await;
        lose(&mut cluster.replicas, owner, loss).await;
    }
    let last = find_owner(&cluster.replicas, None).await;
    tokio::time::sleep(TERM).await;
    report(&cluster, begun.elapsed());
    let densest = cluster.instances[0].max_calls_in_any(PERIOD);
    let around = densest_calls(&cluster.instances[0].requests());
    assert!(
        densest <= N_CALLS,
        "{densest} calls within {PERIOD:?}:{around}{}\n{PAUSE_CAVEAT}",
        cluster.log_ends()
    );

    // What is left is let go, and all of it arrived.
    let path = format!("/api/servicenow-details/{}/", cluster.instance_ids[0]);
    let change = cluster.admin(last).request(reqwest::Method::PATCH, &path);
    let changed = super::wire::answer(change.json(&json!({ "rate": "10000 per 1s" }))).await;
    assert_eq!(changed.expect("an answer").status, 200);
    cluster.settle(PATIENCE).await;
    Verdict::of(&cluster.instances, &posted.taken).check();
    cluster.check_health().await;
}

/// Takes the owner away, waits until another replica delivers, and brings it back.
async fn lose(replicas: &mut [Replica], owner: usize, loss: Loss) {
    let begun = Instant::now();
    match loss {
        Loss::Terminate => {
            replicas[owner].terminate().await;
        }
        Loss::Kill => replicas[owner].kill(),
        Loss::Pause => replicas[owner].pause(),
    }
    let next = find_owner(replicas, Some(owner)).await;
    println!(
        "{loss:?} of {}: {} delivers after {} ms",
        replicas[owner].name,
        replicas[next].name,
        begun.elapsed().as_millis()
    );
    if let Loss::Pause = loss {
        tokio::time::sleep_until((begun + PAST_THE_LEASE).into()).await;
        replicas[owner].resume();
    } else {
        replicas[owner].start().await;
    }
}

/// The replica that delivers: the one that goes on making attempts. `lost` is not asked.
async fn find_owner(replicas: &[Replica], lost: Option<usize>) -> usize {
    let begun = Instant::now();
    let doors: Vec<Door> = replicas.iter().map(Replica::door).collect();
    let mut before = n_attempts(&doors, lost).await;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = n_attempts(&doors, lost).await;
        let has_grown =
            |at: &usize| matches!((before[*at], now[*at]), (Some(before), Some(now)) if now > before);
        if let Some(owner) = (0..doors.len()).find(has_grown) {
            return owner;
        }
        assert!(begun.elapsed() < REPLACED_WITHIN, "nobody delivers");
        before = now;
    }
}

async fn n_attempts(doors: &[Door], lost: Option<usize>) -> Vec<Option<u64>> {
    let mut counts = Vec::new();
    for (at, door) in doors.iter().enumerate() {
        counts.push(match door.base().filter(|_| lost != Some(at)) {
            Some(base) => Caller::new(&base).n_attempts().await,
            None => None,
        });
    }
    counts
}

/// The calls of the densest window and its neighbourhood, with their times.
fn densest_calls(calls: &[CallRecord]) -> String {
    let within = |first: &CallRecord| {
        let is_within = |call: &&CallRecord| call.received.saturating_duration_since(first.received) < PERIOD;
        calls.iter().filter(|call| call.received >= first.received).take_while(is_within).count()
    };
    let Some(first) = calls.iter().max_by_key(|call| within(call)) else { return String::new() };
    let near = calls.iter().filter(|call| (call.received_ms - first.received_ms).abs() < 2000);
    let lines =
        near.map(|call| format!("\n{} {} {} {}", call.received_ms, call.method, call.path, call.status));
    lines.collect::<Vec<_>>().concat()
}

fn report(cluster: &Cluster, lasted: Duration) {
    let instance = &cluster.instances[0];
    let calls = instance.requests();
    let gaps = calls.windows(2).map(|pair| pair[1].received.duration_since(pair[0].received));
    println!(
        "a rate is exact while owners change: {} owners lost in {:.0} s; of {} calls at most {} within {} ms, longest \
         pause {} ms",
        LOSSES.len(),
        lasted.as_secs_f64(),
        calls.len(),
        instance.max_calls_in_any(PERIOD),
        PERIOD.as_millis(),
        gaps.max().unwrap_or_default().as_millis(),
    );
}
