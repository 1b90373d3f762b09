//! Posts: the v1.1 Tweet object of Account Activity and the v2 Post object of X Activity.
//!
//! Both are read into the same few facts, which [`judge`] turns into a class.

use chrono::DateTime;

use super::dm::{media_of, web_address};
use super::json::Node;
use super::text::{self, Links};
use super::{Class, Context, Customer, Item, Media, MediaKind, MentionKind, customer};

/// What decides about a post.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, combined in one place")]
struct Facts {
    author: Option<Customer>,
    is_retweet: bool,
    is_quote: bool,
    is_cut: bool,
    /// Somebody answers the account itself.
    answers_account: bool,
    /// Where the account is named, in code points of the escaped text.
    named_at: Vec<u64>,
    /// Where the visible text begins: before it stands the prefix X keeps for replies.
    visible_from: u64,
    /// The envelope says that the account is named in the visible text.
    is_said_explicit: bool,
}

/// Completes the item: class, author, link.
fn judge(mut item: Item, facts: Facts, account: Option<&str>) -> Item {
    item.needs_lookup = facts.is_cut;
    let author_id = facts.author.as_ref().map(|author| author.id.clone());
    item.by_account = author_id.is_some() && author_id.as_deref() == account;
    let handle = facts.author.as_ref().and_then(|author| author.handle.as_deref());
    item.link =
        item.event_id.as_ref().map(|id| format!("https://x.com/{}/status/{id}", handle.unwrap_or("i")));
    let is_usable = item.event_id.is_some() && author_id.is_some() && account.is_some();
    item.class = if is_usable { class(&item, &facts) } else { Class::Other };
    item.customer = facts.author.filter(|_| !item.by_account);
    item
}

/// The order of these questions matters: a repost repeats the mentions of what it reposts.
fn class(item: &Item, facts: &Facts) -> Class {
    if facts.is_retweet {
        return Class::Retweet;
    }
    if item.by_account {
        return Class::OwnTweet;
    }
    let kind = match (&item.in_reply_to, facts.is_quote) {
        (Some(_), _) => MentionKind::Reply,
        (None, true) => MentionKind::Quote,
        (None, false) => MentionKind::Plain,
    };
    let is_visible = facts.named_at.iter().any(|at| *at >= facts.visible_from);
    let is_hidden = !facts.named_at.is_empty() && !is_visible;
    if facts.answers_account || is_visible || (facts.is_said_explicit && !is_hidden) {
        return Class::Mention { kind, is_implicit: false };
    }
    if is_hidden {
        return Class::Mention { kind, is_implicit: true };
    }
    if facts.is_quote { Class::Quote } else { Class::Other }
}

/// Reads one element of `tweet_create_events`.
pub(super) fn read_v1(context: Context<'_, '_>, tweet: &Node<'_>) -> Item {
    let extended = tweet.get("extended_tweet");
    let whole = if extended.get("full_text").text().is_some() { extended } else { tweet };
    let author = author_v1(tweet);
    let quoted_author = author_v1(tweet.get("quoted_status"));
    let answered = tweet.id_of("in_reply_to_user_id_str", "in_reply_to_user_id");
    let facts = Facts {
        is_retweet: tweet.get("retweeted_status").is_map(),
        is_quote: tweet.get("is_quote_status").is_true() || tweet.get("quoted_status").is_map(),
        is_cut: tweet.get("truncated").is_true() && !extended.is_map(),
        answers_account: answered.is_some() && answered.as_deref() == context.account,
        named_at: named_at_v1(whole, context.account),
        visible_from: visible_from(whole),
        is_said_explicit: false,
        author: author.map(|id| customer(&id, Some(tweet.get("user")))),
    };
    let media = [extended, tweet]
        .iter()
        .flat_map(|object| {
            [object.get("extended_entities").get("media"), object.get("entities").get("media")]
        })
        .find(|media| !media.elements().is_empty());
    let item = Item {
        event_id: tweet.id_of("id_str", "id"),
        text: words_v1(tweet, whole, media),
        media: media.map(|media| media.elements().iter().map(media_of).collect()).unwrap_or_default(),
        in_reply_to: tweet.id_of("in_reply_to_status_id_str", "in_reply_to_status_id"),
        quotes_account: facts
            .is_quote
            .then(|| quoted_author.map(|id| Some(id.as_str()) == context.account))
            .flatten(),
        created_at_ms: created_at_v1(tweet),
        ..context.item()
    };
    judge(item, facts, context.account)
}

fn author_v1(tweet: &Node<'_>) -> Option<String> {
    tweet.get("user").id_of("id_str", "id")
}

fn visible_from(post: &Node<'_>) -> u64 {
    post.get("display_text_range").elements().first().and_then(Node::integer).unwrap_or(0)
}

fn named_at_v1(whole: &Node<'_>, account: Option<&str>) -> Vec<u64> {
    let mentions = whole.get("entities").get("user_mentions").elements().iter();
    mentions
        .filter(|mention| mention.id_of("id_str", "id").is_some_and(|id| Some(id.as_str()) == account))
        .map(|mention| mention.get("indices").elements().first().and_then(Node::integer).unwrap_or(0))
        .collect()
}

fn words_v1(tweet: &Node<'_>, whole: &Node<'_>, media: Option<&Node<'_>>) -> String {
    let mut links = Links::new();
    let quoted = tweet.get("quoted_status_permalink");
    if let (Some(link), Some(target)) = (quoted.get("url").text(), quoted.get("expanded").text()) {
        links.insert(link, Some(target));
    }
    for url in whole.get("entities").get("urls").elements() {
        if let (Some(link), Some(target)) = (url.get("url").text(), url.get("expanded_url").text()) {
            links.insert(link, Some(target));
        }
    }
    let media_links = media.into_iter().flat_map(Node::elements).filter_map(|media| media.get("url").text());
    links.extend(media_links.map(|link| (link, None)));
    let text = whole.get("full_text").text().or_else(|| whole.get("text").text());
    text::plain(text.unwrap_or_default(), &links)
}

/// `timestamp_ms`, else `created_at` in the old form (`Fri Dec 13 04:48:09 +0000 2019`).
fn created_at_v1(tweet: &Node<'_>) -> Option<i64> {
    if let Some(ms) = tweet.get("timestamp_ms").integer() {
        return i64::try_from(ms).ok();
    }
    let written = DateTime::parse_from_str(tweet.get("created_at").text()?, "%a %b %d %H:%M:%S %z %Y");
    written.ok().map(|time| time.timestamp_millis())
}

/// Reads the payload of `post.create`, `post.mention.create`, `post.reply.create`,
/// `post.quote.create` and `post.repost.create`.
///
/// The API description renames `…tweet…` to `…post…` where the published samples do not yet.
pub(super) fn read_v2(context: Context<'_, '_>, post: &Node<'_>) -> Item {
    let note = either(post, "note_tweet", "note_post");
    let whole = if note.get("text").text().is_some() { note } else { post };
    let referenced = |kind: &str| {
        let references = either(post, "referenced_tweets", "referenced_posts").elements().iter();
        references
            .filter(|reference| reference.get("type").text() == Some(kind))
            .find_map(|r| r.get("id").id())
    };
    let quoted = referenced("quoted");
    let answered = post.get("in_reply_to_user_id").id();
    let in_reply_to =
        either(post, "in_reply_to_tweet_id", "in_reply_to_post_id").id().or_else(|| referenced("replied_to"));
    let is_answer = answered.is_some() && answered.as_deref() == context.account;
    let facts = Facts {
        author: post.get("author_id").id().map(|id| context.person(&id)),
        is_retweet: context.event == "post.repost.create" || referenced("retweeted").is_some(),
        is_quote: context.event == "post.quote.create" || quoted.is_some(),
        is_cut: false,
        // Fired for direct replies to the account's posts only, so also where the id is left out.
        answers_account: is_answer || (context.event == "post.reply.create" && answered.is_none()),
        named_at: named_at_v2(whole, context.account),
        visible_from: visible_from(post),
        is_said_explicit: context.event == "post.mention.create",
    };
    let (text, media) = words_v2(context, post, whole);
    let written = post.get("created_at").text().and_then(|time| DateTime::parse_from_rfc3339(time).ok());
    let item = Item {
        event_id: post.get("id").id(),
        text,
        media,
        in_reply_to,
        quotes_account: facts.is_quote.then(|| quotes_account(context, quoted.as_deref())).flatten(),
        created_at_ms: written.map(|time| time.timestamp_millis()),
        ..context.item()
    };
    judge(item, facts, context.account)
}

fn either<'n, 'a>(node: &'n Node<'a>, old: &str, new: &str) -> &'n Node<'a> {
    match node.get(old) {
        Node::Null => node.get(new),
        found => found,
    }
}

fn quotes_account(context: Context<'_, '_>, quoted: Option<&str>) -> Option<bool> {
    let mut included = either(context.includes, "tweets", "posts").elements().iter().map(Node::unwrapped);
    let author =
        included.find(|post| post.get("id").text() == quoted).and_then(|post| post.get("author_id").id());
    match author {
        Some(author) => Some(Some(author.as_str()) == context.account),
        None => (context.event == "post.quote.create").then_some(true),
    }
}

fn named_at_v2(whole: &Node<'_>, account: Option<&str>) -> Vec<u64> {
    let mentions = whole.get("entities").get("mentions").elements().iter();
    mentions
        .filter(|mention| mention.get("id").id().is_some_and(|id| Some(id.as_str()) == account))
        .map(|mention| mention.get("start").integer().unwrap_or(0))
        .collect()
}

fn words_v2(context: Context<'_, '_>, post: &Node<'_>, whole: &Node<'_>) -> (String, Vec<Media>) {
    let mut links = Links::new();
    let mut pages = Vec::new();
    for url in whole.get("entities").get("urls").elements() {
        let (Some(link), Some(target)) = (url.get("url").text(), url.get("expanded_url").text()) else {
            continue;
        };
        let shown = url.get("display_url").text().unwrap_or_default();
        let is_media = url.get("media_key").text().is_some()
            || shown.starts_with("pic.twitter.com/")
            || shown.starts_with("pic.x.com/");
        links.insert(link, (!is_media).then_some(target));
        if is_media {
            pages.push(url.get("expanded_url"));
        }
    }
    let keys = post.get("attachments").get("media_keys").elements();
    let mut media: Vec<Media> =
        keys.iter().filter_map(Node::text).map(|key| media_v2(context.includes, key)).collect();
    if media.is_empty() {
        media.extend(pages.into_iter().map(media_behind));
    }
    (text::plain(whole.get("text").text().unwrap_or_default(), &links), media)
}

/// A v2 media object among the includes; without one its key tells at least the kind.
fn media_v2(includes: &Node<'_>, key: &str) -> Media {
    let mut known = includes.get("media").elements().iter().map(Node::unwrapped);
    if let Some(media) = known.find(|media| media.get("media_key").text() == Some(key)) {
        let kind = MediaKind::from_name(media.get("type").text().unwrap_or_default());
        let url = [media.get("url"), media.get("preview_image_url")].into_iter().find_map(web_address);
        return Media { kind, url };
    }
    let kind = match key.split_once('_').map(|(category, _)| category) {
        Some("3") => MediaKind::Photo,
        Some("7" | "13") => MediaKind::Video,
        Some("16") => MediaKind::AnimatedGif,
        _ => MediaKind::Other,
    };
    Media { kind, url: None }
}

/// Media known only by the page that shows it (`…/status/1/photo/1`).
fn media_behind(page: &Node<'_>) -> Media {
    let target = page.text().unwrap_or_default();
    let kind = if target.contains("/video/") { MediaKind::Video } else { MediaKind::Photo };
    Media { kind, url: web_address(page) }
}
