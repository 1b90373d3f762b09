//! The promise, with several replicas: what was accepted arrives exactly once and in order, though a quarter
//! of the calls at both sides fail in every way there is, and replicas are killed, paused for longer than their
//! leases last, stopped, and cut off from their database in the middle.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::agents::{Agents, Answers};
use super::chronicle::Verdict;
use super::customers::Customer;
use super::failing::{self, Failing};
use super::load::{Load, Posted};
use super::mischief::Mischief;
use super::replica::{Door, Replica};
use super::size::{N_CUSTOMERS_EACH, SOAK, Size};
use super::world::{Cluster, Wanted};
use crate::postgres::server_or_skip;
use crate::process::chaos::seed;

/// A run of this length at least comes to every kind of trouble.
const LONG: Duration = Duration::from_mins(2);
/// How long the last messages may take once everything is in order again.
const PATIENCE: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_in_a_cluster() {
    let Some(server) = server_or_skip("chaos_in_a_cluster") else {
        let is_asked_for = Size::is_asked_for();
        assert!(
            !is_asked_for,
            "{SOAK} asks for a run: set CASEWIRE_TEST_POSTGRES_URL to a server for it too"
        );
        return;
    };
    let (size, seed) = (Size::of_this_run(), seed());
    println!("seed {seed}, {size:?}");
    let mut cluster = start(&server, size).await;
    let failing = Failing::begin(&cluster, seed);
    let begun = Instant::now();
    let run = Run::of(&mut cluster, size, seed).await;
    let calm_since = Instant::now();
    cluster.settle(PATIENCE).await;

    let mut verdict = Verdict::of(&cluster.instances, &run.posted.taken);
    verdict.add_answers(&cluster.x.sent_dms(), &run.answers);
    let tally = failing.tally(&cluster);
    println!(
        "chaos in a cluster, seed {seed}: {verdict}; {tally}; {run}; {} instances, {} replicas; {:.1} s in all, quiet \
         {:.1} s after the last trouble",
        size.n_instances,
        size.n_replicas,
        begun.elapsed().as_secs_f64(),
        calm_since.elapsed().as_secs_f64(),
    );
    verdict.check_bearing_in_mind(run.mischief.caveat());
    run.posted.check(size.n_messages);
    tally.check();
    if size.period >= LONG {
        run.mischief.check_all_was_tried();
    }
    cluster.check_health().await;
}

async fn start(server: &str, size: Size) -> Cluster {
    let settings = failing::settings();
    let wanted = Wanted {
        n_replicas: size.n_replicas,
        n_instances: size.n_instances,
        settings: &settings,
        instance: json!({ "concurrency": 8 }),
    };
    Cluster::start(server, wanted).await
}

/// What was said and done.
struct Run {
    posted: Posted,
    answers: Answers,
    mischief: Mischief,
}

impl Run {
    /// Customers write and agents answer, while the replicas are in trouble.
    async fn of(cluster: &mut Cluster, size: Size, seed: u64) -> Self {
        let doors: Vec<Door> = cluster.replicas.iter().map(Replica::door).collect();
        let load = Load {
            doors: doors.clone(),
            secret: cluster.secret().to_owned(),
            customers: Customer::all(size.n_instances, N_CUSTOMERS_EACH),
            n_messages: size.n_messages,
            period: size.period,
        };
        let agents = Agents {
            doors,
            token: cluster.token.clone(),
            instances: cluster.instances.clone(),
            period: size.period,
        };
        let is_over = AtomicBool::new(false);
        let mut mischief = Mischief::new(seed);
        let talking = async {
            let both = tokio::join!(load.run(), agents.run());
            is_over.store(true, Ordering::Relaxed);
            both
        };
        let making = mischief.run(&mut cluster.replicas, || is_over.load(Ordering::Relaxed));
        let ((posted, answers), ()) = tokio::join!(talking, making);
        Self { posted, answers, mischief }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { posted, answers, mischief } = self;
        let n_answers: usize = answers.values().map(Vec::len).sum();
        write!(f, "{posted}; {n_answers} answers of agents; {mischief}")
    }
}
