//! The operators' routes as their tools see them, and what is said when the hub cannot start.

use std::collections::BTreeMap;
use std::net::TcpListener;

use reqwest::{Client, Method, Response};

use super::hub::World;
use super::operators::run;

async fn ask(method: Method, url: &str) -> Response {
    let client = Client::builder().no_proxy().build().expect("a client");
    client.request(method, url).send().await.expect("an answer")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// What the samples of a family may end in.
fn suffixes(kind: &str) -> &'static [&'static str] {
    match kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        other => panic!("a family of the kind {other}"),
    }
}

/// Checks a page against the rules of `OpenMetrics`; gives the names of its samples.
fn checked(page: &str) -> Vec<String> {
    let mut families = BTreeMap::new();
    let mut names = Vec::new();
    let (mut family, mut kind) = ("", "");
    let lines: Vec<&str> = page.strip_suffix("# EOF\n").expect("an end").lines().collect();
    for line in lines {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (word, name, rest) = (words.next(), words.next().expect("a name"), words.next());
            if name != family {
                assert!(families.insert(name, 0).is_none(), "{name} is there twice");
                assert!(
                    !name.ends_with("_total") && !name.ends_with("_info"),
                    "{name} is the name of a sample"
                );
                (family, kind) = (name, "");
            }
            match word {
                Some("TYPE") => {
                    assert_eq!(kind, "", "{name} has two types");
                    kind = rest.expect("a type");
                }
                Some("HELP") => assert!(rest.is_some_and(|help| !help.is_empty()), "{name}"),
                Some("UNIT") => assert!(name.ends_with(rest.expect("a unit")), "{name}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let name = sample.split('{').next().unwrap_or_default();
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} stands under {family}"));
        assert!(suffixes(kind).contains(&suffix), "{line} is no {kind} of {family}");
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
        *families.get_mut(family).expect("a family") += 1;
        names.push(name.to_owned());
    }
    let empty: Vec<_> = families.iter().filter(|(_, n_samples)| **n_samples == 0).collect();
    assert!(empty.is_empty(), "no sample of {empty:?}");
    names
}

#[actix_rt::test]
async fn every_metric_is_there_before_the_first_request() {
    let world = World::new("ops-secret", "").await;
    let hub = world.serve().await;
    let response = ask(Method::GET, &format!("{}/metrics", hub.base)).await;
    assert_eq!(
        header(&response, "content-type"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let names = checked(&response.text().await.expect("a page"));
    for name in [
        "casewire_http_requests_total",
        "casewire_http_request_duration_seconds_bucket",
        "casewire_activity_events_total",
        "casewire_ingest_commit_seconds_count",
        "casewire_ingest_batch_size_sum",
        "casewire_deliveries_total",
        "casewire_delivery_seconds_bucket",
        "casewire_attempts_total",
        "casewire_queue_depth",
        "casewire_oldest_due_seconds",
        "casewire_instances",
        "casewire_rate_limited_seconds_total",
        "casewire_breaker_open",
        "casewire_actor_restarts_total",
        "casewire_actor_mailbox_depth",
        "casewire_panics_total",
        "casewire_login_total",
        "casewire_shards_held",
        "casewire_replicas",
        "casewire_lease_renewals_total",
        "casewire_build_info",
    ] {
        assert!(names.iter().any(|known| known == name), "{name} is missing in {names:?}");
    }
}

#[actix_rt::test]
async fn the_operators_routes_are_asked_and_never_changed() {
    let world = World::new("ops-secret", "").await;
    let hub = world.serve().await;
    for path in ["/health/live/", "/health/live", "/health/ready/", "/health/ready", "/metrics", "/metrics/"]
    {
        let url = format!("{}{path}", hub.base);
        let got = ask(Method::GET, &url).await;
        let head = ask(Method::HEAD, &url).await;
        assert_eq!((head.status(), got.status().as_u16()), (got.status(), 200), "{path}");
        assert_eq!(header(&head, "content-type"), header(&got, "content-type"), "{path}");
        assert_eq!(head.text().await.expect("a body"), "", "{path}");
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            let refused = ask(method.clone(), &url).await;
            assert_eq!(refused.status(), 405, "{method} {path}");
            assert_eq!(header(&refused, "allow"), "GET, HEAD", "{method} {path}");
            let told = refused.text().await.expect("a body");
            assert_eq!(told, format!("{{\"detail\":\"Method \\\"{method}\\\" not allowed.\"}}"), "{path}");
        }
    }
}

#[actix_rt::test]
async fn what_keeps_the_hub_from_listening_is_named() {
    let world = World::new("ops-secret", "").await;
    run(&world, &["migrate"], &[]).await.is(0, "");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let taken = taken.local_addr().expect("an address").to_string();
    for (name, value, told) in [
        ("SERVER__LISTEN", taken.as_str(), format!("server.listen: cannot listen on {taken}")),
        ("SERVER__OPS_LISTEN", &taken, format!("server.ops_listen: cannot listen on {taken}")),
        (
            "SERVER__PORT_FILE",
            "no/such/folder/port",
            "server.port_file: cannot write no/such/folder".to_owned(),
        ),
    ] {
        run(&world, &["serve"], &[(name, value)]).await.is(1, &told);
    }
}

#[actix_rt::test]
async fn wrong_usage_exits_with_2_before_anything_is_opened() {
    let world = World::embedded("ops-secret").await;
    for (command, told) in [
        (&["deliveries", "replay", "--status", "queued"][..], "use --status dead"),
        (&["createsuperuser", "--email", "nonsense"], "is not an e-mail address"),
        (&["createsuperuser"], "give one with --email"),
    ] {
        run(&world, command, &[]).await.is(2, told);
    }
    assert!(!world.database().exists(), "no database was made");
}
