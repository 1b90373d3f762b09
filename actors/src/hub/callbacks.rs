//! Who is told when the directory has changed something.

use std::sync::Arc;

use crate::delivery::fleet::Fleet;
use crate::directory::{ChangeKind, OnChanged, OnForgotten, Target};
use crate::shared::Shared;
use crate::store::deliveries::Direction;
use crate::webhooks::Webhooks;

/// Lets actors look whether another replica has changed their settings. A process that is alone is told of
/// every change.
pub(super) fn recheck(shared: &Shared, fleet: &Fleet) -> Arc<dyn Fn() + Send + Sync> {
    if shared.leases.replica().is_none() {
        return Arc::new(|| ());
    }
    let fleet = fleet.clone();
    let runtime = tokio::runtime::Handle::try_current().ok();
    Arc::new(move || {
        let fleet = fleet.clone();
        if let Some(runtime) = &runtime {
            runtime.spawn(async move { fleet.recheck().await });
        }
    })
}

/// Passes changes of settings on to the actors that work with them.
pub(super) fn tell_fleet(fleet: Fleet) -> OnChanged {
    let runtime = tokio::runtime::Handle::try_current().ok();
    Arc::new(move |change| {
        let fleet = fleet.clone();
        let telling = async move {
            match (change.kind, change.target) {
                (ChangeKind::Work, Target::Instance(id)) => fleet.wake(Direction::ToServicenow, &id),
                (ChangeKind::Work, Target::Account(id)) => fleet.wake(Direction::ToX, &id),
                (ChangeKind::Settings | ChangeKind::Gone, Target::Instance(id)) => {
                    fleet.reload(Direction::ToServicenow, &id).await;
                }
                (ChangeKind::Settings | ChangeKind::Gone, Target::Account(id)) => {
                    fleet.reload(Direction::ToX, &id).await;
                }
            }
        };
        if let Some(runtime) = &runtime {
            runtime.spawn(telling);
        }
    })
}

/// Has X send no more events of accounts that were forgotten. Nobody waits for it.
pub(super) fn unsubscribe(webhooks: Webhooks) -> OnForgotten {
    let runtime = tokio::runtime::Handle::try_current().ok();
    Arc::new(move |user_ids| {
        let webhooks = webhooks.clone();
        if let Some(runtime) = &runtime {
            runtime.spawn(async move { webhooks.let_go(&user_ids).await });
        }
    })
}
