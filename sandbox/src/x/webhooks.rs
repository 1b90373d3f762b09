//! Webhooks with their check (CRC), and subscriptions of the Account Activity API v2.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock;
use crate::server::{Call, Reply};
use crate::x::{XAccount, XWebhook, XWorld, bodies, replies, sign};

/// A check that takes longer has failed (docs.x.com, error 214 "High latency on CRC GET request").
const CRC_TIMEOUT: Duration = Duration::from_secs(3);
const MAX_URL_CHARS: usize = 200;
/// Subscriptions of the self-serve tier.
const SUBSCRIPTION_LIMIT: usize = 3;

#[derive(Deserialize)]
struct NewWebhook {
    url: String,
}

#[derive(Deserialize)]
struct Replay {
    webhook_id: String,
    from_date: String,
    to_date: String,
}

impl XWorld {
    /// `POST /2/webhooks`
    pub(crate) async fn create_webhook(&self, call: &Call) -> Reply {
        let Ok(NewWebhook { url }) = serde_json::from_slice(&call.body) else {
            return replies::invalid_request("url", "", "`url` is required");
        };
        if let Err(message) = self.check_url(&url) {
            return replies::webhook_refused("UrlValidationFailed", message);
        }
        {
            let state = self.state();
            if state.webhooks.iter().any(|webhook| webhook.url == url) {
                return replies::webhook_refused("DuplicateUrlFailed", "Webhook URL already exists");
            }
            if state.webhooks.len() >= self.options.webhook_limit {
                return replies::webhook_refused(
                    "WebhookLimitExceeded",
                    "Too many resources already created",
                );
            }
        }
        if let Err(message) = self.crc(&url).await {
            return replies::webhook_refused("CrcValidationFailed", &message);
        }
        let mut state = self.state();
        let id = state.next_id().to_string();
        let webhook = XWebhook { id, url, valid: true, created_at: clock::rfc3339(clock::now_ms()) };
        state.webhooks.push(webhook.clone());
        Reply::json(200, &json!({"data": show(&webhook)}))
    }

    fn check_url(&self, text: &str) -> Result<(), &'static str> {
        let url = url::Url::parse(text).map_err(|_| "URL is not valid")?;
        if text.chars().count() > MAX_URL_CHARS {
            return Err("URL is longer than 200 characters");
        }
        if self.options.allow_any_url {
            return Ok(());
        }
        if url.scheme() != "https" {
            return Err("URL must be https");
        }
        if url.port().is_some() {
            return Err("URL must not name a port");
        }
        match url.host() {
            Some(url::Host::Domain(name)) if name.contains('.') => Ok(()),
            _ => Err("URL must be public"),
        }
    }

    /// The check: `GET url?crc_token=…&nonce=…`, signed over the query; the answer must be made with the
    /// app's secret.
    async fn crc(&self, url: &str) -> Result<(), String> {
        let token = format!("{:032x}", rand::random::<u128>());
        let query = format!("crc_token={token}&nonce={:016x}", rand::random::<u64>());
        let separator = if url.contains('?') { '&' } else { '?' };
        let signature = sign(&self.options.consumer_secret, query.as_bytes());
        let sent = self.client.get(format!("{url}{separator}{query}")).timeout(CRC_TIMEOUT);
        let answer = sent.header("x-twitter-webhooks-signature", signature).send().await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.is_timeout() => return Err("High latency on CRC GET request".to_owned()),
            Err(_) => return Err("Connection failed during CRC GET request".to_owned()),
        };
        if answer.status() != 200 {
            return Err(format!(
                "Non-200 response code during CRC GET request (i.e. {})",
                answer.status().as_u16()
            ));
        }
        let body: Value = answer.json().await.map_err(|_| "Invalid JSON in CRC response".to_owned())?;
        let expected = sign(&self.options.consumer_secret, token.as_bytes());
        if body["response_token"] == expected {
            Ok(())
        } else {
            Err("Invalid CRC token or json response format".to_owned())
        }
    }

    /// `GET /2/webhooks`
    pub(crate) fn list_webhooks(&self) -> Reply {
        let shown: Vec<Value> = self.state().webhooks.iter().map(show).collect();
        let meta = json!({"result_count": shown.len()});
        Reply::json(200, &json!({"data": shown, "meta": meta}))
    }

    /// `PUT /2/webhooks/{id}`: checks again.
    pub(crate) async fn validate_webhook(&self, id: &str) -> Reply {
        let url =
            self.state().webhooks.iter().find(|webhook| webhook.id == id).map(|found| found.url.clone());
        let Some(url) = url else { return no_such_webhook() };
        let result = self.crc(&url).await;
        if let Some(webhook) = self.state().webhooks.iter_mut().find(|webhook| webhook.id == id) {
            webhook.valid = result.is_ok();
        }
        match result {
            Ok(()) => Reply::json(200, &json!({"data": {"valid": true}})),
            Err(message) => replies::webhook_refused("CrcValidationFailed", &message),
        }
    }

    /// `DELETE /2/webhooks/{id}`: its subscriptions go with it.
    pub(crate) fn delete_webhook(&self, id: &str) -> Reply {
        let mut state = self.state();
        let n_before = state.webhooks.len();
        state.webhooks.retain(|webhook| webhook.id != id);
        if state.webhooks.len() == n_before {
            return no_such_webhook();
        }
        state.subscriptions.retain(|(webhook, _)| webhook != id);
        Reply::json(200, &json!({"data": {"deleted": true}}))
    }

    /// `POST /2/account_activity/webhooks/{id}/subscriptions/all`
    pub(crate) fn subscribe(&self, account: &XAccount, webhook_id: &str) -> Reply {
        let mut state = self.state();
        if !state.webhooks.iter().any(|webhook| webhook.id == webhook_id) {
            return no_such_webhook();
        }
        let entry = (webhook_id.to_owned(), account.id.clone());
        if state.subscriptions.contains(&entry) {
            return replies::webhook_refused("DuplicateSubscriptionFailed", "Subscription already exists");
        }
        if state.subscriptions.len() >= SUBSCRIPTION_LIMIT && !self.options.allow_any_url {
            return replies::webhook_refused("SubscriptionLimitExceeded", "Too many subscriptions");
        }
        state.subscriptions.push(entry);
        Reply::json(200, &json!({"data": {"subscribed": true}}))
    }

    /// `GET` of the same path.
    pub(crate) fn is_subscribed(&self, account: &XAccount, webhook_id: &str) -> Reply {
        let entry = (webhook_id.to_owned(), account.id.clone());
        let subscribed = self.state().subscriptions.contains(&entry);
        Reply::json(200, &json!({"data": {"subscribed": subscribed}}))
    }

    /// `GET /2/account_activity/webhooks/{id}/subscriptions/all/list`
    pub(crate) fn list_subscriptions(&self, webhook_id: &str) -> Reply {
        let state = self.state();
        let Some(webhook) = state.webhooks.iter().find(|webhook| webhook.id == webhook_id) else {
            return no_such_webhook();
        };
        let of_webhook = state.subscriptions.iter().filter(|(id, _)| id == webhook_id);
        let users: Vec<Value> = of_webhook.map(|(_, user)| json!({"user_id": user})).collect();
        let data = json!({
            "application_id": self.options.app_id,
            "webhook_id": webhook.id,
            "webhook_url": webhook.url,
            "subscriptions": users,
        });
        Reply::json(200, &json!({"data": data}))
    }

    /// `DELETE /2/account_activity/webhooks/{id}/subscriptions/{user_id}/all`
    pub(crate) fn unsubscribe(&self, webhook_id: &str, user_id: &str) -> Reply {
        let mut state = self.state();
        let n_before = state.subscriptions.len();
        state.subscriptions.retain(|(webhook, user)| webhook != webhook_id || user != user_id);
        if state.subscriptions.len() == n_before {
            return replies::webhook_refused("SubscriptionNotFound", "Subscription does not exist");
        }
        Reply::json(200, &json!({"data": {"subscribed": false}}))
    }

    /// `GET /2/account_activity/subscriptions/count`: numbers as strings.
    pub(crate) fn count_subscriptions(&self) -> Reply {
        let n_all = self.state().subscriptions.len().to_string();
        let data = json!({
            "account_name": "sandbox",
            "provisioned_count": SUBSCRIPTION_LIMIT.to_string(),
            "subscriptions_count_all": n_all,
            "subscriptions_count_direct_messages": "0",
        });
        Reply::json(200, &json!({"data": data}))
    }

    /// `POST /2/webhooks/replay`: sends again what was sent between the two minutes, then the job's end. The
    /// documented least ages of the two dates are not asked for, so that a test need not wait.
    pub(crate) fn replay(self: &Arc<Self>, call: &Call) -> Reply {
        let Ok(replay) = serde_json::from_slice::<Replay>(&call.body) else {
            return replies::invalid_request("", "", "`webhook_id`, `from_date` and `to_date` are required");
        };
        let (from, to) = (clock::parse_minute(&replay.from_date), clock::parse_minute(&replay.to_date));
        let (Some(from_ms), Some(to_ms)) = (from, to) else {
            return replies::webhook_refused("QueryParamInvalid", "dates have the form yyyymmddhhmm");
        };
        if from_ms >= to_ms {
            return replies::webhook_refused("QueryParamInvalid", "from_date must be before to_date");
        }
        let mut state = self.state();
        let Some(url) =
            state.webhooks.iter().find(|hook| hook.id == replay.webhook_id).map(|hook| hook.url.clone())
        else {
            return no_such_webhook();
        };
        let last_ms = to_ms + 59_999;
        let in_time = |sent_ms: i64| (from_ms..=last_ms).contains(&sent_ms);
        let again = state.deliveries.iter().filter(|delivery| in_time(delivery.sent_ms));
        let mut again: Vec<String> = again.map(|delivery| delivery.body.clone()).collect();
        let job_id = state.next_id().to_string();
        again.push(bodies::replay_status_body(&replay.webhook_id, &job_id));
        let world = self.clone();
        actix_rt::spawn(async move {
            for body in again {
                let _ = world.post_webhook(&url, body.into_bytes()).await;
            }
        });
        let created_at = clock::rfc3339(clock::now_ms());
        Reply::json(200, &json!({"data": {"job_id": job_id, "created_at": created_at}}))
    }
}

fn show(webhook: &XWebhook) -> Value {
    json!({"created_at": webhook.created_at, "id": webhook.id, "url": webhook.url, "valid": webhook.valid})
}

fn no_such_webhook() -> Reply {
    replies::webhook_refused("WebhookIdInvalid", "No webhook exists with the provided webhook ID")
}
