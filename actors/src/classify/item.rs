//! What one element of a webhook body says.

/// One thing that happened on X.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Item {
    /// X user id of the subscribed account: `for_user_id`, or `filter.user_id`.
    pub account_id: Option<String>,
    /// What it is.
    pub class: Class,
    /// The key of Account Activity or the event type of X Activity, at most 64 characters: for logs.
    /// `chat.received` is a message in X's encrypted chat, which cannot be read here.
    pub event: String,
    /// Id of the direct message or post. With the account it identifies the item.
    pub event_id: Option<String>,
    /// The other side: the sender of an inbound message, the recipient of an own one, the author of
    /// somebody else's post.
    pub customer: Option<Customer>,
    /// The words, links expanded, without the link of attached media; empty for media alone.
    pub text: String,
    /// Attached photos, videos and animations.
    pub media: Vec<Media>,
    /// Id of the post this one answers.
    pub in_reply_to: Option<String>,
    /// The account has blocked the author.
    pub is_blocked: bool,
    /// The account itself did it.
    pub by_account: bool,
    /// For a quote: whether the quoted post is the account's. `None` if the body does not tell.
    pub quotes_account: Option<bool>,
    /// When it was written, in epoch milliseconds.
    pub created_at_ms: Option<i64>,
    /// Where people can read a post: `https://x.com/<handle or i>/status/<id>`.
    pub link: Option<String>,
    /// The app an own direct message was sent with, when X tells.
    pub source_app_id: Option<String>,
    /// The post whose prompt started the direct message.
    pub initiated_via_tweet: Option<String>,
    /// Machine data of a tapped quick reply.
    pub quick_reply_metadata: Option<String>,
    /// The body holds only a part of the post: what it says and whom it names is known to X alone.
    pub needs_lookup: bool,
    /// This X user has taken the app's rights away.
    pub revoked_user_id: Option<String>,
}

/// What an item is, before any policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Class {
    /// A direct message to the account. Has `event_id` and `customer`.
    DmInbound,
    /// A direct message by the account, from here or elsewhere. Has `event_id` and `customer`.
    DmOutbound,
    /// A post of somebody else that names or answers the account. Has `event_id` and `customer`.
    Mention {
        /// How it stands to other posts.
        kind: MentionKind,
        /// The account stands only in the prefix that X keeps for replies, and is not the one answered.
        is_implicit: bool,
    },
    /// A post by the account.
    OwnTweet,
    /// A repost, by anybody.
    Retweet,
    /// Somebody quotes a post without naming the account.
    Quote,
    /// Anything else, and anything unusable.
    #[default]
    Other,
}

impl Class {
    /// The stable name; a label of `casewire_activity_events_total{class}`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DmInbound => "dm_inbound",
            Self::DmOutbound => "dm_outbound",
            Self::Mention { .. } => "mention",
            Self::OwnTweet => "own_tweet",
            Self::Retweet => "retweet",
            Self::Quote => "quote",
            Self::Other => "other",
        }
    }
}

/// How a mention stands to other posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MentionKind {
    /// A post of its own.
    Plain,
    /// An answer to a post.
    Reply,
    /// A post around another one.
    Quote,
}

impl MentionKind {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Reply => "reply",
            Self::Quote => "quote",
        }
    }
}

/// A person on X.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// X user id, decimal text.
    pub id: String,
    /// Without `@`; changes over time.
    pub handle: Option<String>,
    /// The display name.
    pub name: Option<String>,
}

/// Something attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// What it is.
    pub kind: MediaKind,
    /// Where it is. Those of direct messages open only with the account's own credentials.
    pub url: Option<String>,
}

/// Kinds of media, by X's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// A still picture.
    Photo,
    /// A video.
    Video,
    /// A looping video without sound.
    AnimatedGif,
    /// Something newer than this program.
    Other,
}

impl MediaKind {
    /// X's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Photo => "photo",
            Self::Video => "video",
            Self::AnimatedGif => "animated_gif",
            Self::Other => "other",
        }
    }

    /// From X's name.
    pub(super) fn from_name(name: &str) -> Self {
        match name {
            "photo" => Self::Photo,
            "video" => Self::Video,
            "animated_gif" => Self::AnimatedGif,
            _ => Self::Other,
        }
    }
}
