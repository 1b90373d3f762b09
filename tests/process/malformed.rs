//! Nothing a caller sends makes a 5xx: every route of the API's own description, with every method, and
//! with bodies, ids and headers that nobody should send.

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use super::hub::World;

const IDS: [&str; 6] =
    ["0190c0de-0000-7000-8000-000000000001", "x", "%00", "%27%20OR%201=1--", "..%2f..%2fetc", "%ff%fe"];
const QUERIES: [&str; 3] =
    ["", "?limit=-1&offset=x&cursor=%00&since=never&user=%ff", "?limit=99999999999999999999"];

fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let json = "application/json";
    let nested = "[".repeat(5000).into_bytes();
    let long = format!("{{\"message\": \"{}\"}}", "x".repeat(20_000)).into_bytes();
    vec![
        (json, Vec::new()),
        (json, b"{".to_vec()),
        (json, b"[]".to_vec()),
        (json, b"null".to_vec()),
        (json, b"\"text\"".to_vec()),
        (json, b"\xff\xfe{}".to_vec()),
        (json, nested),
        (json, long),
        (json, br#"{"username": {"$gt": ""}, "password": ["x"], "message": 1e999, "target": true}"#.to_vec()),
        (
            json,
            br#"{"username": "a\u0000b", "message": "\ud800", "case": "^OR", "event_id": "\u0000"}"#.to_vec(),
        ),
        (
            json,
            br#"{"instance_url": "http://[::1", "rate": "-1 per 0s", "case_policy": 7, "instance": {}}"#
                .to_vec(),
        ),
        (json, br#"{"status": "dead", "since": "\u0000", "until": 1e400, "dry_run": "perhaps"}"#.to_vec()),
        ("text/plain", b"hello".to_vec()),
        ("application/json; charset=utf-99", b"{}".to_vec()),
        ("multipart/form-data", b"--".to_vec()),
        ("application/x-www-form-urlencoded", b"%ff=%00&a=%".to_vec()),
    ]
}

#[actix_rt::test]
async fn nothing_a_caller_sends_makes_a_5xx() {
    let world = World::new("malformed-secret", "servicenow: {allow_private_networks: true}\n").await;
    let hub = world.serve().await;
    let _admin = world.log_in(&hub).await;
    let client = Client::builder().no_proxy().build().expect("a client");
    let login = serde_json::json!({ "username": "admin@example.com", "password": "a-long-password" });
    let login = client.post(format!("{}/auth/login/", hub.base)).body(login.to_string());
    let login = login.header("Content-Type", "application/json").send().await.expect("an answer");
    let login: Value = login.json().await.expect("JSON");
    let token = format!("Token {}", login["token"].as_str().expect("a token"));
    let schema = client.get(format!("{}/api/schema/", hub.base)).send().await.expect("an answer");
    let schema: Value = schema.json().await.expect("JSON");

    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    let mut n_sent = 0;
    for path in schema["paths"].as_object().expect("paths").keys() {
        // Ending the only session would end the test.
        if path.contains("logout") {
            continue;
        }
        let ids: &[&str] = if path.contains('{') { &IDS } else { &[""] };
        for (nth, (content_type, body)) in bodies().into_iter().enumerate() {
            let id = ids[nth % ids.len()];
            let query = QUERIES[nth % QUERIES.len()];
            let method = methods[nth % methods.len()].clone();
            let filled = path.replace("{id}", id);
            for method in [method, Method::POST] {
                let request = client.request(method.clone(), format!("{}{filled}{query}", hub.base));
                let request = request.header("Content-Type", content_type).header("Authorization", &token);
                let response = request.body(body.clone()).send().await.expect("an answer");
                let status = response.status();
                assert!(
                    status < StatusCode::INTERNAL_SERVER_ERROR,
                    "{method} {filled}{query} {content_type} (body {nth}): {status}"
                );
                n_sent += 1;
            }
        }
    }
    assert!(n_sent >= 300, "only {n_sent} requests were sent");
    let metrics = client.get(format!("{}/metrics", hub.base)).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("casewire_panics_total 0\n"), "nothing panicked");
}
