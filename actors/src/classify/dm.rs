//! Direct messages: one shape in both envelopes (v1.1 `message_create`).

use super::json::Node;
use super::text::{self, Links};
use super::{Class, Context, Item, Media, MediaKind};

/// Reads one element of `direct_message_events`.
pub(super) fn read(context: Context<'_, '_>, element: &Node<'_>) -> Item {
    if element.get("type").text() != Some("message_create") {
        return Item { event_id: element.id_of("id_str", "id"), ..context.item() };
    }
    let message = element.get("message_create");
    let data = message.get("message_data");
    let attached = data.get("attachment").get("media");
    let mut item = Item {
        event_id: element.id_of("id_str", "id"),
        text: words(data, attached),
        media: attached.is_map().then(|| media_of(attached)).into_iter().collect(),
        created_at_ms: element.get("created_timestamp").integer().and_then(|ms| i64::try_from(ms).ok()),
        source_app_id: message.get("source_app_id").id(),
        initiated_via_tweet: element.get("initiated_via").get("tweet_id").id(),
        quick_reply_metadata: data
            .get("quick_reply_response")
            .get("metadata")
            .text()
            .map(|metadata| text::without_nul(metadata.to_owned())),
        ..context.item()
    };
    judge(&mut item, context, message);
    item
}

/// Direction is told by who wrote, never by `source_app_id`: X prints one on inbound messages too.
fn judge(item: &mut Item, context: Context<'_, '_>, message: &Node<'_>) {
    let sender = message.get("sender_id").id();
    let recipient = message.get("target").get("recipient_id").id();
    let (Some(account), Some(sender), Some(recipient), true) =
        (context.account, sender, recipient, item.event_id.is_some())
    else {
        return;
    };
    if sender == account {
        item.class = Class::DmOutbound;
        item.by_account = true;
        item.customer = Some(context.person(&recipient));
    } else if recipient == account {
        item.class = Class::DmInbound;
        item.customer = Some(context.person(&sender));
    }
}

fn words(data: &Node<'_>, attached: &Node<'_>) -> String {
    let is_media_page = |target: &str| {
        target.contains("twitter.com/messages/media/") || target.contains("x.com/messages/media/")
    };
    let mut links = Links::new();
    for url in data.get("entities").get("urls").elements() {
        let (Some(link), Some(target)) = (url.get("url").text(), url.get("expanded_url").text()) else {
            continue;
        };
        let is_media = attached.is_map() && is_media_page(target);
        links.insert(link, (!is_media).then_some(target));
    }
    if let Some(link) = attached.get("url").text() {
        links.insert(link, None);
    }
    text::plain(data.get("text").text().unwrap_or_default(), &links)
}

/// A v1.1 media object, as direct messages and posts carry it.
pub(super) fn media_of(media: &Node<'_>) -> Media {
    let kind = MediaKind::from_name(media.get("type").text().unwrap_or_default());
    let variants = media.get("video_info").get("variants").elements();
    let best_video = variants
        .iter()
        .filter(|variant| variant.get("content_type").text() == Some("video/mp4"))
        .max_by_key(|variant| variant.get("bitrate").integer().unwrap_or(0))
        .map(|variant| variant.get("url"));
    let still = [media.get("media_url_https"), media.get("media_url")];
    let url = best_video.into_iter().chain(still).find_map(web_address);
    Media { kind, url }
}

/// The text if it can stand as a link in a case.
pub(super) fn web_address(node: &Node<'_>) -> Option<String> {
    let address = node.text()?;
    let is_web = address.starts_with("https://") || address.starts_with("http://");
    let is_clean = address.len() <= 2_048 && !address.chars().any(|c| c.is_control() || c.is_whitespace());
    (is_web && is_clean).then(|| address.to_owned())
}
