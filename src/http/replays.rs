//! `/api/deliveries/replay/` and `/api/deliveries/replays/`: the replay of many dead letters.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use casewire_actors::domain::record::BulkReplay;
use casewire_actors::domain::replay::Replay;
use casewire_actors::records::{BulkReplayed, CancelReplay, GetReplay, ListReplays, ReplayRecords};
use serde_json::json;

use super::auth::Caller;
use super::deliveries::refusal;
use super::page::Page;
use super::problem::Problem;
use super::records::{fields_of, id_of, listed_user, requester};
use super::reply;
use super::request::Request;

/// `POST …/replay/`: puts all dead letters back that a filter leaves. A few within the request (200); many
/// little by little after it (202, with `Location`).
pub(crate) async fn start(mut request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let user_id = listed_user(&request, &caller)?;
    let replay = BulkReplay::read(&fields_of(&mut request).await?)?;
    let message = ReplayRecords { user_id: Some(user_id), replay };
    match request.state().hub.records().ask(message).await?.map_err(refusal)? {
        BulkReplayed::Done(done) => Ok(reply::ok(&json!({
            "matched": done.n_matched, "replayed": done.n_replayed, "skipped": done.n_skipped,
        }))),
        BulkReplayed::Started(replay) => Ok(started(&request, &replay)),
    }
}

fn started(request: &Request, replay: &Replay) -> HttpResponse {
    let mut response = reply::json(StatusCode::ACCEPTED, &replay.to_json());
    let location = format!("{}/api/deliveries/replays/{}/", request.base_url(), replay.id);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// `GET …/replays/`: the caller's own, or those of an admin's `?user=`; the newest first.
pub(crate) async fn list(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let page = Page::of(&request)?;
    let user_id = Some(listed_user(&request, &caller)?);
    let message = ListReplays { user_id, limit: page.limit, offset: page.offset };
    let listed = request.state().hub.records().ask(message).await?.map_err(refusal)?;
    let rows: Vec<_> = listed.replays.iter().map(Replay::to_json).collect();
    Ok(page.reply(&request, &rows, listed.n_total))
}

/// `GET …/replays/{id}/`: how far it came.
pub(crate) async fn show(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let message = GetReplay { requester: requester(&caller), id: id_of(&request)? };
    let replay = request.state().hub.records().ask(message).await?.map_err(refusal)?;
    Ok(reply::ok(&replay.to_json()))
}

/// `POST …/replays/{id}/cancel/`: stops it. What it has put back stays put back.
pub(crate) async fn cancel(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let message = CancelReplay { requester: requester(&caller), id: id_of(&request)? };
    let replay = request.state().hub.records().ask(message).await?.map_err(refusal)?;
    Ok(reply::ok(&replay.to_json()))
}
