//! `/api/twitter-details/` and `/api/twitter-revoke/`.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::bench::Bench;

const PATH: &str = "/api/twitter-details/";
const DAY: Duration = Duration::from_hours(24);

#[actix_web::test]
async fn an_account_lives_its_life_and_never_tells_its_tokens() {
    let bench = Bench::start(DAY).await;
    let instance = bench.add_instance(&bench.alice).await;
    let made = bench.link(&bench.alice, "42").await;
    assert_eq!(made["instance"], json!(instance), "the only instance is the default");
    assert_eq!((&made["twitter_user_id"], &made["reply_channel"]), (&json!("42"), &json!("dm")));
    assert_eq!(made["case_policy"]["implicit"], "known_parent");
    assert!(!made.to_string().contains("tok-1") && !made.to_string().contains("sec-1"));
    let one = format!("{PATH}{}/", made["id"].as_str().unwrap());
    assert_eq!(bench.get(&one, &bench.alice).await.expect(200), made);

    let change = json!({ "reply_channel": "same", "case_policy": { "quote": true }, "screen_name": "@Acme" });
    let patched = bench.patch(&one, &bench.alice, &change).await.expect(200);
    assert_eq!((&patched["reply_channel"], &patched["screen_name"]), (&json!("same"), &json!("Acme")));
    assert_eq!(patched["case_policy"]["quote"], true);
    bench.get(&one, &bench.bob).await.expect(404);
    bench.delete(&one, &bench.bob).await.expect(404);
    bench.delete(&one, &bench.alice).await.expect(204);
    assert_eq!(bench.get(PATH, &bench.alice).await.expect(200), json!([]));
    bench.stop().await;
}

#[actix_web::test]
async fn an_x_account_is_linked_once_and_only_to_the_users_own_instance() {
    let bench = Bench::start(DAY).await;
    bench.link(&bench.alice, "42").await;
    let body = json!({ "twitter_user_id": "42", "access_token": "t", "access_token_secret": "s" });
    let told = bench.post(PATH, &bench.bob, &body).await.expect(400);
    assert_eq!(told, json!({ "twitter_user_id": ["This X account is linked already."] }));

    let foreign = bench.add_instance(&bench.alice).await;
    let body = json!({
        "twitter_user_id": "43", "access_token": "t", "access_token_secret": "s", "instance": foreign
    });
    let told = bench.post(PATH, &bench.bob, &body).await.expect(400);
    assert!(told["instance"][0].as_str().unwrap().contains("does not exist"));
    for (field, value) in [
        ("twitter_user_id", json!("acme")),
        ("screen_name", json!("a b")),
        ("access_token", json!("")),
        ("reply_channel", json!("fax")),
        ("case_policy", json!({ "dms": true })),
        ("instance", json!(7)),
    ] {
        let mut body = json!({ "twitter_user_id": "44", "access_token": "t", "access_token_secret": "s" });
        body[field] = value;
        let told = bench.post(PATH, &bench.bob, &body).await.expect(400);
        assert_eq!(told.as_object().unwrap().keys().collect::<Vec<_>>(), [field]);
    }
    bench.stop().await;
}

#[actix_web::test]
async fn revoking_forgets_one_account_or_all() {
    let bench = Bench::start(DAY).await;
    let ids: Vec<String> = [
        bench.link(&bench.alice, "42").await,
        bench.link(&bench.alice, "43").await,
        bench.link(&bench.alice, "44").await,
    ]
    .iter()
    .map(|account| account["id"].as_str().unwrap().to_owned())
    .collect();
    bench.delete("/api/twitter-revoke/?account=nonsense", &bench.alice).await.expect(400);
    let one = format!("/api/twitter-revoke/?account={}", ids[1]);
    bench.delete(&one, &bench.bob).await.expect(404);
    bench.delete(&one, &bench.alice).await.expect(204);
    bench.delete("/api/twitter-revoke/", &bench.bob).await.expect(204);
    assert_eq!(bench.get(PATH, &bench.alice).await.expect(200).as_array().unwrap().len(), 2);
    bench.delete("/api/twitter-revoke/", &bench.alice).await.expect(204);
    assert_eq!(bench.get(PATH, &bench.alice).await.expect(200), json!([]));
    let refused = bench.send(Method::GET, "/api/twitter-revoke/", &bench.alice, None).await;
    refused.expect(405);
    bench.stop().await;
}

#[actix_web::test]
async fn what_came_before_an_instance_is_kept_for_it() {
    let bench = Bench::start(DAY).await;
    let account = bench.link(&bench.alice, "42").await;
    assert_eq!(account["instance"], json!(null));
    bench.dm("42", 1).await;
    let waiting = bench.delivery_in(&bench.alice, "blocked").await;
    assert_eq!(waiting["instance"], json!(null));
    let instance = bench.add_instance(&bench.alice).await;
    let tried = bench.delivery_in(&bench.alice, "retrying").await;
    assert_eq!((&tried["instance"], &tried["customer"]), (&json!(instance), &json!("777")));
    let path = format!("/api/servicenow-details/{instance}/");
    assert_eq!(bench.get(&path, &bench.alice).await.expect(200)["queued"], 1);
    let account = format!("{PATH}{}/", account["id"].as_str().unwrap());
    assert!(bench.get(&account, &bench.alice).await.expect(200)["last_event_at"].is_string());

    // The instance goes: what waits is kept.
    bench.delete(&path, &bench.alice).await.expect(204);
    bench.delivery_in(&bench.alice, "blocked").await;
    bench.stop().await;
}
