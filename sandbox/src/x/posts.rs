//! Posts: `/2/tweets` and `/2/users/{id}/tweets`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock;
use crate::server::{Call, Reply};
use crate::x::dms::{Page, fields_of, is_id};
use crate::x::length::{MAX_WEIGHTED, weighted_length};
use crate::x::state::{State, XPost};
use crate::x::{XAccount, replies};

/// The documented members of the body; the sandbox uses text, reply and media.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPost {
    text: Option<String>,
    reply: Option<ReplyTo>,
    media: Option<Media>,
    #[serde(rename = "card_uri")]
    _card_uri: Option<String>,
    #[serde(rename = "community_id")]
    _community_id: Option<String>,
    #[serde(rename = "direct_message_deep_link")]
    _deep_link: Option<String>,
    #[serde(rename = "for_super_followers_only")]
    _for_super_followers_only: Option<bool>,
    #[serde(rename = "geo")]
    _geo: Option<Value>,
    #[serde(rename = "made_with_ai")]
    _made_with_ai: Option<bool>,
    #[serde(rename = "nullcast")]
    _nullcast: Option<bool>,
    #[serde(rename = "paid_partnership")]
    _paid_partnership: Option<bool>,
    #[serde(rename = "poll")]
    _poll: Option<Value>,
    #[serde(rename = "quote_tweet_id")]
    _quote: Option<String>,
    #[serde(rename = "reply_settings")]
    _reply_settings: Option<String>,
    #[serde(rename = "share_with_followers")]
    _share_with_followers: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplyTo {
    in_reply_to_tweet_id: String,
    #[serde(rename = "exclude_reply_user_ids")]
    _exclude: Option<Vec<String>>,
    #[serde(rename = "auto_populate_reply_metadata")]
    _auto: Option<bool>,
}

#[derive(Deserialize)]
struct Media {
    media_ids: Vec<String>,
}

/// `POST /2/tweets`
pub(crate) fn create(state: &mut State, account: &XAccount, call: &Call) -> (Reply, Option<XPost>) {
    let refuse = |reply| (reply, None);
    let post: NewPost = match serde_json::from_slice(&call.body) {
        Ok(post) => post,
        Err(error) => {
            return refuse(replies::invalid_request("", "", &format!("Invalid JSON body: {error}")));
        }
    };
    let text = post.text.unwrap_or_default();
    let n_media = post.media.map_or(0, |media| media.media_ids.len());
    if text.is_empty() && n_media == 0 {
        return refuse(replies::invalid_request("", "", "one of `text` or `media` is required"));
    }
    if n_media > 4 {
        return refuse(replies::invalid_request("media.media_ids", "", "at most 4 media are allowed"));
    }
    if weighted_length(&text) > MAX_WEIGHTED {
        return refuse(replies::v1_error(403, 186, "Tweet needs to be a bit shorter."));
    }
    let in_reply_to = post.reply.map(|reply| reply.in_reply_to_tweet_id);
    if let Some(id) = &in_reply_to {
        if !is_id(id) {
            let message = format!("The `reply.in_reply_to_tweet_id` value [{id}] is not valid");
            return refuse(replies::invalid_request("reply.in_reply_to_tweet_id", id, &message));
        }
        if state.is_deleted(id) {
            return refuse(replies::v1_error(
                403,
                385,
                "You attempted to reply to a Tweet that is deleted or not visible to you.",
            ));
        }
    }
    let Some(post) = state.store_post(&account.id, &text, in_reply_to.as_deref()) else {
        return refuse(replies::duplicate_post());
    };
    let data = json!({"id": post.id, "text": post.text, "edit_history_tweet_ids": [post.id]});
    (Reply::json(201, &json!({"data": data})), Some(post))
}

/// `GET /2/users/{id}/tweets`, newest first.
pub(crate) fn list(state: &State, user_id: &str, call: &Call) -> Reply {
    if state.account(user_id).is_none() {
        return replies::not_found("user", user_id);
    }
    match Page::read(call, 5, 100, 10) {
        Ok(page) => {
            let posts: Vec<&XPost> =
                state.posts().iter().rev().filter(|post| post.author_id == user_id).collect();
            let fields = post_fields(call);
            page.reply(&posts, |post| show(post, &fields))
        }
        Err(reply) => reply,
    }
}

/// `GET /2/tweets/{id}`
pub(crate) fn one(state: &State, id: &str, call: &Call) -> Reply {
    let found = state.posts().iter().find(|post| post.id == id);
    found.map_or_else(
        || replies::not_found("tweet", id),
        |post| Reply::json(200, &json!({"data": show(post, &post_fields(call))})),
    )
}

fn post_fields(call: &Call) -> Vec<String> {
    fields_of(call, &["tweet.fields", "post.fields"])
}

fn show(post: &XPost, fields: &[String]) -> Value {
    let mut shown = json!({"id": post.id, "text": post.text, "edit_history_tweet_ids": [post.id]});
    for field in fields {
        let value = match (field.as_str(), &post.in_reply_to) {
            ("author_id", _) => json!(post.author_id),
            ("created_at", _) => json!(clock::rfc3339(post.created_ms)),
            ("conversation_id", parent) => json!(parent.as_ref().unwrap_or(&post.id)),
            ("referenced_tweets" | "referenced_posts", Some(parent)) => {
                json!([{"type": "replied_to", "id": parent}])
            }
            _ => continue,
        };
        shown[field.as_str()] = value;
    }
    shown
}
