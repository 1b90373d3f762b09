//! `/api/servicenow-details/`.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::bench::Bench;

const PATH: &str = "/api/servicenow-details/";
const DAY: Duration = Duration::from_hours(24);

#[actix_web::test]
async fn an_instance_lives_its_life_and_never_tells_its_secret() {
    let bench = Bench::start(DAY).await;
    let body = json!({
        "instance_url": "http://127.0.0.1:9/", "auth": "basic", "admin_user": "hub", "admin_password": "pw-1",
        "rate": "5 per 1s", "concurrency": 2, "mode": "case_api", "customer_table": "sys_user",
        "case_defaults": { "priority": 2 }, "reopen_window": "7d"
    });
    let answer = bench.post(PATH, &bench.alice, &body).await;
    let made = answer.expect(201);
    assert_eq!(made["instance_url"], "http://127.0.0.1:9");
    for (field, expected) in [
        ("rate", json!("5 per 1s")),
        ("concurrency", json!(2)),
        ("mode", json!("case_api")),
        ("customer_table", json!("sys_user")),
        ("case_defaults", json!({ "priority": 2 })),
        ("reopen_window", json!("7d")),
        ("status", json!("unchecked")),
        ("queued", json!(0)),
        ("dead", json!(0)),
    ] {
        assert_eq!(made[field], expected, "{field}");
    }
    let one = format!("{PATH}{}/", made["id"].as_str().unwrap());
    assert_eq!(bench.get(&one, &bench.alice).await.expect(200), made);
    let listed = bench.get(PATH, &bench.alice).await;
    assert_eq!((listed.header("x-total-count"), listed.expect(200)), ("1", json!([made])));

    let patched = bench.patch(&one, &bench.alice, &json!({ "concurrency": 3 })).await;
    assert_eq!(patched.expect(200)["concurrency"], 3);
    let replace = json!({ "instance_url": "http://127.0.0.1:9", "auth": "basic" });
    let replaced = bench.send(Method::PUT, &one, &bench.alice, Some(&replace)).await;
    assert_eq!(replaced.expect(200)["admin_user"], "hub", "what is not sent stays");
    for answer in [&answer, &listed, &patched, &replaced] {
        assert!(!answer.text.contains("pw-1") && !answer.text.contains("password"), "{}", answer.text);
    }

    bench.delete(&one, &bench.alice).await.expect(204);
    bench.get(&one, &bench.alice).await.expect(404);
    bench.stop().await;
}

#[actix_web::test]
async fn what_is_anothers_is_not_found_and_an_admin_sees_all() {
    let bench = Bench::start(DAY).await;
    let id = bench.add_instance(&bench.alice).await;
    let one = format!("{PATH}{id}/");
    bench.get(PATH, "").await.expect(401);
    for answer in [
        bench.get(&one, &bench.bob).await,
        bench.patch(&one, &bench.bob, &json!({})).await,
        bench.send_raw(Method::PATCH, &one, &bench.bob, "application/json", Some("{".to_owned())).await,
        bench.delete(&one, &bench.bob).await,
        bench.get(&format!("{PATH}0190c0de-0000-7000-8000-000000000001/"), &bench.alice).await,
        bench.get(&format!("{PATH}nonsense/"), &bench.alice).await,
    ] {
        assert!(answer.expect(404)["detail"].is_string());
    }
    assert_eq!(bench.get(PATH, &bench.bob).await.expect(200), json!([]));
    assert_eq!(bench.get(PATH, &bench.admin).await.expect(200), json!([]));
    let of_alice = format!("{PATH}?user={}", bench.alice_id);
    assert_eq!(bench.get(&of_alice, &bench.admin).await.expect(200)[0]["id"], json!(id));
    bench.get(&of_alice, &bench.bob).await.expect(403);
    bench.get(&one, &bench.admin).await.expect(200);
    bench.stop().await;
}

#[actix_web::test]
async fn malformed_input_is_told_and_never_a_fault() {
    let bench = Bench::start(DAY).await;
    let required = json!(["This field is required."]);
    let errors = bench.post(PATH, &bench.alice, &json!({})).await.expect(400);
    assert_eq!(errors, json!({ "instance_url": required, "auth": required }));
    let id = bench.add_instance(&bench.alice).await;
    let one = format!("{PATH}{id}/");
    for (field, value) in [
        ("instance_url", json!("https://nothing-here.invalid")),
        ("instance_url", json!("javascript:alert(1)")),
        ("instance_url", json!("http://127.0.0.1:9/path")),
        ("instance_url", json!("http://user@127.0.0.1:9")),
        ("instance_url", json!("x".repeat(5000))),
        ("auth", json!("magic")),
        ("auth", json!(null)),
        ("auth", json!("api_key")),
        ("admin_user", json!("a\u{0}b")),
        ("admin_password", json!("")),
        ("rate", json!("0 per 1s")),
        ("rate", json!(7)),
        ("concurrency", json!(0)),
        ("concurrency", json!(1e308)),
        ("concurrency", json!(18_446_744_073_709_551_615_u64)),
        ("mode", json!({})),
        ("customer_table", json!("incident")),
        ("case_defaults", json!([1])),
        ("case_defaults", json!({ "a b": 1 })),
        ("case_defaults", json!({ "correlation_id": "x" })),
        ("reopen_window", json!("99999999999999999999d")),
    ] {
        let answer = bench.patch(&one, &bench.alice, &json!({ field: value })).await;
        let told = answer.expect(400);
        let told: Vec<&String> = told.as_object().unwrap().keys().collect();
        let expected = if value == "api_key" { "api_key" } else { field };
        assert_eq!(told, [expected], "{field}: {value}");
    }
    for body in ["[]", "7", "null", "{", "\"x\"", "{\"auth\": \"\\ud800\"}", "\u{0}"] {
        let answer =
            bench.send_raw(Method::POST, PATH, &bench.alice, "application/json", Some(body.to_owned())).await;
        answer.expect(400);
    }
    bench.send_raw(Method::POST, PATH, &bench.alice, "text/plain", Some("x".to_owned())).await.expect(415);
    for query in ["limit=0", "limit=x", "offset=-1", "user=x"] {
        bench.get(&format!("{PATH}?{query}"), &bench.admin).await.expect(400);
    }
    let unchanged: Value = bench.get(&one, &bench.alice).await.expect(200);
    assert_eq!(unchanged["auth"], "basic");
    bench.stop().await;
}

#[actix_web::test]
async fn a_form_is_taken_and_its_empty_fields_are_none() {
    let bench = Bench::start(DAY).await;
    let form = "instance_url=http://127.0.0.1:9&auth=basic&admin_user=hub&admin_password=p&rate=&concurrency=5&case_defaults={\"a\":1}";
    let made = bench
        .send_raw(
            Method::POST,
            PATH,
            &bench.alice,
            "application/x-www-form-urlencoded",
            Some(form.to_owned()),
        )
        .await
        .expect(201);
    assert_eq!((&made["rate"], &made["concurrency"]), (&json!("20 per 1s"), &json!(5)));
    assert_eq!(made["case_defaults"], json!({ "a": 1 }));
    bench.stop().await;
}

#[actix_web::test]
async fn lists_come_in_pages() {
    let bench = Bench::start(DAY).await;
    for _ in 0..3 {
        bench.add_instance(&bench.alice).await;
    }
    let first = bench.get(&format!("{PATH}?limit=2"), &bench.alice).await;
    assert_eq!((first.header("x-total-count"), first.expect(200).as_array().unwrap().len()), ("3", 2));
    let link = first.header("link");
    let next = link.strip_prefix('<').and_then(|link| link.split_once(">; rel=\"next\"")).unwrap().0;
    let second = bench.get(next, &bench.alice).await;
    assert_eq!(second.expect(200).as_array().unwrap().len(), 1);
    assert!(second.header("link").contains("rel=\"prev\""));
    bench.stop().await;
}
