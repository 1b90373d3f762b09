use crate::domain::failure::Effect;
use crate::x::stub::{Reply, STAMP, Stub, account, client};

use super::*;

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

const NOW_MS: i64 = STAMP.now_ms;

async fn stub(status: u16, body: &str) -> Stub {
    Stub::start(vec![Reply::Json(status, body.to_owned())]).await
}

#[tokio::test]
async fn webhooks_are_made_listed_validated_and_deleted() {
    let one = r#"{"data":{"id":"123","url":"https://hub.example.com/api/activity/","valid":true,"created_at":"2026-01-01T00:00:00.000Z"}}"#;
    let x = stub(200, one).await;
    let made = x.client.create_webhook("https://hub.example.com/api/activity/", NOW_MS).await.unwrap();
    assert!(made.is_valid && made.id == "123");
    let request = x.requests().await.remove(0);
    assert!(
        request.starts_with("POST /2/webhooks HTTP/1.1") && request.contains("Bearer bearer-hidden"),
        "{request}"
    );
    assert!(request.ends_with(r#"{"url":"https://hub.example.com/api/activity/"}"#), "{request}");

    let list = r#"{"data":[{"id":"1","url":"https://a.org/","valid":false},{"id":2},null],"meta":{"result_count":1}}"#;
    let webhooks = stub(200, list).await.client.list_webhooks(NOW_MS).await.unwrap();
    assert_eq!(webhooks.len(), 1);
    assert!(!webhooks[0].is_valid);
    assert!(
        stub(200, r#"{"meta":{"result_count":0}}"#)
            .await
            .client
            .list_webhooks(NOW_MS)
            .await
            .unwrap()
            .is_empty()
    );

    assert!(
        stub(200, r#"{"data":{"valid":true}}"#).await.client.validate_webhook("1", NOW_MS).await.unwrap()
    );
    assert!(
        !stub(200, r#"{"data":{"valid":false}}"#).await.client.validate_webhook("1", NOW_MS).await.unwrap()
    );
    assert!(stub(204, "").await.client.validate_webhook("1", NOW_MS).await.unwrap());
    stub(200, r#"{"data":{"deleted":true}}"#).await.client.delete_webhook("1", NOW_MS).await.unwrap();
    let error = stub(200, r#"{"data":{"deleted":false}}"#)
        .await
        .client
        .delete_webhook("1", NOW_MS)
        .await
        .unwrap_err();
    assert_eq!(error, WebhookError::Unexpected { what: "that the webhook is deleted" });
}

#[tokio::test]
async fn named_refusals() {
    let problem =
        |name: &str| format!(r#"{{"title":"{name}","detail":"d","type":"about:blank","status":400}}"#);
    let old = |message: &str| format!(r#"{{"errors":[{{"code":214,"message":"{message}"}}]}}"#);
    for (status, body, expected) in [
        (400, problem("WebhookLimitExceeded"), WebhookError::WebhookLimitExceeded),
        (403, old("Too many resources already created."), WebhookError::WebhookLimitExceeded),
        (
            400,
            r#"{"errors":[{"message":"DuplicateUrlFailed: it exists"}],"title":"Invalid Request"}"#
                .to_owned(),
            WebhookError::DuplicateUrl,
        ),
        (
            400,
            r#"{"errors":[{"type":"https://api.x.com/2/problems/crc-validation-failed"}]}"#.to_owned(),
            WebhookError::CrcValidationFailed,
        ),
        (
            400,
            old("High latency on CRC GET request. Your webhook should respond in less than 3 seconds."),
            WebhookError::CrcValidationFailed,
        ),
        (400, problem("UrlValidationFailed"), WebhookError::UrlValidationFailed),
        (404, problem("WebhookIdInvalid"), WebhookError::WebhookIdInvalid),
        (
            200,
            r#"{"errors":[{"title":"CrcValidationFailed"}]}"#.to_owned(),
            WebhookError::CrcValidationFailed,
        ),
    ] {
        let error =
            stub(status, &body).await.client.create_webhook("https://a.org/", NOW_MS).await.unwrap_err();
        assert_eq!(error, expected, "{body}");
    }
}

#[tokio::test]
async fn other_failures_stay_what_they_are() {
    for (status, body, class) in [
        (401, "", ErrorClass::Auth),
        (429, r#"{"title":"WebhookLimitExceeded"}"#, ErrorClass::Busy),
        (503, "", ErrorClass::Unavailable),
        (200, "<html>", ErrorClass::Unexpected),
    ] {
        let error =
            stub(status, body).await.client.create_webhook("https://a.org/", NOW_MS).await.unwrap_err();
        match error {
            WebhookError::Call(error) => {
                assert_eq!(error.failure.class, class, "{status}");
                assert!(!error.to_string().contains("hidden"));
                assert_eq!(status == 401, error.failure.detail.contains("twitter.bearer_token"));
            }
            WebhookError::Unexpected { .. } => assert_eq!(class, ErrorClass::Unexpected),
            other => panic!("{status}: {other}"),
        }
    }
}

#[tokio::test]
async fn subscriptions() {
    let webhook = "123";
    let path = "/2/account_activity/webhooks/123/subscriptions";
    let x = stub(200, r#"{"data":{"subscribed":true}}"#).await;
    x.client.subscribe(webhook, &account(), STAMP).await.unwrap();
    let request = x.requests().await.remove(0);
    assert!(
        request.starts_with(&format!("POST {path}/all HTTP/1.1")) && request.ends_with("{}"),
        "{request}"
    );
    assert!(request.contains("OAuth oauth_consumer_key"), "{request}");

    let again = stub(409, r#"{"title":"DuplicateSubscriptionFailed"}"#).await;
    again.client.subscribe(webhook, &account(), STAMP).await.unwrap();
    let full = stub(403, r#"{"title":"SubscriptionLimitExceeded"}"#).await;
    let error = full.client.subscribe(webhook, &account(), STAMP).await.unwrap_err();
    assert_eq!(error, WebhookError::SubscriptionLimitExceeded);

    let list = r#"{"data":{"application_id":"1","webhook_id":"123","subscriptions":[{"user_id":"5"},{"user_id":6},null]}}"#;
    let x = stub(200, list).await;
    assert_eq!(x.client.list_subscriptions(webhook, NOW_MS).await.unwrap(), ["5"]);
    assert!(x.requests().await[0].starts_with(&format!("GET {path}/all/list")));

    let x = stub(200, r#"{"data":{"subscribed":false}}"#).await;
    x.client.unsubscribe(webhook, "5", NOW_MS).await.unwrap();
    assert!(x.requests().await[0].starts_with(&format!("DELETE {path}/5/all")));
    let gone = stub(404, r#"{"title":"SubscriptionNotFound"}"#).await;
    gone.client.unsubscribe(webhook, "5", NOW_MS).await.unwrap();
}

#[tokio::test]
async fn nothing_is_sent_without_ids_or_bearer() {
    let client = client("http://127.0.0.1:1", TIMEOUT);
    assert_eq!(client.validate_webhook("a/b", NOW_MS).await.unwrap_err(), WebhookError::NotAnId);
    assert_eq!(client.unsubscribe("1", "x", NOW_MS).await.unwrap_err(), WebhookError::NotAnId);
    let unreached = client.list_webhooks(NOW_MS).await.unwrap_err();
    assert!(matches!(unreached, WebhookError::Call(error) if error.failure.effect == Effect::None));
    let without = client.without_bearer();
    assert_eq!(without.list_webhooks(NOW_MS).await.unwrap_err(), WebhookError::NoBearerToken);
}
