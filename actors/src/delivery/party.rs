//! What a message tells of its author, and what is known of a conversation at one instance.

use super::message::{Inbound, InboundKind};
use crate::store::conversations::Conversation;

/// What must not be forgotten between two steps: customer, case and episode.
pub(super) type Records = (Option<String>, Option<String>, i64);

pub(super) fn records_of(conversation: &Conversation) -> Records {
    let Conversation { customer_sys_id, case_sys_id, episode, .. } = conversation;
    (customer_sys_id.clone(), case_sys_id.clone(), *episode)
}

/// Records of another instance say nothing about this one.
pub(super) fn forget_other_instance(conversation: &mut Conversation, instance_id: &str) {
    if conversation.instance_id.as_deref() == Some(instance_id) {
        return;
    }
    conversation.instance_id = Some(instance_id.to_owned());
    conversation.customer_sys_id = None;
    conversation.case_sys_id = None;
    conversation.case_number = None;
    conversation.case_open_at = None;
}

pub(super) fn take_author(conversation: &mut Conversation, message: &Inbound) {
    if message.kind == InboundKind::OwnDm {
        return;
    }
    if message.handle.is_some() {
        conversation.handle.clone_from(&message.handle);
    }
    if message.name.is_some() {
        conversation.name.clone_from(&message.name);
    }
    if message.kind.is_post() {
        conversation.last_post_id = Some(message.id.clone());
    }
    conversation.last_channel = Some(if message.kind.is_post() { "reply" } else { "dm" }.to_owned());
}
