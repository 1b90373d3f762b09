//! A PostgreSQL server and its synchronous standby, made from the programs of the distribution.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use super::programs::{command, own_folder, run};

/// Where Debian puts the programs, one folder a version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Ends a server and its processes at once, and leaves its files as they are.
const LAST_SIGNAL: &str = "QUIT";
/// Owns every database.
const OWNER: &str = "casewire";
/// Of both servers; the standby must not allow fewer connections than the primary.
const SETTINGS: [&str; 4] =
    ["listen_addresses=", "max_connections=60", "shared_buffers=32MB", "synchronous_commit=on"];
/// A commit waits until the standby has flushed it: `on` is enough, because the standby applies all that it has
/// flushed before it takes a write. `remote_apply` would matter only to those who read at the standby.
const ONE_STANDBY: &str = "synchronous_standby_names=*";
/// Whoever is promoted has no standby, and would wait for one at every commit.
const NO_STANDBY: &str = "synchronous_standby_names=";
const START_LIMIT: Duration = Duration::from_secs(30);
const END_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

const STATE_OF_STANDBY: &str = "SELECT sync_state || ' ' || state FROM pg_stat_replication";
const N_WAITING_COMMITS: &str = "SELECT COUNT(*)::text FROM pg_stat_activity WHERE backend_type = 'client backend' AND wait_event = 'SyncRep'";
const IS_STANDBY: &str = "SELECT pg_is_in_recovery()::text";

/// Both servers; dropping them ends them and removes their files.
pub(crate) struct Pair {
    pub(crate) primary: Server,
    pub(crate) standby: Server,
}

impl Pair {
    /// Starts both and waits until commits wait for the standby. `None` without the programs.
    pub(crate) async fn start() -> Option<Self> {
        let programs = find_programs()?;
        let folder = own_folder();
        let data = folder.path().join("data");
        let mut initdb = command(&programs.join("initdb"), LAST_SIGNAL);
        initdb.arg("-D").arg(&data).args(["-A", "trust", "-U", OWNER, "-E", "UTF8", "--locale", "C.UTF-8"]);
        run(&mut initdb);
        let primary = Server::start(&programs, folder, ONE_STANDBY).await;

        let folder = own_folder();
        let mut copy = command(&programs.join("pg_basebackup"), LAST_SIGNAL);
        copy.arg("-D").arg(folder.path().join("data")).arg("-h").arg(primary.folder.path());
        copy.args(["-U", OWNER, "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast"]);
        run(&mut copy);
        let standby = Server::start(&programs, folder, NO_STANDBY).await;
        let pair = Self { primary, standby };
        pair.primary.wait_until(STATE_OF_STANDBY, "sync streaming").await;
        Some(pair)
    }
}

/// A running server with a folder for its data, its log and its socket.
pub(crate) struct Server {
    postmaster: Child,
    programs: PathBuf,
    folder: TempDir,
}

impl Server {
    async fn start(programs: &Path, folder: TempDir, standbys: &str) -> Self {
        let log = File::create(folder.path().join("log")).expect("a log");
        let mut postgres = command(&programs.join("postgres"), LAST_SIGNAL);
        postgres.arg("-D").arg(folder.path().join("data")).arg("-k").arg(folder.path());
        for setting in SETTINGS.iter().chain([&standbys]) {
            postgres.args(["-c", setting]);
        }
        postgres.stdout(log.try_clone().expect("the same log")).stderr(log);
        let postmaster = postgres.spawn().expect("postgres starts");
        let server = Self { postmaster, programs: programs.to_owned(), folder };
        server.wait_until("SELECT 'ready'", "ready").await;
        server
    }

    /// The address of its first database.
    pub(crate) fn url(&self) -> String {
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://{OWNER}@{socket}/postgres")
    }

    /// Waits until a question has this answer.
    async fn wait_until(&self, question: &'static str, expected: &str) {
        let begun = Instant::now();
        loop {
            let answer = self.ask(question).await;
            if answer.as_ref().is_ok_and(|answer| answer.as_deref() == Some(expected)) {
                return;
            }
            let in_time = begun.elapsed() < START_LIMIT;
            assert!(in_time, "{question:?} is answered with {answer:?}: {}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    async fn ask(&self, question: &'static str) -> sqlx::Result<Option<String>> {
        let mut connection = PgConnection::connect(&self.url()).await?;
        let answer = sqlx::query_scalar(question).fetch_optional(&mut connection).await?;
        connection.close().await?;
        Ok(answer)
    }

    /// Whether every commit waits for a standby that follows.
    pub(crate) async fn is_followed(&self) -> bool {
        self.ask(STATE_OF_STANDBY).await.is_ok_and(|state| state.as_deref() == Some("sync streaming"))
    }

    /// Stops a standby where it is: it confirms nothing, and what is sent to it waits.
    pub(crate) fn pause(&self) {
        self.signal_children(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal_children(Signal::CONT);
    }

    fn signal_children(&self, signal: Signal) {
        for process in children_of(Pid::from_child(&self.postmaster)) {
            // One that was about to end anyway may be gone.
            let _gone = kill_process(process, signal);
        }
    }

    /// How many commits wait for the standby.
    pub(crate) async fn n_waiting_commits(&self) -> i64 {
        let n = self.ask(N_WAITING_COMMITS).await.ok().flatten();
        n.and_then(|n| n.parse().ok()).unwrap_or_default()
    }

    /// kill -9 to all its processes at once, as when the machine is lost. Returns how many there were.
    pub(crate) async fn kill(&mut self) -> usize {
        let postmaster = Pid::from_child(&self.postmaster);
        // Standing still it starts no further ones.
        kill_process(postmaster, Signal::STOP).expect("the server takes a signal");
        let processes = children_of(postmaster);
        assert!(!processes.is_empty(), "the server has processes beside the first");
        self.postmaster.kill().expect("the server is killed");
        for &process in &processes {
            // One that was about to end anyway may be gone.
            let _gone = kill_process(process, Signal::KILL);
        }
        self.postmaster.wait().expect("the server is gone");
        let begun = Instant::now();
        while processes.iter().any(|process| is_alive(*process)) {
            assert!(begun.elapsed() < END_LIMIT, "processes of the killed server go on");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        processes.len() + 1
    }

    /// Makes a standby the primary. Returns once it takes writes.
    pub(crate) async fn promote(&self) {
        let mut promote = command(&self.programs.join("pg_ctl"), LAST_SIGNAL);
        promote.arg("-D").arg(self.folder.path().join("data")).args(["--no-wait", "promote"]);
        run(&mut promote);
        self.wait_until(IS_STANDBY, "false").await;
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGQUIT: it ends its processes and leaves everything as it is. It may be gone already.
        let is_running = self.postmaster.try_wait().is_ok_and(|status| status.is_none());
        if is_running {
            let _gone = kill_process(Pid::from_child(&self.postmaster), Signal::QUIT);
            let _status = self.postmaster.wait();
        }
    }
}

/// The folder of the newest PostgreSQL's programs.
fn find_programs() -> Option<PathBuf> {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten().map(|version| version.path());
    let number = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter(|folder| folder.join("bin/initdb").is_file()).max_by_key(number)?;
    Some(newest.join("bin"))
}

fn children_of(process: Pid) -> Vec<Pid> {
    let id = process.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).expect("a list of children");
    children.split_whitespace().filter_map(|child| Pid::from_raw(child.parse().ok()?)).collect()
}

/// Whether it has not ended, though nobody may have asked yet how.
fn is_alive(process: Pid) -> bool {
    let stat: io::Result<String> = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    let state = stat.ok().and_then(|stat| stat.rsplit(") ").next()?.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}
