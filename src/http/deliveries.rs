//! `/api/deliveries/`: what became of what was accepted, and the replay of one dead letter.

use actix_web::HttpResponse;
use casewire_actors::domain::record::{Record, RecordPage};
use casewire_actors::records::{GetRecord, ListRecords, RecordsError, ReplayRecord};

use super::auth::Caller;
use super::page;
use super::problem::Problem;
use super::records::{id_of, listed_user, requester};
use super::reply;
use super::request::Request;

/// `GET`: the caller's own, or those of an admin's `?user=`; the newest first.
pub(crate) async fn list(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let pairs = url::form_urlencoded::parse(request.http().query_string().as_bytes());
    let pairs: Vec<(String, String)> = pairs.into_owned().collect();
    let wanted = RecordPage::read(&pairs)?;
    let user_id = listed_user(&request, &caller)?;
    let listed = request
        .state()
        .hub
        .records()
        .ask(ListRecords { user_id: Some(user_id), page: wanted })
        .await?
        .map_err(refusal)?;
    let rows: Vec<_> = listed.records.iter().map(Record::to_json).collect();
    let next = listed.next_cursor.map(|cursor| page::link(&request, &[("cursor", cursor)], "next"));
    Ok(page::list(&rows, listed.n_total.unwrap_or_default(), next.as_slice()))
}

/// `GET` of one, with each of its attempts.
pub(crate) async fn show(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let message = GetRecord { requester: requester(&caller), id: id_of(&request)? };
    let (record, attempts) = request.state().hub.records().ask(message).await?.map_err(refusal)?;
    Ok(reply::ok(&record.to_json_with(&attempts)))
}

/// `POST …/{id}/replay/`: puts one dead letter back.
pub(crate) async fn replay(request: Request, caller: Caller) -> Result<HttpResponse, Problem> {
    let message = ReplayRecord { requester: requester(&caller), id: id_of(&request)? };
    let record = request.state().hub.records().ask(message).await?.map_err(refusal)?;
    Ok(reply::ok(&record.to_json()))
}

/// What the records refused.
pub(super) fn refusal(error: RecordsError) -> Problem {
    match error {
        RecordsError::NotFound => Problem::NoSuch("Delivery"),
        RecordsError::NotDead(status) => {
            Problem::Conflict(format!("Only dead letters can be replayed; this delivery is {status}."))
        }
        RecordsError::Erased => Problem::Conflict(
            "The text of this delivery was erased after its retention time; it cannot be replayed."
                .to_owned(),
        ),
        RecordsError::NoSuchReplay => Problem::NoSuch("Replay"),
        RecordsError::ReplayDone => {
            Problem::Conflict("This replay is done; it cannot be cancelled any more.".to_owned())
        }
        RecordsError::TooManyReplays => Problem::Conflict(
            "Too many replays are running; wait until one of them is done, or cancel one.".to_owned(),
        ),
        RecordsError::Unavailable(error) => Problem::store_away(&error),
        RecordsError::Internal(error) => Problem::internal(&error),
    }
}
