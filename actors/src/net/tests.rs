use super::loopback::{Loopback, Reply, json, with};
use super::*;
use crate::domain::failure::{Effect, ErrorClass};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(10);

fn private(timeout: Duration) -> reqwest::Client {
    client(Reach::PrivateAllowed, LONG, timeout).unwrap()
}

#[tokio::test]
async fn a_put_that_was_received_is_sent_once() {
    let server = Loopback::start([Reply::Reset]).await;
    let error = private(LONG).put(&server.url).body("text").send().await.unwrap_err();

    let failure = failure_of(&error);
    assert_eq!((failure.class, failure.effect), (ErrorClass::Uncertain, Effect::Pending));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_put_on_a_kept_connection_is_sent_once() {
    for end in [Reply::Reset, Reply::Cut(String::new()), Reply::Cut("HTTP/1.1 20".to_owned())] {
        let server = Loopback::start([json("200 OK", "{}"), end.clone()]).await;
        let client = private(LONG);
        let first = client.get(&server.url).send().await.unwrap();
        read_capped(first, 100).await.unwrap();

        let error = client.put(&server.url).body("text").send().await.unwrap_err();
        assert_eq!(failure_of(&error).effect, Effect::Pending, "{end:?}");
        assert_eq!(server.requests().len(), 2, "{end:?}");
    }
}

#[tokio::test]
async fn silence_after_sending_is_uncertain() {
    let server = Loopback::start([Reply::Silence]).await;
    let error = private(SHORT).put(&server.url).body("text").send().await.unwrap_err();

    let failure = failure_of(&error);
    assert_eq!((failure.class, failure.effect), (ErrorClass::Uncertain, Effect::Pending));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_refused_connection_had_no_effect() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = private(LONG).put(&url).send().await.unwrap_err();

    let failure = failure_of(&error);
    assert_eq!((failure.class, failure.effect), (ErrorClass::Unavailable, Effect::None));
}

#[tokio::test]
async fn a_name_without_address_had_no_effect() {
    let error = private(LONG).put("http://nothing-here.invalid/").send().await.unwrap_err();
    let failure = failure_of(&error);
    assert_eq!((failure.class, failure.effect), (ErrorClass::Unavailable, Effect::None));
    assert!(failure.detail.contains("does not resolve"), "{}", failure.detail);
}

#[tokio::test]
async fn tls_that_fails_had_no_effect() {
    let server = Loopback::start([]).await;
    let url = server.url.replace("http://", "https://");
    let client = client(Reach::PrivateAllowed, SHORT, LONG).unwrap();
    let error = client.put(url).send().await.unwrap_err();
    let failure = failure_of(&error);
    assert_eq!((failure.class, failure.effect), (ErrorClass::Unavailable, Effect::None));
}

#[tokio::test]
async fn the_guard_acts_when_connecting() {
    let server = Loopback::start([json("200 OK", "{}")]).await;
    let port = server.url.rsplit(':').next().unwrap();
    let public = client(Reach::PublicOnly, LONG, LONG).unwrap();
    let error = public.put(format!("https://localhost:{port}/")).send().await.unwrap_err();

    let failure = failure_of(&error);
    assert_eq!((failure.class, failure.effect), (ErrorClass::Permanent, Effect::None));
    assert!(failure.detail.contains("is not a public address (loopback)"), "{}", failure.detail);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn plain_http_stays_inside() {
    let public = client(Reach::PublicOnly, LONG, LONG).unwrap();
    let error = public.get("http://example.invalid/").send().await.unwrap_err();
    assert_eq!(failure_of(&error).class, ErrorClass::Permanent);
}

#[tokio::test]
async fn redirects_are_not_followed_and_cookies_not_kept() {
    let headers = "Location: /elsewhere\r\nSet-Cookie: JSESSIONID=1; Path=/\r\n";
    let server = Loopback::start([with("302 Found", headers, ""), json("200 OK", "{}")]).await;
    let client = private(LONG);
    assert_eq!(client.get(&server.url).send().await.unwrap().status(), 302);
    assert_eq!(client.get(&server.url).send().await.unwrap().status(), 200);

    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(!requests.iter().any(|request| request.to_ascii_lowercase().contains("cookie:")));
}

#[tokio::test]
async fn bodies_are_capped() {
    let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n5\r\n67890\r\n";
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123";
    let server = Loopback::start([
        with("200 OK", "", "1234567890"),
        with("200 OK", "", "1234567890"),
        Reply::Bytes(endless.to_owned()),
        Reply::Cut(cut.to_owned()),
        Reply::Bytes(cut.to_owned()),
    ])
    .await;
    let client = private(SHORT);
    let get = || async { client.get(&server.url).send().await.unwrap() };

    assert_eq!(read_capped(get().await, 10).await.unwrap(), b"1234567890");
    assert!(matches!(read_capped(get().await, 9).await, Err(BodyError::TooLong { max_bytes: 9 })));
    assert!(matches!(read_capped(get().await, 9).await, Err(BodyError::TooLong { .. })));
    assert!(matches!(read_capped(get().await, 10).await, Err(BodyError::Broken)));
    assert!(matches!(read_capped(get().await, 10).await, Err(BodyError::TimedOut)));
}
