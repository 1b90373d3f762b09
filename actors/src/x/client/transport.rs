//! One call: signed, timed, read with a cap, judged.

use http::Method;
use http::header::AUTHORIZATION;
use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use url::Url;

use crate::classify::is_id;
use crate::domain::secret::Secret;
use crate::x::errors::{Call, CallError, judge, unanswered, unusable};
use crate::x::limits::Limits;
use crate::x::oauth1::{Credentials, Request, authorization_header};

use super::{AccountCredentials, Outcome, Sent, Stamp, XClient};

/// The most that is read of an answer.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A 2xx answer.
pub(in crate::x) struct Answer {
    call: Call,
    status: u16,
    raw: Vec<u8>,
    /// The parsed body; null where it is empty or no JSON.
    pub(in crate::x) body: Value,
    pub(in crate::x) limits: Limits,
}

impl Answer {
    /// The id X gave to what was sent.
    pub(super) fn sent(self, field: &str, now_ms: i64) -> Outcome<Sent> {
        match self.body["data"][field].as_str().filter(|id| is_id(id)) {
            Some(id) => Ok(Sent { id: id.to_owned(), limits: self.limits }),
            None => Err(self.without("the id of what was sent", now_ms)),
        }
    }

    /// The records of a list; an empty list may be left out.
    pub(super) fn records(&self, now_ms: i64) -> Outcome<&[Value]> {
        match &self.body["data"] {
            Value::Array(records) => Ok(records),
            Value::Null if self.body.is_object() && self.body["errors"].is_null() => Ok(&[]),
            _ => Err(self.without("the list", now_ms)),
        }
    }

    /// The error for a success that lacks what was asked for, perhaps with errors instead.
    pub(in crate::x) fn without(&self, what: &str, now_ms: i64) -> Box<CallError> {
        let told = judge(self.call, self.status, &self.raw, self.limits, now_ms);
        if told.refusal.is_some() {
            return told;
        }
        unusable(
            self.call,
            self.status,
            &format!("the answer lacks {what}: check twitter.api_url"),
            self.limits,
        )
    }

    /// What the answer holds, byte for byte.
    pub(in crate::x) fn raw(&self) -> &[u8] {
        &self.raw
    }
}

impl XClient {
    /// An address below `twitter.api_url`.
    pub(in crate::x) fn url(&self, path: &str) -> Url {
        let mut url = self.app.base_url.clone();
        let below = format!("{}{path}", url.path().trim_end_matches('/'));
        url.set_path(&below);
        url.set_query(None);
        url
    }

    /// The app's bearer token, if one is set.
    pub(in crate::x) fn bearer_token(&self) -> Option<&Secret> {
        self.app.bearer_token.as_ref().filter(|token| !token.is_empty())
    }

    /// The app's own key and secret.
    pub(in crate::x) fn consumer(&self) -> (&str, &Secret) {
        (&self.app.consumer_key, &self.app.consumer_secret)
    }

    /// A call in the account's name.
    pub(in crate::x) async fn as_account(
        &self,
        method: Method,
        url: Url,
        json: Option<&Value>,
        account: &AccountCredentials,
        stamp: Stamp<'_>,
    ) -> Outcome<Answer> {
        self.signed(method, url, json, (&account.token, &account.token_secret), &[], stamp).await
    }

    /// A call signed by the app and these tokens, with further protocol parameters.
    pub(in crate::x) async fn signed(
        &self,
        method: Method,
        url: Url,
        json: Option<&Value>,
        (token, token_secret): (&Secret, &Secret),
        protocol: &[(&str, &str)],
        stamp: Stamp<'_>,
    ) -> Outcome<Answer> {
        let (consumer_key, consumer_secret) = self.consumer();
        let credentials = Credentials { consumer_key, consumer_secret, token, token_secret };
        let request = Request { method: method.as_str(), url: &url, form: &[], protocol };
        let timestamp_s = stamp.now_ms.div_euclid(1_000);
        let authorization = authorization_header(&credentials, &request, stamp.nonce, timestamp_s);
        self.call(method, url, json, &authorization, stamp.now_ms).await
    }

    /// A call with a ready `Authorization` header.
    pub(in crate::x) async fn call(
        &self,
        method: Method,
        url: Url,
        json: Option<&Value>,
        authorization: &str,
        now_ms: i64,
    ) -> Outcome<Answer> {
        let call = if method == Method::GET { Call::Read } else { Call::Write };
        let request = self.http.request(method, url).header(AUTHORIZATION, authorization);
        let request = match json {
            Some(json) => request.json(json),
            None => request,
        };
        self.answered(call, request, now_ms).await
    }

    /// A POST to be completed.
    pub(in crate::x) fn post(&self, url: Url) -> RequestBuilder {
        self.http.post(url)
    }

    /// Sends the request and judges the answer.
    pub(in crate::x) async fn answered(
        &self,
        call: Call,
        request: RequestBuilder,
        now_ms: i64,
    ) -> Outcome<Answer> {
        let sent = request.timeout(self.app.timeout).send().await;
        let mut response = sent.map_err(|error| unanswered(call, &error, Limits::default()))?;
        let status = response.status().as_u16();
        let limits = Limits::from_headers(response.headers());
        let body = read_capped(&mut response).await;
        if !(200..300).contains(&status) {
            // The status alone tells most of it.
            return Err(judge(call, status, &body.unwrap_or_default(), limits, now_ms));
        }
        let raw = body.map_err(|fault| unusable(call, status, fault, limits))?;
        let body = serde_json::from_slice(&raw).unwrap_or_default();
        Ok(Answer { call, status, raw, body, limits })
    }
}

async fn read_capped(response: &mut Response) -> Result<Vec<u8>, &'static str> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| "the answer broke off")? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err("the answer is larger than 1 MiB");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
