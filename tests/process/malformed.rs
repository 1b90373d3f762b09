//! Nothing a caller sends makes a 5xx: every route of the API's own description, with every method, and
//! with bodies, ids, queries and headers that nobody should send.

use casewire_sandbox::{ServiceNowSandbox, SnOptions};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::hub::{ADMIN, PASSWORD, Running, World};

const CONSUMER_SECRET: &str = "malformed-secret";
/// The id of nothing.
const UNKNOWN_ID: &str = "0190c0de-0000-7000-8000-000000000001";
const BAD_IDS: [&str; 7] = ["x", "%00", "%27%20OR%201=1--", "..%2f..%2fetc", "%ff%fe", "{}", "%E2%80%AE"];
/// What lists are narrowed by.
const PARAMETERS: [&str; 9] =
    ["limit", "offset", "cursor", "since", "until", "user", "instance", "status", "direction"];
const BAD_VALUES: [&str; 12] = [
    "",
    "-1",
    "x",
    "%00",
    "%ff",
    "9223372036854775807",
    "99999999999999999999",
    "1e999",
    "-262143-01-01T00:00:00Z",
    "+262142-12-31T23:59:60Z",
    "9999-12-31T23:59:60-23:59",
    UNKNOWN_ID,
];
const BAD_QUERIES: [&str; 5] = [
    "?",
    "?&&==&%&limit",
    "?limit=9223372036854775807&offset=9223372036854775807",
    "?limit=1&limit=-1&user=%00&user=%ff",
    "?since=0001-01-01&until=9999-12-31&limit=1&offset=1",
];
const METHODS: [Method; 6] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
/// Those that a body belongs to. The last one ends what it is sent to.
const METHODS_WITH_BODY: [Method; 4] = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

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
    let world = World::new(CONSUMER_SECRET, "servicenow: {allow_private_networks: true}\n").await;
    let hub = world.serve().await;
    let admin = world.log_in(&hub).await;
    let instance = ServiceNowSandbox::start(SnOptions::default()).await.expect("an instance");
    world.set_up(&admin, &instance, json!({})).await;
    let other = json!({ "username": "other@example.com", "password": PASSWORD, "first_name": "A", "last_name": "B", "company_name": "C" });
    let (status, made) = admin.post("/auth/users/", &other).await.expect("an answer");
    assert_eq!(status, 201, "{made}");
    let mut attack = Attack::begin(&hub).await;
    let schema = attack.json("/api/schema/").await;
    for (path, methods) in schema["paths"].as_object().expect("paths") {
        // Ending the only session would end the test.
        if path.contains("logout") {
            continue;
        }
        attack.by_path_and_query(path).await;
        let may_list = methods.get("get").is_some() && !path.contains('{');
        if may_list {
            attack.by_parameters(path).await;
        }
        attack.by_body(path).await;
    }
    println!("{} requests were sent", attack.n_sent);
    assert!(attack.n_sent >= 3000, "only {} requests were sent", attack.n_sent);
    let metrics = attack.client.get(format!("{}/metrics", hub.base)).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("casewire_panics_total 0\n"), "nothing panicked");
}

/// An admin, and X, who send what nobody should.
struct Attack {
    client: Client,
    base: String,
    token: String,
    n_sent: usize,
}

impl Attack {
    async fn begin(hub: &Running) -> Self {
        let client = Client::builder().no_proxy().build().expect("a client");
        let login = json!({ "username": ADMIN, "password": PASSWORD });
        let login = client.post(format!("{}/auth/login/", hub.base)).json(&login).send().await;
        let login: Value = login.expect("an answer").json().await.expect("JSON");
        let token = format!("Token {}", login["token"].as_str().expect("a token"));
        Self { client, base: hub.base.clone(), token, n_sent: 0 }
    }

    async fn json(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}{path}", self.base)).header("Authorization", &self.token);
        request.send().await.expect("an answer").json().await.unwrap_or_default()
    }

    /// Every method with every id, and with every query.
    async fn by_path_and_query(&mut self, path: &str) {
        let ids = if path.contains('{') { &BAD_IDS[..] } else { &[] };
        let with_ids = ids.iter().map(|id| path.replace("{id}", id));
        let path = path.replace("{id}", UNKNOWN_ID);
        let with_queries = BAD_QUERIES.iter().map(|query| format!("{path}{query}"));
        let targets: Vec<String> = with_ids.chain(with_queries).collect();
        for target in &targets {
            for method in METHODS {
                self.send(method, target, "application/json", b"{}").await;
            }
        }
    }

    /// Each parameter alone, so that none is refused before another is read.
    async fn by_parameters(&mut self, path: &str) {
        for parameter in PARAMETERS {
            for value in BAD_VALUES {
                self.send(Method::GET, &format!("{path}?{parameter}={value}"), "application/json", b"").await;
            }
        }
    }

    /// Every body with every method, sent to something that exists where there is one.
    async fn by_body(&mut self, path: &str) {
        let id = match path.split_once("{id}") {
            Some((list, _)) => self.existing_id(list).await.unwrap_or_else(|| UNKNOWN_ID.to_owned()),
            None => String::new(),
        };
        let target = path.replace("{id}", &id);
        for method in METHODS_WITH_BODY {
            for (content_type, body) in bodies() {
                self.send(method.clone(), &target, content_type, &body).await;
            }
        }
    }

    /// The id of something that this path lists; not of the admin, who is still needed.
    async fn existing_id(&self, list: &str) -> Option<String> {
        let listed = self.json(list).await;
        let other = listed.as_array()?.iter().find(|one| one["username"] != ADMIN)?;
        Some(other["id"].as_str()?.to_owned())
    }

    async fn send(&mut self, method: Method, target: &str, content_type: &str, body: &[u8]) {
        let request = self.client.request(method.clone(), format!("{}{target}", self.base));
        let request = request.header("Content-Type", content_type).header("Authorization", &self.token);
        // For the webhook, which reads nothing that X did not sign.
        let signature = casewire_sandbox::sign(CONSUMER_SECRET, body);
        let request = request.header("X-Twitter-Webhooks-Signature", signature);
        let response = request.body(body.to_vec()).send().await.expect("an answer");
        let status = response.status();
        let answer = response.text().await.expect("text");
        let body = String::from_utf8_lossy(&body[..body.len().min(100)]);
        let sent = format!("{method} {target} {content_type} {body:?}");
        assert!(!status.is_server_error(), "{sent}: {status} {answer}");
        // Whoever is turned away at the door attacks nothing behind it.
        assert!(status != 429 || target.starts_with("/auth/login/"), "{sent}: {status} {answer}");
        assert_ne!(status, 401, "{sent}: {answer}");
        self.n_sent += 1;
    }
}
