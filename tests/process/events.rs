//! Answers and their ids: in the body or in the header, an id is the same id.

use std::time::Duration;

use casewire_sandbox::{ServiceNowSandbox, SnOptions, XUser, bodies};
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use super::hub::{ADMIN, PASSWORD, World, account, settle};

const PATIENCE: Duration = Duration::from_secs(10);

/// Posts events as an agent's instance does.
struct Sender {
    client: reqwest::Client,
    url: String,
    token: String,
}

impl Sender {
    /// Gives the status and the body.
    async fn post(&self, event: &Value, key: Option<&[u8]>) -> (u16, Value) {
        let mut request = self.client.post(&self.url).header("Authorization", &self.token).json(event);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", HeaderValue::from_bytes(key).expect("a header"));
        }
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.json().await.expect("JSON"))
    }
}

#[actix_rt::test]
async fn ids_of_any_letters_are_taken_from_body_and_header() {
    let world = World::new("events-secret", "servicenow: {allow_private_networks: true}\n").await;
    let instance = ServiceNowSandbox::start(SnOptions::default()).await.expect("a simulated instance");
    let hub = world.serve().await;
    let client = world.log_in(&hub).await;
    world.set_up(&client, &instance, json!({})).await;
    let dana = XUser::new("777", "dana_k", "Dana K.");
    let body = bodies::dm_body(&account().user(), &dana, "1001", "help", 1_700_000_000_000);
    assert_eq!(world.x.post_webhook(&hub.webhook(), body).await.expect("an answer").status, 200);
    settle(&client, PATIENCE).await;
    let credentials = json!({ "username": ADMIN, "password": PASSWORD });
    let (status, session) = client.post("/auth/login/", &credentials).await.expect("an answer");
    assert_eq!(status, 200, "{session}");
    let sender = Sender {
        client: reqwest::Client::builder().no_proxy().build().expect("a client"),
        url: format!("{}/api/events/", hub.base),
        token: format!("Token {}", session["token"].as_str().expect("a token")),
    };

    let event = json!({ "message": "on its way", "case": instance.cases()[0].sys_id });
    let with_id = |id: &str| {
        let mut event = event.clone();
        event["event_id"] = json!(id);
        event
    };
    let key = "\u{c4}nderung 7";
    let (status, first) = sender.post(&event, Some(key.as_bytes())).await;
    assert!(matches!(status, 200 | 202), "{first}");
    let repeated = sender.post(&event, Some(key.as_bytes())).await.1;
    let in_body = sender.post(&with_id(key), Some(b"another")).await.1;
    assert_eq!((&repeated["id"], &in_body["id"]), (&first["id"], &first["id"]));

    let long = "x".repeat(256);
    let too_long = "Ensure this field has no more than 255 characters.";
    let control = "Control characters are not allowed.";
    for (event, key, told) in [
        (&event, Some(&b"caf\xe9"[..]), "The Idempotency-Key header is not UTF-8."),
        (&event, Some(b"a\tb"), control),
        (&event, Some(long.as_bytes()), too_long),
        (&with_id("a\u{1}b"), None, control),
        (&with_id(&long), None, too_long),
    ] {
        assert_eq!(sender.post(event, key).await, (400, json!({ "event_id": [told] })));
    }
    settle(&client, PATIENCE).await;
    assert_eq!(world.x.n_sent_dms(), 1);
}
