//! Behind pgbouncer: in session mode the hub runs as without it, in transaction mode it says that it cannot.
//!
//! Needs the program as well; without it the test says so and passes. Set `CASEWIRE_TEST_POSTGRES_URL` to the
//! address of a pooler in session mode to run all tests of the cluster through it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::chronicle::Verdict;
use super::customers::Customer;
use super::programs::{command, hand_over, own_folder};
use super::wire::post_signed;
use super::world::{Cluster, Wanted};
use crate::postgres::server_or_skip;

/// Where Debian puts it.
const PROGRAM: &str = "/usr/sbin/pgbouncer";
const START_LIMIT: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
const N_REPLICAS: usize = 2;
/// All that two replicas open, and not one more: 20 each.
const POOL_SIZE: usize = 40;
const N_COMPANIES: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_sessions_work_and_transactions_are_refused() {
    let name = "behind_a_pooler_sessions_work_and_transactions_are_refused";
    let Some(server) = server_or_skip(name) else { return };
    if !Path::new(PROGRAM).exists() {
        println!("{name} is skipped: there is no {PROGRAM}");
        return;
    }
    let pooler = Pooler::start(&server, "session").await;
    let settings = "servicenow: {allow_private_networks: true}\n";
    let wanted = Wanted { n_replicas: N_REPLICAS, n_instances: N_COMPANIES, settings, instance: json!({}) };
    let mut cluster = Cluster::start(&pooler.url(&server), wanted).await;
    let mut taken = BTreeMap::new();
    for company in 0..N_COMPANIES {
        let writer = Customer { company, number: 0 };
        let base = cluster.replicas[company % N_REPLICAS].base();
        let posted = post_signed(base, cluster.secret(), writer.body(0), PATIENCE).await.expect("an answer");
        assert_eq!(posted.body["accepted"], 1, "{}", posted.text);
        taken.insert(writer, 1);
    }
    cluster.settle(PATIENCE).await;
    Verdict::of(&cluster.instances, &taken).check();
    cluster.check_health().await;

    for replica in &mut cluster.replicas {
        replica.terminate().await;
    }
    drop(pooler);
    let pooler = Pooler::start(&server, "transaction").await;
    cluster.lead_to(&pooler.url(&server));
    for name in ["serve", "migrate", "doctor"] {
        let mut command = cluster.replicas[0].command();
        command.arg(name).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.output().expect("the command runs");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!output.status.success(), "{name}: {said}");
        assert!(said.contains("a pooler in transaction mode"), "{name}: {said}");
    }
    cluster.lead_to(&server);
}

/// A pgbouncer of the test's own, in front of the server.
struct Pooler {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Pooler {
    async fn start(server: &str, mode: &str) -> Self {
        let server = Url::parse(server).expect("the server's address is a URL");
        let folder = own_folder();
        let port = free_port().await;
        let ini = folder.path().join("pgbouncer.ini");
        fs::write(&ini, configuration(&server, mode, port, folder.path())).expect("a configuration");
        let users = format!("\"{}\" \"\"\n", server.username());
        fs::write(folder.path().join("users"), users).expect("a list of users");
        let log = File::create(folder.path().join("log")).expect("a log");
        hand_over(folder.path());
        let child = command(Path::new(PROGRAM), "TERM").arg(&ini).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.expect("pgbouncer starts");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            let said = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < START_LIMIT, "pgbouncer does not listen: {}", said());
            tokio::time::sleep(POLL).await;
        }
        Self { child, port, _folder: folder }
    }

    /// The server's address through it.
    fn url(&self, server: &str) -> String {
        let server = Url::parse(server).expect("the server's address is a URL");
        format!("postgres://{}@127.0.0.1:{}{}", server.username(), self.port, server.path())
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Nothing in it is there for the hub but the mode and the number of connections.
fn configuration(server: &Url, mode: &str, port: u16, folder: &Path) -> String {
    let host = server.host_str().unwrap_or("127.0.0.1");
    let host = percent_encoding::percent_decode_str(host).decode_utf8_lossy();
    let server_port = server.port().unwrap_or(5432);
    let password = server.password().map(|password| format!(" password={password}")).unwrap_or_default();
    format!(
        "[databases]\n* = host={host} port={server_port}{password}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = trust\nauth_file = {}/users\npool_mode = {mode}\ndefault_pool_size = {POOL_SIZE}\n",
        folder.display()
    )
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    listener.local_addr().expect("an address").port()
}
