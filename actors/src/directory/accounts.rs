//! What is done with linked accounts.

use super::load::{account_secrets, account_settings};
use super::{
    ChangeAccount, ChangeKind, Desk, DirectoryError, ForgetAccount, ForgetAccountsOf, GetAccount,
    LinkAccount, ListAccounts, Listed, MAX_TRIES, Target,
};
use crate::domain::account::{AccountSecrets, AccountSettings, AccountView, InstanceChoice};
use crate::domain::fields::FieldErrors;
use crate::domain::requester::Requester;
use crate::store::accounts::{
    self, AccountColumns, AccountRow, DeleteAccount, InsertAccount, Move, UpdateAccount,
};
use crate::store::sealed::SealedTable;
use crate::store::{StoreError, instances};
use crate::writer::Apply;

/// How many accounts are forgotten at a time.
const FORGET_SIZE: i64 = 100;

pub(super) async fn link(desk: Desk, message: LinkAccount) -> Result<AccountView, DirectoryError> {
    let choice = message.form.instance().clone();
    let owner = &message.requester.user_id;
    let problem = instance_problem(&desk, owner, &choice).await?;
    let (settings, secrets) = complete(message.form.complete(None), problem)?;
    let id = desk.shared.sources.id();
    let insert = InsertAccount {
        columns: columns(&desk, &id, &settings, &secrets)?,
        user_id: owner.clone(),
        twitter_user_id: settings.twitter_user_id,
        instance_id: settings.instance_id,
        takes_only_instance: choice == InstanceChoice::Unsaid,
        now_ms: desk.now_ms(),
        id: id.clone(),
    };
    match desk.shared.writer.ask(Apply(insert)).await? {
        Err(StoreError::Duplicate) => {
            let told = FieldErrors::of("twitter_user_id", "This X account is linked already.");
            return Err(DirectoryError::Invalid(told));
        }
        Err(StoreError::Orphan) => return Err(vanished(&choice)),
        inserted => inserted?,
    }
    let row = accounts::by_id(&desk.shared.db, &id).await?.ok_or(DirectoryError::NotFound)?;
    desk.routes.put(row.clone());
    desk.tell(Target::Account(id), ChangeKind::Settings);
    view(&desk, &row)
}

pub(super) async fn list(desk: Desk, message: ListAccounts) -> Result<Listed<AccountView>, DirectoryError> {
    let db = &desk.shared.db;
    let n_total = accounts::count_of_user(db, &message.user_id).await?;
    let rows = accounts::of_user(db, &message.user_id, message.limit, message.offset).await?;
    let rows: Result<Vec<_>, _> = rows.iter().map(|row| view(&desk, row)).collect();
    Ok(Listed { rows: rows?, n_total })
}

pub(super) async fn get(desk: Desk, message: GetAccount) -> Result<AccountView, DirectoryError> {
    let row = find(&desk, &message.requester, &message.id).await?;
    view(&desk, &row)
}

pub(super) async fn change(desk: Desk, message: ChangeAccount) -> Result<AccountView, DirectoryError> {
    let choice = message.form.instance().clone();
    for _ in 0..MAX_TRIES {
        let row = find(&desk, &message.requester, &message.id).await?;
        let problem = instance_problem(&desk, &row.user_id, &choice).await?;
        let stored = account_settings(&row).map_err(|error| DirectoryError::Internal(error.to_string()))?;
        let completed = message.form.clone().complete(Some((stored, opened(&desk, &row))));
        let (settings, secrets) = complete(completed, problem)?;
        let instance = if settings.instance_id == row.instance_id {
            Move::Stay
        } else {
            Move::To(settings.instance_id.clone())
        };
        let has_moved = instance != Move::Stay;
        let update = UpdateAccount {
            columns: columns(&desk, &row.id, &settings, &secrets)?,
            version: row.version,
            instance,
            clears_status: message.form.has_tokens(),
            now_ms: desk.now_ms(),
            deadline_ms: desk.deadline_ms(),
            id: row.id.clone(),
        };
        match desk.shared.writer.ask(Apply(update)).await? {
            Err(StoreError::Orphan) => return Err(vanished(&choice)),
            Ok(false) => continue,
            updated => updated?,
        };
        let changed = find(&desk, &message.requester, &message.id).await?;
        desk.routes.put(changed.clone());
        desk.tell(Target::Account(row.id), ChangeKind::Settings);
        if let (true, Some(instance_id)) = (has_moved, settings.instance_id) {
            desk.tell(Target::Instance(instance_id), ChangeKind::Work);
        }
        return view(&desk, &changed);
    }
    Err(DirectoryError::Contended)
}

pub(super) async fn forget(desk: Desk, message: ForgetAccount) -> Result<(), DirectoryError> {
    let row = find(&desk, &message.requester, &message.id).await?;
    if !forget_one(&desk, row.id).await? {
        return Err(DirectoryError::NotFound);
    }
    (desk.on_forgotten)(vec![row.twitter_user_id]);
    Ok(())
}

pub(super) async fn forget_all_of(desk: Desk, message: ForgetAccountsOf) -> Result<usize, DirectoryError> {
    let mut n_forgotten = 0;
    loop {
        let rows = accounts::of_user(&desk.shared.db, &message.user_id, FORGET_SIZE, 0).await?;
        if rows.is_empty() {
            return Ok(n_forgotten);
        }
        let mut forgotten = Vec::new();
        for row in rows {
            if forget_one(&desk, row.id).await? {
                forgotten.push(row.twitter_user_id);
            }
        }
        n_forgotten += forgotten.len();
        (desk.on_forgotten)(forgotten);
    }
}

async fn forget_one(desk: &Desk, id: String) -> Result<bool, DirectoryError> {
    let delete = DeleteAccount { id: id.clone(), now_ms: desk.now_ms() };
    let is_deleted = desk.shared.writer.ask(Apply(delete)).await??;
    desk.routes.remove(&id);
    desk.tell(Target::Account(id), ChangeKind::Gone);
    Ok(is_deleted)
}

/// The row, if the requester may see it.
async fn find(desk: &Desk, requester: &Requester, id: &str) -> Result<AccountRow, DirectoryError> {
    let row = accounts::by_id(&desk.shared.db, id).await?;
    row.filter(|row| requester.may_see(&row.user_id)).ok_or(DirectoryError::NotFound)
}

/// What is wrong with the instance that was asked for: it has to be the same user's.
async fn instance_problem(
    desk: &Desk,
    owner_id: &str,
    choice: &InstanceChoice,
) -> Result<Option<String>, DirectoryError> {
    let InstanceChoice::Of(id) = choice else { return Ok(None) };
    let row = instances::by_id(&desk.shared.db, id).await?;
    let is_own = row.is_some_and(|row| row.user_id == owner_id);
    Ok((!is_own).then(|| no_such_instance(id)))
}

fn no_such_instance(id: &str) -> String {
    format!("Invalid pk \"{id}\" - object does not exist.")
}

/// The instance, or else the user, was deleted between the check and the write.
fn vanished(choice: &InstanceChoice) -> DirectoryError {
    match choice {
        InstanceChoice::Of(id) => DirectoryError::Invalid(FieldErrors::of("instance", no_such_instance(id))),
        _ => DirectoryError::NotFound,
    }
}

/// What the form came to, together with what is wrong with the instance.
fn complete<T>(completed: Result<T, FieldErrors>, problem: Option<String>) -> Result<T, DirectoryError> {
    match (completed, problem) {
        (Ok(value), None) => Ok(value),
        (Ok(_), Some(problem)) => Err(DirectoryError::Invalid(FieldErrors::of("instance", problem))),
        (Err(errors), None) => Err(DirectoryError::Invalid(errors)),
        (Err(mut errors), Some(problem)) => {
            errors.add("instance", problem);
            Err(DirectoryError::Invalid(errors))
        }
    }
}

fn view(desk: &Desk, row: &AccountRow) -> Result<AccountView, DirectoryError> {
    let settings = account_settings(row).map_err(|error| DirectoryError::Internal(error.to_string()))?;
    Ok(AccountView {
        id: row.id.clone(),
        settings,
        status: row.status.clone(),
        status_detail: row.status_detail.clone(),
        is_subscribed: row.subscribed,
        last_event_at_ms: row.last_event_at.max(desk.routes.last_event_at_ms(&row.id)),
    })
}

/// The stored tokens. Those that do not open any more count as none, so that they can be entered again.
fn opened(desk: &Desk, row: &AccountRow) -> AccountSecrets {
    account_secrets(&desk.sealer, row).unwrap_or_else(|error| {
        tracing::warn!(account = row.id, %error, "stored tokens are not usable");
        AccountSecrets::default()
    })
}

fn columns(
    desk: &Desk,
    id: &str,
    settings: &AccountSettings,
    secrets: &AccountSecrets,
) -> Result<AccountColumns, DirectoryError> {
    let sealed =
        desk.sealer.seal(&desk.shared.sources, SealedTable::Accounts.name(), id, &secrets.to_plain());
    let case_policy = serde_json::to_string(&settings.case_policy);
    Ok(AccountColumns {
        screen_name: settings.screen_name.clone(),
        sealed_secrets: sealed.map_err(|error| DirectoryError::Internal(error.to_string()))?,
        reply_channel: settings.reply_channel.as_str(),
        case_policy: case_policy.map_err(|error| DirectoryError::Internal(error.to_string()))?,
    })
}
