//! Well-formed webhook bodies of the Account Activity API: what X would send for what a person did.
//!
//! Shapes: docs.x.com `x-api/account-activity/introduction` and the v1.1 Tweet object. Texts are given as the
//! person wrote them; the body carries them HTML-escaped, as X does, with indices in code points of that form.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock;

/// A person or company on X.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct XUser {
    /// Decimal id; may be larger than 2^53.
    pub id: String,
    /// The handle without `@`.
    pub screen_name: String,
    /// The name shown.
    pub name: String,
}

impl XUser {
    /// A user from its three names.
    pub fn new(id: &str, screen_name: &str, name: &str) -> Self {
        Self { id: id.to_owned(), screen_name: screen_name.to_owned(), name: name.to_owned() }
    }

    fn avatar(&self) -> String {
        format!("pbs.twimg.com/profile_images/1/{}_normal.jpg", self.screen_name)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A decimal id as the JSON number beside `id_str`.
fn number(id: &str) -> Value {
    id.parse::<u64>().map_or(Value::Null, Value::from)
}

fn dm_user(user: &XUser) -> Value {
    json!({
        "id": user.id,
        "created_timestamp": "1421116717416",
        "name": user.name,
        "screen_name": user.screen_name,
        "protected": false,
        "verified": false,
        "followers_count": 12,
        "friends_count": 34,
        "statuses_count": 56,
        "profile_image_url": format!("http://{}", user.avatar()),
        "profile_image_url_https": format!("https://{}", user.avatar()),
    })
}

fn dm_item(sender: &XUser, recipient: &XUser, dm_id: &str, text: &str, created_ms: i64) -> Value {
    json!({
        "type": "message_create",
        "id": dm_id,
        "created_timestamp": created_ms.to_string(),
        "message_create": {
            "target": {"recipient_id": recipient.id},
            "sender_id": sender.id,
            "message_data": {
                "text": escape(text),
                "entities": {"hashtags": [], "symbols": [], "user_mentions": [], "urls": []},
            },
        },
    })
}

fn dm_envelope(for_user: &XUser, item: &Value, sender: &XUser, recipient: &XUser) -> Value {
    json!({
        "for_user_id": for_user.id,
        "direct_message_events": [item],
        "users": {sender.id.as_str(): dm_user(sender), recipient.id.as_str(): dm_user(recipient)},
    })
}

/// A direct message that `sender` wrote to the subscribed `account`; `created_ms` in epoch milliseconds.
pub fn dm_body(account: &XUser, sender: &XUser, dm_id: &str, text: &str, created_ms: i64) -> String {
    let item = dm_item(sender, account, dm_id, text, created_ms);
    dm_envelope(account, &item, sender, account).to_string()
}

/// A direct message that consists of a photo and perhaps words: X puts the link of the photo behind the text.
pub fn photo_dm_body(account: &XUser, sender: &XUser, dm_id: &str, text: &str, created_ms: i64) -> String {
    let mut item = dm_item(sender, account, dm_id, text, created_ms);
    let short = "https://t.co/Sb0xPhoto1";
    let start = escape(text).chars().count() + 1;
    let indices = json!([start, start + short.chars().count()]);
    let media_id = format!("{dm_id}1").chars().take(19).collect::<String>();
    let page = format!("https://twitter.com/messages/media/{dm_id}");
    let file = format!("https://ton.twitter.com/1.1/ton/data/dm/{dm_id}/{media_id}/Sb0xFile.jpg");
    let size = |resize: &str| json!({"w": 680, "h": 510, "resize": resize});
    let data = &mut item["message_create"]["message_data"];
    data["text"] = format!("{} {short}", escape(text)).into();
    data["entities"]["urls"] = json!([{
        "url": short, "expanded_url": page, "display_url": "pic.twitter.com/Sb0xPhoto1", "indices": indices,
    }]);
    data["attachment"] = json!({"type": "media", "media": {
        "id": number(&media_id), "id_str": media_id, "indices": indices,
        "media_url": file, "media_url_https": file, "url": short,
        "display_url": "pic.twitter.com/Sb0xPhoto1", "expanded_url": page, "type": "photo",
        "sizes": {"thumb": {"w": 150, "h": 150, "resize": "crop"}, "small": size("fit"),
                  "medium": size("fit"), "large": size("fit")},
    }});
    dm_envelope(account, &item, sender, account).to_string()
}

/// A direct message that the subscribed `account` wrote, as X echoes it. `app_id` names the app whose API call
/// sent it; `None` for one typed on x.com.
pub fn sent_dm_body(
    account: &XUser,
    recipient: &XUser,
    dm_id: &str,
    text: &str,
    created_ms: i64,
    app_id: Option<&str>,
) -> String {
    let mut item = dm_item(account, recipient, dm_id, text, created_ms);
    let mut apps = Value::Null;
    if let Some(app_id) = app_id {
        item["message_create"]["source_app_id"] = app_id.into();
        apps = json!({app_id: {"id": app_id, "name": "Sandbox app", "url": "https://hub.example.com"}});
    }
    let mut body = dm_envelope(account, &item, account, recipient);
    if !apps.is_null() {
        body["apps"] = apps;
    }
    body.to_string()
}

fn post_user(user: &XUser) -> Value {
    json!({
        "id": number(&user.id), "id_str": user.id, "name": user.name, "screen_name": user.screen_name,
        "location": null, "url": null, "description": null, "translator_type": "none", "protected": false,
        "verified": false, "followers_count": 12, "friends_count": 34, "listed_count": 0,
        "favourites_count": 5, "statuses_count": 56, "created_at": "Tue Jan 13 02:38:37 +0000 2015",
        "profile_image_url": format!("http://{}", user.avatar()),
        "profile_image_url_https": format!("https://{}", user.avatar()), "default_profile": true,
    })
}

/// Where `@handle` stands in `text`, in code points.
fn mentions_of(user: &XUser, text: &str) -> Vec<Value> {
    let letters: Vec<char> = text.chars().collect();
    let handle: Vec<char> = format!("@{}", user.screen_name).chars().collect();
    let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
    let mut found = Vec::new();
    for start in 0..letters.len() {
        let end = start + handle.len();
        let same = letters.len() >= end
            && letters[start..end].iter().zip(&handle).all(|(a, b)| a.eq_ignore_ascii_case(b));
        let whole = !letters.get(end).is_some_and(is_word) && (start == 0 || !is_word(&letters[start - 1]));
        if same && whole {
            found.push(json!({
                "screen_name": user.screen_name, "name": user.name,
                "id": number(&user.id), "id_str": user.id, "indices": [start, end],
            }));
        }
    }
    found
}

fn post(author: &XUser, post_id: &str, text: &str, created_ms: i64, mentioned: &[&XUser]) -> Value {
    let text = escape(text);
    let mentions: Vec<Value> = mentioned.iter().flat_map(|user| mentions_of(user, &text)).collect();
    json!({
        "created_at": clock::v1_time(created_ms), "id": number(post_id), "id_str": post_id, "text": text,
        "source": "<a href=\"https://mobile.twitter.com\" rel=\"nofollow\">Twitter Web App</a>",
        "truncated": false,
        "in_reply_to_status_id": null, "in_reply_to_status_id_str": null,
        "in_reply_to_user_id": null, "in_reply_to_user_id_str": null, "in_reply_to_screen_name": null,
        "user": post_user(author), "geo": null, "coordinates": null, "place": null, "contributors": null,
        "is_quote_status": false, "quote_count": 0, "reply_count": 0, "retweet_count": 0, "favorite_count": 0,
        "entities": {"hashtags": [], "urls": [], "user_mentions": mentions, "symbols": []},
        "favorited": false, "retweeted": false, "filter_level": "low", "lang": "en",
        "timestamp_ms": created_ms.to_string(),
    })
}

fn answers(post: &mut Value, user: &XUser, in_reply_to: Option<&str>) {
    post["in_reply_to_user_id"] = number(&user.id);
    post["in_reply_to_user_id_str"] = user.id.clone().into();
    post["in_reply_to_screen_name"] = user.screen_name.clone().into();
    if let Some(id) = in_reply_to {
        post["in_reply_to_status_id"] = number(id);
        post["in_reply_to_status_id_str"] = id.into();
    }
}

fn post_envelope(account: &XUser, post: &Value, is_about_account: bool) -> String {
    let mut body = json!({"for_user_id": account.id});
    if is_about_account {
        body["user_has_blocked"] = false.into();
    }
    body["tweet_create_events"] = json!([post]);
    body.to_string()
}

/// A post by `author` that names the subscribed `account`; `text` must hold its `@handle`.
pub fn mention_body(account: &XUser, author: &XUser, post_id: &str, text: &str, created_ms: i64) -> String {
    let mut item = post(author, post_id, text, created_ms, &[account]);
    let leads = item["entities"]["user_mentions"][0]["indices"][0] == json!(0);
    if leads {
        // A post that begins with a handle counts as an answer to that person, of no post.
        answers(&mut item, account, None);
    }
    post_envelope(account, &item, true)
}

/// A reply by `author` to a post of the subscribed `account`: X keeps the `@handle` before the visible text.
pub fn reply_body(
    account: &XUser,
    author: &XUser,
    post_id: &str,
    in_reply_to: &str,
    text: &str,
    created_ms: i64,
) -> String {
    let full = format!("@{} {text}", account.screen_name);
    let mut item = post(author, post_id, &full, created_ms, &[account]);
    let start = account.screen_name.chars().count() + 2;
    let end = escape(&full).chars().count();
    item["display_text_range"] = json!([start, end]);
    answers(&mut item, account, Some(in_reply_to));
    post_envelope(account, &item, true)
}

/// Somebody repeats a post of the subscribed `account`: no message to anybody.
pub fn retweet_body(account: &XUser, author: &XUser, post_id: &str, text: &str, created_ms: i64) -> String {
    let original_id =
        post_id.parse::<u64>().map_or_else(|_| "1".to_owned(), |id| (id - id.min(1)).to_string());
    let repeated = format!("RT @{}: {text}", account.screen_name);
    let mut item = post(author, post_id, &repeated, created_ms, &[account]);
    item["retweeted_status"] = post(account, &original_id, text, created_ms, &[]);
    post_envelope(account, &item, false)
}

/// A post by the subscribed `account` itself, as X echoes it.
pub fn own_post_body(
    account: &XUser,
    post_id: &str,
    in_reply_to: Option<&str>,
    text: &str,
    created_ms: i64,
) -> String {
    let mut item = post(account, post_id, text, created_ms, &[]);
    if let Some(id) = in_reply_to {
        item["in_reply_to_status_id"] = number(id);
        item["in_reply_to_status_id_str"] = id.into();
    }
    post_envelope(account, &item, false)
}

/// The message that ends a replay job.
pub(crate) fn replay_status_body(webhook_id: &str, job_id: &str) -> String {
    json!({"replay_job_status": {
        "webhook_id": webhook_id, "job_state": "Complete",
        "job_state_description": "Job completed successfully", "job_id": job_id,
    }})
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> XUser {
        XUser::new("990001234567890177", "AcmeCare", "Acme Care")
    }

    fn dana() -> XUser {
        XUser::new("1205550247124217891", "dana_k", "Dana")
    }

    #[test]
    fn mentions_are_found_whole_and_in_any_case() {
        for (text, expected) in [
            ("@AcmeCare help", vec![[0, 9]]),
            ("well done @acmecare !", vec![[10, 19]]),
            ("a & b @AcmeCare", vec![[10, 19]]),
            ("@AcmeCareFan hi", vec![]),
            ("mail@AcmeCare", vec![]),
            ("😀 @AcmeCare", vec![[2, 11]]),
        ] {
            let body: Value = serde_json::from_str(&mention_body(&account(), &dana(), "9", text, 0)).unwrap();
            let mentions = &body["tweet_create_events"][0]["entities"]["user_mentions"];
            let indices: Vec<Value> =
                mentions.as_array().unwrap().iter().map(|m| m["indices"].clone()).collect();
            assert_eq!(Value::from(indices), json!(expected), "{text}");
        }
    }

    #[test]
    fn ids_stay_exact() {
        let body = dm_body(&account(), &dana(), "1206724334791753739", "a < b", 1_767_000_000_123);
        let body: Value = serde_json::from_str(&body).unwrap();
        let item = &body["direct_message_events"][0];
        assert_eq!(item["id"], "1206724334791753739");
        assert_eq!(item["message_create"]["message_data"]["text"], "a &lt; b");
        assert_eq!(body["users"]["1205550247124217891"]["screen_name"], "dana_k");
        let body = reply_body(&account(), &dana(), "1924465506158878979", "7", "yes", 0);
        let body: Value = serde_json::from_str(&body).unwrap();
        let item = &body["tweet_create_events"][0];
        assert_eq!(item["id"].as_u64(), Some(1_924_465_506_158_878_979));
        assert_eq!(item["display_text_range"], json!([10, 13]));
        assert_eq!(item["in_reply_to_user_id_str"], "990001234567890177");
    }
}
