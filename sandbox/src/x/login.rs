//! The OAuth 1.0a login that gives an app an account's tokens: request token, the person's consent, access token.

use serde::Serialize;

use crate::clock;
use crate::server::{Call, Reply};
use crate::x::{XWorld, replies};

/// A login that has begun.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PendingLogin {
    secret: String,
    callback: String,
    /// The consenting account and its verifier, once there is one.
    granted: Option<(String, String)>,
    begun_ms: i64,
}

/// X forgets an unused request token; the time is not documented.
const LOGIN_LIFETIME_MS: i64 = 15 * 60 * 1000;

fn token() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn form(pairs: &[(&str, &str)]) -> Reply {
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(pairs);
    let mut reply = Reply::empty(200).typed("text/html;charset=utf-8");
    reply.body = body.finish().into_bytes();
    reply
}

impl XWorld {
    /// `POST /oauth/request_token`
    pub(crate) fn request_token(&self, call: &Call) -> Reply {
        let signed = match self.signed(call) {
            Ok(signed) => signed,
            Err(reply) => return reply,
        };
        if let Err(reply) = self.check(&signed, "") {
            return reply;
        }
        let callback = signed.get("oauth_callback").to_owned();
        if callback.is_empty() {
            return replies::v1_error(403, 415, "Callback URL not approved for this client application.");
        }
        let (name, secret) = (token(), token());
        let login =
            PendingLogin { secret: secret.clone(), callback, granted: None, begun_ms: clock::now_ms() };
        self.state().logins.insert(name.clone(), login);
        form(&[("oauth_token", &name), ("oauth_token_secret", &secret), ("oauth_callback_confirmed", "true")])
    }

    /// `GET /oauth/authorize` and `/oauth/authenticate`. A person would log in and press a button; here the
    /// account is named by `screen_name` (default: the first by id), and `deny=1` refuses.
    pub(crate) fn authorize(&self, call: &Call) -> Reply {
        let pairs = call.query_pairs();
        let get = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let name = get("oauth_token").unwrap_or_default();
        let mut state = self.state();
        let mut accounts: Vec<(String, String)> =
            state.accounts().map(|account| (account.id.clone(), account.screen_name.clone())).collect();
        accounts.sort();
        let wanted = get("screen_name");
        let account = accounts.into_iter().find(|(_, handle)| wanted.is_none_or(|name| name == handle));
        let Some(login) = state.logins.get_mut(name) else {
            return Reply::html(
                401,
                "<h1>Whoa there!</h1><p>The request token for this page is invalid.</p>",
            );
        };
        let Ok(mut back) = url::Url::parse(&login.callback) else {
            return Reply::html(400, "<p>The callback is not a URL.</p>");
        };
        if get("deny").is_some() {
            back.query_pairs_mut().append_pair("denied", name);
        } else {
            let Some((id, _)) = account else { return Reply::html(404, "<p>There is no such account.</p>") };
            let verifier = token();
            back.query_pairs_mut().append_pair("oauth_token", name).append_pair("oauth_verifier", &verifier);
            login.granted = Some((id, verifier));
        }
        Reply::empty(302).with("location", back.to_string())
    }

    /// `POST /oauth/access_token`: a verifier works once.
    pub(crate) fn access_token(&self, call: &Call) -> Reply {
        let signed = match self.signed(call) {
            Ok(signed) => signed,
            Err(reply) => return reply,
        };
        let name = signed.get("oauth_token").to_owned();
        let login = self.state().logins.get(&name).cloned();
        let is_live = |login: &PendingLogin| clock::now_ms() - login.begun_ms < LOGIN_LIFETIME_MS;
        let Some(login) = login.filter(is_live) else {
            return replies::v1_error(401, 89, "Invalid or expired token.");
        };
        if let Err(reply) = self.check(&signed, &login.secret) {
            return reply;
        }
        let given = match signed.get("oauth_verifier") {
            "" => form_value(call, "oauth_verifier"),
            verifier => verifier.to_owned(),
        };
        let mut state = self.state();
        let account = login.granted.filter(|(_, verifier)| *verifier == given);
        let account = account.and_then(|(id, _)| state.account(&id).cloned());
        let Some(account) = account else {
            return replies::v1_error(401, 32, "Could not authenticate you.");
        };
        state.logins.remove(&name);
        // Consenting again revives revoked tokens.
        state.add_account(account.clone());
        form(&[
            ("oauth_token", &account.access_token),
            ("oauth_token_secret", &account.access_token_secret),
            ("user_id", &account.id),
            ("screen_name", &account.screen_name),
        ])
    }
}

fn form_value(call: &Call, name: &str) -> String {
    let mut pairs = url::form_urlencoded::parse(&call.body);
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}
