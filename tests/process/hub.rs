//! `casewire serve` as a child process, beside a simulated X and simulated instances.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use casewire_sandbox::{ApiClient, ServiceNowSandbox, XAccount, XOptions, XSandbox};
use serde_json::{Value, json};

use crate::home::Home;

/// The account that the tests link.
pub(crate) const ACCOUNT_ID: &str = "990001234567890177";
pub(crate) const ADMIN: &str = "admin@example.com";
pub(crate) const PASSWORD: &str = "a-long-password";
/// How long a hub may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A folder with settings and a database, and what runs in it.
pub(crate) struct World {
    home: Home,
    pub(crate) x: XSandbox,
    log_level: &'static str,
}

/// A running hub. Killed when dropped; a test that fails shows its log.
pub(crate) struct Running {
    child: Child,
    pub(crate) base: String,
    log_file: PathBuf,
}

/// The account of the tests, as X knows it.
pub(crate) fn account() -> XAccount {
    XAccount {
        id: ACCOUNT_ID.to_owned(),
        screen_name: "AcmeCare".to_owned(),
        name: "Acme Care".to_owned(),
        access_token: "token".to_owned(),
        access_token_secret: "token-secret".to_owned(),
    }
}

impl World {
    /// A simulated X that signs with this secret, and settings for a hub beside it.
    pub(crate) async fn new(consumer_secret: &str, more_settings: &str) -> Self {
        Self::with(Self::options(consumer_secret), more_settings).await
    }

    /// A simulated X that signs with this secret.
    pub(crate) fn options(consumer_secret: &str) -> XOptions {
        XOptions { consumer_secret: consumer_secret.to_owned(), echo: false, ..XOptions::default() }
    }

    /// With an embedded database, whatever the tests run on.
    pub(crate) async fn embedded(consumer_secret: &str) -> Self {
        Self::at(Home::embedded(), Self::options(consumer_secret), "").await
    }

    /// This simulated X, and settings for a hub beside it.
    pub(crate) async fn with(options: XOptions, more_settings: &str) -> Self {
        Self::at(Home::new(), options, more_settings).await
    }

    async fn at(home: Home, options: XOptions, more_settings: &str) -> Self {
        let x = XSandbox::start(options).await.expect("a simulated X");
        x.add_account(account());
        let settings = format!(
            "server: {{listen: '127.0.0.1:0', port_file: {port}}}\n\
             log: {{format: text}}\n\
             twitter: {{api_url: '{x}', consumer_key: '{key}', consumer_secret: '{secret}'}}\n\
             {more_settings}",
            port = home.path().join("port").display(),
            x = x.url(),
            key = x.options().consumer_key,
            secret = x.options().consumer_secret,
        );
        std::fs::write(home.path().join("settings.yaml"), settings).expect("a settings file");
        Self { home, x, log_level: "warn" }
    }

    /// The same, for a test that has many deliveries fail on purpose.
    pub(crate) fn quiet(self) -> Self {
        Self { log_level: "error", ..self }
    }

    /// The same world for commands, without one key of the X app.
    pub(crate) fn command_without(&self, key: &str) -> Command {
        let file = self.home.path().join("settings.yaml");
        let text = std::fs::read_to_string(&file).expect("a settings file");
        let (before, after) = text.split_once(&format!("{key}: '")).expect("the key");
        let after = after.split_once('\'').expect("its end").1.trim_start_matches(", ");
        let without = self.home.path().join(format!("without-{key}.yaml"));
        std::fs::write(&without, format!("{before}{after}")).expect("a settings file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_casewire"));
        command.arg("--config").arg(without).current_dir(self.home.path()).stdin(Stdio::null());
        command.envs(self.home.env()).env("CASEWIRE_LOG__LEVEL", self.log_level);
        command
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_casewire"));
        command.arg("--config").arg(self.home.path().join("settings.yaml"));
        command.current_dir(self.home.path()).stdin(Stdio::null());
        command.envs(self.home.env()).env("CASEWIRE_LOG__LEVEL", self.log_level);
        command
    }

    /// The file of the embedded database.
    pub(crate) fn database(&self) -> PathBuf {
        self.home.path().join("hub.db")
    }

    /// Starts the hub and waits until it listens.
    pub(crate) async fn serve(&self) -> Running {
        self.serve_with(&[], &[]).await
    }

    /// The same with more arguments, and with some settings by their environment variables.
    pub(crate) async fn serve_with(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Running {
        let port_file = self.home.path().join("port");
        let _none_before = std::fs::remove_file(&port_file);
        let log_file = self.home.path().join("log");
        let log = File::options().create(true).append(true).open(&log_file).expect("a log file");
        let mut command = self.command();
        for (name, value) in settings {
            command.env(format!("CASEWIRE_{name}"), value);
        }
        command.args(["serve", "--migrate"]).args(arguments);
        let child = command.stderr(log).spawn().expect("the program starts");
        // From here on whatever goes wrong ends the child too.
        let mut hub = Running { child, base: String::new(), log_file };
        let port = hub.port(&port_file).await;
        hub.base = format!("http://127.0.0.1:{port}");
        hub
    }

    /// Makes an admin, and logs in.
    pub(crate) async fn log_in(&self, hub: &Running) -> ApiClient {
        let mut command = self.command();
        command.args(["createsuperuser", "--email", ADMIN]).env("CASEWIRE_SUPERUSER_PASSWORD", PASSWORD);
        let made = command.stdout(Stdio::null()).status().expect("the command runs");
        assert!(made.success());
        let client = ApiClient::new(&hub.base).expect("a client");
        let credentials = json!({ "username": ADMIN, "password": PASSWORD });
        let (status, body) = client.post("/auth/login/", &credentials).await.expect("an answer");
        assert_eq!(status, 200, "{body}");
        client.with_token(body["token"].as_str().expect("a token"))
    }

    /// Connects the instance and links the account to it.
    pub(crate) async fn set_up(&self, hub: &ApiClient, instance: &ServiceNowSandbox, extra: Value) {
        self.link(hub, instance, &account(), extra).await;
    }

    /// The same with another account.
    pub(crate) async fn link(
        &self,
        hub: &ApiClient,
        instance: &ServiceNowSandbox,
        account: &XAccount,
        extra: Value,
    ) {
        let mut form = json!({
            "instance_url": instance.url(),
            "auth": "basic",
            "admin_user": "casewire",
            "admin_password": "sandbox",
        });
        form.as_object_mut().expect("an object").extend(extra.as_object().cloned().unwrap_or_default());
        let (status, body) = hub.post("/api/servicenow-details/", &form).await.expect("an answer");
        assert_eq!(status, 201, "{body}");
        let form = json!({
            "twitter_user_id": account.id,
            "screen_name": account.screen_name,
            "access_token": account.access_token,
            "access_token_secret": account.access_token_secret,
        });
        let (status, body) = hub.post("/api/twitter-details/", &form).await.expect("an answer");
        assert_eq!(status, 201, "{body}");
    }
}

impl Running {
    /// Waits for the port it listens at.
    async fn port(&mut self, port_file: &Path) -> String {
        let begun = Instant::now();
        loop {
            let port = std::fs::read_to_string(port_file).unwrap_or_default();
            if !port.is_empty() {
                return port;
            }
            // Its log is shown as this panics.
            let ended = self.child.try_wait().expect("the child can be asked");
            assert!(ended.is_none(), "the hub ended before it listened: {ended:?}");
            assert!(begun.elapsed() < START_LIMIT, "the hub does not listen within {START_LIMIT:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the hub is killed");
        self.child.wait().expect("the hub is gone");
    }

    /// Where X posts.
    pub(crate) fn webhook(&self) -> String {
        format!("{}/api/activity/", self.base)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _gone_already = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log_file).unwrap_or_default();
            println!("the log of the hub:\n{log}");
        }
    }
}

/// Waits until nothing is pending in the hub. Panics after the given time with what is left.
pub(crate) async fn settle(hub: &ApiClient, patience: Duration) {
    let deadline = Instant::now() + patience;
    loop {
        let mut left = Vec::new();
        for status in ["queued", "sending", "retrying", "blocked"] {
            let path = format!("/api/deliveries/?status={status}&limit=3");
            let (code, page) = hub.get(&path).await.expect("an answer");
            assert_eq!(code, 200, "{page}");
            left.extend(page.as_array().expect("a list").clone());
        }
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still pending: {left:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
