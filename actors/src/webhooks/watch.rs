//! Watches the webhook: X stops sending without a word when its challenges fail for a while, so the hub asks,
//! tells what it sees in its readiness, and has an invalid webhook checked again. Of several replicas every one
//! looks, and one has it checked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use actix::prelude::*;

use super::{Webhooks, WebhooksError};
use crate::pulse::Check;
use crate::x::webhooks::Webhook;

/// How often X is asked.
const LOOK_EVERY: Duration = Duration::from_mins(10);
/// A replica looks again soon after its start: at the first time it does not know yet what it is to do.
const LOOK_AGAIN: Duration = Duration::from_secs(20);
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
            if self.webhooks.shared.leases.replica().is_some() {
                context.run_later(LOOK_AGAIN, Self::look);
            }
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
    let is_too_early = last_validated_ms.is_some_and(|last_ms| now_ms - last_ms < VALIDATE_EVERY_MS);
    // Of several replicas one does it: whoever holds the shard of this name.
    if is_too_early || webhooks.shared.leases.lease_of("webhook_watch").is_none() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::shared_for_tests;
    use crate::x::stub::{Reply, Stub};

    const HERE: &str = "https://hub.example.com/api/activity/";
    const NOW_MS: i64 = 1_700_000_000_000;

    fn listed(url: &str, is_valid: bool) -> Reply {
        Reply::Json(200, format!(r#"{{"data":[{{"id":"7","url":"{url}","valid":{is_valid}}}]}}"#))
    }

    fn told(status: u16, body: &str) -> Reply {
        Reply::Json(status, body.to_owned())
    }

    /// What a look comes to, and whether it had the webhook checked again.
    async fn seen(replies: Vec<Reply>, own_url: Option<&str>, last_ms: Option<i64>) -> (Check, bool) {
        let folder = tempfile::tempdir().unwrap();
        let shared = shared_for_tests(folder.path()).await.unwrap();
        let stub = Stub::start(replies).await;
        let webhooks = Webhooks::for_tests(shared, stub.client.clone(), own_url);
        let look = look(&webhooks, last_ms).await;
        let has_validated = stub.requests().await.iter().any(|request| request.starts_with("PUT"));
        assert_eq!(look.validated_ms.is_some(), has_validated);
        (look.check, has_validated)
    }

    #[actix_rt::test]
    async fn what_is_seen() {
        let here = Some(HERE);
        assert_eq!(seen(vec![listed(HERE, true)], here, None).await, (Check::Ok, false));
        assert_eq!(seen(vec![listed("https://b.org/", true)], here, None).await, (Check::Failing, false));
        assert_eq!(seen(vec![listed("https://b.org/", true)], None, None).await, (Check::Ok, false));
        assert_eq!(seen(vec![told(200, r#"{"data":[]}"#)], None, None).await, (Check::Failing, false));
        assert_eq!(seen(vec![told(503, "")], here, None).await, (Check::Unknown, false));
    }

    #[actix_rt::test]
    async fn only_the_replica_that_holds_the_lease_has_it_checked() {
        use crate::cluster::leases::{Leases, shard_of};
        use crate::store::shards::Held;
        use std::time::Instant;

        let folder = tempfile::tempdir().unwrap();
        let mut shared = shared_for_tests(folder.path()).await.unwrap();
        shared.leases = Leases::of_replica("r".to_owned());
        let valid = told(200, r#"{"data":{"valid":true}}"#);
        let stub = Stub::start(vec![listed(HERE, false), listed(HERE, false), valid]).await;
        let webhooks = Webhooks::for_tests(shared.clone(), stub.client.clone(), Some(HERE));
        let without = look(&webhooks, None).await;
        assert_eq!((without.check, without.validated_ms), (Check::Failing, None));

        let held = Held { id: i64::try_from(shard_of("webhook_watch")).unwrap(), epoch: 1 };
        let now = Instant::now();
        shared.leases.take(&[held], now, now + Duration::from_mins(1));
        assert_eq!(look(&webhooks, None).await.check, Check::Ok);
        assert_eq!(stub.requests().await.iter().filter(|request| request.starts_with("PUT")).count(), 1);
    }

    #[actix_rt::test]
    async fn an_invalid_webhook_is_checked_again_once_an_hour() {
        let here = Some(HERE);
        let valid = || told(200, r#"{"data":{"valid":true}}"#);
        assert_eq!(seen(vec![listed(HERE, false), valid()], here, None).await, (Check::Ok, true));
        let an_hour_ago = Some(NOW_MS - VALIDATE_EVERY_MS);
        assert_eq!(seen(vec![listed(HERE, false), valid()], here, an_hour_ago).await, (Check::Ok, true));
        let just_now = Some(NOW_MS - VALIDATE_EVERY_MS + 1);
        assert_eq!(seen(vec![listed(HERE, false)], here, just_now).await, (Check::Failing, false));
        let invalid = told(200, r#"{"data":{"valid":false}}"#);
        assert_eq!(seen(vec![listed(HERE, false), invalid], here, None).await, (Check::Failing, true));
        assert_eq!(seen(vec![listed(HERE, false), told(500, "")], here, None).await, (Check::Failing, true));
    }
}
