//! `casewire deliveries`: the outbox, the dead letters and their replay, of all users.
//!
//! Works on the store beside a running hub, which sees within a second what was put back.

mod replays;

use std::io::{self, Write as _};

use anyhow::{Result, bail};
use casewire_actors::domain::record::{DeliveryStatus, MAX_LIMIT, Record, RecordFilter, RecordPage};
use casewire_actors::domain::requester::Requester;
use casewire_actors::office::Office;
use casewire_actors::records::{FindInstances, GetRecord, ListRecords, ReplayRecord};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::output::{OutputFormat, columns, print_json, print_line, print_rows};
use super::{Deliveries, Listing, Replay, open_office};
use crate::settings::Settings;

/// What a table has room for.
const COLUMNS: [&str; 8] =
    ["id", "created_at", "direction", "kind", "status", "attempts", "case_number", "error_detail"];

/// Runs the command.
pub(super) async fn run(settings: &Settings, command: Deliveries) -> Result<()> {
    if let Deliveries::Replay(replay) = &command {
        replays::check(replay)?;
    }
    let office = open_office(settings).await?;
    let done = match command {
        Deliveries::List { status, instance, listing } => list(&office, status, instance, listing).await,
        Deliveries::Show { id, listing } => show(&office, id, listing).await,
        Deliveries::Replay(replay) if replay.ids.is_empty() => replays::start(&office, &replay).await,
        Deliveries::Replay(replay) => replay_each(&office, &replay).await,
        Deliveries::Replays { listing } => replays::list(&office, listing).await,
        Deliveries::CancelReplay { id } => replays::cancel(&office, id).await,
    };
    office.close().await;
    done
}

/// The command line may see everything: whoever runs it can read the store.
fn operator() -> Requester {
    Requester { user_id: String::new(), is_admin: true }
}

async fn list(
    office: &Office,
    status: Option<DeliveryStatus>,
    instance: Option<String>,
    listing: Listing,
) -> Result<()> {
    let instance_id = match instance {
        Some(name) => Some(instance_id(office, &name).await?),
        None => None,
    };
    let filter = RecordFilter { status, instance_id, ..RecordFilter::default() };
    let page = RecordPage { filter, limit: MAX_LIMIT, cursor: None };
    let listed = office.records().ask(ListRecords { user_id: None, page }).await??;
    let row = |record: &Record| columns(listing.output, record.to_json(), &COLUMNS);
    let rows: Vec<Value> = listed.records.iter().map(row).collect();
    print_rows(listing.output, &rows)?;
    if listed.next_cursor.is_some() {
        let mut stderr = io::stderr().lock();
        writeln!(stderr, "the newest {MAX_LIMIT} are shown; narrow the list or use GET /api/deliveries/")?;
    }
    Ok(())
}

/// The id of an instance that is named by its id or its URL.
async fn instance_id(office: &Office, name: &str) -> Result<String> {
    if let Ok(id) = Uuid::try_parse(name) {
        return Ok(id.to_string());
    }
    let instance_url = name.trim_end_matches('/').to_ascii_lowercase();
    let ids = office.records().ask(FindInstances { instance_url }).await??;
    match ids.as_slice() {
        [id] => Ok(id.clone()),
        [] => bail!("no instance has the url {name}; name it by its id"),
        ids => bail!("several users have an instance with this url; name one by its id: {}", ids.join(", ")),
    }
}

async fn show(office: &Office, id: Uuid, listing: Listing) -> Result<()> {
    let message = GetRecord { requester: operator(), id: id.to_string() };
    let (record, attempts) = office.records().ask(message).await??;
    let shown = record.to_json_with(&attempts);
    if listing.output == OutputFormat::Json {
        return Ok(print_json(&shown)?);
    }
    let mut fields = shown.as_object().cloned().unwrap_or_default();
    let attempts = fields.shift_remove("attempts");
    let rows: Vec<Value> = fields.into_iter().map(|(field, value)| pair(field, value)).collect();
    print_rows(listing.output, &rows)?;
    let attempts = attempts.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
    if !attempts.is_empty() {
        print_line("")?;
        print_rows(listing.output, &attempts)?;
    }
    Ok(())
}

fn pair(field: String, value: Value) -> Value {
    Value::Object(Map::from_iter([("field".to_owned(), Value::String(field)), ("value".to_owned(), value)]))
}

/// Replays those named, goes on after a refusal, and fails if there was one.
async fn replay_each(office: &Office, replay: &Replay) -> Result<()> {
    let mut n_refused = 0_usize;
    for id in &replay.ids {
        let id = id.to_string();
        let outcome = if replay.dry_run {
            would_replay(office, &id).await?
        } else {
            let message = ReplayRecord { requester: operator(), id: id.clone() };
            office.records().ask(message).await?.map(|_| "queued again".to_owned())
        };
        match outcome {
            Ok(told) => print_line(&format!("{id}: {told}"))?,
            Err(error) => {
                n_refused += 1;
                eprintln!("{id}: {error}");
            }
        }
    }
    if n_refused > 0 {
        bail!("{n_refused} of {} were not replayed", replay.ids.len());
    }
    Ok(())
}

type Told = Result<String, casewire_actors::records::RecordsError>;

async fn would_replay(office: &Office, id: &str) -> Result<Told> {
    let message = GetRecord { requester: operator(), id: id.to_owned() };
    let found = office.records().ask(message).await?;
    Ok(found.and_then(|(record, _)| match record.status.as_str() {
        "dead" => Ok("would be queued again".to_owned()),
        _ => Err(casewire_actors::records::RecordsError::NotDead(record.status)),
    }))
}
