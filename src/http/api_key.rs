//! `/api/api-key/`: the token that does not expire, for the scripts of a `ServiceNow` instance.

use actix_web::HttpResponse;
use casewire_actors::token_store::{ReplaceApiKey, TokenError};

use super::auth::{AuthFailure, Caller};
use super::problem::Problem;
use super::reply;
use super::request::Request;

/// `POST /api/api-key/`: a new key in place of the earlier one, as a bare string, shown once.
pub(crate) async fn replace(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let replace = ReplaceApiKey { user_id: caller.user.id.clone() };
    match request.state().hub.tokens().mailbox().ask(replace).await? {
        Ok(issued) => Ok(reply::created(&issued.token.expose())),
        // The user was deleted while asking.
        Err(TokenError::Stale) => Err(AuthFailure::Invalid.into()),
        Err(error) => Err(error.into()),
    }
}
