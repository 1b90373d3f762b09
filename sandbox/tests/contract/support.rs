//! Clients for the tests: plain HTTP, and OAuth 1.0a signed with code of the tests' own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use casewire_sandbox::{ServiceNowSandbox, SnOptions, XAccount, XOptions, XSandbox, XUser};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;

pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(std::time::Duration::from_secs(20))
        .build()
        .unwrap()
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn to(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) fn account() -> XAccount {
    XAccount {
        id: "990001234567890177".into(),
        screen_name: "AcmeCare".into(),
        name: "Acme Care".into(),
        access_token: "990001234567890177-token".into(),
        access_token_secret: "token secret & more".into(),
    }
}

pub(crate) fn dana() -> XUser {
    XUser::new("1205550247124217891", "dana_k", "Dana")
}

pub(crate) async fn x(options: XOptions) -> XSandbox {
    let sandbox = XSandbox::start(options).await.unwrap();
    sandbox.add_account(account());
    sandbox
}

fn encode(text: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let one = |byte: u8| if is_plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

/// Whatever of a signature a test wants to be wrong.
#[derive(Clone)]
pub(crate) struct Signer {
    pub(crate) consumer_key: String,
    pub(crate) consumer_secret: String,
    pub(crate) token: String,
    pub(crate) token_secret: String,
    pub(crate) timestamp: i64,
    pub(crate) nonce: String,
    pub(crate) more: Vec<(&'static str, String)>,
}

impl Signer {
    pub(crate) fn new(options: &XOptions, account: &XAccount) -> Self {
        Self {
            consumer_key: options.consumer_key.clone(),
            consumer_secret: options.consumer_secret.clone(),
            token: account.access_token.clone(),
            token_secret: account.access_token_secret.clone(),
            timestamp: chrono::DateTime::<chrono::Utc>::from(now()).timestamp(),
            nonce: format!("{:x}", rand::random::<u128>()),
            more: Vec::new(),
        }
    }

    pub(crate) fn header(&self, method: &str, url: &str) -> String {
        let url = url::Url::parse(url).unwrap();
        let mut oauth: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in [
            ("oauth_consumer_key", self.consumer_key.clone()),
            ("oauth_nonce", self.nonce.clone()),
            ("oauth_signature_method", "HMAC-SHA1".into()),
            ("oauth_timestamp", self.timestamp.to_string()),
            ("oauth_version", "1.0".into()),
        ] {
            oauth.insert(name.into(), value);
        }
        if !self.token.is_empty() {
            oauth.insert("oauth_token".into(), self.token.clone());
        }
        for (name, value) in &self.more {
            oauth.insert((*name).into(), value.clone());
        }
        let mut pairs: Vec<(String, String)> = oauth.iter().map(|(k, v)| (encode(k), encode(v))).collect();
        pairs.extend(url.query_pairs().map(|(k, v)| (encode(&k), encode(&v))));
        pairs.sort();
        let pairs: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let bare = format!("{}{}", url.origin().ascii_serialization(), url.path());
        let base = format!("{method}&{}&{}", encode(&bare), encode(&pairs.join("&")));
        let key = format!("{}&{}", encode(&self.consumer_secret), encode(&self.token_secret));
        let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(base.as_bytes());
        oauth.insert("oauth_signature".into(), STANDARD.encode(mac.finalize().into_bytes()));
        let fields: Vec<String> =
            oauth.iter().map(|(k, v)| format!("{}=\"{}\"", encode(k), encode(v))).collect();
        format!("OAuth {}", fields.join(", "))
    }
}

#[expect(clippy::disallowed_methods, reason = "the sandbox checks time-stamps against the system clock")]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// A request as the account, signed.
pub(crate) fn as_account(x: &XSandbox, method: &str, path: &str) -> reqwest::RequestBuilder {
    let url = format!("{}{path}", x.url());
    let header = Signer::new(x.options(), &account()).header(method, &url);
    client().request(method.parse().unwrap(), url).header("authorization", header)
}

/// A request as the app.
pub(crate) fn as_app(x: &XSandbox, method: &str, path: &str) -> reqwest::RequestBuilder {
    client()
        .request(method.parse().unwrap(), format!("{}{path}", x.url()))
        .bearer_auth(&x.options().bearer_token)
}

pub(crate) fn dm(x: &XSandbox, text: &str) -> reqwest::RequestBuilder {
    let path = format!("/2/dm_conversations/with/{}/messages", dana().id);
    as_account(x, "POST", &path).json(&json!({"text": text}))
}

pub(crate) async fn servicenow(options: SnOptions) -> ServiceNowSandbox {
    ServiceNowSandbox::start(options).await.unwrap()
}

/// A request as the integration user.
pub(crate) fn as_hub(sn: &ServiceNowSandbox, method: &str, path: &str) -> reqwest::RequestBuilder {
    let request = client().request(method.parse().unwrap(), format!("{}{path}", sn.url()));
    request.basic_auth("casewire", Some("sandbox")).header("accept", "application/json")
}

pub(crate) const CASE_API: &str = "/api/sn_customerservice/case";

/// Makes a case; returns its `sys_id`.
pub(crate) async fn new_case(sn: &ServiceNowSandbox, fields: Value) -> String {
    let answer = Answer::to(as_hub(sn, "POST", CASE_API).json(&fields)).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()["result"]["sys_id"].as_str().unwrap().to_owned()
}

/// How a test's webhook behaves.
#[derive(Clone, Copy)]
pub(crate) enum Behaviour {
    Right,
    WrongToken,
    Fails,
}

/// What a webhook got: signature and body.
type Received = Arc<Mutex<Vec<(String, String)>>>;

/// A webhook with the app's secret.
pub(crate) struct Hook {
    pub(crate) url: String,
    pub(crate) behaviour: Arc<Mutex<Behaviour>>,
    received: Received,
    arrivals: tokio::sync::mpsc::UnboundedReceiver<()>,
    _server: tokio::task::JoinHandle<()>,
}

impl Hook {
    /// Serves with a few lines of HTTP/1.1 on the caller's runtime, one request a connection.
    pub(crate) async fn start(secret: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let behaviour = Arc::new(Mutex::new(Behaviour::Right));
        let received: Received = Arc::default();
        let (arrived, arrivals) = tokio::sync::mpsc::unbounded_channel();
        let (secret, how, kept) = (secret.to_owned(), behaviour.clone(), received.clone());
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (head, body) = read_request(&stream).await;
                let mut status = "200 OK";
                let mut reply = String::from("{}");
                if let Some(token) = between(&head, "crc_token=", &['&', ' ']) {
                    reply = match *how.lock().unwrap() {
                        Behaviour::Right => crc_reply(&secret, token),
                        Behaviour::WrongToken => crc_reply("another secret", token),
                        Behaviour::Fails => String::new(),
                    };
                    if reply.is_empty() {
                        status = "500 Internal Server Error";
                    }
                } else {
                    let signature =
                        between(&head, "x-twitter-webhooks-signature: ", &['\r']).unwrap_or_default();
                    kept.lock().unwrap().push((signature.to_owned(), body));
                    let _ = arrived.send(());
                }
                let reply = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{reply}",
                    reply.len()
                );
                write_all(&stream, reply.as_bytes()).await;
            }
        });
        Self { url, behaviour, received, arrivals, _server: server }
    }

    /// The next body, however long it takes.
    pub(crate) async fn next(&mut self) -> (String, Value) {
        self.arrivals.recv().await.unwrap();
        let (signature, body) = self.received.lock().unwrap().remove(0);
        (signature, serde_json::from_str(&body).unwrap())
    }
}

fn crc_reply(secret: &str, token: &str) -> String {
    json!({"response_token": casewire_sandbox::sign(secret, token.as_bytes())}).to_string()
}

fn between<'a>(text: &'a str, before: &str, after: &[char]) -> Option<&'a str> {
    let rest = &text[text.find(before)? + before.len()..];
    Some(&rest[..rest.find(after)?])
}

async fn read_request(stream: &tokio::net::TcpStream) -> (String, String) {
    let mut bytes = Vec::new();
    loop {
        stream.readable().await.unwrap();
        let mut chunk = [0; 4096];
        match stream.try_read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => panic!("{error}"),
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            between(&format!("{head}\r"), "content-length: ", &['\r']).map_or(0, |n| n.parse().unwrap());
        if body.len() >= length {
            return (format!("{head}\r\n"), body.to_owned());
        }
    }
    (String::new(), String::new())
}

async fn write_all(stream: &tokio::net::TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        stream.writable().await.unwrap();
        match stream.try_write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
