//! One replica: the program as a child process, with a folder, a log and a way to the database of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::proxy::Proxy;
use super::wire::Caller;

/// How long a replica may take to be ready.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take to end after SIGTERM: `server.shutdown_timeout` and a little.
const END_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// Where a replica can be reached at the moment, for those who send to it. Clones tell the same.
#[derive(Clone, Default)]
pub(crate) struct Door(Arc<Mutex<Option<String>>>);

impl Door {
    /// The address, if the replica runs: also while it is paused, which nobody outside can see.
    pub(crate) fn base(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, base: Option<&str>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = base.map(str::to_owned);
    }
}

/// Killed when dropped.
pub(crate) struct Replica {
    /// `a`, `b`, `c`, …
    pub(crate) name: String,
    folder: PathBuf,
    pub(crate) proxy: Proxy,
    child: Option<Child>,
    base: String,
    door: Door,
}

impl Replica {
    /// A replica that does not run yet. `settings` are complete but for what is this replica's own.
    pub(crate) fn new(name: &str, below: &Path, proxy: Proxy, settings: &str) -> Self {
        let folder = below.join(name);
        std::fs::create_dir(&folder).expect("a folder for the replica");
        let port_file = folder.join("port");
        let own = format!("server: {{listen: '127.0.0.1:0', port_file: '{}'}}\n", port_file.display());
        std::fs::write(folder.join("settings.yaml"), own + settings).expect("a settings file");
        Self { name: name.to_owned(), folder, proxy, child: None, base: String::new(), door: Door::default() }
    }

    /// A command of the program with this replica's settings; it writes to this replica's log.
    pub(crate) fn command(&self) -> Command {
        let log = File::options().create(true).append(true).open(self.log_file()).expect("a log file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_casewire"));
        command.arg("--config").arg(self.folder.join("settings.yaml")).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command
    }

    /// Starts it and waits until it is ready. One that ends at once, because its database cannot be reached
    /// say, is started again, as an operator's supervisor does.
    pub(crate) async fn start(&mut self) {
        assert!(self.child.is_none(), "replica {} runs already", self.name);
        let begun = Instant::now();
        self.spawn();
        while !self.is_ready().await {
            let in_time = begun.elapsed() < START_LIMIT;
            assert!(in_time, "replica {} is not ready: {}", self.name, self.log_end());
            if self.ended().is_some() {
                self.child = None;
                self.spawn();
            }
            tokio::time::sleep(POLL).await;
        }
        self.door.set(Some(&self.base));
    }

    fn spawn(&mut self) {
        let port_file = self.folder.join("port");
        let _none_before = std::fs::remove_file(&port_file);
        self.base.clear();
        self.child = Some(self.command().arg("serve").spawn().expect("the program starts"));
    }

    async fn is_ready(&mut self) -> bool {
        if self.base.is_empty() {
            let port = std::fs::read_to_string(self.folder.join("port")).unwrap_or_default();
            if port.is_empty() {
                return false;
            }
            self.base = format!("http://127.0.0.1:{port}");
        }
        let ready = Caller::new(&self.base).get("/health/ready/").await;
        ready.is_ok_and(|reply| reply.status == 200)
    }

    /// Where it listens, or listened last.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The same for senders, whom it tells of changes.
    pub(crate) fn door(&self) -> Door {
        self.door.clone()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // It may have ended by itself; then there is nothing to kill.
        let _gone = child.kill();
        self.door.set(None);
        let _status = child.wait();
    }

    /// SIGSTOP: it stands still where it is.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on, and does not know that time has passed.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM, and waits until it has ended as it should. Returns how long that took.
    pub(crate) async fn terminate(&mut self) -> Duration {
        self.ask_to_end();
        self.has_ended().await
    }

    /// SIGTERM.
    pub(crate) fn ask_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits until it has ended as it should after SIGTERM. Returns how long that took.
    pub(crate) async fn has_ended(&mut self) -> Duration {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.ended() {
                break status;
            }
            let in_time = begun.elapsed() < END_LIMIT;
            assert!(in_time, "replica {} does not end after SIGTERM: {}", self.name, self.log_end());
            tokio::time::sleep(POLL).await;
        };
        self.child = None;
        self.door.set(None);
        assert!(status.success(), "replica {} ended with {status}: {}", self.name, self.log_end());
        begun.elapsed()
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the replica runs");
        kill_process(Pid::from_child(child), signal).expect("the replica takes a signal");
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().expect("the child can be asked"))
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Everything that it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The last lines of its log.
    pub(crate) fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        format!("\n{}", lines[lines.len().saturating_sub(15)..].join("\n"))
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}
