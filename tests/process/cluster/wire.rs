//! Speaking HTTP to replicas, as a client that is told exactly what to send and gets exactly what came.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

/// How long a client of the API waits.
const PATIENCE: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(10);

static CLIENT: LazyLock<Client> = LazyLock::new(|| {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    // Tests have runtimes of their own, and a connection does not outlive that of the one that made it.
    let builder = Client::builder().no_proxy().pool_max_idle_per_host(0);
    builder.timeout(PATIENCE).build().expect("a client")
});

/// What a replica answered.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// In seconds.
    pub(crate) retry_after: Option<u64>,
    /// `Null` when it is not JSON.
    pub(crate) body: Value,
    /// As it came.
    pub(crate) text: String,
}

/// Calls one replica, with a token once there is one.
#[derive(Clone)]
pub(crate) struct Caller {
    base: String,
    token: Option<String>,
}

impl Caller {
    pub(crate) fn new(base: &str) -> Self {
        Self { base: base.to_owned(), token: None }
    }

    /// The same caller with this token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { base: self.base.clone(), token: Some(token.to_owned()) }
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Result<Reply> {
        answer(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> reqwest::Result<Reply> {
        answer(self.request(Method::POST, path).json(body)).await
    }

    /// How many attempts at ServiceNow this replica has made since its start; `None` if it does not tell.
    pub(crate) async fn n_attempts(&self) -> Option<u64> {
        let metrics = self.get("/metrics").await.ok()?.text;
        let is_attempt =
            |line: &&str| line.starts_with("casewire_attempts_total{direction=\"to_servicenow\"");
        let count = |line: &str| line.rsplit(' ').next()?.parse::<u64>().ok();
        Some(metrics.lines().filter(is_attempt).filter_map(count).sum())
    }

    /// What a gauge without labels shows; `None` if this replica does not tell.
    pub(crate) async fn gauge(&self, name: &str) -> Option<u64> {
        let metrics = self.get("/metrics").await.ok()?.text;
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        metrics.lines().find_map(value)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = CLIENT.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.header("authorization", format!("Token {token}")),
            None => request,
        }
    }
}

/// Sends it.
pub(crate) async fn answer(request: RequestBuilder) -> reqwest::Result<Reply> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after");
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
    let text = response.text().await?;
    let body = serde_json::from_str(&text).unwrap_or_default();
    Ok(Reply { status, retry_after, body, text })
}

/// Waits until something is so; panics with its name if that takes longer than the limit.
pub(crate) async fn wait_until(what: &str, limit: Duration, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(POLL).await;
    }
}

/// Posts a body to a replica's webhook as X does. Waits no longer than `patience`.
pub(crate) async fn post_signed(
    base: &str,
    secret: &str,
    body: String,
    patience: Duration,
) -> reqwest::Result<Reply> {
    let signature = casewire_sandbox::sign(secret, body.as_bytes());
    let request = Caller::new(base).request(Method::POST, "/api/activity/").timeout(patience);
    let request = request.header("content-type", "application/json");
    answer(request.header("x-twitter-webhooks-signature", signature).body(body)).await
}
