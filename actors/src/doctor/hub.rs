//! The hub's own store.

use super::{Finding, Ward, unreadable};
use crate::accounts::hashing::is_password;
use crate::domain::password::TRIED_FIRST;
use crate::domain::secret::Secret;
use crate::hub::{StartError, key};
use crate::store::sealed::{self, SealedTable};
use crate::store::{StoreError, deliveries, users};

/// Work that could be done and is not, for so long, means that nobody works.
const OVERDUE_MS: i64 = 5 * 60 * 1_000;
/// The passwords of so many admins are guessed at.
const MAX_GUESSED: i64 = 5;

/// Whether every stored credential opens with the key.
pub(super) async fn credentials(ward: &Ward) -> Vec<Finding> {
    let area = "credentials";
    let sealer = &ward.settings.sealer;
    let read = async {
        let is_other = key::is_other(&ward.db, sealer).await?;
        let of_instances = sealed::all(&ward.db, SealedTable::Instances).await?;
        let of_accounts = sealed::all(&ward.db, SealedTable::Accounts).await?;
        Ok::<_, StoreError>((is_other, of_instances, of_accounts))
    };
    let (is_other, of_instances, of_accounts) = match read.await {
        Ok(read) => read,
        Err(error) => return vec![unreadable(area, &error.into())],
    };
    let mut found = Vec::new();
    if is_other {
        found.push(Finding::red(area, StartError::OtherKey.to_string()));
    }
    let (mut n_opened, mut n_earlier) = (0, 0);
    let all =
        [(SealedTable::Instances, "instance", of_instances), (SealedTable::Accounts, "account", of_accounts)];
    for (table, kind, rows) in all {
        for (id, bytes) in rows {
            match sealer.open(table.name(), &id, &bytes) {
                Ok(_) => {
                    n_opened += 1;
                    n_earlier += usize::from(!sealer.is_current(&bytes));
                }
                Err(error) => {
                    found.push(Finding::red(area, format!("those of the {kind} {id} do not open: {error}")));
                }
            }
        }
    }
    if n_earlier > 0 {
        let text = format!(
            "{n_earlier} are sealed with a key of secrets.previous_keys still: keep it until a replica has started"
        );
        found.push(Finding::yellow(area, text));
    }
    if found.is_empty() {
        found.push(Finding::green(area, format!("the key opens all {n_opened}")));
    }
    found
}

/// Whether somebody can manage the users, and not everybody.
pub(super) async fn admin(ward: &Ward) -> Vec<Finding> {
    let area = "admin";
    let looked = async {
        let n_admins = users::count_admins(&ward.db).await?;
        Ok::<_, StoreError>((n_admins, users::admins(&ward.db, MAX_GUESSED).await?))
    };
    let (n_admins, admins) = match looked.await {
        Ok(looked) => looked,
        Err(error) => return vec![unreadable(area, &error.into())],
    };
    if n_admins == 0 {
        return vec![Finding::red(area, "there is none: run `casewire createsuperuser`")];
    }
    let guessed = tokio::task::spawn_blocking(move || {
        let is_guessed = |hash: &str| TRIED_FIRST.iter().any(|guess| is_password(&Secret::new(*guess), hash));
        let guessed = admins.into_iter().filter(|(_, hash)| is_guessed(hash));
        guessed.map(|(username, _)| username).collect::<Vec<_>>()
    });
    let mut found = vec![Finding::green(area, format!("there are {n_admins}"))];
    for username in guessed.await.unwrap_or_default() {
        let text = format!("{username} has a password that attackers try first: choose another at once");
        found.push(Finding::yellow(area, text));
    }
    found
}

/// Whether work is lying about.
pub(super) async fn outbox(ward: &Ward) -> Vec<Finding> {
    let area = "outbox";
    let looked = async {
        let n_dead = deliveries::count_dead(&ward.db).await?;
        Ok::<_, StoreError>((n_dead, crate::store::lanes::oldest_due(&ward.db).await?))
    };
    let (n_dead, oldest_due_ms) = match looked.await {
        Ok(looked) => looked,
        Err(error) => return vec![unreadable(area, &error.into())],
    };
    let mut found = Vec::new();
    if n_dead > 0 {
        let text = format!(
            "{n_dead} dead letters: look at `casewire deliveries list --status dead`, mend the cause, replay them"
        );
        found.push(Finding::yellow(area, text));
    }
    let overdue_ms = oldest_due_ms.map_or(0, |due_ms| ward.now_ms() - due_ms);
    if overdue_ms > OVERDUE_MS {
        let minutes = overdue_ms / 60_000;
        let text = format!(
            "the oldest delivery has been due for {minutes} minutes: check that `casewire serve` runs"
        );
        found.push(Finding::yellow(area, text));
    }
    if found.is_empty() {
        found.push(Finding::green(area, "no dead letters, and nothing overdue"));
    }
    found
}
