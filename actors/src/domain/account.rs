//! A linked X account: whose it is, how to write in its name, and what becomes of what it receives.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::fields::{FieldErrors, Fields, Writing};
use super::sealing::SealError;
use super::secret::Secret;
use crate::classify::{CasePolicy, is_id};

const MAX_ID_CHARS: usize = 64;
const MAX_HANDLE_CHARS: usize = 15;
const MAX_SECRET_CHARS: usize = 1024;

/// How an agent's answer reaches the customer when the event does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyChannel {
    /// As a direct message.
    #[default]
    Dm,
    /// As a public reply to the customer's newest post.
    Reply,
    /// The way the customer's newest message came.
    Same,
}

impl ReplyChannel {
    /// The stable name in the API and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dm => "dm",
            Self::Reply => "reply",
            Self::Same => "same",
        }
    }

    /// The channel of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Dm, Self::Reply, Self::Same].into_iter().find(|channel| channel.as_str() == name)
    }
}

/// The tokens of an account, by which the hub acts in its name.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct AccountSecrets {
    /// The OAuth 1.0a access token.
    pub access_token: Secret,
    /// Its secret.
    pub access_token_secret: Secret,
}

impl AccountSecrets {
    /// As JSON, to be sealed and for nothing else.
    pub(crate) fn to_plain(&self) -> Zeroizing<Vec<u8>> {
        let plain = json!({
            "access_token": self.access_token.expose(),
            "access_token_secret": self.access_token_secret.expose(),
        });
        Zeroizing::new(plain.to_string().into_bytes())
    }
}

/// The settings of an account, without its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSettings {
    /// The account's id at X. Never changes: conversations and what was accepted belong to it.
    pub twitter_user_id: String,
    /// Its handle without the `@`; may be empty, and may be out of date.
    pub screen_name: String,
    /// The instance that it feeds.
    pub instance_id: Option<String>,
    /// How answers go out.
    pub reply_channel: ReplyChannel,
    /// Which items open or feed a case.
    pub case_policy: CasePolicy,
}

/// An account with its tokens, as its delivery uses it.
#[derive(Clone)]
pub struct Account {
    /// Its id in the hub.
    pub id: String,
    /// Its owner.
    pub user_id: String,
    /// Its settings.
    pub settings: AccountSettings,
    /// Its tokens, or why they do not open.
    pub secrets: Result<AccountSecrets, SealError>,
    /// How it was when that was last told.
    pub status: String,
    /// Why, and what to do.
    pub status_detail: String,
    /// No call before this time, in epoch milliseconds.
    pub paused_until_ms: Option<i64>,
    /// Grows with every change of the settings.
    pub version: i64,
}

/// An account as its owner sees it: no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountView {
    /// Its id in the hub.
    pub id: String,
    /// Its settings.
    pub settings: AccountSettings,
    /// How it was when that was last told.
    pub status: String,
    /// Why, and what to do.
    pub status_detail: String,
    /// Whether X sends its events; `None` when that was never asked.
    pub is_subscribed: Option<bool>,
    /// When X last sent something for it, in epoch milliseconds.
    pub last_event_at_ms: Option<i64>,
}

impl AccountView {
    /// As the API shows it.
    pub fn to_json(&self) -> Value {
        let settings = &self.settings;
        json!({
            "id": self.id,
            "twitter_user_id": settings.twitter_user_id,
            "screen_name": settings.screen_name,
            "instance": settings.instance_id,
            "reply_channel": settings.reply_channel,
            "case_policy": settings.case_policy,
            "status": self.status,
            "status_detail": self.status_detail,
            "subscribed": self.is_subscribed,
            "last_event_at": self.last_event_at_ms.map(super::time::format_time),
        })
    }
}

/// Which instance was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceChoice {
    /// Nothing was said: the user's only one, or the one it has.
    Unsaid,
    /// None: what the account receives waits.
    Nothing,
    /// The one with this id.
    Of(String),
}

/// What was sent to create or change an account; [`complete`](Self::complete) makes settings of it.
#[derive(Clone)]
pub struct AccountForm {
    errors: FieldErrors,
    twitter_user_id: Option<String>,
    screen_name: Option<String>,
    access_token: Option<Secret>,
    access_token_secret: Option<Secret>,
    instance: InstanceChoice,
    reply_channel: Option<ReplyChannel>,
    case_policy: Option<CasePolicy>,
}

impl AccountForm {
    /// Reads a body. What is wrong with it is told by [`complete`](Self::complete), together with what
    /// only shows beside the stored record.
    pub fn read(body: &Map<String, Value>, writing: Writing) -> Self {
        let mut fields = Fields::new(body, writing);
        fields.require("twitter_user_id");
        let twitter_user_id = fields.filled("twitter_user_id", MAX_ID_CHARS);
        let twitter_user_id = twitter_user_id.filter(|id| {
            let is_taken = is_id(id);
            if !is_taken {
                fields.refuse("twitter_user_id", "Enter the numeric id of the account, not its handle.");
            }
            is_taken
        });
        let screen_name = read_handle(&mut fields);
        let instance = if fields.is_null("instance") {
            InstanceChoice::Nothing
        } else {
            fields.filled("instance", MAX_ID_CHARS).map_or(InstanceChoice::Unsaid, InstanceChoice::Of)
        };
        Self {
            twitter_user_id,
            screen_name,
            access_token: read_token(&mut fields, "access_token"),
            access_token_secret: read_token(&mut fields, "access_token_secret"),
            instance,
            reply_channel: fields.choice("reply_channel", ReplyChannel::parse),
            case_policy: read_policy(&mut fields),
            errors: fields.into_errors(),
        }
    }

    /// Which instance was asked for.
    pub fn instance(&self) -> &InstanceChoice {
        &self.instance
    }

    /// Whether tokens were sent.
    pub fn has_tokens(&self) -> bool {
        self.access_token.is_some() || self.access_token_secret.is_some()
    }

    /// The settings and tokens that come of it: those of a new record, or the stored ones with what was
    /// sent in their place. The instance is checked by the caller, who knows the user's own.
    pub fn complete(
        mut self,
        stored: Option<(AccountSettings, AccountSecrets)>,
    ) -> Result<(AccountSettings, AccountSecrets), FieldErrors> {
        let (stored, secrets) = stored.unzip();
        let secrets = secrets.unwrap_or_default();
        for (field, sent, kept) in [
            ("access_token", &self.access_token, &secrets.access_token),
            ("access_token_secret", &self.access_token_secret, &secrets.access_token_secret),
        ] {
            if sent.is_none() && kept.is_empty() {
                self.errors.require(field);
            }
        }
        let stored_id = stored.as_ref().map(|stored| stored.twitter_user_id.clone());
        if self.twitter_user_id.is_some() && stored_id.is_some() && self.twitter_user_id != stored_id {
            self.errors.add("twitter_user_id", "This cannot be changed: link the other account instead.");
        }
        let (Some(id), true) = (self.twitter_user_id.or(stored_id), self.errors.is_empty()) else {
            return Err(self.errors);
        };
        let stored = stored.unwrap_or_else(|| AccountSettings {
            twitter_user_id: id,
            screen_name: String::new(),
            instance_id: None,
            reply_channel: ReplyChannel::default(),
            case_policy: CasePolicy::default(),
        });
        let instance_id = match self.instance {
            InstanceChoice::Unsaid => stored.instance_id,
            InstanceChoice::Nothing => None,
            InstanceChoice::Of(id) => Some(id),
        };
        let settings = AccountSettings {
            screen_name: self.screen_name.unwrap_or(stored.screen_name),
            instance_id,
            reply_channel: self.reply_channel.unwrap_or(stored.reply_channel),
            case_policy: self.case_policy.unwrap_or(stored.case_policy),
            twitter_user_id: stored.twitter_user_id,
        };
        let secrets = AccountSecrets {
            access_token: self.access_token.unwrap_or(secrets.access_token),
            access_token_secret: self.access_token_secret.unwrap_or(secrets.access_token_secret),
        };
        Ok((settings, secrets))
    }
}

fn read_handle(fields: &mut Fields<'_>) -> Option<String> {
    let handle = fields.text("screen_name", MAX_HANDLE_CHARS + 1)?;
    let handle = handle.strip_prefix('@').unwrap_or(&handle).to_owned();
    let is_handle_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if handle.len() > MAX_HANDLE_CHARS || !handle.bytes().all(is_handle_byte) {
        fields.refuse("screen_name", "A handle has at most 15 letters, digits and underscores.");
        return None;
    }
    Some(handle)
}

/// Tokens are sent in a header: visible ASCII, something in it.
fn read_token(fields: &mut Fields<'_>, field: &str) -> Option<Secret> {
    let token = fields.secret(field, MAX_SECRET_CHARS)?;
    let token = Secret::new(token.expose().trim());
    if token.is_empty() {
        fields.refuse(field, "This field may not be blank.");
        return None;
    }
    if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        fields.refuse(field, "A token holds visible ASCII characters only.");
        return None;
    }
    Some(token)
}

fn read_policy(fields: &mut Fields<'_>) -> Option<CasePolicy> {
    let policy = fields.object("case_policy")?;
    match serde_json::from_value(Value::Object(policy)) {
        Ok(policy) => Some(policy),
        Err(problem) => {
            let problem: String = problem.to_string().chars().take(300).collect();
            fields.refuse("case_policy", super::fields::sentence(&problem));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(body: &Value, writing: Writing) -> AccountForm {
        AccountForm::read(body.as_object().unwrap(), writing)
    }

    fn create(body: &Value) -> Result<(AccountSettings, AccountSecrets), Value> {
        form(body, Writing::Create).complete(None).map_err(|errors| Value::Object(errors.into_body()))
    }

    fn body() -> Value {
        json!({ "twitter_user_id": "42", "access_token": "42-abc", "access_token_secret": "s" })
    }

    #[test]
    fn a_new_one_needs_its_id_and_tokens() {
        let required = json!(["This field is required."]);
        let errors = create(&json!({})).err().unwrap();
        let expected = json!({
            "twitter_user_id": required, "access_token": required, "access_token_secret": required
        });
        assert_eq!(errors, expected);
        let (settings, secrets) = create(&body()).ok().unwrap();
        assert_eq!((settings.reply_channel, settings.instance_id), (ReplyChannel::Dm, None));
        assert_eq!(secrets.access_token.expose(), "42-abc");
        let read: AccountSecrets = serde_json::from_slice(&secrets.to_plain()).unwrap();
        assert_eq!(read.access_token_secret.expose(), "s");
    }

    #[test]
    fn wrong_values_are_told_on_their_field() {
        for (field, value) in [
            ("twitter_user_id", json!("@acme")),
            ("twitter_user_id", json!("")),
            ("twitter_user_id", json!(-1)),
            ("screen_name", json!("acme corp")),
            ("screen_name", json!("a".repeat(16))),
            ("access_token", json!("")),
            ("access_token", json!("a\nb")),
            ("access_token_secret", json!(null)),
            ("instance", json!("")),
            ("instance", json!([])),
            ("reply_channel", json!("fax")),
            ("case_policy", json!("always")),
            ("case_policy", json!({ "dms": true })),
            ("case_policy", json!({ "implicit": "sometimes" })),
        ] {
            let mut alone = body();
            alone[field] = value.clone();
            let errors = create(&alone).err().unwrap();
            assert_eq!(errors.as_object().unwrap().keys().collect::<Vec<_>>(), [field], "{value}");
        }
    }

    #[test]
    fn what_is_not_sent_stays_and_the_id_always_does() {
        let mut first = body();
        first["screen_name"] = json!("@acme");
        first["instance"] = json!("i1");
        let stored = create(&first).ok().unwrap();
        let patch = |patch: &Value| form(patch, Writing::Patch).complete(Some(stored.clone()));
        let (settings, secrets) = patch(&json!({ "reply_channel": "same" })).ok().unwrap();
        assert_eq!(settings.screen_name, "acme");
        assert_eq!(settings.instance_id.as_deref(), Some("i1"));
        assert_eq!(secrets.access_token.expose(), "42-abc");
        assert_eq!(patch(&json!({ "instance": null })).ok().unwrap().0.instance_id, None);
        assert!(patch(&json!({ "twitter_user_id": 42 })).is_ok());
        assert!(patch(&json!({ "twitter_user_id": "43" })).is_err());
    }
}
