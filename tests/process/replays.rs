//! Bulk replays: every dead letter arrives once, at its rate, though the hub is killed in the middle.

use std::process::Output;
use std::time::Duration;

use casewire_sandbox::{ApiClient, ServiceNowSandbox, SnFault, SnOptions, XUser, bodies};
use serde_json::{Value, json};

use super::hub::{ADMIN, PASSWORD, Running, World, account, settle};

const N: u64 = 130;
const PATH: &str = "/api/deliveries/replay/";
const PATIENCE: Duration = Duration::from_secs(30);

struct Stage {
    world: World,
    hub: Running,
    instance: ServiceNowSandbox,
    client: ApiClient,
}

/// A hub with so many dead letters, each of a customer of its own, and an instance that works again.
async fn with_dead_letters() -> Stage {
    // A call that the kill interrupts is looked up once its time is over.
    let settings =
        "servicenow: {allow_private_networks: true, timeout: 2s}\ndelivery: {rate: '10000 per 1s'}\n";
    let world = World::new("replay-secret", settings).await.quiet();
    let instance = ServiceNowSandbox::start(SnOptions::default()).await.expect("a simulated instance");
    let hub = world.serve().await;
    let client = world.log_in(&hub).await;
    world.set_up(&client, &instance, json!({ "concurrency": 8 })).await;
    instance.fail_rate(1, 1000, vec![SnFault::Error403BusinessRule]);
    for n in 0..N {
        let sender = XUser::new(&(5000 + n).to_string(), &format!("c{n}"), "Customer");
        let id = (1_000_000 + n).to_string();
        let body = bodies::dm_body(&account().user(), &sender, &id, &text(n), 1_700_000_000_000);
        let posted = world.x.post_webhook(&hub.webhook(), body).await.expect("an answer");
        assert_eq!(posted.status, 200);
    }
    settle(&client, PATIENCE).await;
    instance.clear_faults();
    let dry = post(&client, PATH, &json!({ "dry_run": true }), 200).await;
    assert_eq!(dry, json!({ "matched": N, "replayed": 0, "skipped": 0 }));
    Stage { world, hub, instance, client }
}

fn text(n: u64) -> String {
    format!("customer {n} needs help")
}

async fn post(client: &ApiClient, path: &str, body: &Value, expected: u16) -> Value {
    let (status, body) = client.post(path, body).await.expect("an answer");
    assert_eq!(status, expected, "{path}: {body}");
    body
}

async fn get(client: &ApiClient, path: &str) -> Value {
    let (status, body) = client.get(path).await.expect("an answer");
    assert_eq!(status, 200, "{path}: {body}");
    body
}

/// Looks at a replay until it is as wanted.
async fn when(client: &ApiClient, path: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let replay = get(client, path).await;
        if is_wanted(&replay) {
            return replay;
        }
        assert!(begun.elapsed() < PATIENCE, "{replay}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Stage {
    /// Starts a replay over HTTP; gives its `Location` and its record.
    async fn start(&self, body: &Value) -> (String, Value) {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        let login = json!({ "username": ADMIN, "password": PASSWORD });
        let session = post(&self.client, "/auth/login/", &login, 200).await;
        let token = format!("Token {}", session["token"].as_str().expect("a token"));
        let request = http.post(format!("{}{PATH}", self.hub.base)).header("Authorization", token);
        let answer = request.header("Content-Type", "application/json").body(body.to_string()).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 202);
        let location = answer.headers()["location"].to_str().expect("text").to_owned();
        let record = serde_json::from_str(&answer.text().await.expect("a body")).expect("json");
        (location, record)
    }

    /// Runs a command beside the hub; gives its exit code and what it printed to stdout and stderr.
    async fn command(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = self.world.command();
        command.args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
        let Output { status, stdout, stderr } = output.expect("the program runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (status.code(), text(stdout), text(stderr))
    }

    /// Each message became the only comment of the only case of its customer.
    fn assert_each_arrived_once(&self) {
        let cases = self.instance.cases();
        let comments = cases.iter().flat_map(|case| &case.comments);
        let mut said: Vec<String> =
            comments.filter_map(|comment| comment.text.split('\n').nth(1).map(str::to_owned)).collect();
        said.sort();
        let mut expected: Vec<String> = (0..N).map(text).collect();
        expected.sort();
        assert_eq!(said, expected);
        assert_eq!(cases.len() as u64, N, "one case for each customer");
    }
}

#[actix_rt::test]
async fn a_replay_is_carried_on_when_the_hub_was_killed() {
    let mut stage = with_dead_letters().await;
    let (location, replay) = stage.start(&json!({ "status": "dead", "rate": "40 per 1s" })).await;
    assert_eq!((&replay["state"], &replay["matched"]), (&json!("running"), &json!(N)));
    assert_eq!(replay["rate"], "40 per 1s");
    let path = format!("/api/deliveries/replays/{}/", replay["id"].as_str().expect("an id"));
    assert_eq!(location, format!("{}{path}", stage.hub.base));
    when(&stage.client, &path, |replay| replay["done"].as_u64() > Some(0)).await;

    stage.hub.kill();
    stage.hub = stage.world.serve().await;
    let client = stage.client.at(&stage.hub.base);
    let done = when(&client, &path, |replay| replay["state"] != "running").await;
    assert_eq!((&done["state"], &done["done"]), (&json!("done"), &json!(N)), "{done}");
    assert_eq!((&done["replayed"], &done["skipped"]), (&json!(N), &json!(0)), "{done}");
    assert!(done["ended_at"].is_string());
    settle(&client, PATIENCE).await;
    stage.assert_each_arrived_once();

    assert_eq!(get(&client, "/api/deliveries/replays/").await, json!([done]));
    let (status, _) = client.post(&format!("{path}cancel/"), &json!({})).await.expect("an answer");
    assert_eq!(status, 409, "it is done");
    let none = post(&client, PATH, &json!({}), 200).await;
    assert_eq!(none, json!({ "matched": 0, "replayed": 0, "skipped": 0 }));
}

#[actix_rt::test]
async fn the_command_line_starts_follows_lists_and_cancels() {
    let stage = with_dead_letters().await;
    let replay = ["deliveries", "replay", "--status", "dead"];
    let slowly = [&replay[..], &["--rate", "1 per 1m", "--detach"]].concat();
    let (code, stdout, stderr) = stage.command(&slowly).await;
    assert_eq!(code, Some(0), "{stderr}");
    let id = stdout.split(':').next().expect("an id").to_owned();
    // The hub goes on with it.
    let path = format!("/api/deliveries/replays/{id}/");
    when(&stage.client, &path, |replay| replay["done"] == 1).await;
    let (code, stdout, stderr) = stage.command(&["deliveries", "cancel-replay", &id]).await;
    assert_eq!(
        (code, stdout.trim()),
        (Some(0), format!("{id}: cancelled after 1 of {N}").as_str()),
        "{stderr}"
    );

    let (code, stdout, stderr) = stage.command(&[&replay[..], &["--rate", "1000 per 1s"]].concat()).await;
    let left = N - 1;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout.trim(), format!("{left} of {left} dead letters are queued again"));
    settle(&stage.client, PATIENCE).await;
    stage.assert_each_arrived_once();

    let (code, stdout, _) = stage.command(&["deliveries", "replays", "--output", "json"]).await;
    let listed: Value = serde_json::from_str(&stdout).expect("json");
    let states: Vec<_> = listed.as_array().expect("a list").iter().map(|replay| &replay["state"]).collect();
    assert_eq!((code, states), (Some(0), vec![&json!("done"), &json!("cancelled")]));
    let (_, stdout, _) = stage.command(&["deliveries", "replays"]).await;
    assert!(stdout.contains("MATCHED") && stdout.contains(&id), "{stdout}");
    let ended = listed[0]["id"].as_str().expect("an id");
    let (code, _, stderr) = stage.command(&["deliveries", "cancel-replay", ended]).await;
    assert!(code == Some(1) && stderr.contains("cannot be cancelled"), "{stderr}");
}

#[actix_rt::test]
async fn the_command_line_replays_without_a_hub() {
    let stage = with_dead_letters().await;
    let Stage { world, hub, instance, client } = stage;
    hub.kill();
    let mut command = world.command();
    command.args(["deliveries", "replay", "--status", "dead", "--rate", "100 per 1s"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
    let stdout = String::from_utf8(output.expect("it runs").stdout).expect("text");
    assert_eq!(stdout.trim(), format!("{N} of {N} dead letters are queued again"));
    let hub = world.serve().await;
    let client = client.at(&hub.base);
    settle(&client, PATIENCE).await;
    Stage { world, hub, instance, client }.assert_each_arrived_once();
}
