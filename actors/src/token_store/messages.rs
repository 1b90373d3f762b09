//! What the token store is told, and why it refuses.

use std::sync::Arc;

use actix::Message;

use crate::domain::token::{Digest, NewToken, Session, TokenInfo};
use crate::kernel::AskError;
use crate::store::StoreError;
use crate::writer::WriteError;

/// Recognises a token. HTTP uses [`Tokens::check`](super::Tokens::check), which asks only for what is not in memory.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Arc<Session>>, StoreError>")]
pub(crate) struct CheckToken(pub(crate) Digest);

/// Issues a token.
#[derive(Debug, Message)]
#[rtype(result = "Result<NewToken, TokenError>")]
pub struct IssueToken {
    /// Whose it will be.
    pub user_id: String,
    /// What the owner calls it; may be empty.
    pub name: String,
    /// On whose word.
    pub grant: Grant,
}

/// Why a token may be issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// A login: within the limit, and only while this is the hash of the password.
    Login {
        /// See [`LoggedIn`](crate::accounts::LoggedIn).
        password_hash: String,
    },
    /// The operator's command, which the limit does not bind.
    Operator(Lifetime),
}

/// How long a token lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// As the settings say.
    Usual,
    /// Until it is revoked.
    Endless,
}

/// Issues a user's API key in place of the earlier one.
#[derive(Debug, Message)]
#[rtype(result = "Result<NewToken, TokenError>")]
pub struct ReplaceApiKey {
    /// Whose.
    pub user_id: String,
}

/// Ends a token. `false` when there is no such token.
#[derive(Debug, Message)]
#[rtype(result = "Result<bool, TokenError>")]
pub struct RevokeToken {
    /// Which.
    pub token_id: String,
    /// Whose it must be; anyone's when `None`.
    pub user_id: Option<String>,
}

/// Ends all tokens of a user but the API key.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), TokenError>")]
pub struct RevokeAll {
    /// Whose.
    pub user_id: String,
}

/// Lists the live tokens of a user, oldest first.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<TokenInfo>, TokenError>")]
pub struct ListTokens {
    /// Whose.
    pub user_id: String,
}

/// Forgets what is known of a user who was changed; the change moved the mark there.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ForgetUser {
    pub(crate) user_id: String,
    pub(crate) mark: i64,
}

/// Writes down when tokens were last used; answers when that is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), WriteError>")]
pub(crate) struct NoteUses;

/// Why the token store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The user has as many live tokens as allowed.
    #[error("the user has as many live tokens as allowed; revoke one first")]
    LimitReached,
    /// There is no such user any more, or the password changed since it was verified.
    #[error("the user is gone, or the password changed meanwhile")]
    Stale,
    /// It could not be read or written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<AskError> for TokenError {
    fn from(error: AskError) -> Self {
        Self::Write(error.into())
    }
}

impl From<StoreError> for TokenError {
    fn from(error: StoreError) -> Self {
        Self::Write(error.into())
    }
}
