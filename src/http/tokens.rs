//! `/auth/tokens/`: the caller's live tokens, never the tokens themselves.

use actix_web::HttpResponse;
use casewire_actors::domain::token::{TokenInfo, TokenKind};
use casewire_actors::token_store::{ListTokens, RevokeToken};
use serde::Serialize;

use super::auth::Caller;
use super::negotiate::path_uuid;
use super::problem::Problem;
use super::request::Request;
use super::{page, reply, time};

/// A token in answers and lists.
#[derive(Serialize)]
pub(crate) struct TokenBody {
    id: String,
    name: String,
    created: String,
    expiry: Option<String>,
    last_used: Option<String>,
    kind: &'static str,
}

impl From<TokenInfo> for TokenBody {
    fn from(token: TokenInfo) -> Self {
        Self {
            id: token.id,
            name: token.name,
            created: time::rfc3339(token.created_at_ms),
            expiry: token.expires_at_ms.map(time::rfc3339),
            last_used: token.last_used_at_ms.map(time::rfc3339),
            kind: match token.kind {
                TokenKind::Session => "token",
                TokenKind::ApiKey => "api_key",
            },
        }
    }
}

/// `GET /auth/tokens/`.
pub(crate) async fn list(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let page = page::Page::of(&request)?;
    let user_id = caller.user.id.clone();
    let tokens = request.state().hub.tokens().mailbox().ask(ListTokens { user_id }).await??;
    let n_all = i64::try_from(tokens.len()).unwrap_or(i64::MAX);
    let [n_skipped, n_shown] = [page.offset, page.limit].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let shown = tokens.into_iter().skip(n_skipped).take(n_shown);
    Ok(page.reply(&request, &shown.map(TokenBody::from).collect::<Vec<_>>(), n_all))
}

/// `DELETE /auth/tokens/{id}/`.
pub(crate) async fn revoke(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let token_id = path_uuid(request.segment("id")).ok_or(Problem::NotFound)?.to_string();
    let revoke = RevokeToken { token_id, user_id: Some(caller.user.id.clone()) };
    let was_live = request.state().hub.tokens().mailbox().ask(revoke).await??;
    if was_live { Ok(reply::no_content()) } else { Err(Problem::NoSuch("Token")) }
}
