//! What is done with instances.

use std::time::Duration;

use super::load::{instance_secrets, instance_settings};
use super::{
    ChangeInstance, ChangeKind, CreateInstance, DeleteInstance, Desk, DirectoryError, GetInstance,
    ListInstances, Listed, MAX_TRIES, Target,
};
use crate::domain::fields::{FieldErrors, sentence};
use crate::domain::instance::{InstanceSecrets, InstanceSettings, InstanceView};
use crate::domain::requester::Requester;
use crate::net::{InstanceUrl, resolve};
use crate::store::StoreError;
use crate::store::instances::{self, InsertInstance, InstanceColumns, InstanceRow, UpdateInstance};
use crate::store::sealed::SealedTable;
use crate::writer::Apply;

/// How long the name of an instance may take to resolve.
const RESOLVE_WITHIN: Duration = Duration::from_secs(3);

pub(super) async fn create(desk: Desk, message: CreateInstance) -> Result<InstanceView, DirectoryError> {
    let completed = message.form.complete(None, desk.defaults);
    let (settings, secrets) = completed.map_err(DirectoryError::Invalid)?;
    check_name(&desk, &settings.instance_url).await?;
    let id = desk.shared.sources.id();
    let insert = InsertInstance {
        columns: columns(&desk, &id, &settings, &secrets)?,
        user_id: message.requester.user_id,
        now_ms: desk.now_ms(),
        deadline_ms: desk.deadline_ms(),
        id: id.clone(),
    };
    let has_accounts = match desk.shared.writer.ask(Apply(insert)).await? {
        // The user was deleted meanwhile.
        Err(StoreError::Orphan) => return Err(DirectoryError::NotFound),
        inserted => inserted?,
    };
    if has_accounts {
        desk.routes.reload(&desk.shared.db).await?;
        desk.tell(Target::Instance(id.clone()), ChangeKind::Work);
    }
    let row = instances::by_id(&desk.shared.db, &id).await?.ok_or(DirectoryError::NotFound)?;
    view(&desk, &row).await
}

pub(super) async fn list(desk: Desk, message: ListInstances) -> Result<Listed<InstanceView>, DirectoryError> {
    let db = &desk.shared.db;
    let n_total = instances::count_of_user(db, &message.user_id).await?;
    let mut rows = Vec::new();
    for row in instances::of_user(db, &message.user_id, message.limit, message.offset).await? {
        rows.push(view(&desk, &row).await?);
    }
    Ok(Listed { rows, n_total })
}

pub(super) async fn get(desk: Desk, message: GetInstance) -> Result<InstanceView, DirectoryError> {
    let row = find(&desk, &message.requester, &message.id).await?;
    view(&desk, &row).await
}

pub(super) async fn change(desk: Desk, message: ChangeInstance) -> Result<InstanceView, DirectoryError> {
    for _ in 0..MAX_TRIES {
        let row = find(&desk, &message.requester, &message.id).await?;
        let stored = instance_settings(&row).map_err(|error| DirectoryError::Internal(error.to_string()))?;
        let before = (stored.instance_url.clone(), stored.auth);
        let completed = message.form.clone().complete(Some((stored, opened(&desk, &row))), desk.defaults);
        let (settings, secrets) = completed.map_err(DirectoryError::Invalid)?;
        let has_moved = settings.instance_url != before.0;
        let logs_in_anew = has_moved || settings.auth != before.1 || message.form.has_credentials();
        if has_moved {
            check_name(&desk, &settings.instance_url).await?;
        }
        let update = UpdateInstance {
            columns: columns(&desk, &row.id, &settings, &secrets)?,
            version: row.version,
            clears_status: match row.status.as_str() {
                // What the other side asked for when it counted calls, still holds there.
                "rate_limited" => has_moved,
                // A refused login is not tried again with the same: the other side may lock it out.
                "needs_auth" => logs_in_anew,
                _ => true,
            },
            now_ms: desk.now_ms(),
            deadline_ms: desk.deadline_ms(),
            id: row.id.clone(),
        };
        if !desk.shared.writer.ask(Apply(update)).await?? {
            continue;
        }
        desk.tell(Target::Instance(row.id), ChangeKind::Settings);
        return get(desk, GetInstance { requester: message.requester, id: message.id }).await;
    }
    Err(DirectoryError::Contended)
}

pub(super) async fn delete(desk: Desk, message: DeleteInstance) -> Result<(), DirectoryError> {
    let row = find(&desk, &message.requester, &message.id).await?;
    let delete = instances::DeleteInstance { id: row.id.clone(), now_ms: desk.now_ms() };
    let is_deleted = desk.shared.writer.ask(Apply(delete)).await??;
    desk.routes.reload(&desk.shared.db).await?;
    desk.tell(Target::Instance(row.id), ChangeKind::Gone);
    if is_deleted { Ok(()) } else { Err(DirectoryError::NotFound) }
}

/// The row, if the requester may see it.
async fn find(desk: &Desk, requester: &Requester, id: &str) -> Result<InstanceRow, DirectoryError> {
    let row = instances::by_id(&desk.shared.db, id).await?;
    row.filter(|row| requester.may_see(&row.user_id)).ok_or(DirectoryError::NotFound)
}

async fn view(desk: &Desk, row: &InstanceRow) -> Result<InstanceView, DirectoryError> {
    let settings = instance_settings(row).map_err(|error| DirectoryError::Internal(error.to_string()))?;
    let (n_queued, n_dead) = instances::counts(&desk.shared.db, &row.id).await?;
    Ok(InstanceView {
        id: row.id.clone(),
        settings,
        status: row.status.clone(),
        status_detail: row.status_detail.clone(),
        last_success_at_ms: row.last_success_at,
        n_queued,
        n_dead,
    })
}

/// The stored credentials. Those that do not open any more count as none, so that they can be entered
/// again.
fn opened(desk: &Desk, row: &InstanceRow) -> InstanceSecrets {
    instance_secrets(&desk.sealer, row).unwrap_or_else(|error| {
        tracing::warn!(instance = row.id, %error, "stored credentials are not usable");
        InstanceSecrets::default()
    })
}

fn columns(
    desk: &Desk,
    id: &str,
    settings: &InstanceSettings,
    secrets: &InstanceSecrets,
) -> Result<InstanceColumns, DirectoryError> {
    let internal = |error: &dyn std::fmt::Display| DirectoryError::Internal(error.to_string());
    let sealed =
        desk.sealer.seal(&desk.shared.sources, SealedTable::Instances.name(), id, &secrets.to_plain());
    let case_defaults = serde_json::to_string(&settings.case_defaults);
    Ok(InstanceColumns {
        instance_url: settings.instance_url.as_str().to_owned(),
        auth: settings.auth.as_str(),
        admin_user: settings.admin_user.clone(),
        client_id: settings.client_id.clone(),
        sealed_secrets: sealed.map_err(|error| internal(&error))?,
        rate: settings.rate.to_string(),
        concurrency: i64::from(settings.concurrency),
        mode: settings.mode.as_str(),
        customer_table: settings.customer_table.as_str(),
        case_defaults: case_defaults.map_err(|error| internal(&error))?,
        reopen_window_ms: settings.reopen_window_ms,
    })
}

/// Looks the name up: a slip shows at once, and so does an address that the hub does not go to.
async fn check_name(desk: &Desk, url: &InstanceUrl) -> Result<(), DirectoryError> {
    let lookup = resolve(url.host(), url.port(), desk.defaults.reach);
    let problem = match tokio::time::timeout(RESOLVE_WITHIN, lookup).await {
        Ok(Ok(_addresses)) => return Ok(()),
        Ok(Err(problem)) => problem.to_string(),
        Err(_elapsed) => format!("{} did not resolve within 3 s: check the name", url.host()),
    };
    Err(DirectoryError::Invalid(FieldErrors::of("instance_url", sentence(&problem))))
}
