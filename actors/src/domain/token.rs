//! Tokens: 32 random bytes in hex, of which only a digest is kept.

use std::sync::Arc;

use super::user::User;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// From a login or from the command line: one of several.
    Session,
    /// The user's API key: one at most, spared when all sessions end.
    ApiKey,
}

impl TokenKind {
    /// The stable name in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::ApiKey => "api_key",
        }
    }
}

/// A valid token and its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The token's id.
    pub token_id: String,
    /// What it is for.
    pub kind: TokenKind,
    /// When it ends, in epoch milliseconds; `None` for never.
    pub expires_at_ms: Option<i64>,
    /// Whose it is.
    pub user: Arc<User>,
}
