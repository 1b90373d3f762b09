//! An agent's answer may be posted to any replica: it waits there for the outcome, whoever sends it.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::customers::Customer;
use super::wire::{Reply, answer, post_signed};
use super::world::{Cluster, Wanted};
use crate::postgres::server_or_skip;

const N_REPLICAS: usize = 2;
/// Each with an account of its own; enough that every replica delivers for some.
const N_COMPANIES: usize = 8;
/// X takes 15 messages of an account in 15 minutes, so each account sends fewer.
const N_RACES: usize = 4;
const PATIENCE: Duration = Duration::from_secs(20);
/// The outcome is known at the replica that waits within this time.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_answered_by_any_replica() {
    let Some(server) = server_or_skip("an_event_is_answered_by_any_replica") else { return };
    let settings = "servicenow: {allow_private_networks: true}\ndelivery: {rate: '10000 per 1s'}\n";
    let wanted = Wanted { n_replicas: N_REPLICAS, n_instances: N_COMPANIES, settings, instance: json!({}) };
    let cluster = Cluster::start(&server, wanted).await;
    for company in 0..N_COMPANIES {
        let writer = Customer { company, number: 0 };
        let base = cluster.replicas[company % N_REPLICAS].base();
        let posted = post_signed(base, cluster.secret(), writer.body(0), PATIENCE).await.expect("an answer");
        assert_eq!(posted.body["accepted"], 1, "{}", posted.text);
    }
    cluster.settle(PATIENCE).await;

    let mut times = Vec::new();
    for company in 0..N_COMPANIES {
        for replica in 0..N_REPLICAS {
            let begun = Instant::now();
            let text = format!("company {company} answers through {replica}");
            let told = send(&cluster, replica, company, &text, &text).await;
            times.push(begun.elapsed());
            assert_eq!((told.status, &told.body["status"]), (200, &json!("delivered")), "{}", told.text);
            assert_eq!(ids_of(&cluster, &text), [told.body["message_id"].as_str().expect("an id")]);
        }
        for race in 0..N_RACES {
            race_two(&cluster, company, race).await;
        }
    }
    times.sort();
    let (median, slowest) = (times[times.len() / 2].as_millis(), times[times.len() - 1]);
    println!(
        "an event is answered by any replica: {} answers, median {median} ms, slowest {} ms",
        times.len(),
        slowest.as_millis()
    );
    assert!(slowest < KNOWN_WITHIN, "{slowest:?}");
    cluster.settle(PATIENCE).await;
    cluster.check_health().await;
}

/// The same event at both replicas in the same moment: sent once. The one that comes second is told how the
/// first one stands, now and whenever it asks again.
async fn race_two(cluster: &Cluster, company: usize, race: usize) {
    let text = format!("company {company} answers in race {race}");
    let (one, other) =
        tokio::join!(send(cluster, 0, company, &text, &text), send(cluster, 1, company, &text, &text),);
    let first = if one.status == 200 { &one } else { &other };
    let mut told = vec![one.clone(), other.clone()];
    for replica in 0..N_REPLICAS {
        told.push(send(cluster, replica, company, &text, &text).await);
    }
    let sent = ids_of(cluster, &text);
    assert_eq!(sent.len(), 1, "{text}: {sent:?}");
    assert_eq!(first.status, 200, "{text}: {}", first.text);
    for (at, told) in told.iter().enumerate() {
        let may_be_under_way = at < N_REPLICAS && told.status == 202;
        let is_delivered = told.status == 200 && told.body["message_id"] == sent[0];
        assert!(may_be_under_way || is_delivered, "{text}: {}", told.text);
        assert_eq!(told.body["id"], first.body["id"], "{text}: {}", told.text);
    }
}

/// An agent of a company answers in the case of its customer.
async fn send(cluster: &Cluster, replica: usize, company: usize, text: &str, event_id: &str) -> Reply {
    let case = cluster.instances[company].cases()[0].sys_id.clone();
    let event = json!({ "message": text, "case": case, "event_id": event_id });
    let request = cluster.admin(replica).request(Method::POST, "/api/events/").json(&event);
    answer(request.header("prefer", "wait=20")).await.expect("an answer")
}

/// The ids at X of the messages with this text.
fn ids_of(cluster: &Cluster, text: &str) -> Vec<String> {
    let sent = cluster.x.sent_dms();
    sent.iter().filter(|dm| dm.text == text).map(|dm| dm.id.clone()).collect()
}
