//! `DELETE /auth/users/{id}/`, when the user has much waiting.

use std::time::{Duration, Instant};

use casewire_sandbox::{XUser, bodies};
use reqwest::Method;
use serde_json::{Value, json};

use super::bench::Bench;

const DAY: Duration = Duration::from_hours(24);
const RECORDS: &str = "/api/deliveries/";
const N_MESSAGES: usize = 1200;
const PATIENCE: Duration = Duration::from_secs(20);

/// X tells of many direct messages to an account, each of another customer.
async fn flood(bench: &Bench, account: &str, n: usize) -> Value {
    let company = XUser::new(account, "acme", "Acme");
    let mut body = Value::Null;
    let mut events = Vec::new();
    for nth in 0..n {
        let customer = XUser::new(&(10_000 + nth).to_string(), "cus", "Cus");
        let text = bodies::dm_body(&company, &customer, &(1000 + nth).to_string(), "help", 1_700_000_000_000);
        body = serde_json::from_str(&text).expect("a body");
        events.push(body["direct_message_events"][0].clone());
    }
    body["direct_message_events"] = Value::Array(events);
    let sent =
        bench.send_raw(Method::POST, "/api/activity/", "", "application/json", Some(body.to_string())).await;
    sent.expect(200)
}

/// How many messages wait, whoever's they are.
async fn n_waiting(bench: &Bench) -> String {
    let metrics = bench.get("/metrics", "").await.text;
    let name = "casewire_queue_depth{direction=\"to_servicenow\",status=\"blocked\"} ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name}in {metrics}")).to_owned()
}

#[actix_web::test]
async fn a_user_with_much_waiting_is_gone_at_once_and_nobody_else_notices() {
    let bench = Bench::start(DAY).await;
    let linked = bench.link(&bench.alice, "42").await;
    bench.link(&bench.bob, "43").await;
    assert_eq!(flood(&bench, "42", N_MESSAGES).await["accepted"], N_MESSAGES);
    bench.dm("43", 1).await;
    let kept = bench.delivery_in(&bench.bob, "blocked").await;
    let seen = bench.get(RECORDS, &bench.alice).await.expect(200)[0]["id"].as_str().unwrap().to_owned();

    bench.delete(&format!("/auth/users/{}/", bench.alice_id), &bench.admin).await.expect(204);
    bench.get(RECORDS, &bench.alice).await.expect(401);
    bench.get(&format!("/auth/users/{}/", bench.alice_id), &bench.admin).await.expect(404);
    for path in
        [format!("{RECORDS}{seen}/"), format!("/api/twitter-details/{}/", linked["id"].as_str().unwrap())]
    {
        bench.get(&path, &bench.admin).await.expect(404);
    }
    let of_alice = format!("{RECORDS}?user={}", bench.alice_id);
    assert_eq!(bench.get(&of_alice, &bench.admin).await.expect(200), json!([]));
    assert_eq!(bench.get(RECORDS, &bench.bob).await.expect(200), json!([kept]));

    // Her name and her account are free, and the same messages are new ones there.
    let user = json!({
        "username": "Alice@example.com", "first_name": "A", "last_name": "B", "company_name": "C",
        "password": "correct horse battery"
    });
    bench.post("/auth/users/", &bench.admin, &user).await.expect(201);
    bench.link(&bench.bob, "42").await;
    assert_eq!(flood(&bench, "42", 10).await["accepted"], 10);
    assert_eq!(bench.get(RECORDS, &bench.bob).await.expect(200).as_array().unwrap().len(), 11);

    let begun = Instant::now();
    while n_waiting(&bench).await != "11" {
        assert!(begun.elapsed() < PATIENCE, "{} wait still", n_waiting(&bench).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bench.get(RECORDS, &bench.bob).await.expect(200).as_array().unwrap().len(), 11);
    bench.stop().await;
}

#[actix_web::test]
async fn an_account_with_much_waiting_is_linked_again_and_waits_for_its_own() {
    let bench = Bench::start(DAY).await;
    let linked = bench.link(&bench.alice, "42").await;
    assert_eq!(flood(&bench, "42", N_MESSAGES).await["accepted"], N_MESSAGES);
    let path = format!("/api/twitter-details/{}/", linked["id"].as_str().unwrap());
    bench.delete(&path, &bench.alice).await.expect(204);
    assert_eq!(bench.get(RECORDS, &bench.alice).await.expect(200), json!([]));
    bench.link(&bench.alice, "42").await;
    bench.dm("42", 1000).await;
    bench.delivery_in(&bench.alice, "blocked").await;
    assert_eq!(bench.get(RECORDS, &bench.alice).await.header("X-Total-Count"), "1");
    bench.stop().await;
}
