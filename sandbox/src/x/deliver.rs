//! Events on their way to webhooks.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;

use crate::clock;
use crate::server::StartError;
use crate::x::{XDm, XPost, XWorld, bodies};

/// X waits this long for a webhook (docs.x.com, `x-api/webhooks/introduction`).
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a body did not reach a webhook.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// Register one, or name a URL.
    #[error("no valid webhook is registered")]
    NoWebhook,
    /// No answer came.
    #[error("the webhook did not answer: {0}")]
    NoAnswer(#[from] reqwest::Error),
}

/// A webhook's answer to a body.
#[derive(Clone, Debug, Serialize)]
pub struct PostedWebhook {
    /// HTTP status.
    pub status: u16,
    /// The answer's body.
    pub body: String,
}

/// One body sent to a webhook.
#[derive(Clone, Debug, Serialize)]
pub struct XDelivery {
    /// Where to.
    pub url: String,
    /// The raw body, signed as it is.
    pub body: String,
    /// When it was sent, epoch milliseconds.
    pub sent_ms: i64,
    /// The answer's status; 0 if none came.
    pub status: u16,
}

/// The value of `x-twitter-webhooks-signature` for a body, and of `response_token` for a CRC token:
/// `sha256=` and the base64 HMAC-SHA256 under the app's consumer secret.
pub fn sign(consumer_secret: &str, body: &[u8]) -> String {
    // HMAC takes keys of any length, so there is no error to report.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(consumer_secret.as_bytes()) else {
        return String::new();
    };
    mac.update(body);
    format!("sha256={}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// A client that follows nothing and takes no proxy.
pub(crate) fn client() -> Result<reqwest::Client, StartError> {
    // An error only says that a provider was installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(WEBHOOK_TIMEOUT)
        .build()
        .map_err(|error| StartError::Server(error.to_string()))
}

impl XWorld {
    pub(crate) async fn post_webhook(
        &self,
        url: &str,
        body: Vec<u8>,
    ) -> Result<PostedWebhook, DeliveryError> {
        let signature = sign(&self.options.consumer_secret, &body);
        let text = String::from_utf8_lossy(&body).into_owned();
        let sent_ms = clock::now_ms();
        let sent = self.client.post(url).header("content-type", "application/json");
        let result = sent.header("x-twitter-webhooks-signature", signature).body(body).send().await;
        let status = result.as_ref().map_or(0, |response| response.status().as_u16());
        if self.options.log {
            self.state().deliveries.push(XDelivery { url: url.to_owned(), body: text, sent_ms, status });
        }
        let response = result?;
        Ok(PostedWebhook { status, body: response.text().await? })
    }

    /// Sends what an account did to those who subscribed to it, in the background, and to a subscribed
    /// recipient's webhook too: each participant's copy is an event of its own.
    pub(crate) fn echo_dm(self: &Arc<Self>, dm: &XDm) {
        if !self.options.echo {
            return;
        }
        let state = self.state();
        let user = |id: &str| {
            state.account(id).map_or_else(
                || bodies::XUser::new(id, &format!("user{id}"), "Somebody"),
                super::XAccount::user,
            )
        };
        let (sender, recipient) = (user(&dm.sender_id), user(&dm.recipient_id));
        let app = Some(self.options.app_id.as_str());
        for url in state.webhooks_of(&dm.sender_id) {
            let body = bodies::sent_dm_body(&sender, &recipient, &dm.id, &dm.text, dm.created_ms, app);
            self.post_in_background(url, body);
        }
        for url in state.webhooks_of(&dm.recipient_id) {
            let body = bodies::dm_body(&recipient, &sender, &dm.id, &dm.text, dm.created_ms);
            self.post_in_background(url, body);
        }
    }

    /// The same for a post.
    pub(crate) fn echo_post(self: &Arc<Self>, post: &XPost) {
        if !self.options.echo {
            return;
        }
        let state = self.state();
        let Some(author) = state.account(&post.author_id).map(super::XAccount::user) else { return };
        for url in state.webhooks_of(&post.author_id) {
            let in_reply_to = post.in_reply_to.as_deref();
            let body = bodies::own_post_body(&author, &post.id, in_reply_to, &post.text, post.created_ms);
            self.post_in_background(url, body);
        }
    }

    pub(crate) fn post_in_background(self: &Arc<Self>, url: String, body: String) {
        let world = self.clone();
        actix_rt::spawn(async move {
            // X does not promise to retry; the outcome is kept among the deliveries.
            let _ = world.post_webhook(&url, body.into_bytes()).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_published() {
        for (secret, message, expected) in [
            (
                "z3ZX4v7mAAUGykl3EcmkqbartmuW8VFOOzCloLx9Q45P0hLrFu",
                "9b4507b3-9040-4669-9ca3-6b94edb50553",
                "sha256=Cytd4Sq+NvEcV3MMrXxWJGJx5A+y/lXzzU2Maartkx8=",
            ),
            ("DDD", "some_random", "sha256=VE19eUk6krbdSqWPdvH71xtFhApBAU81uPW3UT65vOs="),
            (
                "test",
                r#"{"test_number":1,"test_string":"two"}"#,
                "sha256=YWHphPn/JFq43jkF0y4/w8R/SelmLjvpunhVFY8JhlI=",
            ),
        ] {
            assert_eq!(sign(secret, message.as_bytes()), expected);
        }
    }
}
