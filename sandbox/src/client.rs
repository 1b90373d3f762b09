//! A caller of the hub's API: what an administrator does with curl, and what a business rule of
//! ServiceNow does when an agent comments on a case.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

/// A call that got no answer in JSON.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The hub could not be reached, or did not answer.
    #[error("the hub did not answer: {0}")]
    Unanswered(#[from] reqwest::Error),
    /// It answered with something that is not JSON.
    #[error("the hub answered {status} with something that is not JSON")]
    NotJson {
        /// The HTTP status.
        status: u16,
    },
}

/// Calls one hub, with a token once there is one.
#[derive(Clone)]
pub struct ApiClient {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl ApiClient {
    /// A caller without a token. `base` is the hub's address, such as `http://127.0.0.1:8000`.
    pub fn new(base: &str) -> Result<Self, CallError> {
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(40)).build()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), token: None })
    }

    /// The same caller with a token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same caller of a hub that listens elsewhere.
    #[must_use]
    pub fn at(&self, base: &str) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), ..self.clone() }
    }

    /// The same caller without a token.
    #[must_use]
    pub fn without_token(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// `GET`. Gives the status and the body.
    pub async fn get(&self, path: &str) -> Result<(u16, Value), CallError> {
        self.call(Method::GET, path, None).await
    }

    /// `POST` of a JSON body. Gives the status and the body.
    pub async fn post(&self, path: &str, body: &Value) -> Result<(u16, Value), CallError> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// `PATCH` with a JSON body. Gives the status and the body.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<(u16, Value), CallError> {
        self.call(Method::PATCH, path, Some(body)).await
    }

    /// `DELETE`. Gives the status and the body.
    pub async fn delete(&self, path: &str) -> Result<(u16, Value), CallError> {
        self.call(Method::DELETE, path, None).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), CallError> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Token {token}"));
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await?;
        if bytes.is_empty() {
            return Ok((status, Value::Null));
        }
        let body = serde_json::from_slice(&bytes).map_err(|_| CallError::NotJson { status })?;
        Ok((status, body))
    }
}
