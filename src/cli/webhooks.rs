//! `casewire webhooks …`: the webhook at X.

use anyhow::{Result, bail};
use casewire_actors::webhooks::{Registration, Replace, Webhooks as Desk};
use casewire_actors::x::webhooks::Webhook;
use serde::Serialize;
use url::Url;

use super::output::print_rows;
use super::subscriptions::print_outcome;
use super::{Listing, Webhooks, open_office};
use crate::settings::Settings;

/// A webhook as it is listed.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    url: &'a str,
    valid: bool,
    created_at: Option<&'a str>,
}

/// Runs one of the commands on webhooks.
pub(super) async fn run(settings: &Settings, command: &Webhooks) -> Result<()> {
    let office = open_office(settings).await?;
    let desk = office.webhooks();
    let done = match command {
        Webhooks::Register { url, replace } => {
            register(desk, url, if *replace { Replace::Other } else { Replace::Refuse }).await
        }
        Webhooks::List { listing } => list(desk, *listing).await,
        Webhooks::Validate { id } => validate(desk, id).await,
        Webhooks::Delete { id } => delete(desk, id).await,
    };
    office.close().await;
    done
}

async fn register(desk: &Desk, url: &Url, replace: Replace) -> Result<()> {
    let registration = desk.register(url, replace).await?;
    let webhook = registration.webhook();
    match &registration {
        Registration::Created(_) => println!("registered the webhook {} (id {})", webhook.url, webhook.id),
        Registration::Validated(_) => {
            println!(
                "the webhook {} (id {}) was registered before; x checked it again",
                webhook.url, webhook.id
            );
        }
        Registration::Replaced { old, .. } => {
            println!("gave up the webhook {} (id {})", old.url, old.id);
            println!("registered the webhook {} (id {})", webhook.url, webhook.id);
        }
    }
    refuse_invalid(webhook)?;
    let subscribed = desk.subscribe_all(&webhook.id).await?;
    if subscribed.is_empty() {
        println!("no account is linked yet; link one, then run `casewire subscriptions add`");
    }
    let n_failed = subscribed.iter().filter(|one| !print_outcome(one)).count();
    if n_failed > 0 {
        bail!(
            "{n_failed} of {} accounts are not subscribed; mend what is told above, then register again",
            subscribed.len()
        );
    }
    Ok(())
}

fn refuse_invalid(webhook: &Webhook) -> Result<()> {
    if webhook.is_valid {
        return Ok(());
    }
    bail!("x finds the webhook {} invalid and sends no events; run `casewire doctor`", webhook.id)
}

async fn list(desk: &Desk, listing: Listing) -> Result<()> {
    let webhooks = desk.list().await?;
    let rows: Vec<Row> = webhooks
        .iter()
        .map(|webhook| Row {
            id: &webhook.id,
            url: &webhook.url,
            valid: webhook.is_valid,
            created_at: webhook.created_at.as_deref(),
        })
        .collect();
    Ok(print_rows(listing.output, &rows)?)
}

async fn validate(desk: &Desk, id: &str) -> Result<()> {
    if !desk.validate(id).await? {
        bail!("x finds the webhook {id} invalid and sends no events; run `casewire doctor`");
    }
    println!("the webhook {id} is valid");
    Ok(())
}

async fn delete(desk: &Desk, id: &str) -> Result<()> {
    desk.delete(id).await?;
    println!("deleted the webhook {id}; x sends no more events to it");
    Ok(())
}
