//! Replicas, their database, and both sides simulated.

use std::process::Stdio;
use std::time::{Duration, Instant};

use casewire_sandbox::{ServiceNowSandbox, SnOptions, XLimits, XOptions, XSandbox};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use super::customers::account;
use super::proxy::Proxy;
use super::replica::Replica;
use super::wire::{Caller, Reply};
use crate::postgres::Database;
use crate::process::hub::{ADMIN, PASSWORD};

/// Calls to X may take so long.
pub(crate) const X_TIMEOUT_MS: u64 = 1000;
const SECRET: &str = "cluster-secret";
/// Seals the credentials of the tests' replicas.
const SEALING_KEY: &str = "Y2FzZXdpcmUncyB0ZXN0cyBoYXZlIG5vIHNlY3JldHM=";
const POLL: Duration = Duration::from_millis(50);

/// One cluster at a time: they measure times.
static TURN: Mutex<()> = Mutex::const_new(());

/// As long as it is held, no other cluster runs.
pub(crate) type Turn = MutexGuard<'static, ()>;

/// Waits until no other cluster runs.
pub(crate) async fn turn() -> Turn {
    TURN.lock().await
}

/// What a test wants.
pub(crate) struct Wanted<'a> {
    pub(crate) n_replicas: usize,
    pub(crate) n_instances: usize,
    /// Settings beside those of the cluster itself.
    pub(crate) settings: &'a str,
    /// Further fields of every instance.
    pub(crate) instance: Value,
}

/// A cluster whose replicas all run. Everything of it ends with it.
pub(crate) struct Cluster {
    // The replicas end first, then the folder and the database go.
    pub(crate) replicas: Vec<Replica>,
    pub(crate) instances: Vec<ServiceNowSandbox>,
    /// One for each company, at the hub.
    pub(crate) instance_ids: Vec<String>,
    pub(crate) x: XSandbox,
    pub(crate) token: String,
    _folder: tempfile::TempDir,
    database: Database,
    _turn: Turn,
}

impl Cluster {
    /// Makes everything, starts the replicas, and links a company's account with each instance.
    pub(crate) async fn start(server: &str, wanted: Wanted<'_>) -> Self {
        Self::start_in(turn().await, server, wanted).await
    }

    /// The same for one whose turn it is already.
    pub(crate) async fn start_in(turn: Turn, server: &str, wanted: Wanted<'_>) -> Self {
        let options = XOptions {
            consumer_secret: SECRET.to_owned(),
            echo: false,
            limits: XLimits::unlimited(),
            ..XOptions::default()
        };
        let x = XSandbox::start(options).await.expect("a simulated X");
        let quiet = SnOptions { cookies: false, ..SnOptions::default() };
        let instances = ServiceNowSandbox::start_many(quiet, wanted.n_instances);
        let instances = instances.await.expect("simulated instances");
        let database = Database::make(server).await;
        let mut folder = tempfile::tempdir().expect("a temporary folder");
        if std::env::var_os("CASEWIRE_TEST_KEEP").is_some() {
            folder.disable_cleanup(true);
            println!("kept: {} with database {}", folder.path().display(), database.name());
        }
        let mut replicas = Vec::new();
        for name in ('a'..='z').take(wanted.n_replicas) {
            let proxy = Proxy::start(database.server_address()).await;
            let settings = settings(&database.url_through(proxy.port()), &x, wanted.settings);
            replicas.push(Replica::new(&name.to_string(), folder.path(), proxy, &settings));
        }
        prepare(&replicas[0]);
        for replica in &mut replicas {
            replica.start().await;
        }
        let token = log_in(replicas[0].base(), ADMIN, PASSWORD).await;
        let mut cluster = Self {
            replicas,
            instances,
            instance_ids: Vec::new(),
            x,
            token,
            _folder: folder,
            database,
            _turn: turn,
        };
        cluster.link_all(&wanted.instance).await;
        cluster
    }

    /// From now on every replica's way to the database leads to another server, that of a copy.
    pub(crate) fn lead_to(&mut self, server: &str) {
        self.database.move_to(server);
        for replica in &self.replicas {
            replica.proxy.lead_to(self.database.server_address());
        }
    }

    async fn link_all(&mut self, extra: &Value) {
        for company in 0..self.instances.len() {
            let mut form = json!({
                "instance_url": self.instances[company].url(),
                "auth": "basic", "admin_user": "casewire", "admin_password": "sandbox",
            });
            form.as_object_mut().expect("an object").extend(extra.as_object().cloned().unwrap_or_default());
            let made = self.admin(0).post("/api/servicenow-details/", &form).await.expect("an answer");
            assert_eq!(made.status, 201, "{}", made.text);
            let instance_id = made.body["id"].as_str().expect("an id").to_owned();
            let linked = self.link(0, company, &instance_id).await;
            assert_eq!(linked.status, 201, "{}", linked.text);
            self.instance_ids.push(instance_id);
        }
    }

    /// Links a company's account with an instance, through one replica.
    pub(crate) async fn link(&self, replica: usize, company: usize, instance_id: &str) -> Reply {
        let account = account(company);
        self.x.add_account(account.clone());
        let form = json!({
            "twitter_user_id": account.id, "screen_name": account.screen_name,
            "access_token": account.access_token, "access_token_secret": account.access_token_secret,
            "instance": instance_id,
        });
        self.admin(replica).post("/api/twitter-details/", &form).await.expect("an answer")
    }

    /// The administrator, at one replica.
    pub(crate) fn admin(&self, replica: usize) -> Caller {
        Caller::new(self.replicas[replica].base()).with_token(&self.token)
    }

    /// What X signs with.
    pub(crate) fn secret(&self) -> &str {
        &self.x.options().consumer_secret
    }

    /// Waits until no replica has anything pending. Panics after the given time with what is left.
    pub(crate) async fn settle(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            let left = self.pending().await;
            if left.as_ref().is_some_and(Vec::is_empty) {
                return;
            }
            assert!(Instant::now() < deadline, "still pending: {left:#?}{}", self.log_ends());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Some of what is pending; `None` when the hub does not tell.
    async fn pending(&self) -> Option<Vec<Value>> {
        let mut pending = Vec::new();
        for status in ["queued", "sending", "retrying", "blocked"] {
            let path = format!("/api/deliveries/?status={status}&limit=3");
            let page = self.admin(0).get(&path).await.ok().filter(|page| page.status == 200)?;
            pending.extend(page.body.as_array()?.clone());
        }
        Some(pending)
    }

    /// Panics unless all replicas are ready, none has panicked, and no actor is out of service.
    pub(crate) async fn check_health(&self) {
        for replica in &self.replicas {
            let caller = Caller::new(replica.base());
            let ready = caller.get("/health/ready/").await.expect("an answer");
            assert_eq!(ready.status, 200, "replica {}: {}", replica.name, ready.text);
            assert_eq!(ready.body["checks"]["actors"], "ok", "replica {}", replica.name);
            let metrics = caller.get("/metrics").await.expect("metrics").text;
            let n_panics = metrics.lines().find_map(|line| line.strip_prefix("casewire_panics_total "));
            assert_eq!(n_panics, Some("0"), "replica {}: {}", replica.name, replica.log_end());
            // Those that were killed count no longer, but what they wrote stays.
            let log = replica.log();
            let bad = log.lines().find(|line| line.contains("panicked") || line.contains("out of service"));
            assert_eq!(bad, None, "replica {}", replica.name);
        }
    }

    /// The last lines of all logs.
    pub(crate) fn log_ends(&self) -> String {
        let ends = self.replicas.iter().map(|replica| format!("\n{}:{}", replica.name, replica.log_end()));
        ends.collect::<Vec<_>>().concat()
    }
}

fn settings(database_url: &str, x: &XSandbox, more: &str) -> String {
    format!(
        "database: {{url: '{database_url}'}}\n\
         secrets: {{key: '{SEALING_KEY}'}}\n\
         log: {{format: text, level: info}}\n\
         twitter: {{api_url: '{x}', consumer_key: '{key}', consumer_secret: '{SECRET}', \
         timeout: {X_TIMEOUT_MS}ms}}\n\
         {more}",
        x = x.url(),
        key = x.options().consumer_key,
    )
}

/// Makes the schema and its admin.
fn prepare(replica: &Replica) {
    let migrated = replica.command().arg("migrate").status().expect("the command runs");
    assert!(migrated.success(), "{}", replica.log_end());
    let mut command = replica.command();
    command.args(["createsuperuser", "--email", ADMIN]).env("CASEWIRE_SUPERUSER_PASSWORD", PASSWORD);
    let made = command.stdout(Stdio::null()).status().expect("the command runs");
    assert!(made.success(), "{}", replica.log_end());
}

/// A new token of a user.
pub(crate) async fn log_in(base: &str, username: &str, password: &str) -> String {
    let credentials = json!({ "username": username, "password": password });
    let login = Caller::new(base).post("/auth/login/", &credentials).await.expect("an answer");
    assert_eq!(login.status, 200, "{}", login.text);
    login.body["token"].as_str().expect("a token").to_owned()
}
