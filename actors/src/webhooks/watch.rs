//! Watches the webhook: X stops sending without a word when its challenges fail for a while, so the hub asks,
//! tells what it sees in its readiness, and has an invalid webhook checked again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use actix::prelude::*;

use super::{Webhooks, WebhooksError};
use crate::pulse::Check;
use crate::x::webhooks::Webhook;

/// How often X is asked.
const LOOK_EVERY: Duration = Duration::from_mins(10);
/// How often a webhook is checked again at most: every try is a challenge that may fail.
const VALIDATE_EVERY_MS: i64 = 60 * 60 * 1_000;

/// What was last seen; read without waiting.
#[derive(Clone, Default)]
pub(crate) struct Sight(Arc<AtomicU8>);

impl Sight {
    pub(crate) fn check(&self) -> Check {
        match self.0.load(Ordering::Acquire) {
            1 => Check::Ok,
            2 => Check::Failing,
            _ => Check::Unknown,
        }
    }

    /// Returns whether that is news.
    fn set(&self, check: Check) -> bool {
        let code = match check {
            Check::Unknown => 0,
            Check::Ok => 1,
            Check::Failing => 2,
        };
        self.0.swap(code, Ordering::AcqRel) != code
    }
}

/// The actor.
pub(crate) struct WebhookWatch {
    webhooks: Webhooks,
    sight: Sight,
    last_validated_ms: Option<i64>,
    is_looking: bool,
}

/// What one look found.
struct Look {
    check: Check,
    /// When a webhook was checked again, if one was.
    validated_ms: Option<i64>,
}

impl WebhookWatch {
    pub(crate) fn new(webhooks: Webhooks, sight: Sight) -> Self {
        Self { webhooks, sight, last_validated_ms: None, is_looking: false }
    }

    fn look(&mut self, context: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_looking, true) {
            return;
        }
        let (webhooks, last) = (self.webhooks.clone(), self.last_validated_ms);
        let looking = async move { look(&webhooks, last).await };
        context.spawn(looking.into_actor(self).map(|look, watch, _| {
            watch.is_looking = false;
            watch.last_validated_ms = look.validated_ms.or(watch.last_validated_ms);
            watch.sight.set(look.check);
        }));
    }
}

impl Actor for WebhookWatch {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        if self.webhooks.is_configured() {
            self.look(context);
            context.run_interval(LOOK_EVERY, Self::look);
        }
    }
}

impl Supervised for WebhookWatch {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.is_looking = false;
    }
}

async fn look(webhooks: &Webhooks, last_validated_ms: Option<i64>) -> Look {
    let listed = match webhooks.list().await {
        Ok(listed) => listed,
        Err(error) => {
            tracing::warn!(%error, "x does not tell whether the webhook is valid; asking again in 10 minutes");
            return Look { check: Check::Unknown, validated_ms: None };
        }
    };
    let own: Vec<&Webhook> = listed.iter().filter(|webhook| webhooks.is_own(webhook)).collect();
    if own.iter().any(|webhook| webhook.is_valid) {
        return Look { check: Check::Ok, validated_ms: None };
    }
    let Some(invalid) = own.first() else {
        tracing::warn!("x has no webhook that leads here; run `casewire webhooks register`");
        return Look { check: Check::Failing, validated_ms: None };
    };
    let now_ms = webhooks.now_ms();
    if last_validated_ms.is_some_and(|last_ms| now_ms - last_ms < VALIDATE_EVERY_MS) {
        return Look { check: Check::Failing, validated_ms: None };
    }
    let validated = webhooks.validate(&invalid.id).await;
    let check = tell(&invalid.id, validated);
    Look { check, validated_ms: Some(now_ms) }
}

fn tell(webhook_id: &str, validated: Result<bool, WebhooksError>) -> Check {
    match validated {
        Ok(true) => {
            tracing::info!(
                webhook_id,
                "x had stopped sending events; it checked the webhook and sends again"
            );
            Check::Ok
        }
        Ok(false) => {
            tracing::error!(webhook_id, "x sends no events: the webhook is invalid; run `casewire doctor`");
            Check::Failing
        }
        Err(error) => {
            tracing::error!(webhook_id, %error, "x sends no events: the webhook is invalid; run `casewire doctor`");
            Check::Failing
        }
    }
}

#[cfg(test)]
crate::kernel::panic_matrix::panics_when_told!(WebhookWatch);
