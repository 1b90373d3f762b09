use serde_json::json;

use crate::domain::failure::{Effect, ErrorClass};
use crate::x::errors::Refusal;
use crate::x::limits::Quota;
use crate::x::stub::{Reply, STAMP, Stub, account, client};

use super::*;

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

const CUSTOMER: &str = "1205550247124217891";

fn ok(body: &Value) -> Reply {
    Reply::Json(200, body.to_string())
}

fn search(text: &str) -> Search<'_> {
    Search { text, since_ms: 1_767_000_000_500, except: &[] }
}

#[tokio::test]
async fn a_direct_message_is_sent_and_signed() {
    let headers =
        "x-rate-limit-limit: 15\r\nx-rate-limit-remaining: 14\r\nx-rate-limit-reset: 1767000900\r\n";
    let body =
        json!({"data": {"dm_conversation_id": "1-2", "dm_event_id": "2080763914820927863"}}).to_string();
    let stub = Stub::start(vec![Reply::Headers(201, headers, body)]).await;
    let sent = stub.client.send_dm(&account(), CUSTOMER, "Grüße & Küsse", STAMP).await.unwrap();
    assert_eq!(sent.id, "2080763914820927863");
    let quota = Quota { limit: Some(15), remaining: Some(14), reset_ms: 1_767_000_900_000 };
    assert_eq!(sent.limits.endpoint, Some(quota));
    let request = stub.requests().await.remove(0);
    assert!(
        request.starts_with(&format!("POST /2/dm_conversations/with/{CUSTOMER}/messages HTTP/1.1")),
        "{request}"
    );
    assert!(request.ends_with(r#"{"text":"Grüße & Küsse"}"#), "{request}");
    assert!(
        request.contains("oauth_token=\"990001234567890177-token\"") && !request.contains("hidden"),
        "{request}"
    );
    assert!(request.contains("oauth_timestamp=\"1767000000\""), "{request}");
}

#[tokio::test]
async fn a_reply_names_its_parent() {
    let stub =
        Stub::start(vec![ok(&json!({"data": {"id": "77", "text": "t"}, "errors": [{"title": "partial"}]}))])
            .await;
    assert_eq!(stub.client.reply(&account(), "55", "hi", STAMP).await.unwrap().id, "77");
    let request = stub.requests().await.remove(0);
    assert!(request.starts_with("POST /2/tweets HTTP/1.1"), "{request}");
    assert!(request.ends_with(r#"{"text":"hi","reply":{"in_reply_to_tweet_id":"55"}}"#), "{request}");
}

#[tokio::test]
async fn failures_of_sending() {
    let cut = "{\"data\":{".to_owned();
    let refusal = json!({"errors": [{"title": "Forbidden", "detail": "You do not have permission to DM one or more participants."}]});
    for (reply, class, effect, refusal) in [
        (Reply::Silence, ErrorClass::Uncertain, Effect::Pending, None),
        (Reply::Reset, ErrorClass::Uncertain, Effect::Pending, None),
        (Reply::Json(503, String::new()), ErrorClass::Unavailable, Effect::Possible, None),
        (Reply::Json(201, cut), ErrorClass::Uncertain, Effect::Possible, None),
        (Reply::Json(201, "x".repeat(1_100_000)), ErrorClass::Uncertain, Effect::Possible, None),
        (ok(&json!({"data": {"dm_event_id": "../1"}})), ErrorClass::Uncertain, Effect::Possible, None),
        (
            Reply::Json(403, refusal.to_string()),
            ErrorClass::Permanent,
            Effect::None,
            Some(Refusal::CannotMessage),
        ),
        (Reply::Json(401, String::new()), ErrorClass::Auth, Effect::None, None),
        (
            Reply::Headers(307, "location: http://127.0.0.1:1/\r\n", String::new()),
            ErrorClass::Unexpected,
            Effect::Possible,
            None,
        ),
    ] {
        let stub = Stub::start(vec![reply]).await;
        let error = stub.client.send_dm(&account(), CUSTOMER, "secret words", STAMP).await.unwrap_err();
        assert_eq!(
            (error.failure.class, error.failure.effect, error.refusal),
            (class, effect, refusal),
            "{error}"
        );
        assert!(
            !error.to_string().contains("secret") && !format!("{error:?}").contains("hidden"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_refused_connection_sent_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = client(&format!("http://{address}"), TIMEOUT)
        .send_dm(&account(), CUSTOMER, "x", STAMP)
        .await
        .unwrap_err();
    assert_eq!((error.failure.class, error.failure.effect), (ErrorClass::Unavailable, Effect::None));
}

#[tokio::test]
async fn ids_that_are_none_are_not_sent() {
    let client = client("http://127.0.0.1:1", TIMEOUT);
    for error in [
        client.send_dm(&account(), "1/../2", "x", STAMP).await.unwrap_err(),
        client.reply(&account(), "", "x", STAMP).await.unwrap_err(),
        client.find_sent_dm(&account(), "x", search("x"), STAMP).await.unwrap_err(),
    ] {
        assert_eq!((error.failure.class, error.failure.effect), (ErrorClass::Permanent, Effect::None));
    }
}

fn event(id: &str, sender: &str, text: &str, second: u32) -> Value {
    json!({"id": id, "sender_id": sender, "text": text, "event_type": "MessageCreate",
        "created_at": format!("2025-12-29T09:20:{second:02}.000Z")})
}

#[tokio::test]
async fn a_sent_message_is_found() {
    let me = account().user_id;
    let page = |events: &[Value], next: Option<&str>| {
        ok(&json!({"data": events, "meta": {"result_count": events.len(), "next_token": next}}))
    };
    let mine = |id: &str, second| event(id, &me, "hello &amp; bye", second);
    let except = ["8".to_owned()];
    for (replies, except, expected) in [
        (vec![ok(&json!({"meta": {"result_count": 0}}))], &[][..], None),
        (vec![page(&[mine("9", 5)], None)], &[], Some("9")),
        (vec![page(&[mine("9", 5), mine("8", 2)], None)], &[], Some("8")),
        (vec![page(&[mine("9", 5), mine("8", 2)], None)], &except, Some("9")),
        (vec![page(&[event("9", CUSTOMER, "hello & bye", 5)], None)], &[], None),
        (vec![page(&[event("9", &me, "other", 5)], None)], &[], None),
        (vec![page(&[event("9", &me, "other", 5)], Some("t")), page(&[mine("8", 0)], None)], &[], Some("8")),
        (
            vec![page(
                &[
                    json!({"id": "9", "sender_id": me, "text": "hello & bye", "created_at": "2025-12-29T09:19:59.000Z"}),
                ],
                Some("t"),
            )],
            &[],
            None,
        ),
        (vec![page(&[json!(null), json!({"id": 9}), mine("x", 3), mine("7", 3)], None)], &[], Some("7")),
    ] {
        let stub = Stub::start(replies).await;
        let search = Search { except, ..search("hello & bye") };
        let found = stub.client.find_sent_dm(&account(), CUSTOMER, search, STAMP).await.unwrap();
        assert_eq!(found.as_deref(), expected);
        let requests = stub.requests().await;
        let path = format!("GET /2/dm_conversations/with/{CUSTOMER}/dm_events?dm_event.fields=");
        assert!(requests[0].starts_with(&path), "{}", requests[0]);
        assert!(requests.iter().skip(1).all(|request| request.contains("pagination_token=t")));
    }
}

#[tokio::test]
async fn a_look_up_asks_in_the_other_form_too() {
    let refused = || Reply::Json(400, r#"{"title":"Invalid Request"}"#.to_owned());
    let found = ok(&json!({"data": [event("9", &account().user_id, "hello", 5)]}));
    let stub = Stub::start(vec![refused(), found]).await;
    let found = stub.client.find_sent_dm(&account(), CUSTOMER, search("hello"), STAMP).await.unwrap();
    assert_eq!(found.as_deref(), Some("9"));
    let requests = stub.requests().await;
    assert!(requests[0].contains("sender_id%2Ctext&event_types"), "{}", requests[0]);
    assert!(requests[1].contains("expansions=sender_id"), "{}", requests[1]);
    let stub = Stub::start(vec![refused(), refused()]).await;
    let error = stub.client.find_sent_reply(&account(), "5", search("hello"), STAMP).await.unwrap_err();
    assert_eq!(error.refusal, Some(Refusal::BadRequest));
    assert!(stub.requests().await[1].contains("post.fields="));
}

#[tokio::test]
async fn a_look_up_never_guesses() {
    let anonymous =
        ok(&json!({"data": [{"id": "9", "text": "y", "created_at": "2025-12-29T09:20:05.000Z"}]}));
    let stub = Stub::start(vec![anonymous]).await;
    let error = stub.client.find_sent_dm(&account(), CUSTOMER, search("y"), STAMP).await.unwrap_err();
    assert_eq!(error.failure.class, ErrorClass::Unexpected);
    let endless = || ok(&json!({"data": [event("9", CUSTOMER, "x", 5)], "meta": {"next_token": "t"}}));
    let stub = Stub::start((0..MAX_PAGES).map(|_| endless()).collect()).await;
    let error = stub.client.find_sent_dm(&account(), CUSTOMER, search("y"), STAMP).await.unwrap_err();
    assert_eq!((error.failure.class, error.failure.effect), (ErrorClass::Unexpected, Effect::None));
    for body in [json!({"errors": [{"title": "x"}]}), json!([]), json!({"data": {}})] {
        let stub = Stub::start(vec![ok(&body)]).await;
        let error = stub.client.find_sent_dm(&account(), CUSTOMER, search("y"), STAMP).await.unwrap_err();
        assert_eq!(error.failure.class, ErrorClass::Unexpected, "{body}");
    }
}

#[tokio::test]
async fn a_sent_reply_is_found() {
    let post = |id: &str, text: &str, parent: &str| {
        json!({"id": id, "text": text, "created_at": "2025-12-29T09:20:05.000Z",
            "referenced_tweets": [{"type": "quoted", "id": "1"}, {"type": "replied_to", "id": parent}]})
    };
    let mut long = post("6", "cut…", "55");
    long["note_tweet"] = json!({"text": "see https://t.co/x &lt;here&gt;"});
    for (posts, expected) in [
        (vec![post("9", "@dana_k see https://t.co/abc &lt;here&gt;", "55")], Some("9")),
        (vec![post("9", "@dana_k see https://t.co/abc &lt;here&gt;", "56")], None),
        (vec![post("9", "@dana_k see https://t.co/abc there", "55")], None),
        (vec![long], Some("6")),
        (vec![], None),
    ] {
        let stub = Stub::start(vec![ok(&json!({ "data": posts }))]).await;
        let search = search("see https://example.org <here>");
        let found = stub.client.find_sent_reply(&account(), "55", search, STAMP).await.unwrap();
        assert_eq!(found.as_deref(), expected);
        let request = stub.requests().await.remove(0);
        assert!(request.starts_with("GET /2/users/990001234567890177/tweets?"), "{request}");
        assert!(request.contains("start_time=2025-12-29T09%3A20%3A00Z"), "{request}");
    }
}

#[tokio::test]
async fn whose_tokens() {
    let stub =
        Stub::start(vec![ok(&json!({"data": {"id": "5", "username": "AcmeCare", "name": "Acme"}}))]).await;
    let profile = stub.client.users_me(&account(), STAMP).await.unwrap();
    assert_eq!((profile.id.as_str(), profile.username.as_str()), ("5", "AcmeCare"));
    let stub = Stub::start(vec![ok(&json!({"data": {"id": "x", "username": "AcmeCare"}}))]).await;
    let error = stub.client.users_me(&account(), STAMP).await.unwrap_err();
    assert_eq!(error.failure.class, ErrorClass::Unexpected);
}
