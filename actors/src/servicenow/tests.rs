//! The client against a loopback server with canned replies.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::cases::{CustomerRef, NewCase, STATE_OPEN};
use super::customers::{Customer, CustomerTable};
use super::journal::{Journal, JournalSearch, SearchStep};
use super::keys::{CorrelationId, Handle, Marker, SysId, XUserId};
use super::{Credentials, ServiceNow};
use crate::domain::failure::{Effect, ErrorClass, Failure};
use crate::domain::secret::Secret;
use crate::net::loopback::{Loopback, Reply, json as canned, with};
use crate::net::{self, Reach};

const ID: &str = "00112233445566778899aabbccddeeff";
const OTHER_ID: &str = "ffeeddccbbaa99887766554433221100";
const TIMEOUT: Duration = Duration::from_secs(10);

fn id() -> SysId {
    SysId::parse(ID).unwrap()
}

fn basic() -> Credentials {
    Credentials::Basic { user: "hub".to_owned(), password: Secret::new("pässword") }
}

fn client_with(url: &str, credentials: Credentials, timeout: Duration) -> ServiceNow {
    let reach = Reach::PrivateAllowed;
    let http = net::client(reach, TIMEOUT, TIMEOUT).unwrap();
    let base = net::parse_instance_url(url, reach).unwrap();
    ServiceNow::new(http, base, credentials, timeout, reach, Arc::new(|| 1_000_000))
}

fn client(server: &Loopback) -> ServiceNow {
    client_with(&server.url, basic(), TIMEOUT)
}

async fn server_with(result: &Value) -> Loopback {
    Loopback::start([canned("200 OK", &json!({"result": result}).to_string())]).await
}

fn case_json() -> Value {
    json!({
        "sys_id": ID, "number": "CS0002001", "state": "10", "active": "true", "comments": "",
        "correlation_id": "x:1", "closed_at": "", "resolved_at": "1970-01-01 00:00:05",
        "consumer": {"link": "https://a/api/now/table/csm_consumer/x", "value": OTHER_ID}, "contact": "",
    })
}

fn key() -> CorrelationId {
    CorrelationId::parse("x:1").unwrap()
}

fn head(request: &str) -> String {
    request.lines().next().unwrap().to_owned()
}

fn body(request: &str) -> Value {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn kinds(failure: &Failure) -> (ErrorClass, Effect) {
    (failure.class, failure.effect)
}

#[tokio::test]
async fn every_call_carries_the_same_headers_and_no_cookie() {
    let first = with("200 OK", "Set-Cookie: JSESSIONID=1; Path=/\r\n", &json!({"result": []}).to_string());
    let server = Loopback::start([first, canned("200 OK", "{\"result\":[]}")]).await;
    let client = client(&server);
    assert_eq!(client.find_case(&key()).await, Ok(None));
    assert_eq!(client.find_case(&key()).await, Ok(None));
    for request in server.requests() {
        let lower = request.to_lowercase();
        assert!(lower.contains("accept: application/json"), "{request}");
        assert!(lower.contains("content-type: application/json"), "{request}");
        assert!(lower.contains("authorization: basic "), "{request}");
        assert!(!lower.contains("cookie"), "{request}");
        assert!(request.contains("sysparm_no_count=true") && request.contains("sysparm_display_value=false"));
    }
}

#[tokio::test]
async fn keys_and_tokens_in_their_headers() {
    let cases = [
        (Credentials::ApiKey { key: Secret::new("now_abc") }, "x-sn-apikey: now_abc"),
        (Credentials::Bearer { token: Secret::new("t0ken") }, "authorization: bearer t0ken"),
    ];
    for (credentials, header) in cases {
        let server = server_with(&json!([])).await;
        client_with(&server.url, credentials, TIMEOUT).find_case(&key()).await.unwrap();
        assert!(server.requests()[0].to_lowercase().contains(header));
    }
    let server = server_with(&json!([])).await;
    for (none, words) in [
        (Credentials::ApiKey { key: Secret::new("a\nsecret") }, "cannot be sent"),
        (Credentials::Withheld("there are none"), "there are none"),
    ] {
        let failure = client_with(&server.url, none, TIMEOUT).find_case(&key()).await.unwrap_err();
        assert_eq!(kinds(&failure), (ErrorClass::Auth, Effect::None));
        assert!(failure.detail.contains(words) && !failure.detail.contains("secret"), "{failure}");
        assert!(server.requests().is_empty());
    }
}

#[tokio::test]
async fn a_case_is_found_by_its_key() {
    let server = server_with(&json!([case_json()])).await;
    let case = client(&server).find_case(&key()).await.unwrap().unwrap();
    assert_eq!((case.sys_id, case.number.as_str(), case.is_open), (id(), "CS0002001", true));
    assert_eq!((case.closed_at_ms, case.resolved_at_ms), (None, Some(5000)));
    assert_eq!((case.consumer.unwrap().as_str(), case.contact), (OTHER_ID, None));
    let head = head(&server.requests()[0]);
    assert!(
        head.starts_with("GET /api/sn_customerservice/case?sysparm_query=correlation_id%3Dx%3A1%5E"),
        "{head}"
    );
}

#[tokio::test]
async fn a_row_of_another_key_is_not_the_case() {
    let mut other = case_json();
    other["correlation_id"] = json!("x:2");
    let server = server_with(&json!([other, case_json()])).await;
    assert!(client(&server).find_case(&key()).await.unwrap().is_some());

    let server = server_with(&json!([other])).await;
    let failure = client(&server).find_case(&key()).await.unwrap_err();
    assert_eq!(failure.class, ErrorClass::Unexpected);
    assert!(failure.detail.contains("ignored the filter on correlation_id"), "{failure}");
}

#[tokio::test]
async fn open_and_ended_cases() {
    let cases = [
        (json!({"state": "1", "active": "true"}), true),
        (json!({"state": "18"}), true),
        (json!({"state": {"display_value": "Open", "value": "10"}, "active": true}), true),
        (json!({"state": "6", "active": "true"}), false),
        (json!({"state": "3", "active": "false"}), false),
        (json!({"state": 3}), false),
        (json!({"state": "77", "active": "false"}), false),
    ];
    for (fields, is_open) in cases {
        let mut row = json!({"sys_id": ID, "number": "CS1"});
        row.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let server = server_with(&row).await;
        let case = client(&server).get_case(&id()).await.unwrap().unwrap();
        assert_eq!(case.is_open, is_open, "{fields}");
    }
}

#[tokio::test]
async fn a_case_that_is_gone() {
    let error =
        json!({"error": {"message": "No Record found", "detail": ""}, "status": "failure"}).to_string();
    let server = Loopback::start([canned("404 Not Found", &error), canned("404 Not Found", &error)]).await;
    let client = client(&server);
    assert_eq!(client.get_case(&id()).await, Ok(None));
    let failure = client.add_comment(&id(), "text").await.unwrap_err();
    assert_eq!(kinds(&failure), (ErrorClass::NotFound, Effect::None));
}

#[tokio::test]
async fn a_new_case() {
    let server = Loopback::start([canned(
        "201 Created",
        &json!({"result": {"sys_id": ID, "number": "CS0002001"}}).to_string(),
    )])
    .await;
    let defaults = json!({
        "priority": "2", "correlation_id": "evil", "comments": "evil", "consumer": "evil", "sys_id": "evil",
        "contact_type": "chat", "u_brand": "blue",
    });
    let defaults: Map<String, Value> = defaults.as_object().unwrap().clone();
    let customer = CustomerRef::Consumer(SysId::parse(OTHER_ID).unwrap());
    let case = NewCase {
        correlation_id: &key(),
        correlation_display: "X, conversation of @jack",
        short_description: &"ü".repeat(200),
        description: "hello",
        comments: "hello\nthere",
        customer: Some(&customer),
        social_handle: "jack",
        social_handle_url: "https://x.com/jack",
        social_post_url: Some("https://x.com/i/status/1"),
        defaults: &defaults,
    };
    let made = client(&server).create_case(&case).await.unwrap();
    assert_eq!((made.sys_id, made.number.as_str()), (id(), "CS0002001"));
    let request = &server.requests()[0];
    assert_eq!(head(request), "POST /api/sn_customerservice/case HTTP/1.1");
    let sent = body(request);
    let expected = json!({
        "contact_type": "chat", "short_description": "ü".repeat(160), "description": "hello",
        "correlation_display": "X, conversation of @jack", "social_channel": "TWITTER", "social_handle": "jack",
        "social_handle_url": "https://x.com/jack", "social_handle_type": "Consumer",
        "social_post_url": "https://x.com/i/status/1", "priority": "2", "u_brand": "blue",
        "correlation_id": "x:1", "comments": "hello\nthere", "consumer": OTHER_ID,
    });
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn comments_notes_and_reopening() {
    let plain = json!({"result": {"sys_id": ID, "number": "CS1"}}).to_string();
    let full = json!({"result": case_json()}).to_string();
    let server = Loopback::start([
        canned("200 OK", &plain),
        canned("201 Created", &full),
        canned("200 OK", &full),
        canned("200 OK", &full.replace(ID, OTHER_ID)),
    ])
    .await;
    let client = client(&server);
    assert_eq!(client.add_comment(&id(), "one").await, Ok(None));
    assert!(client.add_work_note(&id(), "two").await.unwrap().unwrap().is_open);
    assert!(client.reopen_with_comment(&id(), STATE_OPEN, "three").await.unwrap().is_some());
    let failure = client.add_comment(&id(), "four").await.unwrap_err();
    assert_eq!(kinds(&failure), (ErrorClass::Unexpected, Effect::Possible));

    let requests = server.requests();
    let prefix = format!("PUT /api/sn_customerservice/case/{ID}?sysparm_get_case_details=true&");
    assert!(requests.iter().all(|request| request.starts_with(&prefix)), "{requests:?}");
    assert_eq!(body(&requests[0]), json!({"comments": "one"}));
    assert_eq!(body(&requests[1]), json!({"work_notes": "two"}));
    assert_eq!(body(&requests[2]), json!({"state": "10", "comments": "three"}));
}

#[tokio::test]
async fn a_comment_without_an_answer_is_sent_once_and_uncertain() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"result\":";
    let cases = [
        (Reply::Reset, Effect::Pending),
        (Reply::Cut(String::new()), Effect::Pending),
        (Reply::Silence, Effect::Pending),
        (Reply::Cut(cut.to_owned()), Effect::Possible),
        (Reply::Bytes(cut.to_owned()), Effect::Pending),
        (canned("200 OK", "{\"result\":{\"sys_id\":"), Effect::Possible),
        (Reply::Bytes("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".to_owned()), Effect::Possible),
        (with("202 Accepted", "", ""), Effect::Possible),
        (with("502 Bad Gateway", "Content-Type: text/html\r\n", "<html></html>"), Effect::Pending),
    ];
    for (reply, effect) in cases {
        let server = Loopback::start([reply.clone()]).await;
        let client = client_with(&server.url, basic(), Duration::from_millis(300));
        let failure = client.add_comment(&id(), "words of the customer").await.unwrap_err();
        assert_eq!(failure.effect, effect, "{reply:?}: {failure}");
        assert!(matches!(failure.class, ErrorClass::Uncertain | ErrorClass::Busy), "{reply:?}: {failure}");
        assert!(!failure.to_string().contains("customer"), "{failure}");
        assert_eq!(server.requests().len(), 1, "{reply:?}");
    }
}

#[tokio::test]
async fn a_read_without_an_answer_has_no_effect() {
    for reply in
        [Reply::Reset, Reply::Silence, canned("200 OK", "{\"resu"), canned("200 OK", "{\"result\":{}}")]
    {
        let server = Loopback::start([reply.clone()]).await;
        let client = client_with(&server.url, basic(), Duration::from_millis(300));
        let failure = client.find_case(&key()).await.unwrap_err();
        assert_eq!(failure.effect, Effect::None, "{reply:?}");
        assert!(matches!(failure.class, ErrorClass::Unavailable | ErrorClass::Unexpected), "{failure}");
    }
}

#[tokio::test]
async fn a_refusal_stands_though_its_words_were_cut() {
    let cut = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\n{";
    let server = Loopback::start([Reply::Cut(cut.to_owned())]).await;
    let failure = client(&server).add_comment(&id(), "text").await.unwrap_err();
    assert_eq!(kinds(&failure), (ErrorClass::Auth, Effect::None));
}

#[tokio::test]
async fn pages_instead_of_json() {
    let cases = [
        ("<html><h1>Your instance is hibernating</h1></html>", ErrorClass::Sleeping),
        ("<html><form action=\"login.do\"></form></html>", ErrorClass::Unexpected),
    ];
    for (page, class) in cases {
        let server = Loopback::start([with("200 OK", "Content-Type: text/html\r\n", page)]).await;
        let failure = client(&server).add_comment(&id(), "text").await.unwrap_err();
        assert_eq!(kinds(&failure), (class, Effect::None));
    }
}

#[tokio::test]
async fn the_guard_refuses_before_sending() {
    let server = Loopback::start([]).await;
    // The URL was allowed once; then private networks were forbidden again.
    let base = net::parse_instance_url(&server.url, Reach::PrivateAllowed).unwrap();
    let http = net::client(Reach::PrivateAllowed, TIMEOUT, TIMEOUT).unwrap();
    let client = ServiceNow::new(http, base, basic(), TIMEOUT, Reach::PublicOnly, Arc::new(|| 0));
    let failure = client.find_case(&key()).await.unwrap_err();
    assert_eq!(kinds(&failure), (ErrorClass::Permanent, Effect::None));
    assert!(failure.detail.contains("loopback"), "{failure}");
    assert!(server.requests().is_empty());
}

fn search() -> JournalSearch {
    JournalSearch::new(id(), Journal::Comments, Marker::parse("x message 12").unwrap())
}

fn activities(values: &[&str], can_read: bool) -> Reply {
    let entries: Vec<Value> =
        values.iter().map(|value| json!({"sys_id": value, "element": "comments", "value": value})).collect();
    let journals = json!([{"name": "comments", "can_read": can_read}]);
    let result = json!({"sys_id": ID, "entries": entries, "journal_fields": journals});
    canned("200 OK", &json!({"result": result}).to_string())
}

fn journal(values: &[&str], case: &str) -> Reply {
    let row =
        |value: &&str| json!({"sys_id": value, "element": "comments", "element_id": case, "value": value});
    let rows: Vec<Value> = values.iter().map(row).collect();
    canned("200 OK", &json!({"result": rows}).to_string())
}

type Step = Result<SearchStep, ErrorClass>;

async fn steps(server: &Loopback) -> Vec<Step> {
    let client = client(server);
    let mut search = search();
    let mut steps = Vec::new();
    loop {
        let step = client.search_journal(&mut search).await.map_err(|failure| failure.class);
        steps.push(step);
        if step != Ok(SearchStep::More) {
            return steps;
        }
    }
}

#[tokio::test]
async fn a_comment_is_looked_for_page_by_page() {
    use SearchStep::{Absent, Blind, Found, More};
    let refused = || canned("403 Forbidden", "{\"error\":{\"message\":\"m\",\"detail\":\"d\"}}");
    let full: Vec<String> = (0..100).map(|n| format!("entry {n}")).collect();
    let full: Vec<&str> = full.iter().map(String::as_str).collect();
    let cases: Vec<(Vec<Reply>, Vec<Step>)> = vec![
        (vec![activities(&["x message 12\nhello"], true)], vec![Ok(Found)]),
        (vec![activities(&["x message 123"], true), activities(&[], true)], vec![Ok(More), Ok(Absent)]),
        (vec![activities(&[], true)], vec![Ok(Absent)]),
        (vec![activities(&["a"], true), activities(&["a"], true)], vec![Ok(More), Ok(Absent)]),
        (vec![activities(&["a"], true), activities(&["x message 12"], true)], vec![Ok(More), Ok(Found)]),
        (vec![activities(&full, true), activities(&full, true)], vec![Ok(More), Err(ErrorClass::Unexpected)]),
        (vec![activities(&[], false), journal(&["x message 12"], ID)], vec![Ok(More), Ok(Found)]),
        (vec![refused(), journal(&["x message 12"], ID)], vec![Ok(More), Ok(Found)]),
        (vec![refused(), journal(&["a"], ID), journal(&[], ID)], vec![Ok(More), Ok(More), Ok(Absent)]),
        (vec![refused(), journal(&[], ID)], vec![Ok(More), Ok(Blind)]),
        (vec![refused(), refused()], vec![Ok(More), Err(ErrorClass::Permanent)]),
        (vec![refused(), journal(&["x message 12"], OTHER_ID)], vec![Ok(More), Err(ErrorClass::Unexpected)]),
        (vec![canned("200 OK", "{\"result\":{\"entries\":7}}")], vec![Err(ErrorClass::Unexpected)]),
        (vec![with("503 Unavailable", "", "")], vec![Err(ErrorClass::Unavailable)]),
    ];
    for (replies, expected) in cases {
        let n_replies = replies.len();
        let server = Loopback::start(replies).await;
        assert_eq!(steps(&server).await, expected);
        assert_eq!(server.requests().len(), n_replies);
    }
}

#[tokio::test]
async fn the_journal_is_asked_for_this_case_and_page() {
    let refused = canned("400 Bad Request", "{\"error\":{\"message\":\"m\",\"detail\":\"d\"}}");
    let server =
        Loopback::start([activities(&["a"], true), refused, journal(&["a"], ID), journal(&[], ID)]).await;
    steps(&server).await;
    let heads: Vec<String> = server.requests().iter().map(|request| head(request)).collect();
    let path = format!("/api/sn_customerservice/case/{ID}/activities?sysparm_activity_type=comments");
    assert!(heads[0].contains(&path) && heads[0].contains("sysparm_offset=0"), "{}", heads[0]);
    assert!(heads[1].contains(&path) && heads[1].contains("sysparm_offset=1"), "{}", heads[1]);
    let path =
        format!("sys_journal_field?sysparm_query=element_id%3D{ID}%5Eelement%3Dcomments%5EORDERBYDESC");
    assert!(heads[2].contains(&path) && heads[2].contains("sysparm_offset=0"), "{}", heads[2]);
    assert!(heads[3].contains(&path) && heads[3].contains("sysparm_offset=100"), "{}", heads[3]);
}

fn jack() -> Customer {
    Customer {
        x_id: XUserId::parse("12").unwrap(),
        handle: Handle::parse("Jack").ok(),
        name: "Jack B. Nimble".to_owned(),
    }
}

#[tokio::test]
async fn customers_are_found_by_their_profile() {
    let table = CustomerTable::CsmConsumer;
    let profile = |social_id: &str, channel: &str, consumer: &str| json!({"sys_id": OTHER_ID, "social_id": social_id, "channel.name": channel, "consumer": consumer});
    let cases = [
        (json!([]), Ok(None)),
        (json!([profile("jack", "Twitter", ID)]), Ok(Some(id()))),
        (json!([profile("jack", "", ID)]), Ok(Some(id()))),
        (json!([profile("jack", "Facebook", ID)]), Ok(None)),
        (json!([profile("jack", "X", "")]), Ok(None)),
        (json!([profile("jack", "X", ""), profile("JACK", "X (Twitter)", ID)]), Ok(Some(id()))),
        (json!([profile("jill", "X", ID)]), Err(ErrorClass::Unexpected)),
        (json!([{"consumer": ID}]), Err(ErrorClass::Unexpected)),
    ];
    for (rows, expected) in cases {
        let server = server_with(&rows).await;
        let found = client(&server).find_customer(table, &jack()).await.map_err(|failure| failure.class);
        assert_eq!(found, expected, "{rows}");
        let head = head(&server.requests()[0]);
        assert!(
            head.contains("/sn_app_cs_social_social_profile?sysparm_query=social_id%3DJack%5E"),
            "{head}"
        );
    }
    let missing =
        json!({"error": {"message": "Invalid table sn_app_cs_social_social_profile", "detail": null}});
    let server = Loopback::start([canned("400 Bad Request", &missing.to_string())]).await;
    assert_eq!(client(&server).find_customer(table, &jack()).await, Ok(None));
}

#[tokio::test]
async fn users_are_found_by_their_name() {
    let server = server_with(&json!([{"sys_id": ID, "user_name": "x-12"}])).await;
    assert_eq!(client(&server).find_customer(CustomerTable::SysUser, &jack()).await, Ok(Some(id())));
    assert!(head(&server.requests()[0]).contains("/sys_user?sysparm_query=user_name%3Dx-12&"));

    let server = server_with(&json!([{"sys_id": ID, "user_name": "admin"}])).await;
    let failure = client(&server).find_customer(CustomerTable::SysUser, &jack()).await.unwrap_err();
    assert_eq!(failure.class, ErrorClass::Unexpected);
}

#[tokio::test]
async fn customers_are_made() {
    let social = json!({
        "first_name": "Jack B.", "last_name": "Nimble", "social_channel": "TWITTER",
        "social_handle": "Jack", "social_handle_url": "https://x.com/Jack",
    });
    let user = json!({"first_name": "Jack B.", "last_name": "Nimble", "user_name": "x-12"});
    let cases = [
        (CustomerTable::CsmConsumer, json!(ID), "POST /api/now/consumer ", &social),
        (CustomerTable::CsmConsumer, json!({"sys_id": ID}), "POST /api/now/consumer ", &social),
        (CustomerTable::CustomerContact, json!({"sys_id": ID}), "POST /api/now/contact ", &social),
        (CustomerTable::SysUser, json!({"sys_id": ID}), "POST /api/now/table/sys_user ", &user),
    ];
    for (table, result, start, expected) in cases {
        let server = Loopback::start([canned("201 Created", &json!({"result": result}).to_string())]).await;
        assert_eq!(client(&server).create_customer(table, &jack()).await, Ok(id()));
        let request = &server.requests()[0];
        assert!(request.starts_with(start), "{request}");
        assert_eq!(body(request), *expected);
    }
    for result in [json!("nonsense"), json!({}), json!(null), json!([1])] {
        let server = Loopback::start([canned("201 Created", &json!({"result": result}).to_string())]).await;
        let failure = client(&server).create_customer(CustomerTable::CsmConsumer, &jack()).await.unwrap_err();
        assert_eq!(kinds(&failure), (ErrorClass::Unexpected, Effect::Possible), "{result}");
    }
}
