//! One request to an instance, and its answer.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::Value;

use crate::domain::failure::{Effect, ErrorClass, Failure};
use crate::net::{self, BodyError, InstanceUrl, Reach};

use super::auth::Credentials;
use super::errors::{self, Answer, Reply, Verb};

const JSON: &str = "application/json";
/// Answers are lists of a few rows; what is longer is given up.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;

/// The present time in epoch milliseconds, from outside.
pub type NowMs = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The client of one instance. Cheap to clone.
#[derive(Clone)]
pub struct ServiceNow {
    http: reqwest::Client,
    base: InstanceUrl,
    credentials: Credentials,
    timeout: Duration,
    reach: Reach,
    now_ms: NowMs,
}

/// A request that is about to be made.
pub(super) struct Call<'a> {
    pub(super) verb: Verb,
    /// The path, segment by segment.
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: Option<Value>,
}

impl ServiceNow {
    /// A client over a [`net::client`] that has the same reach. `timeout` bounds a whole call.
    pub fn new(
        http: reqwest::Client,
        base: InstanceUrl,
        credentials: Credentials,
        timeout: Duration,
        reach: Reach,
        now_ms: NowMs,
    ) -> Self {
        Self { http, base, credentials, timeout, reach, now_ms }
    }

    /// The instance.
    pub fn base(&self) -> &InstanceUrl {
        &self.base
    }

    /// Makes the request, once, and reads what the answer means.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Answer, Failure> {
        let verb = call.verb;
        let reply = self.exchange(call).await?;
        self.judge(verb, &reply)
    }

    /// Reads what an answer means, at the present time.
    pub(super) fn judge(&self, verb: Verb, reply: &Reply) -> Result<Answer, Failure> {
        errors::classify(verb, reply, (self.now_ms)())
    }

    /// Makes the request, once, and hands the answer over as it came.
    pub(super) async fn exchange(&self, call: Call<'_>) -> Result<Reply, Failure> {
        let url = self.base.call(call.path, call.query);
        net::check_url(&url, self.reach).map_err(|forbidden| Failure {
            class: ErrorClass::Permanent,
            effect: Effect::None,
            http_status: None,
            detail: format!("{forbidden}: the hub does not connect there; correct the instance's url"),
            retry_at_ms: None,
        })?;
        let method = match call.verb {
            Verb::Read => Method::GET,
            Verb::Create => Method::POST,
            Verb::Update => Method::PUT,
        };
        // Both headers are demanded on writes, and do no harm on reads.
        let request = self
            .http
            .request(method, url)
            .timeout(self.timeout)
            .header(ACCEPT, JSON)
            .header(CONTENT_TYPE, JSON);
        let mut request = self.credentials.apply(request)?;
        if let Some(body) = call.body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.map_err(|error| without_answer(call.verb, &error))?;
        read(call.verb, response).await
    }
}

/// A read that got no answer has no effect, so nothing about it is uncertain.
fn without_answer(verb: Verb, error: &reqwest::Error) -> Failure {
    let failure = net::failure_of(error);
    if failure.class == ErrorClass::Uncertain {
        return errors::lost(verb, Effect::Pending, None, failure.detail);
    }
    failure
}

async fn read(verb: Verb, response: reqwest::Response) -> Result<Reply, Failure> {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let error = match net::read_capped(response, MAX_BODY_BYTES).await {
        Ok(body) => return Ok(Reply { status, headers, body }),
        Err(error) => error,
    };
    // A refusal stands without its words, but for 404, which decides by them.
    if status >= 400 && status != 404 {
        return Ok(Reply { status, headers, body: Vec::new() });
    }
    let effect = match error {
        BodyError::TimedOut => Effect::Pending,
        BodyError::TooLong { .. } | BodyError::Broken => Effect::Possible,
    };
    Err(errors::lost(verb, effect, Some(status), error.to_string()))
}
