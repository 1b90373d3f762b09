//! `/api/activity/`: X's webhook.
//!
//! X checks the address with a token to be signed (the challenge-response check, CRC) and posts events
//! signed with the same secret. So the check signs nothing that could be an event, and events are
//! believed only with a signature over the bytes as they came.

use actix_web::HttpResponse;
use casewire_actors::intake::{IntakeError, Receive};
use casewire_actors::x::signature::SIGNATURE_HEADER;
use serde_json::json;

use super::problem::Problem;
use super::reply;
use super::request::Request;

/// `GET`: the challenge-response check, answered from memory.
pub(crate) async fn check(request: Request) -> Result<HttpResponse, Problem> {
    let refusal = "crc_token must be 1 to 256 characters of A-Z a-z 0-9 + / = _ -";
    let response_token = request.state().hub.webhook().response_token(request.http().query_string());
    let response_token = response_token.ok_or_else(|| Problem::field("crc_token", refusal))?;
    Ok(reply::ok(&json!({ "response_token": response_token })))
}

/// `POST`: events. 200 only after those that are kept are on disk.
pub(crate) async fn receive(mut request: Request) -> Result<HttpResponse, Problem> {
    let body = request.bytes().await?;
    let signature = request.http().headers().get(SIGNATURE_HEADER).and_then(|value| value.to_str().ok());
    if !request.state().hub.webhook().is_genuine(&body, signature) {
        let reason = "The signature in x-twitter-webhooks-signature is missing or wrong.";
        return Err(Problem::BadSignature(reason));
    }
    let receipt = request.state().hub.intake().ask(Receive { body }).await.map_err(Problem::from)?;
    match receipt {
        Ok(receipt) => Ok(reply::ok(&receipt)),
        Err(IntakeError::NotJson(error)) => Err(Problem::Malformed(error.to_string())),
        Err(IntakeError::Unavailable(error)) => Err(Problem::store_away(&error)),
    }
}
