//! Every sample body, through the public port, twice: what is kept arrives once.

use std::collections::BTreeMap;
use std::time::Duration;

use casewire_sandbox::{ServiceNowSandbox, SnOptions};
use serde_json::{Value, json};

use super::hub::{World, settle};

/// The second tenant of the samples.
const BANK_ID: &str = "1500000000000000777";

fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/payloads/x")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).expect("a sample")
}

#[actix_rt::test]
async fn each_sample_posted_twice_leaves_what_it_should_once() {
    let settings = "servicenow: {allow_private_networks: true}\ndelivery: {rate: '10000 per 1s'}\n";
    let world = World::new("test-consumer-secret", settings).await;
    let instance = ServiceNowSandbox::start(SnOptions::default()).await.expect("a simulated instance");
    let hub = world.serve().await;
    let client = world.log_in(&hub).await;
    world.set_up(&client, &instance, json!({})).await;
    let bank = json!({
        "twitter_user_id": BANK_ID,
        "screen_name": "AcmeBank",
        "access_token": "bank",
        "access_token_secret": "bank",
    });
    let (status, body) = client.post("/api/twitter-details/", &bank).await.expect("an answer");
    assert_eq!(status, 201, "{body}");

    let expected: BTreeMap<String, Value> = serde_json::from_str(&read("expected.json")).expect("JSON");
    let signatures: Value = serde_json::from_str(&read("signatures.json")).expect("JSON");
    let mut accepted_at_first = BTreeMap::new();
    for round in 0..2 {
        for name in expected.keys() {
            let body = read(&format!("{name}.json"));
            let posted = world.x.post_webhook(&hub.webhook(), body.clone()).await.expect("an answer");
            assert_eq!(posted.status, 200, "{name}: {}", posted.body);
            let receipt: Value = serde_json::from_str(&posted.body).expect("a receipt");
            let n_items: u64 = ["accepted", "duplicates", "ignored"]
                .map(|key| receipt[key].as_u64().unwrap_or(0))
                .iter()
                .sum();
            assert_eq!(n_items, items_of(&expected[name]), "{name}: {receipt}");
            if round == 0 {
                let signed = casewire_sandbox::sign("test-consumer-secret", body.as_bytes());
                assert_eq!(signatures["signatures"][name], signed.as_str(), "{name}");
                accepted_at_first.insert(name.clone(), receipt["accepted"].clone());
                // What follows may depend on what this one became, such as its case being known.
                settle(&client, Duration::from_secs(20)).await;
            } else {
                assert_eq!(receipt["accepted"], 0, "{name}: nothing is new the second time");
            }
        }
    }
    settle(&client, Duration::from_secs(20)).await;
    check_kept(&expected, &accepted_at_first, &instance);
}

fn items_of(expectation: &Value) -> u64 {
    expectation["items"].as_array().expect("items").len() as u64
}

/// Whether the default policy keeps an item whatever else is known.
fn is_kept(item: &Value) -> bool {
    let is = |key: &str| item[key] == json!(true);
    match item["class"].as_str().expect("a class") {
        "dm_inbound" => true,
        "mention" => !is("blocked") && !is("implicit"),
        _ => false,
    }
}

fn check_kept(
    expected: &BTreeMap<String, Value>,
    accepted: &BTreeMap<String, Value>,
    instance: &ServiceNowSandbox,
) {
    let cases = instance.cases();
    let n_holding = |id: &str| {
        let comments = cases.iter().flat_map(|case| &case.comments);
        comments.filter(|comment| comment.text.lines().next().is_some_and(|line| line.contains(id))).count()
    };
    for (name, expectation) in expected {
        for item in expectation["items"].as_array().expect("items") {
            let Some(id) = item["event_id"].as_str() else { continue };
            if !is_kept(item) {
                continue;
            }
            assert_ne!(accepted[name], json!(0), "{name} is kept");
            let n_parts = if name == "aaa_dm_long_10000" { 3 } else { 1 };
            // Both tenants of a sample get their copy.
            let n_copies = if name.starts_with("aaa_mention_two_tenants_for") { 2 } else { 1 };
            assert_eq!(n_holding(id), n_parts * n_copies, "{name}");
            let text = item["text"].as_str().unwrap_or_default();
            if n_parts == 1 && !text.is_empty() {
                let has_text = |comment: &str| comment.contains(text);
                let said =
                    cases.iter().flat_map(|case| &case.comments).any(|comment| has_text(&comment.text));
                assert!(said, "{name}: {text}");
            }
        }
    }
    // One open case for each customer of each account.
    let mut seen = BTreeMap::new();
    for case in &cases {
        *seen.entry(case.correlation_id.clone()).or_insert(0) += 1;
    }
    assert!(seen.values().all(|n| *n == 1), "{seen:?}");
}
