//! The webhook at X and the subscriptions of the accounts (docs.x.com, `x-api/webhooks` and
//! `x-api/account-activity`).
//!
//! The webhook belongs to the app: those calls use its bearer token. Subscribing an account is done
//! with that account's own tokens.

mod refusal;

use http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::classify::is_id;
use crate::domain::failure::ErrorClass;

use super::client::{AccountCredentials, Stamp, XClient};
use super::errors::CallError;

pub use refusal::WebhookError;

/// A webhook as X knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// X's id of it.
    pub id: String,
    /// Where X sends events.
    pub url: String,
    /// Whether X sends any: false after failed challenges, until it is validated again.
    pub is_valid: bool,
    /// When it was made, as X writes it.
    pub created_at: Option<String>,
}

/// What every call here ends with.
pub type Outcome<T> = Result<T, WebhookError>;

impl XClient {
    /// All webhooks of the app (`GET /2/webhooks`).
    pub async fn list_webhooks(&self, now_ms: i64) -> Outcome<Vec<Webhook>> {
        let body = self.as_app(Method::GET, self.url("/2/webhooks"), None, now_ms).await?;
        Ok(list(&body["data"]).iter().filter_map(webhook).collect())
    }

    /// Makes a webhook (`POST /2/webhooks`). X sends its challenge to the address before it answers.
    pub async fn create_webhook(&self, address: &str, now_ms: i64) -> Outcome<Webhook> {
        let body = json!({ "url": address });
        let answer = self.as_app(Method::POST, self.url("/2/webhooks"), Some(&body), now_ms).await?;
        let made = answer.get("data").unwrap_or(&answer);
        webhook(made).ok_or(WebhookError::Unexpected { what: "the new webhook" })
    }

    /// Has X send its challenge and use the webhook again (`PUT /2/webhooks/{id}`); tells whether it is
    /// valid now.
    pub async fn validate_webhook(&self, webhook_id: &str, now_ms: i64) -> Outcome<bool> {
        let body = self.as_app(Method::PUT, self.webhook_url(webhook_id)?, None, now_ms).await?;
        // The old API answers 204 without a body.
        Ok(body["data"]["valid"].as_bool().unwrap_or(true))
    }

    /// Deletes the webhook and with it all subscriptions (`DELETE /2/webhooks/{id}`).
    pub async fn delete_webhook(&self, webhook_id: &str, now_ms: i64) -> Outcome<()> {
        let body = self.as_app(Method::DELETE, self.webhook_url(webhook_id)?, None, now_ms).await?;
        confirmed(&body, "deleted", true, "that the webhook is deleted")
    }

    /// X user ids of the subscribed accounts.
    pub async fn list_subscriptions(&self, webhook_id: &str, now_ms: i64) -> Outcome<Vec<String>> {
        let url = self.subscriptions_url(webhook_id, "all/list")?;
        let body = self.as_app(Method::GET, url, None, now_ms).await?;
        Ok(list(&body["data"]["subscriptions"]).iter().filter_map(|one| id(&one["user_id"])).collect())
    }

    /// Subscribes the account; also fine if it is subscribed already.
    pub async fn subscribe(
        &self,
        webhook_id: &str,
        account: &AccountCredentials,
        stamp: Stamp<'_>,
    ) -> Outcome<()> {
        let url = self.subscriptions_url(webhook_id, "all")?;
        let answer = self.as_account(Method::POST, url, Some(&json!({})), account, stamp).await;
        match answer.map_err(|error| WebhookError::from_call(*error)) {
            Ok(answer) => confirmed(&told(&answer)?, "subscribed", true, "that the account is subscribed"),
            Err(WebhookError::DuplicateSubscription) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Ends the subscription of an account; also fine if there is none.
    pub async fn unsubscribe(&self, webhook_id: &str, user_id: &str, now_ms: i64) -> Outcome<()> {
        if !is_id(user_id) {
            return Err(WebhookError::NotAnId);
        }
        let url = self.subscriptions_url(webhook_id, &format!("{user_id}/all"))?;
        match self.as_app(Method::DELETE, url, None, now_ms).await {
            Ok(body) => confirmed(&body, "subscribed", false, "that the subscription is ended"),
            Err(WebhookError::SubscriptionNotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A call in the app's own name.
    async fn as_app(&self, method: Method, url: Url, json: Option<&Value>, now_ms: i64) -> Outcome<Value> {
        let bearer = self.bearer_token().ok_or(WebhookError::NoBearerToken)?;
        let authorization = format!("Bearer {}", bearer.expose());
        let answer = self.call(method, url, json, &authorization, now_ms).await;
        let answer = answer.map_err(|error| for_app(WebhookError::from_call(*error)))?;
        told(&answer)
    }

    fn webhook_url(&self, webhook_id: &str) -> Outcome<Url> {
        if !is_id(webhook_id) {
            return Err(WebhookError::NotAnId);
        }
        Ok(self.url(&format!("/2/webhooks/{webhook_id}")))
    }

    fn subscriptions_url(&self, webhook_id: &str, what: &str) -> Outcome<Url> {
        if !is_id(webhook_id) {
            return Err(WebhookError::NotAnId);
        }
        Ok(self.url(&format!("/2/account_activity/webhooks/{webhook_id}/subscriptions/{what}")))
    }
}

/// The body of a success, or the refusal that stands in it: some come with status 200.
fn told(answer: &super::client::Answer) -> Outcome<Value> {
    let has_errors = answer.body["data"].is_null() && !answer.body["errors"].is_null();
    match WebhookError::named_in(answer.raw()).filter(|_| has_errors) {
        Some(refusal) => Err(refusal),
        None => Ok(answer.body.clone()),
    }
}

/// The bearer token is not an account's: say whose credentials are refused.
fn for_app(error: WebhookError) -> WebhookError {
    match error {
        WebhookError::Call(error) if error.failure.class == ErrorClass::Auth => {
            let detail = "the app's bearer token is refused: set twitter.bearer_token to the one in the x developer portal";
            let failure = crate::domain::failure::Failure { detail: detail.to_owned(), ..error.failure };
            WebhookError::Call(Box::new(CallError { failure, ..*error }))
        }
        error => error,
    }
}

/// An empty body confirms too: the old API answers 204.
fn confirmed(body: &Value, flag: &str, wanted: bool, what: &'static str) -> Outcome<()> {
    match body["data"][flag].as_bool() {
        Some(told) if told != wanted => Err(WebhookError::Unexpected { what }),
        None if !body.is_null() => Err(WebhookError::Unexpected { what }),
        _ => Ok(()),
    }
}

fn webhook(record: &Value) -> Option<Webhook> {
    Some(Webhook {
        id: id(&record["id"])?,
        url: record["url"].as_str()?.to_owned(),
        is_valid: record["valid"].as_bool().unwrap_or(false),
        created_at: record["created_at"].as_str().map(str::to_owned),
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn id(value: &Value) -> Option<String> {
    value.as_str().filter(|text| is_id(text)).map(str::to_owned)
}

#[cfg(test)]
mod tests;
