//! The program that is measured: the real one, as a child process, on a temporary database.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::machine;
use crate::wire::{Connection, Session, request};

/// The superuser of every database of a bench.
pub(crate) const EMAIL: &str = "bench@casewire.example";
/// Its password.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Seals what the hub keeps; nothing of it is secret.
const SEALING_KEY: &str = "Y2FzZXdpcmUtYmVuY2gta2V5LW9mLTMyLWJ5dGVzISE=";

const START_LIMIT: Duration = Duration::from_secs(20);
/// How long it may take to stop in order.
const STOP_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(2);

/// What differs between the hubs of the scenarios.
#[derive(Clone, Debug)]
pub(crate) struct HubOptions {
    /// `delivery.rate`
    pub(crate) rate: &'static str,
    /// `delivery.concurrency`
    pub(crate) concurrency: u32,
    /// `servicenow.timeout`
    pub(crate) servicenow_timeout: &'static str,
    /// An empty database on a server; otherwise one is embedded.
    pub(crate) database_url: Option<String>,
}

impl Default for HubOptions {
    /// The hub's own defaults.
    fn default() -> Self {
        Self { rate: "20 per 1s", concurrency: 4, servicenow_timeout: "65s", database_url: None }
    }
}

/// The X app that the hub is told of.
#[derive(Clone, Debug, Default)]
pub(crate) struct XApp {
    pub(crate) url: String,
    pub(crate) consumer_key: String,
    pub(crate) consumer_secret: String,
    pub(crate) bearer_token: String,
}

/// A database with its settings and superuser, and the program to run on it.
pub(crate) struct Home {
    folder: TempDir,
    binary: PathBuf,
    /// Where its database is.
    pub(crate) database_url: String,
    n_served: Cell<usize>,
}

/// A running hub; dropping it kills it.
pub(crate) struct Hub {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From its start until it said that it was ready.
    pub(crate) ready_after: Duration,
}

impl Home {
    /// Writes the settings and makes the superuser.
    pub(crate) fn make(binary: &Path, below: &Path, options: &HubOptions, x: &XApp) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("casewire-bench-").tempdir_in(below);
        let folder = folder.with_context(|| format!("cannot make a folder below {}", below.display()))?;
        let embedded = || format!("sqlite://{}", folder.path().join("casewire.db").display());
        let database_url = options.database_url.clone().unwrap_or_else(embedded);
        let home = Self { folder, binary: binary.to_owned(), database_url, n_served: Cell::new(0) };
        // JSON is YAML too.
        let settings = json!({
            "server": {"listen": "127.0.0.1:0"},
            "database": {"url": home.database_url},
            "secrets": {"key": SEALING_KEY},
            "auth": {"request_rate": "unlimited"},
            "twitter": {
                "api_url": if x.url.is_empty() { "http://127.0.0.1:9" } else { &x.url },
                "consumer_key": x.consumer_key, "consumer_secret": x.consumer_secret,
                "bearer_token": x.bearer_token,
            },
            "servicenow": {"allow_private_networks": true, "timeout": options.servicenow_timeout},
            "delivery": {
                "rate": options.rate, "concurrency": options.concurrency, "queue_limit": 10_000_000,
                "backoff": {"first": "500ms", "factor": 3, "max": "10s", "jitter": 0.2},
            },
            "log": {"level": "warn", "format": "text"},
        });
        fs::write(home.path("settings.yaml"), settings.to_string())?;
        if options.database_url.is_some() {
            home.migrate()?;
        }
        home.create_superuser()?;
        Ok(home)
    }

    /// Its folder.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn command(&self, words: &[&str]) -> Result<Command> {
        let log = File::options().create(true).append(true).open(self.path("log"))?;
        let mut command = Command::new(&self.binary);
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CASEWIRE_"))
        {
            command.env_remove(name);
        }
        command.arg("--config").arg(self.path("settings.yaml")).args(words).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Ok(command)
    }

    fn migrate(&self) -> Result<()> {
        let status = self.command(&["migrate"])?.status()?;
        if !status.success() {
            bail!("migrate ended with {status}: {}", self.log_end());
        }
        Ok(())
    }

    fn create_superuser(&self) -> Result<()> {
        let mut command = self.command(&["createsuperuser", "--email", EMAIL, "--password-stdin"])?;
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // If it has ended already, its log says more than a broken pipe.
            let _ended = writeln!(stdin, "{PASSWORD}");
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("createsuperuser ended with {status}: {}", self.log_end());
        }
        Ok(())
    }

    /// Starts a hub and waits until it is ready. On a server's database there may be several at a time.
    pub(crate) async fn serve(&self) -> Result<Hub> {
        self.n_served.set(self.n_served.get() + 1);
        let port_file = self.path(&format!("port-{}", self.n_served.get()));
        let mut command = self.command(&["serve"])?;
        command.env("CASEWIRE_SERVER__PORT_FILE", &port_file);
        let begun = Instant::now();
        let child = command.spawn().context("cannot start casewire serve")?;
        let mut hub =
            Hub { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), ready_after: Duration::ZERO };
        while begun.elapsed() < START_LIMIT {
            if let Some(status) = hub.child.try_wait()? {
                bail!("casewire serve ended with {status}: {}", self.log_end());
            }
            let port = fs::read_to_string(&port_file).ok().and_then(|port| port.trim().parse().ok());
            if let Some(port) = port {
                hub.address.set_port(port);
                if is_ready(hub.address).await {
                    hub.ready_after = begun.elapsed();
                    return Ok(hub);
                }
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("casewire serve was not ready within {START_LIMIT:?}: {}", self.log_end());
    }

    /// How long the program takes to tell its version, in milliseconds: the least that a start costs.
    pub(crate) fn version_ms(&self) -> Result<f64> {
        let begun = Instant::now();
        version(&self.binary)?;
        Ok(begun.elapsed().as_secs_f64() * 1000.0)
    }

    /// The last lines of what it logged.
    pub(crate) fn log_end(&self) -> String {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

async fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut connection) = Connection::open(address).await else { return false };
    let reply = connection.call(&request("GET", "/health/ready/", "", b"")).await;
    reply.is_ok_and(|reply| reply.status == 200)
}

impl Hub {
    /// Its process id.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Lets it stop in order.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let kill = format!("kill -TERM {}", self.process());
        Command::new("sh").arg("-c").arg(kill).status().context("cannot run sh")?;
        let begun = Instant::now();
        while begun.elapsed() < STOP_LIMIT {
            if let Some(status) = self.child.try_wait()? {
                return if status.success() { Ok(()) } else { bail!("casewire serve ended with {status}") };
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("casewire serve did not stop within {STOP_LIMIT:?}");
    }

    /// Its processor time so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        machine::cpu_seconds(self.process())
    }

    /// The answer to a login of the superuser.
    pub(crate) async fn login(&self) -> Result<Value> {
        let credentials = json!({"username": EMAIL, "password": PASSWORD});
        Session::open(self.address).await?.post("/auth/login/", &credentials, 200).await
    }

    /// A new token of the superuser.
    pub(crate) async fn token(&self) -> Result<String> {
        let login = self.login().await?;
        login["token"].as_str().map(str::to_owned).context("the login gave no token")
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// What the program says of its version.
pub(crate) fn version(binary: &Path) -> Result<String> {
    let output = Command::new(binary).arg("--version").stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {}", binary.display()))?;
    if !output.status.success() {
        bail!("{} --version ended with {}", binary.display(), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The program to measure: the one named, else one beside this program, else that of the target folder.
pub(crate) fn find_binary(named: Option<PathBuf>) -> Result<PathBuf> {
    let candidates: Vec<PathBuf> = if let Some(path) = named {
        vec![path]
    } else {
        let beside = std::env::current_exe().ok().map(|path| path.with_file_name("casewire"));
        beside.into_iter().chain([PathBuf::from("target/release/casewire")]).collect()
    };
    let found = candidates.iter().find(|path| path.is_file());
    let found = found.with_context(|| {
        let tried: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
        format!(
            "there is no program to measure at {}; build it with `cargo build --release`, or name it with --binary",
            tried.join(" or ")
        )
    })?;
    found.canonicalize().with_context(|| format!("cannot open {}", found.display()))
}
