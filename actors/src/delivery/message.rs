//! What is carried: a customer's words on their way to a case, an agent's answer on its way to X.

use serde::{Deserialize, Serialize};

use super::split::{MAX_COMMENT_CHARS, split_comment};
use crate::classify::{Class, Item, MediaKind, MentionKind};
use crate::servicenow::keys::{BadKey, Marker};

/// A customer's message, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inbound {
    pub(crate) kind: InboundKind,
    /// X user id of the account it was written to.
    pub(crate) account: String,
    /// Id of the direct message or post.
    pub(crate) id: String,
    pub(crate) text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) media: Vec<Attached>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) handle: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
}

/// What kind of message it was; the `kind` of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InboundKind {
    /// A direct message of the customer.
    Dm,
    /// A post that names the account.
    Mention,
    /// A reply.
    Reply,
    /// A quote.
    Quote,
    /// The account's own direct message from elsewhere: a work note.
    OwnDm,
}

impl InboundKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Dm => "dm",
            Self::Mention => "mention",
            Self::Reply => "reply",
            Self::Quote => "quote",
            Self::OwnDm => "own_dm",
        }
    }

    /// The kind of what was classified so; `None` for what is never carried.
    pub(crate) fn of(class: Class) -> Option<Self> {
        match class {
            Class::DmInbound => Some(Self::Dm),
            Class::DmOutbound => Some(Self::OwnDm),
            Class::Mention { kind: MentionKind::Plain, .. } => Some(Self::Mention),
            Class::Mention { kind: MentionKind::Reply, .. } => Some(Self::Reply),
            Class::Mention { kind: MentionKind::Quote, .. } | Class::Quote => Some(Self::Quote),
            Class::OwnTweet | Class::Retweet | Class::Other => None,
        }
    }

    /// Whether it was a post, which can be answered in public.
    pub(crate) fn is_post(self) -> bool {
        !matches!(self, Self::Dm | Self::OwnDm)
    }
}

/// A photo, video or animation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attached {
    pub(crate) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
}

impl Inbound {
    /// What is stored of an item of this kind.
    pub(crate) fn from_item(kind: InboundKind, id: &str, item: &Item) -> Self {
        let customer = item.customer.as_ref();
        Self {
            kind,
            account: item.account_id.clone().unwrap_or_default(),
            id: id.to_owned(),
            text: item.text.clone(),
            media: item
                .media
                .iter()
                .map(|m| Attached { kind: media_word(m.kind), url: m.url.clone() })
                .collect(),
            link: item.link.clone(),
            handle: customer.and_then(|customer| customer.handle.clone()),
            name: customer.and_then(|customer| customer.name.clone()),
        }
    }

    /// The comments that the message becomes, in order. Each begins with a line that names the author
    /// and the message, by which it is found again; the text itself is never altered.
    pub(crate) fn comments(&self) -> Vec<String> {
        split_comment(&self.header(), &self.words(), &self.footer(), MAX_COMMENT_CHARS)
    }

    /// The line by which the comment of one part is found again. `part` counts from 0.
    pub(crate) fn marker(&self, part: usize, n_parts: usize) -> Result<Marker, BadKey> {
        Marker::parse(&super::split::part_header(&self.reference(), part + 1, n_parts))
    }

    /// The title of a case that begins with this message: at most 160 characters.
    pub(crate) fn title(&self) -> String {
        let words = self.words();
        let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let title = format!("{}: {line}", self.author());
        if title.chars().count() <= 160 {
            return title;
        }
        title.chars().take(159).chain(['…']).collect()
    }

    fn header(&self) -> String {
        let author = match (self.kind, &self.handle, &self.name) {
            (InboundKind::OwnDm, _, _) => "Sent on X outside ServiceNow".to_owned(),
            (_, Some(handle), Some(name)) => format!("{name} (@{handle})"),
            _ => self.author(),
        };
        format!("{author}, {}", self.reference())
    }

    fn author(&self) -> String {
        match (&self.handle, &self.name) {
            (Some(handle), _) => format!("@{handle}"),
            (None, Some(name)) => name.clone(),
            (None, None) => "Customer on X".to_owned(),
        }
    }

    fn reference(&self) -> String {
        let what = if self.kind.is_post() { "X post" } else { "X direct message" };
        format!("{what} {}", self.id)
    }

    /// The text, or what stands for it when there is only media.
    fn words(&self) -> String {
        if !self.text.is_empty() {
            return self.text.clone();
        }
        let kinds: Vec<String> = self.media.iter().map(|media| format!("[{}]", media.kind)).collect();
        if kinds.is_empty() { "[no text]".to_owned() } else { kinds.join(" ") }
    }

    fn footer(&self) -> String {
        let media = self.media.iter().filter_map(|media| {
            let url = media.url.as_ref()?;
            Some(format!("{}: {url}", media.kind))
        });
        media.chain(self.link.clone()).collect::<Vec<_>>().join("\n")
    }
}

fn media_word(kind: MediaKind) -> String {
    match kind {
        MediaKind::Photo => "photo",
        MediaKind::Video => "video",
        MediaKind::AnimatedGif => "animated GIF",
        MediaKind::Other => "attachment",
    }
    .to_owned()
}

/// An agent's answer, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) channel: Channel,
    /// The post that a public reply answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) in_reply_to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) author: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) number: Option<String>,
}

/// How an answer reaches the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A direct message.
    Dm,
    /// A public reply to the customer's newest post.
    Reply,
}

impl Channel {
    /// The stable name in requests and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dm => "dm",
            Self::Reply => "reply",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Inbound {
        Inbound {
            kind: InboundKind::Dm,
            account: "990001234567890177".to_owned(),
            id: "1206724334791753739".to_owned(),
            text: text.to_owned(),
            media: Vec::new(),
            link: None,
            handle: Some("dana_k".to_owned()),
            name: Some("Dana".to_owned()),
        }
    }

    #[test]
    fn a_message_becomes_one_framed_comment() {
        let comments = message("Where is it?").comments();
        assert_eq!(comments, ["Dana (@dana_k), X direct message 1206724334791753739\nWhere is it?"]);
    }

    #[test]
    fn every_part_holds_its_own_marker_and_no_other() {
        let message = message(&"word ".repeat(2000));
        let comments = message.comments();
        assert_eq!(comments.len(), 3);
        for (part, comment) in comments.iter().enumerate() {
            for other in 0..comments.len() {
                let marker = message.marker(other, comments.len()).expect("a fit marker");
                assert_eq!(marker.is_in(comment), other == part, "{part} {other}");
            }
        }
    }

    #[test]
    fn media_without_words_has_a_body() {
        let mut photo = message("");
        photo.media = vec![Attached { kind: "photo".to_owned(), url: Some("https://p/1".to_owned()) }];
        let expected = "Dana (@dana_k), X direct message 1206724334791753739\n[photo]\nphoto: https://p/1";
        assert_eq!(photo.comments(), [expected]);
        assert_eq!(message("").comments()[0].lines().nth(1), Some("[no text]"));
    }

    #[test]
    fn titles_are_one_short_line() {
        assert_eq!(message("a\n b").title(), "@dana_k: a b");
        assert_eq!(message(&"x".repeat(500)).title().chars().count(), 160);
    }
}
