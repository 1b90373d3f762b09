//! An account that was linked through one replica is known to the others.

use std::time::{Duration, Instant};

use casewire_sandbox::CaseView;
use reqwest::Method;
use serde_json::json;

use super::customers::{Customer, account};
use super::wire::{Reply, answer, post_signed};
use super::world::{Cluster, Wanted};
use crate::postgres::server_or_skip;

/// So many accounts are linked.
const N_ACCOUNTS: usize = 30;
/// A replica that has not heard yet of an end asks X to send again, for no longer than this.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_link_is_known_everywhere() {
    let Some(server) = server_or_skip("a_fresh_link_is_known_everywhere") else { return };
    let settings = "servicenow: {allow_private_networks: true}\ndelivery: {rate: '10000 per 1s'}\n";
    let wanted = Wanted { n_replicas: 2, n_instances: 1, settings, instance: json!({}) };
    let cluster = Cluster::start(&server, wanted).await;
    for company in 1..=N_ACCOUNTS {
        let (here, there) = (company % 2, (company + 1) % 2);
        let writer = Customer { company, number: 0 };
        // Before it is linked nobody knows it; some of the replicas that say so may remember that.
        if company % 3 == 0 {
            assert_eq!(posted(&cluster, there, writer, 0).await, "ignored");
        }
        let linked = cluster.link(here, company, &cluster.instance_ids[0]).await;
        assert_eq!(linked.status, 201, "{}", linked.text);
        for nth in 1..=3 {
            assert_eq!(posted(&cluster, there, writer, nth).await, "accepted", "company {company}");
        }
        assert_eq!(posted(&cluster, here, writer, 2).await, "duplicates");
        cluster.settle(PATIENCE).await;
        agent_answers(&cluster, here, company).await;
    }
    cluster.settle(Duration::from_secs(30)).await;
    assert_eq!(cluster.x.n_sent_dms(), N_ACCOUNTS);
    // All feed one instance.
    let cases = cluster.instances[0].cases();
    assert_eq!(cases.len(), N_ACCOUNTS);
    for case in cases {
        let texts = case.comments.iter().filter_map(|comment| comment.text.split('\n').nth(1));
        let numbers: Vec<u64> = texts.filter_map(Customer::read).map(|(_, nth)| nth).collect();
        assert_eq!(numbers, [1, 2, 3], "{}", case.correlation_id);
    }
    cluster.check_health().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_was_unlinked_is_forgotten_everywhere() {
    let Some(server) = server_or_skip("an_account_that_was_unlinked_is_forgotten_everywhere") else { return };
    let settings = "servicenow: {allow_private_networks: true}\ndelivery: {rate: '10000 per 1s'}\n";
    let wanted = Wanted { n_replicas: 2, n_instances: 1, settings, instance: json!({}) };
    let cluster = Cluster::start(&server, wanted).await;
    for company in 1..=N_ACCOUNTS {
        let (here, there) = (company % 2, (company + 1) % 2);
        let writer = Customer { company, number: 0 };
        let linked = cluster.link(here, company, &cluster.instance_ids[0]).await;
        assert_eq!(linked.status, 201, "{}", linked.text);
        assert_eq!(posted(&cluster, there, writer, 0).await, "accepted");
        assert_eq!(posted(&cluster, here, writer, 1).await, "accepted");
        unlink(&cluster, here, linked.body["id"].as_str().expect("an id")).await;
        for replica in [there, here] {
            assert_eq!(posted_in_the_end(&cluster, replica, writer, 2).await, "ignored", "company {company}");
        }
    }
    cluster.settle(Duration::from_secs(30)).await;
    cluster.check_health().await;
}

/// Unlinks an account through one replica; again when what is being delivered for it was in the way.
async fn unlink(cluster: &Cluster, replica: usize, id: &str) {
    let begun = Instant::now();
    loop {
        let request = cluster.admin(replica).request(Method::DELETE, &format!("/api/twitter-details/{id}/"));
        let reply = answer(request).await.expect("an answer");
        if reply.status == 204 {
            return;
        }
        assert_eq!(reply.status, 503, "{}", reply.text);
        assert!(begun.elapsed() < PATIENCE, "{}", reply.text);
    }
}

/// An agent answers in the new case.
async fn agent_answers(cluster: &Cluster, replica: usize, company: usize) {
    let is_of_company = |case: &CaseView| case.correlation_id.contains(&account(company).id);
    let case = cluster.instances[0].cases().into_iter().find(is_of_company).expect("a case");
    let event = json!({ "message": "It is on its way.", "case": case.sys_id });
    let told = cluster.admin(replica).post("/api/events/", &event).await.expect("an answer");
    assert!([200, 202].contains(&told.status), "company {company}: {}", told.text);
}

/// Posts a message to one replica: what became of it.
async fn posted(cluster: &Cluster, replica: usize, writer: Customer, nth: u64) -> &'static str {
    let reply = post(cluster, replica, writer, nth).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    result_of(&reply)
}

/// The same, where the replica may ask to send again for a moment.
async fn posted_in_the_end(cluster: &Cluster, replica: usize, writer: Customer, nth: u64) -> &'static str {
    let begun = Instant::now();
    loop {
        let reply = post(cluster, replica, writer, nth).await;
        if reply.status == 200 {
            return result_of(&reply);
        }
        assert_eq!(reply.status, 503, "{}", reply.text);
        assert!(begun.elapsed() < FORGOTTEN_WITHIN, "{}", reply.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn post(cluster: &Cluster, replica: usize, writer: Customer, nth: u64) -> Reply {
    let base = cluster.replicas[replica].base();
    post_signed(base, cluster.secret(), writer.body(nth), PATIENCE).await.expect("an answer")
}

fn result_of(reply: &Reply) -> &'static str {
    let is_it = |result: &&str| reply.body[*result] == 1;
    ["accepted", "duplicates", "ignored"].into_iter().find(is_it).unwrap_or("nothing")
}
