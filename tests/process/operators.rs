//! What operators do: the webhook at X, the subscriptions, the doctor, and the API's own description.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, Output};

use casewire_sandbox::{ServiceNowSandbox, SnOptions};
use serde_json::{Value, json};

use super::hub::{ACCOUNT_ID, Running, World};

/// What a command came to.
pub(crate) struct Outcome {
    code: Option<i32>,
    stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("{} {}", self.stdout, self.stderr))
    }

    pub(crate) fn is(&self, code: i32, words: &str) {
        let text = format!("{}{}", self.stdout, self.stderr);
        assert_eq!(self.code, Some(code), "{text}");
        assert!(text.contains(words), "{words:?} is missing in: {text}");
    }
}

/// Runs a command beside the hub, with some settings by their environment variables.
pub(crate) async fn run(world: &World, arguments: &[&str], settings: &[(&str, &str)]) -> Outcome {
    outcome(world.command(), arguments, settings).await
}

async fn outcome(mut command: Command, arguments: &[&str], settings: &[(&str, &str)]) -> Outcome {
    command.args(arguments).env_remove("NO_COLOR");
    for (name, value) in settings {
        command.env(format!("CASEWIRE_{name}"), value);
    }
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Outcome { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

async fn world_with_account() -> (World, Running, ServiceNowSandbox, casewire_sandbox::ApiClient) {
    let world = World::new("operators-secret", "servicenow: {allow_private_networks: true}\n").await;
    let instance = ServiceNowSandbox::start(SnOptions::default()).await.expect("a simulated instance");
    let hub = world.serve().await;
    let client = world.log_in(&hub).await;
    world.set_up(&client, &instance, json!({})).await;
    (world, hub, instance, client)
}

#[actix_rt::test]
async fn a_webhook_is_registered_replaced_and_put_back() {
    let (world, hub, _instance, client) = world_with_account().await;
    let url = hub.webhook();
    let other = format!("{url}?app=2");
    let webhooks = ["webhooks", "list", "--output", "json"];

    assert_eq!(run(&world, &webhooks, &[]).await.json(), json!([]));
    run(&world, &["subscriptions", "add", "@AcmeCare"], &[]).await.is(1, "webhooks register");

    let registered = run(&world, &["webhooks", "register", "--url", &url], &[]).await;
    registered.is(0, "registered the webhook");
    registered.is(0, &format!("subscribed @AcmeCare ({ACCOUNT_ID})"));
    assert_eq!(world.x.subscriptions(), [ACCOUNT_ID]);
    let (_, accounts) = client.get("/api/twitter-details/").await.expect("an answer");
    assert_eq!(accounts[0]["subscribed"], true, "{accounts}");

    run(&world, &["webhooks", "register", "--url", &url], &[]).await.is(0, "was registered before");
    assert_eq!(world.x.webhooks().len(), 1);
    run(&world, &["webhooks", "register", "--url", &other], &[]).await.is(1, "--replace");
    assert_eq!(world.x.webhooks()[0].url, url);

    // X cannot reach this one: the old one stands again, with its subscriptions.
    let dead = run(&world, &["webhooks", "register", "--replace", "--url", "http://127.0.0.1:1/"], &[]).await;
    dead.is(1, "is registered again as it was");
    assert_eq!(world.x.webhooks()[0].url, url);
    assert_eq!(world.x.subscriptions(), [ACCOUNT_ID]);

    run(&world, &["webhooks", "register", "--replace", "--url", &other], &[]).await.is(0, "gave up");
    let listed = run(&world, &webhooks, &[]).await.json();
    assert_eq!((listed[0]["url"].as_str(), listed[0]["valid"].as_bool()), (Some(other.as_str()), Some(true)));
    assert_eq!(world.x.subscriptions(), [ACCOUNT_ID]);

    let id = listed[0]["id"].as_str().expect("an id");
    run(&world, &["webhooks", "validate", id], &[]).await.is(0, "is valid");
    run(&world, &["webhooks", "validate", "12"], &[]).await.is(1, "no webhook with this id");
    run(&world, &["webhooks", "delete", id], &[]).await.is(0, "deleted");
    run(&world, &["webhooks", "list"], &[]).await.is(0, "nothing to list");
}

#[actix_rt::test]
async fn subscriptions_are_listed_removed_and_added() {
    let (world, hub, _instance, client) = world_with_account().await;
    run(&world, &["webhooks", "register", "--url", &hub.webhook()], &[]).await.is(0, "subscribed");
    let list = ["subscriptions", "list", "--output", "json"];
    let listed = run(&world, &list, &[]).await.json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!((&listed[0]["subscribed"], &listed[0]["screen_name"]), (&json!(true), &json!("AcmeCare")));
    let hub_id = listed[0]["account"].as_str().expect("an id").to_owned();

    run(&world, &["subscriptions", "remove", "@acmecare"], &[]).await.is(0, "no more events of @AcmeCare");
    assert!(world.x.subscriptions().is_empty());
    assert_eq!(run(&world, &list, &[]).await.json()[0]["subscribed"], false);
    let (_, accounts) = client.get("/api/twitter-details/").await.expect("an answer");
    assert_eq!(accounts[0]["subscribed"], false, "{accounts}");

    for name in [hub_id.as_str(), ACCOUNT_ID, "AcmeCare"] {
        run(&world, &["subscriptions", "add", name], &[]).await.is(0, "x sends the events of @AcmeCare");
        assert_eq!(world.x.subscriptions(), [ACCOUNT_ID], "{name}");
        run(&world, &["subscriptions", "remove", name], &[]).await.is(0, "no more");
    }
    run(&world, &["subscriptions", "add", "@nobody"], &[]).await.is(1, "no linked account is called @nobody");
    world.x.revoke_account(ACCOUNT_ID);
    run(&world, &["subscriptions", "add", ACCOUNT_ID], &[]).await.is(1, "auth");
}

#[actix_rt::test]
async fn a_forgotten_account_is_unsubscribed_at_x() {
    for path in ["/api/twitter-revoke/", "/api/twitter-details/ID/"] {
        let (world, hub, _instance, client) = world_with_account().await;
        run(&world, &["webhooks", "register", "--url", &hub.webhook()], &[]).await.is(0, "subscribed");
        assert_eq!(world.x.subscriptions(), [ACCOUNT_ID]);
        let (_, accounts) = client.get("/api/twitter-details/").await.expect("an answer");
        let path = path.replace("ID", accounts[0]["id"].as_str().expect("an id"));
        let (status, body) = client.delete(&path).await.expect("an answer");
        assert_eq!(status, 204, "{path} {body}");
        let begun = std::time::Instant::now();
        while !world.x.subscriptions().is_empty() {
            assert!(begun.elapsed().as_secs() < 10, "{path}: X was not told");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

#[actix_rt::test]
async fn wrong_settings_and_addresses_exit_with_2_before_x_is_asked() {
    let world = World::new("operators-secret", "").await;
    run(&world, &["migrate"], &[]).await.is(0, "");
    let register = ["webhooks", "register", "--url", "http://hub.example.com/api/activity/"];
    let at_x = [("TWITTER__API_URL", "https://api.x.com")];
    run(&world, &register, &at_x).await.is(2, "https");
    let with_port = ["webhooks", "register", "--url", "https://hub.example.com:8443/api/activity/"];
    run(&world, &with_port, &at_x).await.is(2, "port");
    for key in ["consumer_key", "consumer_secret"] {
        for command in [&register[..], &["webhooks", "list"]] {
            let told = outcome(world.command_without(key), command, &[]).await;
            told.is(2, &format!("twitter.{key}: missing"));
        }
    }
    // Where the bearer token is set, nothing else is needed to ask about webhooks.
    let bearer = [("TWITTER__BEARER_TOKEN", world.x.options().bearer_token.as_str())];
    let list = outcome(world.command_without("consumer_key"), &["webhooks", "list"], &bearer).await;
    list.is(0, "nothing to list");
    let wrong = [("TWITTER__CONSUMER_SECRET", "another")];
    run(&world, &["webhooks", "list"], &wrong).await.is(1, "twitter.consumer_secret");
}

#[actix_rt::test]
async fn a_key_file_that_was_named_is_read_and_never_made() {
    let world = World::embedded("operators-secret").await;
    let file = world.database().with_file_name("named.key");
    let path = file.display().to_string();
    let named = [("SECRETS__KEY_FILE", path.as_str())];
    for command in [&["migrate"][..], &["serve"], &["token", "list", "--user", "a@example.com"]] {
        run(&world, command, &named).await.is(2, &format!("secrets.key_file: there is no key file {path}"));
    }
    run(&world, &["doctor"], &named).await.is(1, "secrets.key_file");
    assert!(!file.exists(), "none was made");

    // Keys of both alphabets are taken, with or without padding.
    let key = "__".repeat(21) + "8";
    let mut options = std::fs::OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    options.open(&file).and_then(|mut file| file.write_all(key.as_bytes())).expect("a key file");
    run(&world, &["migrate"], &named).await.is(0, "applied");
    run(&world, &["migrate"], &[("SECRETS__KEY", &key)]).await.is(0, "up to date");
    assert!(!world.database().with_extension("db.key").exists(), "nor one beside the database");
}

#[actix_rt::test]
async fn another_key_is_refused_at_the_start() {
    let world = World::new("operators-secret", "").await;
    // Nothing is sealed yet: it is refused all the same.
    world.serve().await.kill();
    let other = [("SECRETS__KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")];
    let told = run(&world, &["serve"], &other).await;
    told.is(2, "secrets.key: it is not the key");
    told.is(2, "secrets.previous_keys");
    assert!(!told.stderr.contains(other[0].1), "{}", told.stderr);
    run(&world, &["doctor"], &other).await.is(1, "failed   credentials    secrets.key: it is not the key");
    world.serve().await.kill();
}

#[actix_rt::test]
async fn the_doctor_finds_what_is_wrong() {
    let (world, hub, _instance, _client) = world_with_account().await;
    let public = hub.base.clone();
    let here = [("SERVER__PUBLIC_URL", public.as_str())];

    let before = run(&world, &["doctor"], &here).await;
    before.is(1, "run `casewire webhooks register");
    run(&world, &["webhooks", "register", "--url", &hub.webhook()], &[]).await.is(0, "subscribed");

    let healthy = run(&world, &["doctor"], &here).await;
    assert_eq!(healthy.code, Some(0), "{}{}", healthy.stdout, healthy.stderr);
    for words in [
        "database       answers",
        "credentials    the key opens all 2",
        "admin          there are 1",
        "outbox         no dead letters",
        "clock          within",
        "public url     answers X's challenge",
        "webhook        X sends events",
        "subscriptions  X sends the events of 1",
        "account        @AcmeCare (990001234567890177): its tokens work",
        "instance       http://127.0.0.1",
    ] {
        assert!(healthy.stdout.contains(words), "{words:?} is missing in:\n{}", healthy.stdout);
    }
    assert!(!healthy.stdout.contains('\u{1b}'), "colours only on a terminal");
    assert!(healthy.stdout.lines().all(|line| line.starts_with("ok ")), "{}", healthy.stdout);

    let weak = [("SUPERUSER_PASSWORD", "password123")];
    run(&world, &["createsuperuser", "--email", "weak@example.com"], &weak).await.is(0, "weak@example.com");
    run(&world, &["doctor"], &here).await.is(0, "weak@example.com has a password that attackers try first");

    // The hub at the public URL has another secret than this command.
    let foreign = run(&world, &["doctor"], &[here[0], ("TWITTER__CONSUMER_SECRET", "another")]).await;
    foreign.is(1, "another twitter.consumer_secret");
    let away = run(&world, &["doctor"], &[("SERVER__PUBLIC_URL", "http://127.0.0.1:1")]).await;
    away.is(1, "does not answer");
    let other_key = [here[0], ("SECRETS__KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")];
    run(&world, &["doctor"], &other_key).await.is(1, "secrets.previous_keys");
    let no_instance = [here[0], ("SERVICENOW__ALLOW_PRIVATE_NETWORKS", "false")];
    run(&world, &["doctor"], &no_instance).await.is(1, "failed   instance");

    world.x.revoke_account(ACCOUNT_ID);
    let revoked = run(&world, &["doctor"], &here).await;
    revoked.is(1, "failed   account");
    revoked.is(1, "failed   subscriptions");
}

#[actix_rt::test]
async fn readiness_tells_of_the_webhook() {
    let (world, hub, _instance, client) = world_with_account().await;
    assert_eq!(webhook_check(&client, "failing").await, "failing", "nothing is registered yet");
    run(&world, &["webhooks", "register", "--url", &hub.webhook()], &[]).await.is(0, "subscribed");
    // A hub that starts now sees it at once; one that runs already, within ten minutes.
    hub.kill();
    let second = world.serve().await;
    let client = client.at(&second.base);
    assert_eq!(webhook_check(&client, "ok").await, "ok");
}

#[actix_rt::test]
async fn an_embedded_database_is_served_by_one_process() {
    let world = World::embedded("operators-secret").await;
    let first = world.serve().await;
    run(&world, &["serve"], &[]).await.is(1, "another process serves");
    first.kill();
    let _next = world.serve().await;
}

/// What readiness says, asked again until it says what is awaited or five seconds have passed.
async fn webhook_check(client: &casewire_sandbox::ApiClient, awaited: &str) -> String {
    let begun = std::time::Instant::now();
    loop {
        let (status, body) = client.get("/health/ready/").await.expect("an answer");
        assert_eq!(status, 200, "{body}");
        let said = body["checks"]["webhook"].as_str().unwrap_or_default().to_owned();
        if said == awaited || begun.elapsed().as_secs() > 5 {
            return said;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[actix_rt::test]
async fn the_api_is_described_as_it_answers() {
    let (world, _hub, _instance, client) = world_with_account().await;
    let anyone = client.without_token();
    let (status, document) = anyone.get("/api/schema/").await.expect("an answer");
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
    assert_eq!(run(&world, &["openapi"], &[]).await.json(), document);

    for (path, shape) in [
        ("/api/twitter-details/", "Account"),
        ("/api/servicenow-details/", "Instance"),
        ("/auth/users/", "User"),
        ("/auth/tokens/", "TokenInfo"),
        ("/health/ready/", "Ready"),
    ] {
        let (status, body) = client.get(path).await.expect("an answer");
        assert_eq!(status, 200, "{path} {body}");
        let one = body.get(0).unwrap_or(&body);
        let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        let told = keys(&document["components"]["schemas"][shape]["properties"]);
        assert_eq!(keys(one), told, "{path}");
    }
}
