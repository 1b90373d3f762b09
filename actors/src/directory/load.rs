//! Rows of the store as typed values, with their credentials opened where they open.

use crate::domain::account::{Account, AccountSecrets, AccountSettings, ReplyChannel};
use crate::domain::instance::{AuthKind, CONCURRENCY, Instance, InstanceSecrets, InstanceSettings, Mode};
use crate::domain::sealing::{SealError, Sealer};
use crate::net::{Reach, parse_instance_url};
use crate::servicenow::customers::CustomerTable;
use crate::store::accounts::{self, AccountRow};
use crate::store::instances::{self, InstanceRow};
use crate::store::sealed::SealedTable;
use crate::store::{Db, StoreError};

/// Why a record could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its credentials do not open.
    #[error("the stored credentials cannot be opened: {0}")]
    Sealed(#[from] SealError),
    /// A column holds what this program does not write.
    #[error("the stored {0} cannot be read: enter it again")]
    Unreadable(&'static str),
}

/// The instance with this id and its credentials, for its delivery; `None` when it is deleted.
pub(crate) async fn load_instance(db: &Db, sealer: &Sealer, id: &str) -> Result<Option<Instance>, LoadError> {
    let Some(row) = instances::by_id(db, id).await? else { return Ok(None) };
    let settings = instance_settings(&row)?;
    let secrets = instance_secrets(sealer, &row);
    Ok(Some(Instance {
        id: row.id,
        user_id: row.user_id,
        settings,
        secrets,
        status: row.status,
        status_detail: row.status_detail,
        paused_until_ms: row.paused_until,
        version: row.version,
        created_at_ms: row.created_at,
    }))
}

/// The account with this id and its tokens, for its delivery; `None` when it is deleted.
pub(crate) async fn load_account(db: &Db, sealer: &Sealer, id: &str) -> Result<Option<Account>, LoadError> {
    let Some(row) = accounts::by_id(db, id).await? else { return Ok(None) };
    let settings = account_settings(&row)?;
    let secrets = account_secrets(sealer, &row);
    Ok(Some(Account {
        id: row.id,
        user_id: row.user_id,
        settings,
        secrets,
        status: row.status,
        status_detail: row.status_detail,
        paused_until_ms: row.paused_until,
        version: row.version,
    }))
}

pub(super) fn instance_settings(row: &InstanceRow) -> Result<InstanceSettings, LoadError> {
    // What is stored was checked when it was entered; every call is checked again.
    let url = parse_instance_url(&row.instance_url, Reach::PrivateAllowed);
    // Earlier versions stored more than is allowed now.
    let concurrency = row.concurrency.min(*CONCURRENCY.end());
    let concurrency = u8::try_from(concurrency).ok().filter(|_| CONCURRENCY.contains(&concurrency));
    let case_defaults = serde_json::from_str(&row.case_defaults);
    Ok(InstanceSettings {
        instance_url: url.map_err(|_| LoadError::Unreadable("instance_url"))?,
        auth: AuthKind::parse(&row.auth).ok_or(LoadError::Unreadable("auth"))?,
        admin_user: row.admin_user.clone(),
        client_id: row.client_id.clone(),
        rate: row.rate.parse().map_err(|_| LoadError::Unreadable("rate"))?,
        concurrency: concurrency.ok_or(LoadError::Unreadable("concurrency"))?,
        mode: Mode::parse(&row.mode).ok_or(LoadError::Unreadable("mode"))?,
        customer_table: CustomerTable::parse(&row.customer_table)
            .ok_or(LoadError::Unreadable("customer_table"))?,
        case_defaults: case_defaults.map_err(|_| LoadError::Unreadable("case_defaults"))?,
        reopen_window_ms: row.reopen_window_ms,
    })
}

pub(super) fn instance_secrets(sealer: &Sealer, row: &InstanceRow) -> Result<InstanceSecrets, SealError> {
    let plain = sealer.open(SealedTable::Instances.name(), &row.id, &row.sealed_secrets)?;
    serde_json::from_slice(&plain).map_err(|_| SealError::Damaged)
}

pub(super) fn account_settings(row: &AccountRow) -> Result<AccountSettings, LoadError> {
    let case_policy = serde_json::from_str(&row.case_policy);
    Ok(AccountSettings {
        twitter_user_id: row.twitter_user_id.clone(),
        screen_name: row.screen_name.clone(),
        instance_id: row.instance_id.clone(),
        reply_channel: ReplyChannel::parse(&row.reply_channel)
            .ok_or(LoadError::Unreadable("reply_channel"))?,
        case_policy: case_policy.map_err(|_| LoadError::Unreadable("case_policy"))?,
    })
}

pub(super) fn account_secrets(sealer: &Sealer, row: &AccountRow) -> Result<AccountSecrets, SealError> {
    let plain = sealer.open(SealedTable::Accounts.name(), &row.id, &row.sealed_secrets)?;
    serde_json::from_slice(&plain).map_err(|_| SealError::Damaged)
}
