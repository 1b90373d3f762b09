//! `/api/deliveries/`.

use std::time::Duration;

use serde_json::{Value, json};

use super::bench::Bench;

const PATH: &str = "/api/deliveries/";

#[actix_web::test]
async fn a_dead_letter_is_told_and_replayed() {
    let bench = Bench::start(Duration::from_millis(1)).await;
    let instance = bench.add_instance(&bench.alice).await;
    bench.link(&bench.alice, "42").await;
    bench.dm("42", 1).await;
    let dead = bench.delivery_in(&bench.alice, "dead").await;
    for field in [
        "id",
        "direction",
        "kind",
        "status",
        "attempts",
        "next_attempt_at",
        "error_class",
        "error_detail",
        "source_id",
        "instance",
        "account",
        "customer",
        "case_number",
        "created_at",
        "delivered_at",
    ] {
        assert!(dead.as_object().unwrap().contains_key(field), "{field}");
    }
    assert_eq!((&dead["direction"], &dead["source_id"]), (&json!("to_servicenow"), &json!("1")));
    let one = format!("{PATH}{}/", dead["id"].as_str().unwrap());
    let shown = bench.get(&one, &bench.alice).await.expect(200);
    let n_attempts = shown["attempts"].as_array().unwrap().len();
    assert!(n_attempts >= 1 && shown["attempts"][0]["duration_ms"].is_number(), "{shown}");
    let path = format!("/api/servicenow-details/{instance}/");
    assert_eq!(bench.get(&path, &bench.alice).await.expect(200)["dead"], 1);

    bench.get(&one, &bench.bob).await.expect(404);
    bench.post(&format!("{one}replay/"), &bench.bob, &json!({})).await.expect(404);
    let replayed = bench.post(&format!("{one}replay/"), &bench.alice, &Value::Null).await.expect(200);
    assert_ne!(replayed["status"], "dead");
    bench.delivery_in(&bench.alice, "dead").await;
    let shown = bench.get(&one, &bench.alice).await.expect(200);
    assert!(shown["attempts"].as_array().unwrap().len() > n_attempts, "the history is kept: {shown}");

    let dry = bench.post(&format!("{PATH}replay/"), &bench.alice, &json!({ "dry_run": true })).await;
    assert_eq!(dry.expect(200), json!({ "matched": 1, "replayed": 0, "skipped": 0 }));
    let body = json!({ "status": "dead", "instance": instance });
    let bulk = bench.post(&format!("{PATH}replay/"), &bench.alice, &body).await;
    assert_eq!(bulk.expect(200), json!({ "matched": 1, "replayed": 1, "skipped": 0 }));
    bench.delivery_in(&bench.alice, "dead").await;
    bench.stop().await;
}

#[actix_web::test]
async fn what_is_not_dead_is_not_replayed() {
    let bench = Bench::start(Duration::from_hours(24)).await;
    bench.link(&bench.alice, "42").await;
    bench.dm("42", 1).await;
    let waiting = bench.delivery_in(&bench.alice, "blocked").await;
    let one = format!("{PATH}{}/replay/", waiting["id"].as_str().unwrap());
    assert!(bench.post(&one, &bench.alice, &json!({})).await.expect(409)["detail"].is_string());
    for body in [
        json!({ "status": "queued" }),
        json!({ "stauts": "dead" }),
        json!({ "dry_run": "perhaps" }),
        json!({ "since": "yesterday" }),
        json!({ "rate": "2000 per 1s" }),
        json!([]),
    ] {
        bench.post(&format!("{PATH}replay/"), &bench.alice, &body).await.expect(400);
    }
    let replays = format!("{PATH}replays/");
    assert_eq!(bench.get(&replays, &bench.alice).await.expect(200), json!([]));
    bench.get(&format!("{replays}?user={}", bench.alice_id), &bench.bob).await.expect(403);
    let absent = format!("{replays}0190c0de-0000-7000-8000-000000000001/");
    bench.get(&absent, &bench.alice).await.expect(404);
    bench.post(&format!("{absent}cancel/"), &bench.alice, &json!({})).await.expect(404);
    bench.stop().await;
}

#[actix_web::test]
async fn lists_are_narrowed_and_come_in_pages() {
    let bench = Bench::start(Duration::from_hours(24)).await;
    bench.link(&bench.alice, "42").await;
    for id in 1..=3 {
        bench.dm("42", id).await;
    }
    let first = bench.get(&format!("{PATH}?limit=2&status=blocked"), &bench.alice).await;
    let rows = first.expect(200);
    assert_eq!((first.header("x-total-count"), rows.as_array().unwrap().len()), ("3", 2));
    assert_eq!(rows[0]["source_id"], "3", "the newest comes first");
    let link = first.header("link");
    let next = link.strip_prefix('<').and_then(|link| link.split_once(">; rel=\"next\"")).unwrap().0;
    let second = bench.get(next, &bench.alice).await;
    assert_eq!(second.expect(200)[0]["source_id"], "1");
    assert_eq!(second.header("link"), "");
    for (query, n) in [
        ("status=dead", 0),
        ("direction=to_servicenow", 3),
        ("direction=to_x", 0),
        ("since=2020-01-01", 3),
        ("until=2020-01-01T00:00:00Z", 0),
        ("instance=0190c0de-0000-7000-8000-000000000001", 0),
        ("unknown=1", 3),
    ] {
        let rows = bench.get(&format!("{PATH}?{query}"), &bench.alice).await.expect(200);
        assert_eq!(rows.as_array().unwrap().len(), n, "{query}");
    }
    for (field, value) in [
        ("status", "gone"),
        ("direction", "up"),
        ("instance", "x"),
        ("since", "yesterday"),
        ("until", "1"),
        ("limit", "201"),
        ("limit", "0"),
        ("cursor", "%00"),
    ] {
        let told = bench.get(&format!("{PATH}?{field}={value}"), &bench.alice).await.expect(400);
        assert_eq!(told.as_object().unwrap().keys().collect::<Vec<_>>(), [field]);
    }
    assert_eq!(bench.get(PATH, &bench.bob).await.expect(200), json!([]));
    bench.stop().await;
}

#[actix_web::test]
async fn the_command_line_lists_shows_and_replays_beside_the_hub() {
    let bench = Bench::start(Duration::from_millis(1)).await;
    bench.add_instance(&bench.alice).await;
    bench.link(&bench.alice, "42").await;
    bench.dm("42", 1).await;
    let id = bench.delivery_in(&bench.alice, "dead").await["id"].as_str().unwrap().to_owned();

    let (code, printed) = bench.command("deliveries list --status dead --instance http://127.0.0.1:9").await;
    assert!(code == Some(0) && printed.contains(&id), "{printed}");
    let (code, printed) = bench.command("deliveries list --status queued --output json").await;
    assert_eq!((code, printed.trim()), (Some(0), "[]"));
    let (code, printed) = bench.command("deliveries list --instance http://127.0.0.1:10").await;
    assert!(code == Some(1) && printed.contains("name it by its id"), "{printed}");
    let (code, printed) = bench.command(&format!("deliveries show {id} --output json")).await;
    let shown: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((code, &shown["id"], &shown["status"]), (Some(0), &json!(id), &json!("dead")));
    let (code, printed) = bench.command(&format!("deliveries show {id}")).await;
    assert!(code == Some(0) && printed.contains("DURATION MS"), "{printed}");

    let (code, printed) = bench.command("deliveries replay --status dead --dry-run").await;
    assert!(code == Some(0) && printed.starts_with("1 dead"), "{printed}");
    let n_attempts = shown["attempts"].as_array().unwrap().len();
    let (code, printed) = bench.command(&format!("deliveries replay {id}")).await;
    assert_eq!((code, printed.trim()), (Some(0), format!("{id}: queued again").as_str()));
    // The running hub sees it by itself.
    let one = format!("{PATH}{id}/");
    let begun = std::time::Instant::now();
    while bench.get(&one, &bench.alice).await.expect(200)["attempts"].as_array().unwrap().len() == n_attempts
    {
        assert!(begun.elapsed() < Duration::from_secs(10), "nobody worked on it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let absent = "0190c0de-0000-7000-8000-000000000001";
    let (code, printed) = bench.command(&format!("deliveries replay {absent}")).await;
    assert!(code == Some(1) && printed.contains("no such delivery"), "{printed}");
    bench.stop().await;
}
