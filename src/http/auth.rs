//! Who calls: the rules of the `Authorization` header, and the callers that handlers ask for.

use std::ops::Deref;
use std::sync::Arc;

use actix_web::http::header::{self, HeaderValue};
use casewire_actors::domain::token::Session;
use uuid::Uuid;

use super::problem::Problem;
use super::request::Request;

/// Why nobody could be recognised; the texts are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthFailure {
    /// No `Authorization` header, or one for something else.
    #[error("Authentication credentials were not provided.")]
    Missing,
    /// `Token` and nothing behind it.
    #[error("Invalid token header. No credentials provided.")]
    Empty,
    /// `Token` and several words.
    #[error("Invalid token header. Token string should not contain spaces.")]
    Spaces,
    /// Unknown, expired, revoked, or not a token at all.
    #[error("Invalid token.")]
    Invalid,
    /// The owner may not log in any more.
    #[error("User inactive or deleted.")]
    Inactive,
}

/// A user with a valid token.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Arc<Session>);

/// A [`Caller`] who is an admin.
#[derive(Debug, Clone)]
pub(crate) struct Admin(Caller);

impl Deref for Caller {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl Deref for Admin {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl Caller {
    /// The caller as an admin, or 403.
    pub(crate) fn into_admin(self) -> Result<Admin, Problem> {
        if self.user.is_staff { Ok(Admin(self)) } else { Err(Problem::PermissionDenied) }
    }

    /// Whether this is the caller's own id.
    pub(crate) fn is(&self, id: Uuid) -> bool {
        let mut text = Uuid::encode_buffer();
        self.user.id == *id.hyphenated().encode_lower(&mut text)
    }

    /// Whether the caller may see and change what belongs to this user.
    pub(crate) fn may_act_for(&self, user_id: &str) -> bool {
        self.user.is_staff || self.user.id == user_id
    }
}

/// Recognises the caller of a request.
pub(crate) async fn caller(request: &Request) -> Result<Caller, Problem> {
    let token = token_of(request.header(header::AUTHORIZATION))?;
    let session = request.state().hub.tokens().check(token).await?;
    let session = session.ok_or(AuthFailure::Invalid)?;
    if !session.user.is_active {
        return Err(AuthFailure::Inactive.into());
    }
    Ok(Caller(session))
}

/// The token in the header. Another prefix, or an empty header, counts as no credentials.
fn token_of(header: Option<&HeaderValue>) -> Result<&str, AuthFailure> {
    let bytes = header.ok_or(AuthFailure::Missing)?.as_bytes();
    let mut words = bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let prefix = words.next().ok_or(AuthFailure::Missing)?;
    if !prefix.eq_ignore_ascii_case(b"token") {
        return Err(AuthFailure::Missing);
    }
    let token = words.next().ok_or(AuthFailure::Empty)?;
    if words.next().is_some() {
        return Err(AuthFailure::Spaces);
    }
    std::str::from_utf8(token).map_err(|_| AuthFailure::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read_as_recorded() {
        for (header, expected) in [
            (b"".as_slice(), Err(AuthFailure::Missing)),
            (b"  ", Err(AuthFailure::Missing)),
            (b"Bearer abc", Err(AuthFailure::Missing)),
            (b"Basic eDp5", Err(AuthFailure::Missing)),
            (b"Token", Err(AuthFailure::Empty)),
            (b"Token  ", Err(AuthFailure::Empty)),
            (b"Token abc", Ok("abc")),
            (b"token   abc ", Ok("abc")),
            (b"TOKEN\tabc", Ok("abc")),
            (b"Token a b", Err(AuthFailure::Spaces)),
            (b"Token a, Token b", Err(AuthFailure::Spaces)),
            (b"Token \xff\xfe", Err(AuthFailure::Invalid)),
            (b"Tokenabc", Err(AuthFailure::Missing)),
        ] {
            let value = HeaderValue::from_bytes(header).unwrap();
            assert_eq!(token_of(Some(&value)), expected, "{header:?}");
        }
        assert_eq!(token_of(None), Err(AuthFailure::Missing));
    }
}
