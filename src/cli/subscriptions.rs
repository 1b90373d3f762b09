//! `casewire subscriptions …`: which linked accounts X sends events for.

use anyhow::Result;
use casewire_actors::webhooks::Subscribed;

use super::output::print_rows;
use super::{Subscriptions, open_office};
use crate::settings::Settings;

/// Runs one of the commands on subscriptions.
pub(super) async fn run(settings: &Settings, command: &Subscriptions) -> Result<()> {
    let office = open_office(settings).await?;
    let desk = office.webhooks();
    let done = match command {
        Subscriptions::List { listing } => match desk.subscriptions().await {
            Ok(rows) => print_rows(listing.output, &rows).map_err(Into::into),
            Err(error) => Err(error.into()),
        },
        Subscriptions::Add { account } => match desk.add(account).await {
            Ok(subscribed) => {
                let name = subscribed.name();
                subscribed.outcome.map(|()| println!("x sends the events of {name}")).map_err(Into::into)
            }
            Err(error) => Err(error.into()),
        },
        Subscriptions::Remove { account } => match desk.remove(account).await {
            Ok(name) => {
                println!("x sends no more events of {name}");
                Ok(())
            }
            Err(error) => Err(error.into()),
        },
    };
    office.close().await;
    done
}

/// Tells how subscribing an account went; returns whether it did.
pub(super) fn print_outcome(subscribed: &Subscribed) -> bool {
    let (name, id) = (subscribed.name(), &subscribed.twitter_user_id);
    match &subscribed.outcome {
        Ok(()) => println!("subscribed {name} ({id})"),
        Err(error) => println!("failed {name} ({id}): {error}"),
    }
    subscribed.outcome.is_ok()
}
