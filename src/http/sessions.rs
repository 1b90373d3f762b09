//! `/auth/login/`, `/auth/logout/`, `/auth/logout-all/`.

use actix_web::HttpResponse;
use casewire_actors::accounts::LogIn;
use casewire_actors::domain::secret::Secret;
use casewire_actors::token_store::{Grant, IssueToken, RevokeAll, RevokeToken};
use serde::Serialize;

use super::auth::Caller;
use super::problem::Problem;
use super::request::Request;
use super::users::UserBody;
use super::validate::{Presence, Text, check};
use super::{reply, time};

const FIELDS: [Text; 2] = [Text::new("username"), Text::new("password").untrimmed()];

#[derive(Serialize)]
struct LoginBody<'a> {
    expiry: Option<String>,
    token: &'a str,
    user: UserBody<'a>,
}

/// `POST /auth/login/`: a token for a user name and a password.
pub(crate) async fn log_in(mut request: Request) -> Result<HttpResponse, Problem> {
    let body = request.body().await?;
    let mut fields = check(&body, &FIELDS, Presence::Whole)?;
    let log_in = LogIn {
        username: fields.take("username").unwrap_or_default(),
        password: Secret::new(fields.take("password").unwrap_or_default()),
        address: request.client(),
    };
    let hub = &request.state().hub;
    let logged_in = hub.accounts().ask(log_in).await??;
    let issue = IssueToken {
        user_id: logged_in.user.id.clone(),
        name: String::new(),
        grant: Grant::Login { password_hash: logged_in.password_hash },
    };
    let issued = hub.tokens().mailbox().ask(issue).await??;
    Ok(reply::ok(&LoginBody {
        expiry: issued.expires_at_ms.map(time::rfc3339),
        token: issued.token.expose(),
        user: UserBody::from(&logged_in.user),
    }))
}

/// `POST /auth/logout/`: ends the token that it is asked with.
pub(crate) async fn log_out(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let token_id = caller.token_id.clone();
    let user_id = Some(caller.user.id.clone());
    // One that ended meanwhile is as good.
    let _was_live = request.state().hub.tokens().mailbox().ask(RevokeToken { token_id, user_id }).await??;
    Ok(reply::no_content())
}

/// `POST /auth/logout-all/`: ends all tokens of the caller but the API key.
pub(crate) async fn log_out_all(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let user_id = caller.user.id.clone();
    request.state().hub.tokens().mailbox().ask(RevokeAll { user_id }).await??;
    Ok(reply::no_content())
}
