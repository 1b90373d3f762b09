//! Who calls: a user by OAuth 1.0a, or the app by its bearer token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use subtle::ConstantTimeEq;

use crate::clock;
use crate::server::{Call, Reply};
use crate::x::oauth1::{MAX_CLOCK_SKEW_S, Signed};
use crate::x::{XAccount, XWorld, replies};

/// An authenticated caller.
pub(crate) enum Caller {
    User(XAccount),
    App,
}

impl XWorld {
    /// Who sent this call, or X's refusal.
    pub(crate) fn caller(&self, call: &Call) -> Result<Caller, Reply> {
        let Some(header) = call.authorization.as_deref() else { return Err(replies::unauthorized()) };
        if let Some(token) = header.strip_prefix("Bearer ") {
            let same: bool = token.as_bytes().ct_eq(self.options.bearer_token.as_bytes()).into();
            return if same { Ok(Caller::App) } else { Err(replies::unauthorized()) };
        }
        let signed = self.signed(call)?;
        let token = signed.get("oauth_token");
        let account = self.state().by_token(token).cloned();
        let Some(account) = account else {
            return Err(replies::v1_error(401, 89, "Invalid or expired token."));
        };
        self.check(&signed, &account.access_token_secret)?;
        Ok(Caller::User(account))
    }

    /// The user who sent this call.
    pub(crate) fn user(&self, call: &Call) -> Result<XAccount, Reply> {
        match self.caller(call)? {
            Caller::User(account) => Ok(account),
            Caller::App => Err(replies::wrong_auth_kind(
                "OAuth 2.0 Application-Only",
                "OAuth 1.0a User Context, OAuth 2.0 User Context",
            )),
        }
    }

    /// Passes only the app's bearer token.
    pub(crate) fn app(&self, call: &Call) -> Result<(), Reply> {
        match self.caller(call)? {
            Caller::App => Ok(()),
            Caller::User(_) => {
                Err(replies::wrong_auth_kind("OAuth 1.0a User Context", "OAuth 2.0 Application-Only"))
            }
        }
    }

    /// `POST /oauth2/token`: the app's bearer token for its key and secret (RFC 6749, 4.4).
    pub(crate) fn bearer_token(&self, call: &Call) -> Reply {
        let pair = format!("{}:{}", self.options.consumer_key, self.options.consumer_secret);
        let expected = format!("Basic {}", STANDARD.encode(pair));
        let told = call.authorization.as_deref().unwrap_or_default();
        if !bool::from(told.as_bytes().ct_eq(expected.as_bytes())) {
            return replies::v1_error(403, 99, "Unable to verify your credentials");
        }
        if call.body.as_ref() != b"grant_type=client_credentials" {
            return replies::v1_error(403, 170, "Missing required parameter: grant_type");
        }
        let token = &self.options.bearer_token;
        Reply::json(200, &json!({"token_type": "bearer", "access_token": token}))
    }

    /// The signed request of this app, its signature not yet checked.
    pub(crate) fn signed(&self, call: &Call) -> Result<Signed, Reply> {
        let header = call.authorization.as_deref().unwrap_or_default();
        let host = call.host.to_ascii_lowercase();
        let host = host.strip_suffix(":80").unwrap_or(&host);
        let url = format!("http://{host}{}", call.raw_path);
        let is_form = call
            .content_type
            .as_deref()
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let form = if is_form { std::str::from_utf8(&call.body).unwrap_or_default() } else { "" };
        let signed = Signed::read(call.method, &url, &call.query, form, header)
            .ok_or_else(|| replies::v1_error(400, 215, "Bad Authentication data."))?;
        if signed.get("oauth_consumer_key") != self.options.consumer_key {
            return Err(could_not_authenticate());
        }
        Ok(signed)
    }

    /// Time-stamp, signature, nonce, in this order.
    pub(crate) fn check(&self, signed: &Signed, token_secret: &str) -> Result<(), Reply> {
        let now_ms = clock::now_ms();
        let time_s: i64 = signed.get("oauth_timestamp").parse().map_err(|_| could_not_authenticate())?;
        if (now_ms / 1000 - time_s).abs() > MAX_CLOCK_SKEW_S {
            return Err(replies::v1_error(401, 135, "Timestamp out of bounds."));
        }
        let nonce = signed.get("oauth_nonce");
        let is_genuine = signed.is_by(&self.options.consumer_secret, token_secret);
        if nonce.is_empty() || !is_genuine || !self.state().is_fresh(signed.get("oauth_token"), nonce, now_ms)
        {
            return Err(could_not_authenticate());
        }
        Ok(())
    }
}

fn could_not_authenticate() -> Reply {
    replies::v1_error(401, 32, "Could not authenticate you.")
}
