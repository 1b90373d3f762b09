//! `PostgreSQL` is lost in the middle of everything and its synchronous standby takes over: nothing that was
//! answered with 200 is lost or doubled, though the hub reaches the standby before that is promoted.

use std::time::{Duration, Instant};

use casewire_sandbox::ServiceNowSandbox;
use serde_json::json;

use super::agents::Agents;
use super::chronicle::Verdict;
use super::customers::Customer;
use super::failing::{self, Failing};
use super::load::Load;
use super::pair::{Pair, Server};
use super::replica::{Door, Replica};
use super::wire::{post_signed, wait_until};
use super::world::{self, Cluster, Wanted};
use crate::postgres::server_or_skip;
use crate::process::chaos::seed;

const N_REPLICAS: usize = 2;
const N_INSTANCES: usize = 12;
const N_CUSTOMERS_EACH: usize = 5;
const N_MESSAGES: u64 = 900;
/// Over which they are spread.
const PERIOD: Duration = Duration::from_secs(15);
/// The primary is lost when so many comments stand on the instances.
const LOST_AFTER: usize = 200;
/// And so many commits wait for the standby at least: both replicas store what comes in, and what they do.
const N_UNCONFIRMED: i64 = 4;
const PATIENCE: Duration = Duration::from_mins(2);
/// How long each step of the failover may take.
const STEP_LIMIT: Duration = Duration::from_secs(30);
const ANSWER_LIMIT: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(10);

/// Writes to the first company, and is none of its customers in the load.
const PROBE: Customer = Customer { company: 0, number: N_CUSTOMERS_EACH };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_loses_and_doubles_nothing() {
    let name = "a_failover_loses_and_doubles_nothing";
    if server_or_skip(name).is_none() {
        return;
    }
    let turn = world::turn().await;
    let Some(mut pair) = Pair::start().await else {
        println!("{name} is skipped: there is no PostgreSQL to start");
        return;
    };
    let seed = seed();
    let settings = failing::settings();
    let wanted = Wanted {
        n_replicas: N_REPLICAS,
        n_instances: N_INSTANCES,
        settings: &settings,
        instance: json!({ "concurrency": 8 }),
    };
    let mut cluster = Cluster::start_in(turn, &pair.primary.url(), wanted).await;
    let failing = Failing::begin(&cluster, seed);

    let (load, agents) = talk(&cluster);
    let (posted, answers, failover) =
        tokio::join!(load.run(), agents.run(), Failover::carry_out(&mut pair, &mut cluster));
    let calm_since = Instant::now();
    cluster.settle(PATIENCE).await;

    let mut taken = posted.taken.clone();
    taken.insert(PROBE, N_REPLICAS as u64);
    let mut verdict = Verdict::of(&cluster.instances, &taken);
    verdict.add_answers(&cluster.x.sent_dms(), &answers);
    let tally = failing.tally(&cluster);
    println!(
        "failover, seed {seed}: {verdict}; {tally}; {posted}; {} answers of agents; {failover}; quiet {:.1} s after the \
         last post",
        answers.values().map(Vec::len).sum::<usize>(),
        calm_since.elapsed().as_secs_f64(),
    );
    verdict.check();
    posted.check(N_MESSAGES);
    tally.check();
    cluster.check_health().await;
}

/// Customers who write and agents who answer.
fn talk(cluster: &Cluster) -> (Load, Agents) {
    let doors: Vec<Door> = cluster.replicas.iter().map(Replica::door).collect();
    let load = Load {
        doors: doors.clone(),
        secret: cluster.secret().to_owned(),
        customers: Customer::all(N_INSTANCES, N_CUSTOMERS_EACH),
        n_messages: N_MESSAGES,
        period: PERIOD,
    };
    let agents =
        Agents { doors, token: cluster.token.clone(), instances: cluster.instances.clone(), period: PERIOD };
    (load, agents)
}

/// What was done, and how long it took.
struct Failover {
    n_arrived: usize,
    n_unconfirmed: i64,
    n_killed: usize,
    /// From the loss until the hub, which has reached the standby, tells that it cannot write there.
    refused: Duration,
    /// From the order to promote until the standby takes writes.
    promoted: Duration,
    /// From then until each replica has taken a message.
    taken: Duration,
    /// From the loss until then.
    in_all: Duration,
}

impl Failover {
    /// The primary is lost; the hub is led to the standby, and only then is that promoted: an address may move
    /// before the server behind it is ready, and nothing may be believed that the standby still refuses.
    async fn carry_out(pair: &mut Pair, cluster: &mut Cluster) -> Self {
        let enough_arrived = || n_arrived(&cluster.instances) >= LOST_AFTER;
        wait_until("messages arrive", STEP_LIMIT, enough_arrived).await;
        assert!(pair.primary.is_followed().await, "the standby follows");
        let n_arrived = n_arrived(&cluster.instances);
        // Then it hurts most: commits stand in the primary and perhaps on their way to the standby, and nobody
        // has been told that they do.
        pair.standby.pause();
        let n_unconfirmed = commits_that_wait(&pair.primary).await;
        let lost = Instant::now();
        let n_killed = pair.primary.kill().await;
        pair.standby.resume();
        cluster.lead_to(&pair.standby.url());
        for replica in &cluster.replicas {
            replica.proxy.next_answer(STEP_LIMIT).await;
        }
        for replica in 0..N_REPLICAS {
            assert_eq!(post_probe(cluster, replica).await, 503, "nothing is taken that is not stored");
        }
        let refused = lost.elapsed();
        let promoting = Instant::now();
        pair.standby.promote().await;
        let promoted = promoting.elapsed();
        let writable = Instant::now();
        for replica in 0..N_REPLICAS {
            while post_probe(cluster, replica).await != 200 {
                assert!(writable.elapsed() < STEP_LIMIT, "nothing is taken: {}", cluster.log_ends());
                tokio::time::sleep(POLL).await;
            }
        }
        let (taken, in_all) = (writable.elapsed(), lost.elapsed());
        Self { n_arrived, n_unconfirmed, n_killed, refused, promoted, taken, in_all }
    }
}

impl std::fmt::Display for Failover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "primary lost after {} had arrived and with {} commits unconfirmed ({} processes killed), refused by the standby {} ms later, \
             promoted within {} ms, taken by all replicas {} ms after that, {} ms after the loss",
            self.n_arrived,
            self.n_unconfirmed,
            self.n_killed,
            self.refused.as_millis(),
            self.promoted.as_millis(),
            self.taken.as_millis(),
            self.in_all.as_millis(),
        )
    }
}

/// How many comments stand on all instances.
fn n_arrived(instances: &[ServiceNowSandbox]) -> usize {
    instances.iter().flat_map(ServiceNowSandbox::cases).map(|case| case.comments.len()).sum()
}

/// Waits until several commits of the replicas wait for the standby. Returns how many.
async fn commits_that_wait(primary: &Server) -> i64 {
    let begun = Instant::now();
    loop {
        let n_waiting = primary.n_waiting_commits().await;
        if n_waiting >= N_UNCONFIRMED {
            return n_waiting;
        }
        assert!(begun.elapsed() < STEP_LIMIT, "{n_waiting} commits wait for the standby");
        tokio::time::sleep(POLL).await;
    }
}

/// Posts the replica's message to it once; the same message again if called again. Returns the status, 0 for none.
async fn post_probe(cluster: &Cluster, replica: usize) -> u16 {
    let base = cluster.replicas[replica].base();
    let posted = post_signed(base, cluster.secret(), PROBE.body(replica as u64), ANSWER_LIMIT).await;
    posted.map_or(0, |reply| reply.status)
}
