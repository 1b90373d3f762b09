use casewire_sandbox::{XOptions, bodies, sign};
use serde_json::{Value, json};

use crate::support::{Answer, Behaviour, Hook, account, as_account, as_app, client, dana, dm, x};

#[tokio::test]
async fn a_webhook_must_prove_its_secret() {
    let x = x(XOptions::default()).await;
    let hook = Hook::start(&x.options().consumer_secret).await;
    let register = |url: &str| as_app(&x, "POST", "/2/webhooks").json(&json!({"url": url}));
    for (behaviour, reason) in
        [(Behaviour::WrongToken, "CrcValidationFailed"), (Behaviour::Fails, "CrcValidationFailed")]
    {
        *hook.behaviour.lock().unwrap() = behaviour;
        let answer = Answer::to(register(&hook.url)).await;
        assert_eq!((answer.status, &answer.json()["title"]), (400, &json!(reason)));
    }
    *hook.behaviour.lock().unwrap() = Behaviour::Right;
    let made = Answer::to(register(&hook.url)).await;
    assert_eq!((made.status, &made.json()["data"]["valid"]), (200, &json!(true)));
    let id = made.json()["data"]["id"].as_str().unwrap().to_owned();
    for (url, reason) in
        [(hook.url.clone(), "DuplicateUrlFailed"), (format!("{}2", hook.url), "WebhookLimitExceeded")]
    {
        assert_eq!(Answer::to(register(&url)).await.json()["title"], reason);
    }
    *hook.behaviour.lock().unwrap() = Behaviour::Fails;
    let path = format!("/2/webhooks/{id}");
    assert_eq!(Answer::to(as_app(&x, "PUT", &path)).await.status, 400);
    let list = Answer::to(as_app(&x, "GET", "/2/webhooks")).await.json();
    assert_eq!((&list["data"][0]["valid"], &list["meta"]["result_count"]), (&json!(false), &json!(1)));
    *hook.behaviour.lock().unwrap() = Behaviour::Right;
    assert_eq!(Answer::to(as_app(&x, "PUT", &path)).await.json(), json!({"data": {"valid": true}}));
    assert_eq!(Answer::to(as_app(&x, "DELETE", &path)).await.json(), json!({"data": {"deleted": true}}));
    assert_eq!(Answer::to(as_app(&x, "PUT", &path)).await.json()["title"], "WebhookIdInvalid");
}

#[tokio::test]
async fn xs_own_rules_for_urls_can_be_kept() {
    let x = x(XOptions { allow_any_url: false, ..XOptions::default() }).await;
    for url in ["http://hub.example.com/", "https://hub.example.com:8443/", "https://localhost/", "nonsense"]
    {
        let answer = Answer::to(as_app(&x, "POST", "/2/webhooks").json(&json!({"url": url}))).await;
        assert_eq!((answer.status, &answer.json()["title"]), (400, &json!("UrlValidationFailed")), "{url}");
    }
}

#[tokio::test]
async fn what_an_account_sends_comes_back_to_its_subscriber() {
    let x = x(XOptions::default()).await;
    let mut hook = Hook::start(&x.options().consumer_secret).await;
    let made = Answer::to(as_app(&x, "POST", "/2/webhooks").json(&json!({"url": hook.url}))).await.json();
    let id = made["data"]["id"].as_str().unwrap();
    let path = format!("/2/account_activity/webhooks/{id}/subscriptions/all");
    let subscribe = || as_account(&x, "POST", &path).json(&json!({}));
    assert_eq!(Answer::to(subscribe()).await.json(), json!({"data": {"subscribed": true}}));
    assert_eq!(Answer::to(subscribe()).await.json()["title"], "DuplicateSubscriptionFailed");
    assert_eq!(Answer::to(as_account(&x, "GET", &path)).await.json()["data"]["subscribed"], true);
    let list = Answer::to(as_app(&x, "GET", &format!("{path}/list"))).await.json();
    assert_eq!(list["data"]["subscriptions"], json!([{"user_id": account().id}]));
    let count = Answer::to(as_app(&x, "GET", "/2/account_activity/subscriptions/count")).await.json();
    assert_eq!(count["data"]["subscriptions_count_all"], "1");

    let sent = Answer::to(dm(&x, "on its way")).await.json();
    let (signature, body) = hook.next().await;
    assert_eq!(signature, sign(&x.options().consumer_secret, body.to_string().as_bytes()));
    let item = &body["direct_message_events"][0];
    assert_eq!(item["id"], sent["data"]["dm_event_id"]);
    assert_eq!(item["message_create"]["sender_id"], account().id);
    assert_eq!(item["message_create"]["source_app_id"], x.options().app_id);
    Answer::to(as_account(&x, "POST", "/2/tweets").json(&json!({"text": "news"}))).await;
    assert_eq!(hook.next().await.1["tweet_create_events"][0]["text"], "news");

    let path = format!("/2/account_activity/webhooks/{id}/subscriptions/{}/all", account().id);
    assert_eq!(Answer::to(as_app(&x, "DELETE", &path)).await.json(), json!({"data": {"subscribed": false}}));
    assert_eq!(Answer::to(as_app(&x, "DELETE", &path)).await.json()["title"], "SubscriptionNotFound");
}

#[tokio::test]
async fn people_can_speak_through_the_sandbox() {
    let x = x(XOptions::default()).await;
    let mut hook = Hook::start(&x.options().consumer_secret).await;
    Answer::to(as_app(&x, "POST", "/2/webhooks").json(&json!({"url": hook.url}))).await;
    let (id, posted) = x.say_dm(&account().user(), &dana(), "my parcel <3").await.unwrap();
    assert_eq!(posted.status, 200);
    let (_, body) = hook.next().await;
    assert_eq!(body["direct_message_events"][0]["id"], id);
    assert_eq!(body["direct_message_events"][0]["message_create"]["message_data"]["text"], "my parcel &lt;3");
    let say = json!({"account": account().id, "sender": dana(), "kind": "mention", "text": "@AcmeCare help"});
    let said = Answer::to(client().post(format!("{}/_sandbox/say", x.url())).json(&say)).await;
    assert_eq!(said.status, 200, "{}", said.text);
    let (_, body) = hook.next().await;
    assert_eq!(body["tweet_create_events"][0]["entities"]["user_mentions"][0]["id_str"], account().id);
    let url = format!("{}/_sandbox/deliver?url={}", x.url(), hook.url);
    Answer::to(client().post(url).body("{\"a\": 1}")).await;
    assert_eq!(hook.next().await.1, json!({"a": 1}));
    assert_eq!(x.deliveries().len(), 3);
    let photo = bodies::photo_dm_body(&account().user(), &dana(), "1209117907864571908", "", 1);
    let photo: Value = serde_json::from_str(&photo).unwrap();
    assert_eq!(
        photo["direct_message_events"][0]["message_create"]["message_data"]["attachment"]["media"]["type"],
        "photo"
    );
}

#[tokio::test]
async fn a_replay_sends_again_and_says_when_it_is_done() {
    let x = x(XOptions::default()).await;
    let mut hook = Hook::start(&x.options().consumer_secret).await;
    let made = Answer::to(as_app(&x, "POST", "/2/webhooks").json(&json!({"url": hook.url}))).await.json();
    let (dm_id, _) = x.say_dm(&account().user(), &dana(), "hello").await.unwrap();
    hook.next().await;
    let replay =
        json!({"webhook_id": made["data"]["id"], "from_date": "202001010000", "to_date": "209901010000"});
    let job = Answer::to(as_app(&x, "POST", "/2/webhooks/replay").json(&replay)).await;
    assert_eq!(job.status, 200, "{}", job.text);
    assert_eq!(hook.next().await.1["direct_message_events"][0]["id"], dm_id);
    assert_eq!(hook.next().await.1["replay_job_status"]["job_id"], job.json()["data"]["job_id"]);
}
