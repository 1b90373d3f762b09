//! What can be asked of the directory.

use actix::prelude::*;

use super::{DirectoryError, Listed};
use crate::domain::account::{AccountForm, AccountView};
use crate::domain::instance::{InstanceForm, InstanceView};
use crate::domain::requester::Requester;

/// Makes an instance for the requester.
#[derive(Message)]
#[rtype(result = "Result<InstanceView, DirectoryError>")]
pub struct CreateInstance {
    /// Who asks; becomes its owner.
    pub requester: Requester,
    /// What was sent.
    pub form: InstanceForm,
}

/// Lists instances, the oldest first.
#[derive(Debug, Message)]
#[rtype(result = "Result<Listed<InstanceView>, DirectoryError>")]
pub struct ListInstances {
    /// Whose; the caller sees to it that the requester may.
    pub user_id: String,
    /// How many at most.
    pub limit: i64,
    /// After how many.
    pub offset: i64,
}

/// Looks at one instance.
#[derive(Debug, Message)]
#[rtype(result = "Result<InstanceView, DirectoryError>")]
pub struct GetInstance {
    /// Who asks.
    pub requester: Requester,
    /// Its id.
    pub id: String,
}

/// Changes an instance; lets what waits for it go on.
#[derive(Message)]
#[rtype(result = "Result<InstanceView, DirectoryError>")]
pub struct ChangeInstance {
    /// Who asks.
    pub requester: Requester,
    /// Its id.
    pub id: String,
    /// What was sent.
    pub form: InstanceForm,
}

/// Deletes an instance. What waits for it stays, blocked, with its accounts.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), DirectoryError>")]
pub struct DeleteInstance {
    /// Who asks.
    pub requester: Requester,
    /// Its id.
    pub id: String,
}

/// Links an account to the requester.
#[derive(Message)]
#[rtype(result = "Result<AccountView, DirectoryError>")]
pub struct LinkAccount {
    /// Who asks; becomes its owner.
    pub requester: Requester,
    /// What was sent.
    pub form: AccountForm,
}

/// Lists accounts, the oldest first.
#[derive(Debug, Message)]
#[rtype(result = "Result<Listed<AccountView>, DirectoryError>")]
pub struct ListAccounts {
    /// Whose; the caller sees to it that the requester may.
    pub user_id: String,
    /// How many at most.
    pub limit: i64,
    /// After how many.
    pub offset: i64,
}

/// Looks at one account.
#[derive(Debug, Message)]
#[rtype(result = "Result<AccountView, DirectoryError>")]
pub struct GetAccount {
    /// Who asks.
    pub requester: Requester,
    /// Its id.
    pub id: String,
}

/// Changes an account; another instance gets what waits.
#[derive(Message)]
#[rtype(result = "Result<AccountView, DirectoryError>")]
pub struct ChangeAccount {
    /// Who asks.
    pub requester: Requester,
    /// Its id.
    pub id: String,
    /// What was sent.
    pub form: AccountForm,
}

/// Forgets an account with its conversations and deliveries.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), DirectoryError>")]
pub struct ForgetAccount {
    /// Who asks.
    pub requester: Requester,
    /// Its id.
    pub id: String,
}

/// Forgets all accounts of a user. Answers how many there were.
#[derive(Debug, Message)]
#[rtype(result = "Result<usize, DirectoryError>")]
pub struct ForgetAccountsOf {
    /// Whose; the caller sees to it that the requester may.
    pub user_id: String,
}

/// Reads the routes again and stores what intake noted: at start, before a stop, and in tests.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), DirectoryError>")]
pub struct Refresh;
