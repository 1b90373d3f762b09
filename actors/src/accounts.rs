//! The accounts: users, their passwords, and who may log in.
//!
//! Every refusal that depends on other rows (a name that is taken, the last admin) is decided in the
//! transaction that would make it true. Passwords are hashed on a bounded pool; a login of a user that
//! does not exist takes as long as one with a wrong password.

mod attempts;
pub(crate) mod hashing;

use std::net::IpAddr;
use std::time::Duration;

use actix::prelude::*;

pub use self::attempts::AttemptLimit;
use self::attempts::Attempts;
use self::hashing::Hashing;
use crate::domain::secret::Secret;
use crate::domain::user::{NewUser, Profile, User};
use crate::kernel::{AskError, Mailbox};
use crate::shared::Shared;
use crate::store::Change;
use crate::store::users::{self, Deletion};
use crate::store::{Db, StoreError};
use crate::token_store::{ForgetUser, TokenStore, Tokens};
use crate::writer::{Apply, WriteError};

// Messages

/// Creates a user.
#[derive(Message)]
#[rtype(result = "Result<User, AccountsError>")]
pub struct CreateUser(pub NewUser);

/// Finds a user by id.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<User>, AccountsError>")]
pub struct GetUser {
    /// The id, in lower case with dashes.
    pub id: String,
}

/// Finds a user by name, in whatever case.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<User>, AccountsError>")]
pub struct FindUser {
    /// The user name.
    pub username: String,
}

/// Lists users, oldest first.
#[derive(Debug, Message)]
#[rtype(result = "Result<UserPage, AccountsError>")]
pub struct ListUsers {
    /// Only those whose names or company contain this; all when empty.
    pub search: String,
    /// How many at most.
    pub limit: i64,
    /// How many to leave out.
    pub offset: i64,
}

/// Changes what is given of a user.
#[derive(Debug, Message)]
#[rtype(result = "Result<User, AccountsError>")]
pub struct UpdateUser {
    /// Whom.
    pub id: String,
    /// What.
    pub profile: Profile,
}

/// Sets a password. The user's other tokens end; the API key stays.
#[derive(Message)]
#[rtype(result = "Result<(), AccountsError>")]
pub struct SetPassword {
    /// Whose.
    pub user_id: String,
    /// The new password, checked against the rules.
    pub password: Secret,
    /// The token that stays: the one that the user changes the password with.
    pub spared_token_id: Option<String>,
}

/// Deletes a user with tokens, instances, accounts and queued work.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), AccountsError>")]
pub struct DeleteUser {
    /// Whom.
    pub id: String,
}

/// Verifies a user name and a password.
#[derive(Message)]
#[rtype(result = "Result<LoggedIn, AccountsError>")]
pub struct LogIn {
    /// The user name, in whatever case.
    pub username: String,
    /// The password.
    pub password: Secret,
    /// Where the attempt comes from.
    pub address: IpAddr,
}

/// A page of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPage {
    /// Those on the page.
    pub users: Vec<User>,
    /// How many there are on all pages.
    pub n_all: i64,
}

/// A user whose password was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// Who.
    pub user: User,
    /// What proves, when the token is issued, that the password has not changed meanwhile.
    pub password_hash: String,
}

// Errors

/// Why the accounts did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountsError {
    /// Another user has this name, perhaps in another case.
    #[error("another user has this name")]
    Duplicate,
    /// There is no such user.
    #[error("there is no such user")]
    Absent,
    /// Nobody could manage users any more.
    #[error("this is the last admin; make another one first, with `casewire createsuperuser`")]
    LastAdmin,
    /// No such user, another password, or a user who may not log in: not told apart.
    #[error("the user name or the password is wrong")]
    Refused,
    /// Too many failures; so long until the next attempt is looked at.
    #[error("too many failed logins; try again in {} s", .0.as_secs())]
    TooManyAttempts(Duration),
    /// It could not be read or written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<AskError> for AccountsError {
    fn from(error: AskError) -> Self {
        Self::Write(error.into())
    }
}

impl From<StoreError> for AccountsError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Duplicate => Self::Duplicate,
            other => Self::Write(other.into()),
        }
    }
}

// State

/// The actor.
pub struct Accounts {
    shared: Shared,
    tokens: Mailbox<TokenStore>,
    hashing: Hashing,
    limit: AttemptLimit,
    attempts: Attempts,
}

impl Accounts {
    fn new(shared: Shared, tokens: Mailbox<TokenStore>, limit: AttemptLimit) -> Self {
        let hashing = Hashing::new(shared.sources.clone());
        Self { shared, tokens, hashing, limit, attempts: Attempts::new(limit) }
    }

    /// Starts the accounts.
    pub(crate) fn start(shared: &Shared, tokens: &Tokens, limit: AttemptLimit) -> Mailbox<Self> {
        let accounts = Self::new(shared.clone(), tokens.mailbox().clone(), limit);
        let terms = Shared::front_terms("accounts", 1024);
        crate::kernel::start(&shared.front, &shared.registry, terms, move |_| accounts)
    }

    /// Notes how an attempt ended. Where too many failed while this one was verified, it is refused
    /// whatever it was: so guesses sent at once tell no more than guesses sent in turn.
    fn judge(
        &mut self,
        attempt: &Attempt,
        verified: Result<Option<LoggedIn>, AccountsError>,
    ) -> Result<LoggedIn, AccountsError> {
        let verified = verified?;
        let now_ms = self.shared.sources.now_ms();
        if let Some(wait) = self.attempts.wait(attempt.address, &attempt.username, now_ms) {
            return Err(self.limited(wait));
        }
        let Some(logged_in) = verified else {
            self.attempts.failed(attempt.address, &attempt.username, now_ms);
            self.shared.metrics.count_login("refused");
            return Err(AccountsError::Refused);
        };
        self.attempts.succeeded(attempt.address);
        self.shared.metrics.count_login("ok");
        Ok(logged_in)
    }

    fn limited(&self, wait: Duration) -> AccountsError {
        self.shared.metrics.count_login("limited");
        AccountsError::TooManyAttempts(wait)
    }

    /// Writes a change through the writer.
    async fn write<C: Change>(shared: Shared, change: C) -> Result<C::Output, AccountsError> {
        Ok(shared.writer.ask(Apply(change)).await??)
    }
}

/// Who tries to log in.
struct Attempt {
    address: IpAddr,
    username: String,
}

/// The user with this name, if this is the password and the user may log in.
async fn verify(
    db: Db,
    hashing: Hashing,
    username: String,
    password: Secret,
) -> Result<Option<LoggedIn>, AccountsError> {
    let row = users::by_username(&db, &username).await?;
    let hash = row.as_ref().map(|row| row.password_hash.clone());
    let is_verified = hashing.verify(password, hash).await?;
    let row = row.filter(|row| is_verified && row.is_active);
    Ok(row.map(|row| LoggedIn { password_hash: row.password_hash.clone(), user: row.into() }))
}

// Actor

impl Actor for Accounts {
    type Context = Context<Self>;
}

impl Supervised for Accounts {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.attempts = Attempts::new(self.limit);
    }
}

// Handlers

impl Handler<LogIn> for Accounts {
    type Result = ResponseActFuture<Self, Result<LoggedIn, AccountsError>>;

    fn handle(&mut self, message: LogIn, _: &mut Context<Self>) -> Self::Result {
        let attempt = Attempt { address: message.address, username: message.username };
        let now_ms = self.shared.sources.now_ms();
        if let Some(wait) = self.attempts.wait(attempt.address, &attempt.username, now_ms) {
            let limited = self.limited(wait);
            return Box::pin(actix::fut::ready(Err(limited)));
        }
        let verifying =
            verify(self.shared.db.clone(), self.hashing.clone(), attempt.username.clone(), message.password);
        Box::pin(
            verifying.into_actor(self).map(move |verified, accounts, _| accounts.judge(&attempt, verified)),
        )
    }
}

impl Handler<CreateUser> for Accounts {
    type Result = ResponseFuture<Result<User, AccountsError>>;

    fn handle(&mut self, CreateUser(new): CreateUser, _: &mut Context<Self>) -> Self::Result {
        let (shared, hashing) = (self.shared.clone(), self.hashing.clone());
        Box::pin(async move {
            let password_hash = hashing.hash(new.password).await?;
            let user = User {
                id: shared.sources.id(),
                username: new.username,
                first_name: new.first_name,
                last_name: new.last_name,
                company_name: new.company_name,
                is_staff: new.is_staff,
                is_active: true,
                date_joined_ms: shared.sources.now_ms(),
            };
            Self::write(shared, users::Insert { user, password_hash }).await
        })
    }
}

impl Handler<GetUser> for Accounts {
    type Result = ResponseFuture<Result<Option<User>, AccountsError>>;

    fn handle(&mut self, message: GetUser, _: &mut Context<Self>) -> Self::Result {
        let db = self.shared.db.clone();
        Box::pin(async move { Ok(users::by_id(&db, &message.id).await?.map(User::from)) })
    }
}

impl Handler<FindUser> for Accounts {
    type Result = ResponseFuture<Result<Option<User>, AccountsError>>;

    fn handle(&mut self, message: FindUser, _: &mut Context<Self>) -> Self::Result {
        let db = self.shared.db.clone();
        Box::pin(async move { Ok(users::by_username(&db, &message.username).await?.map(User::from)) })
    }
}

impl Handler<ListUsers> for Accounts {
    type Result = ResponseFuture<Result<UserPage, AccountsError>>;

    fn handle(&mut self, message: ListUsers, _: &mut Context<Self>) -> Self::Result {
        let db = self.shared.db.clone();
        Box::pin(async move {
            let (rows, n_all) = users::page(&db, &message.search, message.limit, message.offset).await?;
            Ok(UserPage { users: rows.into_iter().map(User::from).collect(), n_all })
        })
    }
}

impl Handler<UpdateUser> for Accounts {
    type Result = ResponseFuture<Result<User, AccountsError>>;

    fn handle(&mut self, message: UpdateUser, _: &mut Context<Self>) -> Self::Result {
        let (shared, tokens) = (self.shared.clone(), self.tokens.clone());
        Box::pin(async move {
            let user_id = message.id.clone();
            let update = users::Update { id: message.id, profile: message.profile };
            let (user, mark) = Self::write(shared, update).await?.ok_or(AccountsError::Absent)?;
            tokens.ask(ForgetUser { user_id, mark }).await?;
            Ok(user)
        })
    }
}

impl Handler<SetPassword> for Accounts {
    type Result = ResponseFuture<Result<(), AccountsError>>;

    fn handle(&mut self, message: SetPassword, _: &mut Context<Self>) -> Self::Result {
        let (shared, tokens, hashing) = (self.shared.clone(), self.tokens.clone(), self.hashing.clone());
        Box::pin(async move {
            let password_hash = hashing.hash(message.password).await?;
            let user_id = message.user_id.clone();
            let spared_token_id = message.spared_token_id;
            let change = users::SetPassword { user_id: message.user_id, password_hash, spared_token_id };
            let mark = Self::write(shared, change).await?.ok_or(AccountsError::Absent)?;
            Ok(tokens.ask(ForgetUser { user_id, mark }).await?)
        })
    }
}

impl Handler<DeleteUser> for Accounts {
    type Result = ResponseFuture<Result<(), AccountsError>>;

    fn handle(&mut self, message: DeleteUser, _: &mut Context<Self>) -> Self::Result {
        let (shared, tokens) = (self.shared.clone(), self.tokens.clone());
        Box::pin(async move {
            let deletion = users::Delete { id: message.id.clone(), now_ms: shared.sources.now_ms() };
            match Self::write(shared, deletion).await? {
                Deletion::Done(mark) => Ok(tokens.ask(ForgetUser { user_id: message.id, mark }).await?),
                Deletion::Absent => Err(AccountsError::Absent),
                Deletion::LastAdmin => Err(AccountsError::LastAdmin),
            }
        })
    }
}

#[cfg(test)]
mod tests;
