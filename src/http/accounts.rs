//! `/api/twitter-details/` and `/api/twitter-revoke/`: the linked X accounts of a user.

use actix_web::HttpResponse;
use casewire_actors::directory::{
    ChangeAccount, ForgetAccount, ForgetAccountsOf, GetAccount, LinkAccount, ListAccounts,
};
use casewire_actors::domain::account::{AccountForm, AccountView};
use casewire_actors::domain::fields::Writing;

use super::auth::Caller;
use super::page::Page;
use super::problem::Problem;
use super::records::{fields_of, id_of, listed_user, query_id, refusal, requester};
use super::reply;
use super::request::Request;

const KIND: &str = "TwitterDetails";

/// `GET`: the caller's own, or those of an admin's `?user=`.
pub(crate) async fn list(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let page = Page::of(&request)?;
    let user_id = listed_user(&request, &caller)?;
    let message = ListAccounts { user_id, limit: page.limit, offset: page.offset };
    let listed = request.state().hub.directory().ask(message).await?.map_err(refusal(KIND))?;
    let rows: Vec<_> = listed.rows.iter().map(AccountView::to_json).collect();
    Ok(page.reply(&request, &rows, listed.n_total))
}

/// `POST`: links an account by its own tokens.
pub(crate) async fn link(mut request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let form = AccountForm::read(&fields_of(&mut request).await?, Writing::Create);
    let message = LinkAccount { requester: requester(&caller), form };
    let linked = request.state().hub.directory().ask(message).await?.map_err(refusal(KIND))?;
    Ok(reply::created(&linked.to_json()))
}

/// `GET` of one.
pub(crate) async fn show(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    Ok(reply::ok(&find(&request, &caller).await?.to_json()))
}

/// `PUT`: tokens that are not sent stay.
pub(crate) async fn replace(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    change(request, caller, Writing::Replace).await
}

/// `PATCH`: everything that is not sent stays.
pub(crate) async fn patch(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    change(request, caller, Writing::Patch).await
}

/// `DELETE`: forgets the account, its conversations and its deliveries.
pub(crate) async fn remove(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    forget(&request, &caller, id_of(&request)?).await
}

/// `DELETE /api/twitter-revoke/`: forgets the caller's accounts, or the one of `?account=`.
pub(crate) async fn revoke(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    if let Some(id) = query_id(&request, "account")? {
        return forget(&request, &caller, id).await;
    }
    let message = ForgetAccountsOf { user_id: caller.user.id.clone() };
    request.state().hub.directory().ask(message).await?.map_err(refusal(KIND))?;
    Ok(reply::no_content())
}

async fn forget(request: &Request, caller: &Caller, id: String) -> Result<HttpResponse, Problem> {
    let message = ForgetAccount { requester: requester(caller), id };
    request.state().hub.directory().ask(message).await?.map_err(refusal(KIND))?;
    Ok(reply::no_content())
}

async fn find(request: &Request, caller: &Caller) -> Result<AccountView, Problem> {
    let message = GetAccount { requester: requester(caller), id: id_of(request)? };
    request.state().hub.directory().ask(message).await?.map_err(refusal(KIND))
}

/// The record is looked up before the body is read: what is another's is 404 whatever was sent.
async fn change(mut request: Request, caller: Caller, writing: Writing) -> Result<HttpResponse, Problem> {
    let id = find(&request, &caller).await?.id;
    let form = AccountForm::read(&fields_of(&mut request).await?, writing);
    let message = ChangeAccount { requester: requester(&caller), id, form };
    let changed = request.state().hub.directory().ask(message).await?.map_err(refusal(KIND))?;
    Ok(reply::ok(&changed.to_json()))
}
