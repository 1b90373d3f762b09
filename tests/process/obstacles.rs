//! Nothing is sent to an instance or for an account whose credentials the hub cannot use; what waits goes on
//! when it can.

use std::io::Write as _;
use std::time::{Duration, Instant};

use casewire_sandbox::{ApiClient, ServiceNowSandbox, SnOptions, XUser, bodies};
use serde_json::{Value, json};

use super::hub::{ACCOUNT_ID, Running, World, account, settle};
use super::operators::run;

const PATIENCE: Duration = Duration::from_secs(10);
const INSTANCES: &str = "/api/servicenow-details/";
const ACCOUNTS: &str = "/api/twitter-details/";
const CUSTOMER_ID: &str = "777";

/// Dana writes to the account.
async fn write(world: &World, hub: &Running, id: &str, text: &str) {
    let dana = XUser::new(CUSTOMER_ID, "dana_k", "Dana K.");
    let body = bodies::dm_body(&account().user(), &dana, id, text, 1_700_000_000_000);
    let posted = world.x.post_webhook(&hub.webhook(), body).await.expect("an answer");
    assert_eq!(posted.status, 200, "{}", posted.body);
}

async fn only(client: &ApiClient, path: &str) -> Value {
    let (status, body) = client.get(path).await.expect("an answer");
    assert_eq!(status, 200, "{body}");
    body[0].clone()
}

/// Waits until the only record needs other credentials, for a reason with these words.
async fn blocked(client: &ApiClient, path: &str, words: &str) {
    let begun = Instant::now();
    loop {
        let record = only(client, path).await;
        let detail = record["status_detail"].as_str().expect("a detail");
        if record["status"] == "needs_auth" && detail.contains(words) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{record}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[actix_rt::test]
async fn a_login_that_is_not_spoken_sends_nothing() {
    let world = World::new("obstacles-secret", "servicenow: {allow_private_networks: true}\n").await;
    let instance = ServiceNowSandbox::start(SnOptions::default()).await.expect("a simulated instance");
    let hub = world.serve().await;
    let client = world.log_in(&hub).await;
    let oauth = json!({ "auth": "oauth_client_credentials", "client_id": "c", "client_secret": "s" });
    world.set_up(&client, &instance, oauth).await;
    let path = format!("{INSTANCES}{}/", only(&client, INSTANCES).await["id"].as_str().expect("an id"));
    write(&world, &hub, "1001", "help").await;
    for (change, words) in [
        (json!({}), "does not speak OAuth"),
        (json!({ "auth": "oauth_password" }), "does not speak OAuth"),
        (json!({ "auth": "basic", "mode": "app" }), "set mode to auto or case_api"),
    ] {
        let (status, body) = client.patch(&path, &change).await.expect("an answer");
        assert_eq!(status, 200, "{body}");
        blocked(&client, INSTANCES, words).await;
        assert_eq!(only(&client, "/api/deliveries/").await["attempts"], 0);
    }
    assert_eq!(instance.n_requests(), 0);
    run(&world, &["doctor"], &[]).await.is(1, "set mode to auto or case_api");

    let (status, body) = client.patch(&path, &json!({ "mode": "auto" })).await.expect("an answer");
    assert_eq!(status, 200, "{body}");
    settle(&client, PATIENCE).await;
    assert_eq!(instance.cases().len(), 1);
    let seen = only(&client, INSTANCES).await;
    assert_eq!((&seen["status"], &seen["status_detail"]), (&json!("ok"), &json!("")));
}

#[actix_rt::test]
async fn credentials_that_do_not_open_send_nothing_until_the_key_is_back() {
    let world = World::embedded("obstacles-secret").await;
    let folder = world.database().parent().expect("a folder").to_owned();
    let mut settings =
        std::fs::OpenOptions::new().append(true).open(folder.join("settings.yaml")).expect("settings");
    settings.write_all(b"servicenow: {allow_private_networks: true}\n").expect("a setting more");
    let instance = ServiceNowSandbox::start(SnOptions::default()).await.expect("a simulated instance");
    let hub = world.serve().await;
    let client = world.log_in(&hub).await;
    world.set_up(&client, &instance, json!({})).await;
    write(&world, &hub, "1001", "help").await;
    settle(&client, PATIENCE).await;
    let case = instance.cases()[0].sys_id.clone();
    hub.kill();

    // Another key is made in its place.
    let (key, kept) = (world.database().with_extension("db.key"), folder.join("kept.key"));
    std::fs::rename(&key, &kept).expect("a key");
    let n_requests = instance.n_requests();
    let hub = world.serve().await;
    let client = client.at(&hub.base);
    write(&world, &hub, "1002", "are you there?").await;
    let event = json!({ "message": "yes", "case": case });
    let (status, body) = client.post("/api/events/", &event).await.expect("an answer");
    assert_eq!((status, &body["status"]), (202, &json!("queued")), "{body}");
    blocked(&client, INSTANCES, "cannot be opened").await;
    blocked(&client, ACCOUNTS, "cannot be opened").await;
    assert_eq!(instance.n_requests(), n_requests);
    let as_account = |call: &&casewire_sandbox::CallRecord| call.path.contains("dm_");
    assert_eq!(world.x.requests().iter().filter(as_account).count(), 0);
    hub.kill();

    std::fs::rename(&kept, &key).expect("the key");
    let hub = world.serve().await;
    let client = client.at(&hub.base);
    settle(&client, PATIENCE).await;
    assert_eq!(instance.cases()[0].comments.len(), 2);
    let sent = world.x.sent_dms();
    assert_eq!((sent.len(), sent[0].recipient_id.as_str()), (1, CUSTOMER_ID));
    assert_eq!(only(&client, ACCOUNTS).await["twitter_user_id"], ACCOUNT_ID);
}

#[actix_rt::test]
async fn a_refusal_of_the_password_of_before_blocks_nothing() {
    let world = World::new("obstacles-secret", "servicenow: {allow_private_networks: true}\n").await;
    let instance = ServiceNowSandbox::start(SnOptions::default()).await.expect("a simulated instance");
    let hub = world.serve().await;
    let client = world.log_in(&hub).await;
    world.set_up(&client, &instance, json!({ "admin_password": "of before" })).await;
    let path = format!("{INSTANCES}{}/", only(&client, INSTANCES).await["id"].as_str().expect("an id"));
    // Long enough for the change to come first, however busy the machine is.
    instance.set_latency(Duration::from_secs(2));
    write(&world, &hub, "1001", "help").await;
    let begun = Instant::now();
    while instance.n_in_flight() == 0 {
        assert!(begun.elapsed() < PATIENCE, "nothing is sent");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    instance.set_latency(Duration::ZERO);
    let (status, body) =
        client.patch(&path, &json!({ "admin_password": "sandbox" })).await.expect("an answer");
    assert_eq!(status, 200, "{body}");

    settle(&client, PATIENCE).await;
    let refused = |call: &casewire_sandbox::CallRecord| call.status == 401;
    assert_eq!(instance.requests().into_iter().filter(refused).count(), 1);
    assert_eq!(instance.cases().len(), 1);
    assert_eq!(only(&client, INSTANCES).await["status"], "ok");
}
