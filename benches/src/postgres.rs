//! A PostgreSQL server of the bench's own, from the programs of the distribution.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::database::Database;

/// Where Debian puts the programs, one folder a version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Owns every database.
const OWNER: &str = "casewire";
/// Everything else is the default; `fsync` above all.
const SETTINGS: [&str; 5] = [
    "listen_addresses=",
    "max_connections=300",
    "shared_buffers=256MB",
    "min_wal_size=1GB",
    "max_wal_size=2GB",
];
/// Files of the log that it is given, of 16 MiB.
const N_LOG_FILES: usize = 60;
const START_LIMIT: Duration = Duration::from_secs(20);

/// A running server; dropping it ends it and removes its files.
pub(crate) struct Server {
    child: Child,
    programs: PathBuf,
    folder: TempDir,
    /// Of its own, since the path of a socket must be short.
    sockets: TempDir,
    account: Account,
}

/// Whose process the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Account {
    /// This process's.
    Own,
    /// That of the package: the server refuses to run as root.
    Package,
}

impl Account {
    fn of_process() -> Self {
        let is_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        if is_root { Self::Package } else { Self::Own }
    }

    /// A program run by it, which ends with this process however that ends.
    fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "INT"]);
        if self == Self::Package {
            command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]);
        }
        command.arg(program).stdin(Stdio::null());
        command
    }

    /// A temporary folder that is its own.
    fn folder(self, below: &Path) -> Result<TempDir> {
        let folder = tempfile::Builder::new().prefix("casewire-pg-").tempdir_in(below)?;
        if self == Self::Package {
            run(Command::new("chown").arg("postgres").arg(folder.path()))?;
        }
        Ok(folder)
    }
}

/// The folder of the newest PostgreSQL's programs.
pub(crate) fn find_programs() -> Result<PathBuf> {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten().map(|version| version.path());
    let programs = versions.map(|version| version.join("bin")).filter(|bin| bin.join("initdb").is_file());
    let newest = programs.max_by_key(|bin| version_of(bin));
    newest.with_context(|| {
        format!("there is no PostgreSQL below {VERSIONS}; on Debian `apt-get install postgresql` brings it")
    })
}

/// The number in `…/15/bin`.
fn version_of(programs: &Path) -> Vec<u32> {
    let version = programs.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// Runs a program to its end; one that fails is an error that shows what it said.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_owned();
    let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let start: Vec<&str> = said.lines().take(3).collect();
        bail!("{command:?} ended with {}: {}", output.status, start.join("; "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Server {
    /// Makes a new one and waits until it answers. `preload` names libraries to load, if any.
    pub(crate) async fn start(below: &Path, preload: &str) -> Result<Self> {
        let programs = find_programs()?;
        let account = Account::of_process();
        let folder = account.folder(below).context("cannot make a folder for the server")?;
        let sockets = account.folder(&std::env::temp_dir()).context("cannot make a folder for sockets")?;
        let data = folder.path().join("data");
        let mut initdb = account.command(programs.join("initdb"));
        initdb.arg("-D").arg(&data).args(["-A", "trust", "-U", OWNER, "-E", "UTF8", "--locale", "C.UTF-8"]);
        run(initdb.current_dir(folder.path()))?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = account.command(programs.join("postgres"));
        command.arg("-D").arg(&data).arg("-k").arg(sockets.path()).current_dir(folder.path());
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        if !preload.is_empty() {
            command.args(["-c", &format!("shared_preload_libraries={preload}")]);
        }
        let child = command.stdout(log.try_clone()?).stderr(log).spawn().context("cannot start postgres")?;
        let mut server = Self { child, programs, folder, sockets, account };
        server.wait_until_ready().await?;
        server.make_log().await?;
        Ok(server)
    }

    /// A server that has run for a while writes its log into files that it has. A new one makes each of them first,
    /// and everybody waits: <https://www.postgresql.org/docs/15/wal-configuration.html>.
    async fn make_log(&self) -> Result<()> {
        let mut database = Database::open(&self.url("postgres")).await?;
        for _ in 0..N_LOG_FILES {
            database.run("SELECT pg_logical_emit_message(FALSE, 'bench', ''), pg_switch_wal()").await?;
        }
        database.run("CHECKPOINT").await
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        let log = self.folder.path().join("log");
        let said = || fs::read_to_string(&log).unwrap_or_default();
        while begun.elapsed() < START_LIMIT {
            if let Some(status) = self.child.try_wait()? {
                bail!("postgres ended with {status}: {}", said());
            }
            if Database::open(&self.url("postgres")).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("postgres was not ready within {START_LIMIT:?}: {}", said());
    }

    /// The address of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        let sockets = self.sockets.path().display().to_string().replace('/', "%2F");
        format!("postgres://{OWNER}@{sockets}/{database}")
    }

    /// Makes an empty database and returns its address.
    pub(crate) async fn create(&self, database: &str) -> Result<String> {
        Database::open(&self.url("postgres")).await?.run(format!("CREATE DATABASE {database}")).await?;
        Ok(self.url(database))
    }

    /// Makes a copy of a database that may be in use.
    pub(crate) async fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.create(to).await?;
        let dump = self.folder.path().join("dump.sql");
        let mut pg_dump = self.client("pg_dump");
        run(pg_dump.stdout(File::create(&dump)?).arg(from))?;
        let dumped = fs::read(&dump)?;
        let mut psql = self.client("psql");
        psql.args(["-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f"]).arg(&dump).arg(to);
        run(&mut psql).with_context(|| format!("a dump of {} bytes cannot be read back", dumped.len()))?;
        Ok(())
    }

    /// One of PostgreSQL's client programs, for this server.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.arg("-h").arg(self.sockets.path()).args(["-U", OWNER]);
        command.stdin(Stdio::null()).current_dir(self.folder.path());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = self.account.command(self.programs.join("pg_ctl"));
        stop.arg("-D").arg(self.folder.path().join("data")).args(["-m", "immediate", "-w", "stop"]);
        let has_stopped = run(stop.current_dir(self.folder.path())).is_ok();
        if !has_stopped {
            // It may have ended by itself; then there is nothing to kill.
            let _gone = self.child.kill();
        }
        let _status = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_the_greatest_number() {
        let mut folders =
            ["9.6", "15", "9.10", "13"].map(|version| Path::new(VERSIONS).join(version).join("bin")).to_vec();
        folders.sort_by_key(|bin| version_of(bin));
        let last = folders.last().map(|bin| version_of(bin));
        assert_eq!(last, Some(vec![15]));
        assert_eq!(version_of(&folders[1]), [9, 10]);
    }
}
