//! The promise: what was accepted arrives exactly once and in order, though a quarter of ServiceNow's
//! calls fail in every way there is and the hub is killed in the middle.

use std::collections::BTreeMap;
use std::time::Duration;

use casewire_sandbox::{ServiceNowSandbox, SnFault, SnOptions, XUser, bodies};
use serde_json::json;

use super::hub::{World, account, settle};

/// Chooses which calls fail; printed with every failure of this test. `CASEWIRE_TEST_SEED` gives another.
const SEED: u64 = 20_260_823;
const N_CUSTOMERS: u64 = 25;
const N_EACH: u64 = 20;
/// Calls to ServiceNow may take so long; the slowest commit comes just before.
const TIMEOUT_MS: u64 = 400;
/// The hub is killed when so many of the messages are accepted, twice.
const KILLS_AFTER: [u64; 2] = [180, 340];

/// Every way in which a call at ServiceNow can fail that the hub must get over by itself.
///
/// `timeout_ms` is how long a call may take; the slowest call commits so much earlier as `margin_ms`.
pub(crate) fn faults(timeout_ms: u64, margin_ms: u64) -> Vec<SnFault> {
    vec![
        SnFault::RateLimitRule { retry_after_s: 0 },
        SnFault::BareSemaphore,
        SnFault::Accepted202,
        SnFault::Error500AfterCommit,
        SnFault::Error500BeforeCommit,
        SnFault::ResetAfterCommit,
        SnFault::ResetBeforeCommit,
        SnFault::SlowCommit(Duration::from_millis(timeout_ms - margin_ms)),
        SnFault::LateAnswer(Duration::from_millis(timeout_ms * 2)),
        SnFault::BrokenJson200,
        SnFault::Error502,
        SnFault::Error503 { retry_after_s: None },
    ]
}

/// The seed of this run.
pub(crate) fn seed() -> u64 {
    std::env::var("CASEWIRE_TEST_SEED").map_or(SEED, |seed| seed.parse().expect("a number"))
}

fn text(customer: u64, n: u64) -> String {
    format!("customer {customer} says {n}")
}

fn body(customer: u64, n: u64) -> String {
    let sender = XUser::new(&(5000 + customer).to_string(), &format!("c{customer}"), "Customer");
    let id = (1_000_000 + n * N_CUSTOMERS + customer).to_string();
    bodies::dm_body(&account().user(), &sender, &id, &text(customer, n), 1_700_000_000_000)
}

#[actix_rt::test]
async fn nothing_is_lost_doubled_or_reordered_when_the_hub_is_killed() {
    let seed = seed();
    println!("seed {seed}");
    let settings = format!(
        "servicenow: {{allow_private_networks: true, timeout: {TIMEOUT_MS}ms}}\n\
         delivery: {{backoff: {{first: 5ms, factor: 2, max: 100ms, jitter: 0.2}}, rate: '10000 per 1s'}}\n"
    );
    let world = World::new("chaos-secret", &settings).await;
    let instance = ServiceNowSandbox::start(SnOptions::default()).await.expect("a simulated instance");
    let mut hub = world.serve().await;
    let client = world.log_in(&hub).await;
    world.set_up(&client, &instance, json!({ "concurrency": 8 })).await;
    instance.fail_rate(seed, 250, faults(TIMEOUT_MS, 100));

    let mut n_accepted = 0;
    let mut n_kills = 0;
    for n in 0..N_EACH {
        for customer in 0..N_CUSTOMERS {
            // X sends again what was not answered with 200.
            while !is_taken(&world, &hub.webhook(), body(customer, n)).await {}
            n_accepted += 1;
            if KILLS_AFTER.contains(&n_accepted) {
                hub.kill();
                n_kills += 1;
                hub = world.serve().await;
            }
        }
    }
    assert_eq!((n_accepted, n_kills), (N_CUSTOMERS * N_EACH, 2));
    let client = client.at(&hub.base);
    settle(&client, Duration::from_mins(1)).await;

    let mut said: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let cases = instance.cases();
    for case in &cases {
        let texts = case.comments.iter().filter_map(|comment| comment.text.split('\n').nth(1));
        said.entry(case.consumer.clone()).or_default().extend(texts.map(str::to_owned));
    }
    assert_eq!(cases.len() as u64, N_CUSTOMERS, "one open case for each customer");
    assert_eq!(instance.consumers().len() as u64, N_CUSTOMERS, "one record for each customer");
    let mut said: Vec<Vec<String>> = said.into_values().collect();
    said.sort();
    let mut expected: Vec<Vec<String>> =
        (0..N_CUSTOMERS).map(|customer| (0..N_EACH).map(|n| text(customer, n)).collect()).collect();
    expected.sort();
    assert_eq!(said, expected, "each message once, in the order of its customer");
}

async fn is_taken(world: &World, webhook: &str, body: String) -> bool {
    let posted = world.x.post_webhook(webhook, body).await;
    posted.is_ok_and(|posted| posted.status == 200)
}
