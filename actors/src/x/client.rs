//! Calls to X on behalf of an account: sending, and looking up whether something was sent.

mod transport;

use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::classify::is_id;
use crate::domain::secret::Secret;

use super::errors::{Call, CallError, Refusal, unsent, unusable};
use super::limits::Limits;
use super::matching::is_same;

pub(in crate::x) use transport::Answer;

/// How many pages a look-up reads before it gives up rather than guess.
const MAX_PAGES: usize = 5;

/// The X app and where X is.
#[derive(Clone)]
pub struct XApp {
    /// `twitter.api_url`.
    pub base_url: Url,
    /// The app's API key.
    pub consumer_key: String,
    /// The app's API secret.
    pub consumer_secret: Secret,
    /// The app's bearer token, for managing webhooks.
    pub bearer_token: Option<Secret>,
    /// How long a whole call may take.
    pub timeout: Duration,
}

/// A client of X's API v2 for one app. Cheap to clone.
#[derive(Clone)]
pub struct XClient {
    http: reqwest::Client,
    app: XApp,
}

/// A linked account's own tokens.
#[derive(Clone)]
pub struct AccountCredentials {
    /// X user id of the account.
    pub user_id: String,
    /// OAuth 1.0a access token.
    pub token: Secret,
    /// OAuth 1.0a token secret.
    pub token_secret: Secret,
}

/// What a signed call needs from outside.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// The present time in epoch milliseconds.
    pub now_ms: i64,
    /// Fresh random text of letters and digits; 16 characters or more.
    pub nonce: &'a str,
}

/// Something X took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Id of the direct message (its `dm_event_id`) or post.
    pub id: String,
    /// What X tells about the limits of this endpoint.
    pub limits: Limits,
}

/// What to look for after a call of which the outcome is unknown.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// The text that was sent.
    pub text: &'a str,
    /// Nothing written earlier counts, in epoch milliseconds. X tells whole seconds, by its own clock.
    pub since_ms: i64,
    /// Ids that are known to belong to other deliveries of the same text.
    pub except: &'a [String],
}

/// Who an account is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// X user id.
    pub id: String,
    /// The handle without `@`.
    pub username: String,
    /// The display name.
    pub name: Option<String>,
}

/// What every call here ends with.
pub type Outcome<T> = Result<T, Box<CallError>>;

impl XClient {
    /// A client over the given connections, which must not follow redirects.
    pub fn new(http: reqwest::Client, app: XApp) -> Self {
        Self { http, app }
    }

    /// The same client for an app whose bearer token is not set.
    #[cfg(test)]
    pub(super) fn without_bearer(&self) -> Self {
        Self { app: XApp { bearer_token: None, ..self.app.clone() }, ..self.clone() }
    }

    /// The same client with the app's bearer token.
    #[must_use]
    pub fn with_bearer_token(&self, bearer: Secret) -> Self {
        Self { app: XApp { bearer_token: Some(bearer), ..self.app.clone() }, ..self.clone() }
    }

    /// Whether it knows the app's bearer token.
    pub fn has_bearer_token(&self) -> bool {
        self.bearer_token().is_some()
    }

    /// Sends a direct message (`POST /2/dm_conversations/with/{id}/messages`). Not idempotent.
    pub async fn send_dm(
        &self,
        account: &AccountCredentials,
        participant_id: &str,
        text: &str,
        stamp: Stamp<'_>,
    ) -> Outcome<Sent> {
        let url = self.conversation(participant_id, "messages")?;
        let body = json!({ "text": text });
        let answer = self.as_account(Method::POST, url, Some(&body), account, stamp).await?;
        answer.sent("dm_event_id", stamp.now_ms)
    }

    /// Answers a post in public (`POST /2/tweets`). Not idempotent, though X refuses the same text twice
    /// in a row: see [`Refusal::DuplicateText`].
    pub async fn reply(
        &self,
        account: &AccountCredentials,
        in_reply_to: &str,
        text: &str,
        stamp: Stamp<'_>,
    ) -> Outcome<Sent> {
        if !is_id(in_reply_to) {
            return Err(unsent(Refusal::BadRequest, "the id of the post to answer is no number"));
        }
        let body = json!({ "text": text, "reply": { "in_reply_to_tweet_id": in_reply_to } });
        let answer =
            self.as_account(Method::POST, self.url("/2/tweets"), Some(&body), account, stamp).await?;
        answer.sent("id", stamp.now_ms)
    }

    /// Looks for a direct message the account has sent to the participant: the oldest one that fits.
    pub async fn find_sent_dm(
        &self,
        account: &AccountCredentials,
        participant_id: &str,
        search: Search<'_>,
        stamp: Stamp<'_>,
    ) -> Outcome<Option<String>> {
        let url = self.conversation(participant_id, "dm_events")?;
        // The guide asks for the sender as a field, the API description (2.167) only as an expansion.
        let forms: [&[(&str, &str)]; 2] = [
            &[("dm_event.fields", "created_at,event_type,id,sender_id,text")],
            &[("dm_event.fields", "created_at,event_type,id,text"), ("expansions", "sender_id")],
        ];
        let forms = forms.map(|form| {
            with_query(&url, form.iter().chain(&[("event_types", "MessageCreate"), ("max_results", "50")]))
        });
        let is_own = |event: &Value| Some(event["sender_id"].as_str()? == account.user_id);
        self.find(&forms, account, search, stamp, is_own).await
    }

    /// Looks for a reply of the account to that post: the oldest one that fits.
    pub async fn find_sent_reply(
        &self,
        account: &AccountCredentials,
        in_reply_to: &str,
        search: Search<'_>,
        stamp: Stamp<'_>,
    ) -> Outcome<Option<String>> {
        if !is_id(&account.user_id) {
            return Err(unsent(Refusal::BadRequest, "the id of the account is no number"));
        }
        let url = self.url(&format!("/2/users/{}/tweets", account.user_id));
        let since = DateTime::from_timestamp_millis(search.since_ms).unwrap_or_default();
        let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
        // The guide says tweet where the API description (2.167) says post.
        let forms: [&[(&str, &str)]; 2] = [
            &[("tweet.fields", "created_at,id,note_tweet,referenced_tweets,text")],
            &[("post.fields", "created_at,id,note_post,text"), ("expansions", "referenced_posts")],
        ];
        let forms = forms.map(|form| {
            with_query(&url, form.iter().chain(&[("max_results", "100"), ("start_time", since.as_str())]))
        });
        self.find(&forms, account, search, stamp, |post| Some(answers(post, in_reply_to))).await
    }

    /// Asks whose the tokens are (`GET /2/users/me`).
    pub async fn users_me(&self, account: &AccountCredentials, stamp: Stamp<'_>) -> Outcome<Profile> {
        let answer = self.as_account(Method::GET, self.url("/2/users/me"), None, account, stamp).await?;
        let user = &answer.body["data"];
        match (user["id"].as_str().filter(|id| is_id(id)), user["username"].as_str()) {
            (Some(id), Some(username)) => Ok(Profile {
                id: id.to_owned(),
                username: username.to_owned(),
                name: user["name"].as_str().map(str::to_owned),
            }),
            _ => Err(answer.without("the user", stamp.now_ms)),
        }
    }

    /// Asks in the first form that X accepts.
    async fn find(
        &self,
        forms: &[Url],
        account: &AccountCredentials,
        search: Search<'_>,
        stamp: Stamp<'_>,
        is_candidate: impl Fn(&Value) -> Option<bool>,
    ) -> Outcome<Option<String>> {
        let mut outcome = Ok(None);
        for (at, form) in forms.iter().enumerate() {
            let nonce = format!("{}{at}", stamp.nonce);
            let stamp = Stamp { nonce: &nonce, ..stamp };
            outcome = self.find_in_pages(form, account, search, stamp, &is_candidate).await;
            match &outcome {
                Err(error) if error.refusal == Some(Refusal::BadRequest) => {}
                _ => return outcome,
            }
        }
        outcome
    }

    /// Reads pages, newest first, until one reaches back to `since_ms`. `is_candidate` tells nothing
    /// where X does not.
    async fn find_in_pages(
        &self,
        url: &Url,
        account: &AccountCredentials,
        search: Search<'_>,
        stamp: Stamp<'_>,
        is_candidate: impl Fn(&Value) -> Option<bool>,
    ) -> Outcome<Option<String>> {
        let mut found = None;
        let mut next: Option<String> = None;
        let mut limits = Limits::default();
        for page in 0..MAX_PAGES {
            let token = next.as_deref().map(|token| ("pagination_token", token));
            let nonce = format!("{}{page}", stamp.nonce);
            let stamp = Stamp { nonce: &nonce, ..stamp };
            let answer =
                self.as_account(Method::GET, with_query(url, token.iter()), None, account, stamp).await?;
            limits = answer.limits;
            let records = answer.records(stamp.now_ms)?;
            for record in records.iter().filter(|record| fits(record, search)) {
                match is_candidate(record) {
                    Some(true) => found = record["id"].as_str().map(str::to_owned),
                    Some(false) => {}
                    None => return Err(answer.without("who wrote it", stamp.now_ms)),
                }
            }
            let reaches_back = records.iter().any(|record| !is_since(record, search.since_ms));
            next = answer.body["meta"]["next_token"].as_str().map(str::to_owned);
            if reaches_back || next.is_none() {
                return Ok(found);
            }
        }
        match found {
            Some(id) => Ok(Some(id)),
            None => Err(unusable(
                Call::Read,
                200,
                "too much was written since then to look it all through",
                limits,
            )),
        }
    }

    fn conversation(&self, participant_id: &str, what: &str) -> Outcome<Url> {
        if !is_id(participant_id) {
            return Err(unsent(Refusal::BadRequest, "the customer's x user id is no number"));
        }
        Ok(self.url(&format!("/2/dm_conversations/with/{participant_id}/{what}")))
    }
}

/// The address with these parameters added.
fn with_query<'q>(url: &Url, query: impl Iterator<Item = &'q (&'q str, &'q str)>) -> Url {
    let mut url = url.clone();
    for (name, value) in query {
        url.query_pairs_mut().append_pair(name, value);
    }
    url
}

fn fits(record: &Value, search: Search<'_>) -> bool {
    let Some(id) = record["id"].as_str().filter(|id| is_id(id)) else {
        return false;
    };
    let texts = [&record["note_tweet"]["text"], &record["note_post"]["text"], &record["text"]];
    let shown = texts.into_iter().find_map(Value::as_str).unwrap_or_default();
    is_since(record, search.since_ms)
        && !search.except.iter().any(|known| known == id)
        && is_same(search.text, shown)
}

/// Whether it was written in the second of `since_ms` or later. What tells no time counts.
fn is_since(record: &Value, since_ms: i64) -> bool {
    let written = record["created_at"].as_str().and_then(|time| DateTime::parse_from_rfc3339(time).ok());
    written.is_none_or(|time| time.timestamp() >= since_ms.div_euclid(1_000))
}

fn answers(post: &Value, in_reply_to: &str) -> bool {
    let references = [&post["referenced_tweets"], &post["referenced_posts"]];
    let mut references = references.into_iter().filter_map(Value::as_array).flatten();
    post["in_reply_to_tweet_id"] == in_reply_to
        || references.any(|reference| reference["type"] == "replied_to" && reference["id"] == in_reply_to)
}

#[cfg(test)]
mod tests;
