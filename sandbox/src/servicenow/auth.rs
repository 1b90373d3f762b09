//! Who calls: basic authentication, API key, or a token from `/oauth_token.do`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use subtle::ConstantTimeEq;

use crate::server::{Call, Reply};
use crate::servicenow::{Instance, locked, replies};

/// Needed for basic authentication where it is restricted (the default of new instances from 2026 on).
const BASIC_ROLE: &str = "snc_basic_auth_api_access";

/// A login of the instance.
#[derive(Clone, Debug)]
pub struct SnUser {
    /// The user name.
    pub name: String,
    /// The password.
    pub password: String,
    /// The names of its roles.
    pub roles: Vec<String>,
}

impl SnUser {
    /// An integration user as the documentation of the Case API asks for.
    pub fn integration(name: &str, password: &str) -> Self {
        Self::with_roles(name, password, &["csm_ws_integration", "sn_customerservice_agent", BASIC_ROLE])
    }

    /// An administrator.
    pub fn admin(name: &str, password: &str) -> Self {
        Self::with_roles(name, password, &["admin", BASIC_ROLE])
    }

    /// A login with these roles only.
    pub fn with_roles(name: &str, password: &str, roles: &[&str]) -> Self {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Self { name: name.to_owned(), password: password.to_owned(), roles }
    }

    pub(crate) fn full_name(&self) -> &str {
        &self.name
    }

    /// Whether it has any of these roles; an administrator has all.
    pub(crate) fn has_any(&self, roles: &[&str]) -> bool {
        self.roles.iter().any(|role| role == "admin" || roles.contains(&role.as_str()))
    }
}

/// An OAuth application of the instance.
#[derive(Clone, Debug)]
pub struct OAuthClient {
    /// Its id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// The user whose rights client credentials carry; without one that grant is refused.
    pub application_user: Option<String>,
}

struct Grant {
    user: String,
    client_id: String,
    access_token: String,
    expires: Instant,
    refresh_token: Option<String>,
}

/// The tokens given out.
#[derive(Default)]
pub(crate) struct Tokens {
    grants: Vec<Grant>,
    by_access_token: HashMap<String, usize>,
}

impl Tokens {
    pub(crate) fn expire_access_tokens(&mut self) {
        self.by_access_token.clear();
        for grant in &mut self.grants {
            grant.access_token.clear();
        }
    }

    fn user_of(&self, access_token: &str) -> Option<&str> {
        let grant = self.grants.get(*self.by_access_token.get(access_token)?)?;
        (grant.expires > Instant::now()).then_some(grant.user.as_str())
    }

    /// The same token again within its lifetime, as ServiceNow gives it, else a new one.
    fn grant(&mut self, user: &str, client_id: &str, refreshes: bool, lifetime: Duration) -> &Grant {
        let known = self.grants.iter().position(|grant| {
            grant.user == user && grant.client_id == client_id && grant.refresh_token.is_some() == refreshes
        });
        let at = known.unwrap_or_else(|| {
            self.grants.push(Grant {
                user: user.to_owned(),
                client_id: client_id.to_owned(),
                access_token: String::new(),
                expires: Instant::now(),
                refresh_token: refreshes.then(secret),
            });
            self.grants.len() - 1
        });
        let grant = &mut self.grants[at];
        if grant.access_token.is_empty() || grant.expires <= Instant::now() {
            self.by_access_token.remove(&grant.access_token);
            grant.access_token = secret();
            grant.expires = Instant::now() + lifetime;
            self.by_access_token.insert(grant.access_token.clone(), at);
        }
        &self.grants[at]
    }
}

fn secret() -> String {
    format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>())
}

fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

impl Instance {
    /// Who sent this call, or the refusal.
    pub(crate) fn caller(&self, call: &Call) -> Result<&SnUser, Reply> {
        if let Some(key) = &call.api_key {
            let known = self.options.api_keys.iter().find(|(known, _)| same(known, key));
            return known.and_then(|(_, user)| self.user(user)).ok_or_else(replies::not_authenticated);
        }
        let header = call.authorization.as_deref().ok_or_else(replies::not_authenticated)?;
        let (scheme, value) = header.split_once(' ').ok_or_else(replies::not_authenticated)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            let tokens = locked(&self.tokens);
            let user = tokens.user_of(value.trim()).and_then(|name| self.user(name));
            return user.ok_or_else(replies::bearer_refused);
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(replies::not_authenticated());
        }
        let decoded = STANDARD.decode(value.trim()).map_err(|_| replies::not_authenticated())?;
        let decoded = String::from_utf8(decoded).map_err(|_| replies::not_authenticated())?;
        let (name, password) = decoded.split_once(':').ok_or_else(replies::not_authenticated)?;
        let user = self.user(name).filter(|user| same(&user.password, password));
        let user = user.ok_or_else(replies::not_authenticated)?;
        if self.options.basic_auth_restricted && !user.roles.iter().any(|role| role == BASIC_ROLE) {
            return Err(replies::basic_auth_restricted());
        }
        Ok(user)
    }

    fn user(&self, name: &str) -> Option<&SnUser> {
        self.options.users.iter().find(|user| user.name == name)
    }

    /// `POST /oauth_token.do`. The catch-all refusal is 401 `server_error`, which is not transient.
    pub(crate) fn token(&self, call: &Call) -> Reply {
        let refused = |error: &str, description: &str| {
            Reply::json(401, &json!({"error_description": description, "error": error})).typed(replies::JSON)
        };
        let kind = call.content_type.as_deref().unwrap_or_default();
        if call.method != "POST" || !kind.starts_with("application/x-www-form-urlencoded") {
            // JSON bodies and parameters in the URL are not read.
            return refused("server_error", "an unspecified error");
        }
        let form: HashMap<String, String> = url::form_urlencoded::parse(&call.body).into_owned().collect();
        let get = |name: &str| form.get(name).map_or("", String::as_str);
        let client = self.options.oauth_clients.iter().find(|client| client.client_id == get("client_id"));
        let Some(client) = client else { return refused("invalid_client", "access_denied") };
        if !same(&client.client_secret, get("client_secret")) {
            return refused("server_error", "access_denied");
        }
        let lifetime = self.options.token_lifetime;
        let mut tokens = locked(&self.tokens);
        let grant = match get("grant_type") {
            "password" => {
                let user = self.user(get("username")).filter(|user| same(&user.password, get("password")));
                let Some(user) = user else { return refused("server_error", "access_denied") };
                tokens.grant(&user.name, &client.client_id, true, lifetime)
            }
            "client_credentials" => {
                let user = client.application_user.as_deref().and_then(|name| self.user(name));
                let Some(user) = user else {
                    return refused("invalid_grant", "access_denied: no OAuth application user set");
                };
                tokens.grant(&user.name, &client.client_id, false, lifetime)
            }
            "refresh_token" => {
                let wanted = get("refresh_token");
                let is_it = |grant: &&mut Grant| {
                    grant.client_id == client.client_id
                        && grant.refresh_token.as_deref().is_some_and(|token| same(token, wanted))
                };
                let Some(grant) = tokens.grants.iter_mut().find(is_it) else {
                    return refused("invalid_grant", "refresh token is invalid or expired");
                };
                // A refresh gives a new access token and the same refresh token.
                let stale = std::mem::take(&mut grant.access_token);
                let user = grant.user.clone();
                tokens.by_access_token.remove(&stale);
                tokens.grant(&user, &client.client_id, true, lifetime)
            }
            _ => return Reply::json(400, &json!({"error": "unsupported_grant_type"})).typed(replies::JSON),
        };
        let left_s = grant.expires.saturating_duration_since(Instant::now()).as_secs();
        let mut body = json!({
            "scope": "useraccount", "token_type": "Bearer", "expires_in": left_s,
            "access_token": grant.access_token,
        });
        if let Some(refresh_token) = &grant.refresh_token {
            body["refresh_token"] = refresh_token.as_str().into();
        }
        Reply::json(200, &body).typed(replies::JSON)
    }

    /// `/oauth_revoke_token.do?token=…`, which asks for no authentication.
    pub(crate) fn revoke(&self, call: &Call) -> Reply {
        let token = call.query_pairs().into_iter().find(|(name, _)| name == "token").map(|(_, value)| value);
        if let Some(token) = token {
            let mut tokens = locked(&self.tokens);
            tokens.by_access_token.remove(&token);
            for grant in &mut tokens.grants {
                if grant.access_token == token {
                    grant.access_token.clear();
                }
                if grant.refresh_token.as_deref() == Some(&token) {
                    grant.refresh_token = Some(secret());
                }
            }
        }
        Reply::empty(200)
    }
}
