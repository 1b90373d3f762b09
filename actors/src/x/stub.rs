//! A tiny X on a loopback port: answers each request with the next of the given answers.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::Url;

use crate::domain::secret::Secret;

use super::client::{AccountCredentials, Stamp, XApp, XClient};

pub(crate) const STAMP: Stamp<'static> = Stamp { now_ms: 1_767_000_000_000, nonce: "abcdefghij123456" };

/// What the stub does with one request.
pub(crate) enum Reply {
    Json(u16, String),
    Headers(u16, &'static str, String),
    /// Never answers.
    Silence,
    /// Closes the connection after reading.
    Reset,
}

pub(crate) struct Stub {
    pub(crate) client: XClient,
    requests: JoinHandle<Vec<String>>,
}

impl Stub {
    pub(crate) async fn start(replies: Vec<Reply>) -> Self {
        let is_silent = replies.iter().any(|reply| matches!(reply, Reply::Silence));
        let timeout = Duration::from_millis(if is_silent { 300 } else { 20_000 });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = tokio::spawn(async move {
            let mut requests = Vec::new();
            for reply in replies {
                let (mut stream, _) = listener.accept().await.unwrap();
                requests.push(read_request(&mut stream).await);
                answer(&mut stream, reply).await;
            }
            requests
        });
        Self { client: client(&format!("http://{address}"), timeout), requests }
    }

    /// All requests, once every reply was given.
    pub(crate) async fn requests(self) -> Vec<String> {
        self.requests.await.unwrap()
    }
}

pub(crate) fn client(base_url: &str, timeout: Duration) -> XClient {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
    let app = XApp {
        base_url: Url::parse(base_url).unwrap(),
        consumer_key: "key".to_owned(),
        consumer_secret: Secret::new("consumer-hidden"),
        bearer_token: Some(Secret::new("bearer-hidden")),
        timeout,
    };
    XClient::new(http, app)
}

pub(crate) fn account() -> AccountCredentials {
    AccountCredentials {
        user_id: "990001234567890177".to_owned(),
        token: Secret::new("990001234567890177-token"),
        token_secret: Secret::new("token-hidden"),
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let n_read = stream.read(&mut buffer).await.unwrap();
        request.extend_from_slice(&buffer[..n_read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if n_read == 0 || body.len() >= length.unwrap_or(0) {
            return text;
        }
    }
}

async fn answer(stream: &mut TcpStream, reply: Reply) {
    let (status, headers, body) = match reply {
        Reply::Json(status, body) => (status, "", body),
        Reply::Headers(status, headers, body) => (status, headers, body),
        Reply::Reset => return,
        Reply::Silence => {
            // Longer than the client waits: until it hangs up.
            let _ = stream.read(&mut [0; 1]).await;
            return;
        }
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body.as_bytes()).await;
}
