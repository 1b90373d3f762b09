//! `/api/servicenow-details/`: the ServiceNow instances of a user.

use actix_web::HttpResponse;
use casewire_actors::directory::{
    ChangeInstance, CreateInstance, DeleteInstance, GetInstance, ListInstances,
};
use casewire_actors::domain::fields::Writing;
use casewire_actors::domain::instance::{InstanceForm, InstanceView};

use super::auth::Caller;
use super::page::Page;
use super::problem::Problem;
use super::records::{fields_of, id_of, listed_user, refusal, requester};
use super::reply;
use super::request::Request;

const KIND: &str = "ServicenowDetails";

/// `GET`: the caller's own, or those of an admin's `?user=`.
pub(crate) async fn list(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let page = Page::of(&request)?;
    let user_id = listed_user(&request, &caller)?;
    let message = ListInstances { user_id, limit: page.limit, offset: page.offset };
    let listed = request.state().hub.directory().ask(message).await?.map_err(refusal(KIND))?;
    let rows: Vec<_> = listed.rows.iter().map(InstanceView::to_json).collect();
    Ok(page.reply(&request, &rows, listed.n_total))
}

/// `POST`: a new one for the caller.
pub(crate) async fn create(mut request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let form = InstanceForm::read(&fields_of(&mut request).await?, Writing::Create);
    let message = CreateInstance { requester: requester(&caller), form };
    let made = request.state().hub.directory().ask(message).await?.map_err(refusal(KIND))?;
    Ok(reply::created(&made.to_json()))
}

/// `GET` of one.
pub(crate) async fn show(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    Ok(reply::ok(&find(&request, &caller).await?.to_json()))
}

/// `PUT`: secrets that are not sent stay.
pub(crate) async fn replace(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    change(request, caller, Writing::Replace).await
}

/// `PATCH`: everything that is not sent stays.
pub(crate) async fn patch(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    change(request, caller, Writing::Patch).await
}

/// `DELETE`: what waits for it is kept until its accounts feed another one.
pub(crate) async fn remove(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let message = DeleteInstance { requester: requester(&caller), id: id_of(&request)? };
    request.state().hub.directory().ask(message).await?.map_err(refusal(KIND))?;
    Ok(reply::no_content())
}

async fn find(request: &Request, caller: &Caller) -> Result<InstanceView, Problem> {
    let message = GetInstance { requester: requester(caller), id: id_of(request)? };
    request.state().hub.directory().ask(message).await?.map_err(refusal(KIND))
}

/// The record is looked up before the body is read: what is another's is 404 whatever was sent.
async fn change(mut request: Request, caller: Caller, writing: Writing) -> Result<HttpResponse, Problem> {
    let id = find(&request, &caller).await?.id;
    let form = InstanceForm::read(&fields_of(&mut request).await?, writing);
    let message = ChangeInstance { requester: requester(&caller), id, form };
    let changed = request.state().hub.directory().ask(message).await?.map_err(refusal(KIND))?;
    Ok(reply::ok(&changed.to_json()))
}
