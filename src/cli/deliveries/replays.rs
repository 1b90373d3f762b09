//! `casewire deliveries replay --status dead`, `replays` and `cancel-replay`: the replay of many.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Result, bail};
use casewire_actors::domain::record::{BulkReplay, DeliveryStatus, RecordFilter};
use casewire_actors::domain::replay::{Replay, ReplayState};
use casewire_actors::office::Office;
use casewire_actors::records::{BulkReplayed, CancelReplay, GetReplay, ListReplays, ReplayRecords, Replayed};
use serde_json::Value;
use uuid::Uuid;

use super::{instance_id, operator};
use crate::cli::dispatch::Misuse;
use crate::cli::output::{columns, print_rows};
use crate::cli::{Listing, Replay as Asked};

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How many replays a list shows.
const MAX_LISTED: i64 = 200;
/// What a table has room for.
const COLUMNS: [&str; 8] = ["id", "created_at", "state", "matched", "done", "replayed", "skipped", "rate"];

/// Refuses a filter of what cannot be replayed.
pub(super) fn check(asked: &Asked) -> Result<()> {
    if asked.ids.is_empty() && asked.status != Some(DeliveryStatus::Dead) {
        bail!(Misuse("only dead letters can be replayed: use --status dead".to_owned()));
    }
    Ok(())
}

/// Replays all dead letters of a filter; many of them little by little.
pub(super) async fn start(office: &Office, asked: &Asked) -> Result<()> {
    let instance_id = match &asked.instance {
        Some(name) => Some(instance_id(office, name).await?),
        None => None,
    };
    let filter = RecordFilter {
        status: Some(DeliveryStatus::Dead),
        instance_id,
        since_ms: asked.since_ms,
        until_ms: asked.until_ms,
        ..RecordFilter::default()
    };
    let replay = BulkReplay { filter, is_dry_run: asked.dry_run, rate: asked.rate };
    match office.records().ask(ReplayRecords { user_id: None, replay }).await?? {
        BulkReplayed::Done(counted) if asked.dry_run => tell_dry_run(counted),
        BulkReplayed::Done(Replayed { n_matched, n_replayed, n_skipped }) => {
            tell_end(n_replayed, n_matched, n_skipped);
        }
        BulkReplayed::Started(replay) if asked.detach => {
            println!(
                "{}: {} dead letters are queued again, {}, by a running hub",
                replay.id, replay.n_total, replay.rate
            );
        }
        BulkReplayed::Started(replay) => follow(office, replay).await?,
    }
    Ok(())
}

fn tell_dry_run(counted: Replayed) {
    println!("{} dead letters would be queued again", counted.n_matched - counted.n_skipped);
    if counted.n_skipped > 0 {
        println!("{} would not: their texts were erased after their retention", counted.n_skipped);
    }
}

fn tell_end(n_replayed: i64, n_matched: i64, n_skipped: i64) {
    println!("{n_replayed} of {n_matched} dead letters are queued again");
    if n_skipped > 0 {
        println!("{n_skipped} are not: their texts were erased, or somebody was faster");
    }
}

/// Shows how far a replay came until it has ended. Carries it on, whether or not a hub does the same.
async fn follow(office: &Office, mut replay: Replay) -> Result<()> {
    let _replaying = office.carry_replays_on();
    let shows = io::stderr().is_terminal();
    eprintln!("replay {}: {} dead letters, {}", replay.id, replay.n_total, replay.rate);
    while replay.state == ReplayState::Running {
        tokio::time::sleep(LOOK).await;
        let message = GetReplay { requester: operator(), id: replay.id.clone() };
        replay = office.records().ask(message).await??;
        if shows {
            let mut stderr = io::stderr().lock();
            write!(stderr, "\r{} of {} ", replay.n_done, replay.n_total)?;
            stderr.flush()?;
        }
    }
    if shows {
        eprintln!();
    }
    tell_end(replay.n_replayed(), replay.n_total, replay.n_skipped);
    if replay.state == ReplayState::Cancelled {
        bail!("the replay was cancelled");
    }
    Ok(())
}

/// Lists replays, the newest first.
pub(super) async fn list(office: &Office, listing: Listing) -> Result<()> {
    let message = ListReplays { user_id: None, limit: MAX_LISTED, offset: 0 };
    let listed = office.records().ask(message).await??;
    let row = |replay: &Replay| columns(listing.output, replay.to_json(), &COLUMNS);
    let rows: Vec<Value> = listed.replays.iter().map(row).collect();
    Ok(print_rows(listing.output, &rows)?)
}

/// Stops a replay.
pub(super) async fn cancel(office: &Office, id: Uuid) -> Result<()> {
    let message = CancelReplay { requester: operator(), id: id.to_string() };
    let replay = office.records().ask(message).await??;
    println!("{id}: cancelled after {} of {}", replay.n_done, replay.n_total);
    Ok(())
}
