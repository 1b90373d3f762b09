//! Linking an account: the three steps of OAuth 1.0a (docs.x.com, "3-legged OAuth flow"), and the
//! app's own bearer token.
//!
//! The tokens do not expire. A token that comes back from the browser must be one that was issued
//! here, for this user, not long ago and not used before: the caller keeps them and checks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::header::AUTHORIZATION;
use url::Url;

use crate::classify::is_id;
use crate::domain::secret::Secret;

use super::client::{AccountCredentials, Outcome, Stamp, XClient};
use super::errors::{Call, unusable};
use super::oauth1::encode;

/// A temporary token, good for one authorization.
#[derive(Clone)]
pub struct RequestToken {
    /// Comes back in the callback as `oauth_token`.
    pub token: String,
    /// Needed to redeem it.
    pub token_secret: Secret,
}

/// An account that has been linked.
#[derive(Clone)]
pub struct Linked {
    /// Its tokens and X user id.
    pub account: AccountCredentials,
    /// Its handle.
    pub screen_name: String,
}

impl XClient {
    /// Begins a link (`POST /oauth/request_token`). `callback` must be registered with the app, or is
    /// `oob` for a PIN.
    pub async fn request_token(&self, callback: &str, stamp: Stamp<'_>) -> Outcome<RequestToken> {
        let none = Secret::default();
        let protocol = [("oauth_callback", callback)];
        let url = self.url("/oauth/request_token");
        let answer = self.signed(Method::POST, url, None, (&none, &none), &protocol, stamp).await?;
        let field = |name| form_field(answer.raw(), name);
        match (field("oauth_token"), field("oauth_token_secret"), field("oauth_callback_confirmed")) {
            (Some(token), Some(secret), Some(confirmed)) if confirmed == "true" => {
                Ok(RequestToken { token, token_secret: Secret::new(secret) })
            }
            _ => Err(unusable(
                Call::Read,
                200,
                "x confirms no callback: register it with the app",
                answer.limits,
            )),
        }
    }

    /// Where the user's browser goes, below `twitter.authorize_url`.
    pub fn authorize_url(authorize_base: &Url, token: &RequestToken) -> Url {
        let mut url = authorize_base.clone();
        let below = format!("{}/oauth/authorize", url.path().trim_end_matches('/'));
        url.set_path(&below);
        url.query_pairs_mut().clear().append_pair("oauth_token", &token.token);
        url
    }

    /// Ends a link (`POST /oauth/access_token`): tokens, id and handle of the account.
    pub async fn access_token(
        &self,
        request: &RequestToken,
        verifier: &str,
        stamp: Stamp<'_>,
    ) -> Outcome<Linked> {
        let token = Secret::new(request.token.as_str());
        let protocol = [("oauth_verifier", verifier)];
        let url = self.url("/oauth/access_token");
        let answer =
            self.signed(Method::POST, url, None, (&token, &request.token_secret), &protocol, stamp).await?;
        let field = |name| form_field(answer.raw(), name);
        let user_id = field("user_id").filter(|id| is_id(id));
        match (field("oauth_token"), field("oauth_token_secret"), user_id, field("screen_name")) {
            (Some(token), Some(secret), Some(user_id), Some(screen_name)) => {
                let account = AccountCredentials {
                    user_id,
                    token: Secret::new(token),
                    token_secret: Secret::new(secret),
                };
                Ok(Linked { account, screen_name })
            }
            _ => Err(unusable(
                Call::Read,
                200,
                "x's answer lacks the account's tokens: link it again",
                answer.limits,
            )),
        }
    }

    /// The app's bearer token, for settings that name only its key and secret (`POST /oauth2/token`). X
    /// gives the same one every time.
    pub async fn fetch_bearer_token(&self, now_ms: i64) -> Outcome<Secret> {
        let (key, secret) = self.consumer();
        let pair = Secret::new(format!("{}:{}", encode(key), encode(secret.expose())));
        let basic = Secret::new(format!("Basic {}", STANDARD.encode(pair.expose())));
        let request = self.post(self.url("/oauth2/token"));
        let request =
            request.header(AUTHORIZATION, basic.expose()).form(&[("grant_type", "client_credentials")]);
        let answer = self.answered(Call::Read, request, now_ms).await?;
        let token = answer.body["access_token"].as_str().filter(|token| !token.is_empty());
        token.map(Secret::new).ok_or_else(|| answer.without("the bearer token", now_ms))
    }

    /// Gives the account's tokens back (`POST /1.1/oauth/invalidate_token.json`).
    pub async fn invalidate_token(&self, account: &AccountCredentials, stamp: Stamp<'_>) -> Outcome<()> {
        let url = self.url("/1.1/oauth/invalidate_token.json");
        self.as_account(Method::POST, url, None, account, stamp).await.map(|_| ())
    }
}

fn form_field(body: &[u8], name: &str) -> Option<String> {
    let mut fields = url::form_urlencoded::parse(body);
    fields.find(|(field, value)| field == name && !value.is_empty()).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::failure::ErrorClass;
    use crate::x::stub::{Reply, STAMP, Stub};

    #[tokio::test]
    async fn a_link_in_three_steps() {
        let issued = "oauth_token=tmp&oauth_token_secret=s1&oauth_callback_confirmed=true";
        let granted = "oauth_token=5-abc&oauth_token_secret=s%2B2&user_id=5&screen_name=AcmeCare";
        let replies = [issued, granted].map(|body| Reply::Json(200, body.to_owned()));
        let stub = Stub::start(replies.into()).await;
        let callback = "https://hub.example.com/api/twitter-auth/callback/?a=b";
        let request = stub.client.request_token(callback, STAMP).await.unwrap();
        let base = Url::parse("https://api.x.com/").unwrap();
        let page = XClient::authorize_url(&base, &request);
        assert_eq!(page.as_str(), "https://api.x.com/oauth/authorize?oauth_token=tmp");
        let linked = stub.client.access_token(&request, "verifier", STAMP).await.unwrap();
        assert_eq!((linked.account.user_id.as_str(), linked.screen_name.as_str()), ("5", "AcmeCare"));
        assert_eq!(linked.account.token_secret.expose(), "s+2");
        let requests = stub.requests().await;
        assert!(requests[0].starts_with("POST /oauth/request_token"), "{}", requests[0]);
        assert!(requests[0].contains("oauth_callback=\"https%3A%2F%2Fhub.example.com"), "{}", requests[0]);
        assert!(!requests[0].contains("oauth_token="), "{}", requests[0]);
        assert!(requests[1].contains("oauth_verifier=\"verifier\""), "{}", requests[1]);
    }

    #[tokio::test]
    async fn the_bearer_token_is_fetched() {
        let granted = r#"{"token_type":"bearer","access_token":"AAA%2F"}"#;
        let stub = Stub::start(vec![Reply::Json(200, granted.to_owned())]).await;
        assert_eq!(stub.client.fetch_bearer_token(STAMP.now_ms).await.ok().unwrap().expose(), "AAA%2F");
        let request = stub.requests().await.remove(0);
        assert!(
            request.starts_with("POST /oauth2/token") && request.ends_with("grant_type=client_credentials")
        );
        assert!(request.contains("Basic a2V5OmNvbnN1bWVyLWhpZGRlbg=="), "{request}");
    }

    #[tokio::test]
    async fn answers_without_tokens() {
        for body in ["", "oauth_token=x&oauth_token_secret=y&oauth_callback_confirmed=false", "<html>"] {
            let stub = Stub::start(vec![Reply::Json(200, body.to_owned())]).await;
            let error = stub.client.request_token("oob", STAMP).await.err().unwrap();
            assert_eq!(error.failure.class, ErrorClass::Unexpected, "{body}");
        }
        let stub = Stub::start(vec![Reply::Json(401, String::new())]).await;
        let error = stub.client.request_token("oob", STAMP).await.err().unwrap();
        assert_eq!(error.failure.class, ErrorClass::Auth);
    }
}
