//! Which items open or feed a case: a pure value, one for each linked account.

use serde::{Deserialize, Serialize};

use super::{Class, Item, MentionKind};

/// The `case_policy` of a linked account. Authors whom the account has blocked never open a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, as users write them")]
pub struct CasePolicy {
    /// Direct messages to the account.
    pub dm: bool,
    /// Posts and quotes that name the account in their visible text.
    pub mention: bool,
    /// Replies to the account, and replies that name it in their visible text.
    pub reply: bool,
    /// Replies that name the account only in the prefix X keeps.
    pub implicit: ImplicitPolicy,
    /// Quotes of the account's posts that do not name it.
    pub quote: bool,
    /// The account's own direct messages from elsewhere, as work notes of an open case.
    pub own_dm: bool,
}

impl Default for CasePolicy {
    fn default() -> Self {
        Self {
            dm: true,
            mention: true,
            reply: true,
            implicit: ImplicitPolicy::KnownParent,
            quote: false,
            own_dm: true,
        }
    }
}

/// What to do with implicit mentions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImplicitPolicy {
    /// Strangers' threads stay outside.
    Never,
    /// Only where the post that is answered belongs to a known case.
    #[default]
    KnownParent,
    /// Like any mention.
    Always,
}

/// What to do with one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It opens or feeds a case.
    Keep,
    /// It feeds a case if `in_reply_to` is the id of an item of a known one; else it is ignored.
    KeepIfParentKnown,
    /// An own direct message: a work note if there is an open case and the hub did not send it itself.
    KeepAsNoteIfOpenCase,
    /// Nothing is stored for delivery.
    Ignore(IgnoreReason),
}

/// Why an item is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IgnoreReason {
    /// Its class never makes a case.
    Class,
    /// The account itself did it.
    ByAccount,
    /// The account's policy says so.
    Policy,
    /// The account has blocked the author.
    Blocked,
}

impl IgnoreReason {
    /// The stable name, for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::ByAccount => "by_account",
            Self::Policy => "policy",
            Self::Blocked => "blocked",
        }
    }
}

impl CasePolicy {
    /// What becomes of the item.
    pub fn decide(&self, item: &Item) -> Decision {
        match item.class {
            Class::DmOutbound => self.decide_own_dm(item),
            _ if item.by_account => Decision::Ignore(IgnoreReason::ByAccount),
            Class::Other | Class::OwnTweet | Class::Retweet => Decision::Ignore(IgnoreReason::Class),
            _ if item.is_blocked => Decision::Ignore(IgnoreReason::Blocked),
            Class::DmInbound => keep_if(self.dm),
            Class::Quote => keep_if(self.quote && item.quotes_account != Some(false)),
            Class::Mention { kind, is_implicit } => self.decide_mention(item, kind, is_implicit),
        }
    }

    fn decide_own_dm(&self, item: &Item) -> Decision {
        let is_to_self = item.customer.as_ref().map(|customer| &customer.id) == item.account_id.as_ref();
        match (self.own_dm, is_to_self) {
            (_, true) => Decision::Ignore(IgnoreReason::ByAccount),
            (true, false) => Decision::KeepAsNoteIfOpenCase,
            (false, false) => Decision::Ignore(IgnoreReason::Policy),
        }
    }

    fn decide_mention(&self, item: &Item, kind: MentionKind, is_implicit: bool) -> Decision {
        match (is_implicit, self.implicit) {
            (false, _) if kind == MentionKind::Reply => keep_if(self.reply),
            (false, _) => keep_if(self.mention),
            (true, ImplicitPolicy::Always) => Decision::Keep,
            (true, ImplicitPolicy::KnownParent) if item.in_reply_to.is_some() => Decision::KeepIfParentKnown,
            (true, _) => Decision::Ignore(IgnoreReason::Policy),
        }
    }
}

fn keep_if(is_wanted: bool) -> Decision {
    if is_wanted { Decision::Keep } else { Decision::Ignore(IgnoreReason::Policy) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Customer;

    const PLAIN: Class = Class::Mention { kind: MentionKind::Plain, is_implicit: false };
    const REPLY: Class = Class::Mention { kind: MentionKind::Reply, is_implicit: false };
    const QUOTE: Class = Class::Mention { kind: MentionKind::Quote, is_implicit: false };
    const IMPLICIT: Class = Class::Mention { kind: MentionKind::Reply, is_implicit: true };

    fn item(class: Class) -> Item {
        Item {
            class,
            account_id: Some("1".to_owned()),
            event_id: Some("9".to_owned()),
            customer: Some(Customer { id: "2".to_owned(), handle: None, name: None }),
            by_account: matches!(class, Class::OwnTweet | Class::DmOutbound),
            in_reply_to: Some("8".to_owned()),
            ..Item::default()
        }
    }

    #[test]
    fn default_policy() {
        let policy = CasePolicy::default();
        for (class, expected) in [
            (Class::DmInbound, Decision::Keep),
            (Class::DmOutbound, Decision::KeepAsNoteIfOpenCase),
            (PLAIN, Decision::Keep),
            (REPLY, Decision::Keep),
            (QUOTE, Decision::Keep),
            (IMPLICIT, Decision::KeepIfParentKnown),
            (Class::OwnTweet, Decision::Ignore(IgnoreReason::ByAccount)),
            (Class::Retweet, Decision::Ignore(IgnoreReason::Class)),
            (Class::Quote, Decision::Ignore(IgnoreReason::Policy)),
            (Class::Other, Decision::Ignore(IgnoreReason::Class)),
        ] {
            assert_eq!(policy.decide(&item(class)), expected, "{class:?}");
        }
    }

    #[test]
    fn blocked_authors_never() {
        let policy = CasePolicy { quote: true, implicit: ImplicitPolicy::Always, ..CasePolicy::default() };
        for class in [Class::DmInbound, PLAIN, REPLY, QUOTE, IMPLICIT, Class::Quote] {
            let blocked = Item { is_blocked: true, ..item(class) };
            assert_eq!(policy.decide(&blocked), Decision::Ignore(IgnoreReason::Blocked), "{class:?}");
        }
    }

    #[test]
    fn every_switch_switches() {
        let off = CasePolicy {
            dm: false,
            mention: false,
            reply: false,
            implicit: ImplicitPolicy::Never,
            quote: false,
            own_dm: false,
        };
        for class in [Class::DmInbound, Class::DmOutbound, PLAIN, REPLY, QUOTE, IMPLICIT, Class::Quote] {
            assert_eq!(off.decide(&item(class)), Decision::Ignore(IgnoreReason::Policy), "{class:?}");
        }
        let on = CasePolicy { quote: true, implicit: ImplicitPolicy::Always, ..CasePolicy::default() };
        assert_eq!(on.decide(&item(IMPLICIT)), Decision::Keep);
        assert_eq!(on.decide(&item(Class::Quote)), Decision::Keep);
        let of_another = Item { quotes_account: Some(false), ..item(Class::Quote) };
        assert_eq!(on.decide(&of_another), Decision::Ignore(IgnoreReason::Policy));
    }

    #[test]
    fn a_note_to_oneself_is_ignored() {
        let mut note = item(Class::DmOutbound);
        note.account_id = Some("2".to_owned());
        assert_eq!(CasePolicy::default().decide(&note), Decision::Ignore(IgnoreReason::ByAccount));
    }

    #[test]
    fn settings_form() {
        let policy: CasePolicy = serde_json::from_str(r#"{"implicit":"never","quote":true}"#).unwrap();
        assert_eq!(
            policy,
            CasePolicy { implicit: ImplicitPolicy::Never, quote: true, ..CasePolicy::default() }
        );
        assert_eq!(serde_json::from_str::<CasePolicy>("{}").unwrap(), CasePolicy::default());
        assert!(serde_json::from_str::<CasePolicy>(r#"{"dms":true}"#).is_err());
        assert!(serde_json::from_str::<CasePolicy>(r#"{"implicit":"sometimes"}"#).is_err());
    }
}
