//! Tokens: 32 random bytes in hex, of which only a digest is kept.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::secret::Secret;
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

    /// The kind of that name.
    pub(crate) fn from_name(name: &str) -> Self {
        if name == Self::ApiKey.as_str() { Self::ApiKey } else { Self::Session }
    }
}

/// How many hex digits a token has, beside its prefix.
const N_DIGITS: usize = 64;
/// The longest prefix that tokens may have.
pub const MAX_PREFIX_LENGTH: usize = 10;

/// A token that was just issued: the only time that it is seen.
#[derive(Clone)]
pub struct NewToken {
    /// The token itself.
    pub token: Secret,
    /// When it ends, in epoch milliseconds; `None` for never.
    pub expires_at_ms: Option<i64>,
}

/// A live token, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// Names the token, to revoke it.
    pub id: String,
    /// What it is for.
    pub kind: TokenKind,
    /// What its owner called it.
    pub name: String,
    /// When it was issued, in epoch milliseconds.
    pub created_at_ms: i64,
    /// When it ends, in epoch milliseconds; `None` for never.
    pub expires_at_ms: Option<i64>,
    /// When it was last used, in epoch milliseconds.
    pub last_used_at_ms: Option<i64>,
}

/// SHA-256 of a token. A token is 32 random bytes, so neither salt nor stretching is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of what may be a token; `None` for what cannot be one, whatever prefix was set
    /// when it was issued.
    pub fn of(token: &str) -> Option<Self> {
        let digits = token.as_bytes().get(token.len().checked_sub(N_DIGITS)?..)?;
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_possible = token.len() <= N_DIGITS + MAX_PREFIX_LENGTH * 4 && digits.iter().all(is_digit);
        is_possible.then(|| Self(Sha256::digest(token.as_bytes()).into()))
    }

    /// From hex, as it is stored.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, n) in bytes.iter_mut().zip(0..) {
            *byte = u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// In hex, as it is stored.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }
}

/// A new token of this prefix from 32 random bytes.
pub fn write_token(prefix: &str, random: &[u8; 32]) -> Secret {
    Secret::new(format!("{prefix}{}", hex(random)))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// A valid token and its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The token's id.
    pub token_id: String,
    /// What it is for.
    pub kind: TokenKind,
    /// When it was issued, in epoch milliseconds.
    pub created_at_ms: i64,
    /// When it ends, in epoch milliseconds; `None` for never.
    pub expires_at_ms: Option<i64>,
    /// Whose it is.
    pub user: Arc<User>,
}

impl Session {
    /// Whether it has ended by itself.
    pub fn has_expired(&self, now_ms: i64) -> bool {
        self.expires_at_ms.is_some_and(|at| at <= now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_token_has_no_digest() {
        let good = "a".repeat(64);
        for (text, expected) in [
            (good.clone(), true),
            (format!("tn_{good}"), true),
            (format!("éèàùéèàùéè{good}"), true),
            (good[1..].to_owned(), false),
            (good.to_uppercase(), false),
            (format!("{}g", &good[1..]), false),
            (format!("{good}ü"), false),
            ("ü".repeat(40), false),
            (String::new(), false),
            ("a".repeat(4096), false),
        ] {
            assert_eq!(Digest::of(&text).is_some(), expected, "{text}");
        }
    }

    #[test]
    fn tokens_are_their_prefix_and_64_hex_digits() {
        assert_eq!(write_token("tn_", &[0xAB; 32]).expose(), format!("tn_{}", "ab".repeat(32)));
        let digest = Digest::of(&"0".repeat(64)).map(Digest::to_hex);
        assert_eq!(
            digest.as_deref(),
            Some("60e05bd1b195af2f94112fa7197a5c88289058840ce7c6df9693756bc6250f55")
        );
    }
}
