//! An account that was linked through one replica is known to the others.

use std::time::Duration;

use casewire_sandbox::CaseView;
use serde_json::json;

use super::customers::{Customer, account};
use super::postgres::server_or_skip;
use super::wire::post_signed;
use super::world::{Cluster, Wanted};

/// So many accounts are linked.
const N_ACCOUNTS: usize = 30;
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
    let base = cluster.replicas[replica].base();
    let reply = post_signed(base, cluster.secret(), writer.body(nth), PATIENCE).await.expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.text);
    let is_it = |result: &&str| reply.body[*result] == 1;
    ["accepted", "duplicates", "ignored"].into_iter().find(is_it).unwrap_or("nothing")
}
