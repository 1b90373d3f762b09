//! Reading what was sent to create or change an instance.

use serde_json::{Map, Value};

use super::{AuthKind, CONCURRENCY, InstanceDefaults, InstanceSecrets, InstanceSettings, Mode};
use crate::domain::duration::parse_duration_ms;
use crate::domain::fields::{FieldErrors, Fields, Writing, sentence};
use crate::domain::rate::Rate;
use crate::domain::secret::Secret;
use crate::net::{InstanceUrl, Reach, parse_instance_url};
use crate::servicenow::customers::CustomerTable;

const MAX_NAME_CHARS: usize = 255;
const MAX_SECRET_CHARS: usize = 4096;
const MAX_DEFAULTS: usize = 100;
const MAX_KEY_CHARS: usize = 80;
const MAX_VALUE_CHARS: usize = 4000;
/// Ten years: further back no case is worth looking for.
const MAX_REOPEN_MS: i64 = 3650 * 24 * 60 * 60 * 1000;

/// What was sent to create or change an instance; [`complete`](Self::complete) makes settings of it.
#[derive(Clone)]
pub struct InstanceForm {
    errors: FieldErrors,
    instance_url: Option<String>,
    auth: Option<AuthKind>,
    admin_user: Option<String>,
    admin_password: Option<Secret>,
    client_id: Option<String>,
    client_secret: Option<Secret>,
    api_key: Option<Secret>,
    rate: Option<Rate>,
    concurrency: Option<u8>,
    mode: Option<Mode>,
    customer_table: Option<CustomerTable>,
    case_defaults: Option<Map<String, Value>>,
    reopen_window_ms: Option<i64>,
    has_no_reopen_window: bool,
}

impl InstanceForm {
    /// Reads a body. What is wrong with it is told by [`complete`](Self::complete), together with what
    /// only shows beside the stored record.
    pub fn read(body: &Map<String, Value>, writing: Writing) -> Self {
        let mut fields = Fields::new(body, writing);
        fields.require("instance_url");
        let instance_url = fields.filled("instance_url", MAX_NAME_CHARS);
        fields.require("auth");
        let auth = fields.choice("auth", AuthKind::parse);
        let concurrency = fields.integer("concurrency", CONCURRENCY);
        let case_defaults = fields.object("case_defaults");
        if let Some(message) = case_defaults.as_ref().and_then(|defaults| check_defaults(defaults).err()) {
            fields.refuse("case_defaults", message);
        }
        let has_no_reopen_window = fields.is_null("reopen_window");
        let mut reopen_window_ms = None;
        if !has_no_reopen_window {
            reopen_window_ms = fields.parsed("reopen_window", parse_reopen_window);
        }
        Self {
            instance_url,
            auth,
            admin_user: fields.text("admin_user", MAX_NAME_CHARS),
            admin_password: fields.secret("admin_password", MAX_SECRET_CHARS),
            client_id: fields.text("client_id", MAX_NAME_CHARS),
            client_secret: fields.secret("client_secret", MAX_SECRET_CHARS),
            api_key: fields.secret("api_key", MAX_SECRET_CHARS),
            rate: fields.parsed("rate", str::parse),
            concurrency: concurrency.and_then(|n| u8::try_from(n).ok()),
            mode: fields.choice("mode", Mode::parse),
            customer_table: fields.choice("customer_table", CustomerTable::parse),
            case_defaults,
            reopen_window_ms,
            has_no_reopen_window,
            errors: fields.into_errors(),
        }
    }

    /// Whether it names a login or a secret, be it the same as before.
    pub fn has_credentials(&self) -> bool {
        self.admin_user.is_some()
            || self.admin_password.is_some()
            || self.client_id.is_some()
            || self.client_secret.is_some()
            || self.api_key.is_some()
    }

    /// The settings and secrets that come of it: those of a new record, or the stored ones with what
    /// was sent in their place.
    pub fn complete(
        mut self,
        stored: Option<(InstanceSettings, InstanceSecrets)>,
        defaults: InstanceDefaults,
    ) -> Result<(InstanceSettings, InstanceSecrets), FieldErrors> {
        let (stored, secrets) = stored.unzip();
        let secrets = secrets.unwrap_or_default();
        let url = self.url(stored.as_ref(), defaults.reach);
        let auth = self.auth.or(stored.as_ref().map(|stored| stored.auth));
        if let Some(auth) = auth {
            self.check_needs(auth, stored.as_ref(), &secrets);
        }
        let (Some(url), Some(auth), true) = (url, auth, self.errors.is_empty()) else {
            return Err(self.errors);
        };
        let stored = stored.unwrap_or_else(|| InstanceSettings::new(url.clone(), auth, defaults));
        let kept_window_ms = stored.reopen_window_ms.filter(|_| !self.has_no_reopen_window);
        let settings = InstanceSettings {
            instance_url: url,
            auth,
            admin_user: self.admin_user.unwrap_or(stored.admin_user),
            client_id: self.client_id.unwrap_or(stored.client_id),
            rate: self.rate.unwrap_or(stored.rate),
            concurrency: self.concurrency.unwrap_or(stored.concurrency),
            mode: self.mode.unwrap_or(stored.mode),
            customer_table: self.customer_table.unwrap_or(stored.customer_table),
            case_defaults: self.case_defaults.unwrap_or(stored.case_defaults),
            reopen_window_ms: self.reopen_window_ms.or(kept_window_ms),
        };
        let secrets = InstanceSecrets {
            admin_password: self.admin_password.unwrap_or(secrets.admin_password),
            client_secret: self.client_secret.unwrap_or(secrets.client_secret),
            api_key: self.api_key.unwrap_or(secrets.api_key),
        };
        Ok((settings, secrets))
    }

    fn url(&mut self, stored: Option<&InstanceSettings>, reach: Reach) -> Option<InstanceUrl> {
        let Some(text) = &self.instance_url else { return stored.map(|stored| stored.instance_url.clone()) };
        match parse_instance_url(text, reach) {
            Ok(url) => Some(url),
            Err(problem) => {
                self.errors.add("instance_url", sentence(&problem.to_string()));
                None
            }
        }
    }

    /// What the kind of login needs and is neither sent nor stored, is missing.
    fn check_needs(&mut self, auth: AuthKind, stored: Option<&InstanceSettings>, secrets: &InstanceSecrets) {
        let kept = |pick: fn(&InstanceSettings) -> &str| stored.map(pick).unwrap_or_default();
        let user = (self.admin_user.as_deref(), kept(|stored| &stored.admin_user));
        let client_id = (self.client_id.as_deref(), kept(|stored| &stored.client_id));
        let password = (self.admin_password.as_ref().map(Secret::expose), secrets.admin_password.expose());
        let client_secret = (self.client_secret.as_ref().map(Secret::expose), secrets.client_secret.expose());
        let api_key = (self.api_key.as_ref().map(Secret::expose), secrets.api_key.expose());
        let has_user = matches!(auth, AuthKind::Basic | AuthKind::OauthPassword);
        let has_client = matches!(auth, AuthKind::OauthClientCredentials | AuthKind::OauthPassword);
        for (field, is_needed, (sent, kept)) in [
            ("admin_user", has_user, user),
            ("admin_password", has_user, password),
            ("client_id", has_client, client_id),
            ("client_secret", has_client, client_secret),
            ("api_key", auth == AuthKind::ApiKey, api_key),
        ] {
            match sent {
                Some("") if is_needed => self.errors.refuse_blank(field),
                None if is_needed && kept.is_empty() => self.errors.require(field),
                _ => {}
            }
        }
        let user = user.0.unwrap_or(user.1);
        if auth == AuthKind::Basic && user.contains(':') {
            self.errors.add("admin_user", "A user name for basic authentication holds no colon.");
        }
        let is_sendable = api_key.0.unwrap_or_default().bytes().all(|byte| byte.is_ascii_graphic());
        if !is_sendable {
            self.errors.add("api_key", "An API key holds visible ASCII characters only.");
        }
    }
}

fn parse_reopen_window(text: &str) -> Result<i64, String> {
    let window_ms = parse_duration_ms(text).map_err(|problem| problem.to_string())?;
    if window_ms > MAX_REOPEN_MS { Err("the time must be 3650d or less".to_owned()) } else { Ok(window_ms) }
}

/// Fields of a case that the hub itself writes: an own value there would break exactly-once delivery.
const OWN_FIELDS: &[&str] = &["correlation_id", "comments", "work_notes", "sys_id"];

fn check_defaults(defaults: &Map<String, Value>) -> Result<(), String> {
    if defaults.len() > MAX_DEFAULTS {
        return Err(format!("Ensure this field has no more than {MAX_DEFAULTS} elements."));
    }
    let is_name = |key: &str| {
        let is_name_byte = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        (1..=MAX_KEY_CHARS).contains(&key.len()) && key.bytes().all(is_name_byte)
    };
    for (key, value) in defaults {
        let shown: String = key.chars().take(MAX_KEY_CHARS).collect();
        if !is_name(key) {
            return Err(format!("\"{shown}\" is not a field name: use a to z, 0 to 9 and _, at most 80."));
        }
        if OWN_FIELDS.contains(&key.as_str()) {
            return Err(format!("\"{shown}\" is written by the hub itself."));
        }
        match value {
            Value::Array(_) | Value::Object(_) => {
                return Err(format!("The value of \"{shown}\" must be text, a number, true, false or null."));
            }
            Value::String(text) if text.chars().count() > MAX_VALUE_CHARS => {
                return Err(format!("The value of \"{shown}\" is longer than {MAX_VALUE_CHARS} characters."));
            }
            Value::String(text) if text.contains('\0') => {
                return Err("Null characters are not allowed.".to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn defaults() -> InstanceDefaults {
        InstanceDefaults { reach: Reach::PublicOnly, rate: Rate::default(), concurrency: 4 }
    }

    fn form(body: &Value, writing: Writing) -> InstanceForm {
        InstanceForm::read(body.as_object().unwrap(), writing)
    }

    fn create(body: &Value) -> Result<(InstanceSettings, InstanceSecrets), Value> {
        let made = form(body, Writing::Create).complete(None, defaults());
        made.map_err(|errors| Value::Object(errors.into_body()))
    }

    fn basic() -> Value {
        json!({
            "instance_url": "https://acme.service-now.com/", "auth": "basic",
            "admin_user": " hub ", "admin_password": " pass word "
        })
    }

    #[test]
    fn each_kind_of_login_needs_its_fields() {
        let required = json!(["This field is required."]);
        for (auth, needed) in [
            ("basic", vec!["admin_user", "admin_password"]),
            ("oauth_client_credentials", vec!["client_id", "client_secret"]),
            ("oauth_password", vec!["admin_user", "admin_password", "client_id", "client_secret"]),
            ("api_key", vec!["api_key"]),
        ] {
            let mut body = json!({ "instance_url": "https://acme.service-now.com", "auth": auth });
            let errors = create(&body).err().unwrap();
            let expected: Map<_, _> =
                needed.iter().map(|&name| (name.to_owned(), required.clone())).collect();
            assert_eq!(errors, Value::Object(expected), "{auth}");
            for name in &needed {
                body[*name] = json!("");
            }
            let errors = create(&body).err().unwrap();
            assert_eq!(errors[needed[0]], json!(["This field may not be blank."]), "{auth}");
            for name in &needed {
                body[*name] = json!("x");
            }
            assert!(create(&body).is_ok(), "{auth}");
        }
    }

    #[test]
    fn a_new_one_gets_defaults_and_keeps_blanks_of_its_password() {
        let (settings, secrets) = create(&basic()).ok().unwrap();
        assert_eq!(settings.instance_url.as_str(), "https://acme.service-now.com");
        assert_eq!((settings.admin_user.as_str(), settings.concurrency), ("hub", 4));
        assert_eq!(settings.rate.to_string(), "20 per 1s");
        assert_eq!(secrets.admin_password.expose(), " pass word ");
        let plain = secrets.to_plain();
        let read: InstanceSecrets = serde_json::from_slice(&plain).unwrap();
        assert_eq!(read.admin_password.expose(), " pass word ");
    }

    #[test]
    fn what_is_not_sent_stays() {
        let stored = create(&basic()).ok().unwrap();
        for (writing, body) in [
            (Writing::Patch, json!({ "concurrency": 9 })),
            (
                Writing::Replace,
                json!({ "instance_url": "https://acme.service-now.com", "auth": "basic", "concurrency": 9 }),
            ),
        ] {
            let (settings, secrets) =
                form(&body, writing).complete(Some(stored.clone()), defaults()).ok().unwrap();
            assert_eq!((settings.admin_user.as_str(), settings.concurrency), ("hub", 9));
            assert_eq!(secrets.admin_password.expose(), " pass word ");
        }
        let other = form(&json!({ "auth": "api_key" }), Writing::Patch);
        let errors = other.complete(Some(stored.clone()), defaults()).err().unwrap().into_body();
        assert_eq!(Value::Object(errors), json!({ "api_key": ["This field is required."] }));
        let blank = form(&json!({ "admin_password": "" }), Writing::Patch);
        let errors = blank.complete(Some(stored), defaults()).err().unwrap().into_body();
        assert_eq!(Value::Object(errors), json!({ "admin_password": ["This field may not be blank."] }));
    }

    #[test]
    fn wrong_values_are_told_on_their_field_all_at_once() {
        let mut body = basic();
        for (field, value) in [
            ("instance_url", json!("http://acme.service-now.com")),
            ("rate", json!("often")),
            ("concurrency", json!(65)),
            ("mode", json!("manual")),
            ("customer_table", json!("incident")),
            ("case_defaults", json!({ "correlation_id": "x" })),
            ("reopen_window", json!("4000d")),
            ("admin_user", json!("a:b")),
            ("api_key", json!("a\nb")),
        ] {
            let mut alone = basic();
            alone[field] = value.clone();
            body[field] = value;
            let errors = create(&alone).err().unwrap();
            assert_eq!(errors.as_object().unwrap().keys().collect::<Vec<_>>(), [field]);
        }
        assert_eq!(create(&body).err().unwrap().as_object().unwrap().len(), 9);
    }

    #[test]
    fn case_defaults() {
        for (defaults, is_taken) in [
            (json!({}), true),
            (json!({ "priority": 3, "u_x_1": "a", "active": true, "contact_type": null }), true),
            (json!({ "Priority": 3 }), false),
            (json!({ "": 3 }), false),
            (json!({ "a".repeat(81): 3 }), false),
            (json!({ "a": [] }), false),
            (json!({ "a": {} }), false),
            (json!({ "comments": "a" }), false),
            (json!({ "a": "\u{0}" }), false),
            (json!([]), false),
            (json!("{\"a\": 1}"), true),
        ] {
            let mut body = basic();
            body["case_defaults"] = defaults.clone();
            assert_eq!(create(&body).is_ok(), is_taken, "{defaults}");
        }
    }
}
