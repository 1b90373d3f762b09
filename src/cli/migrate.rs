//! `casewire migrate`

use anyhow::Context as _;
use casewire_actors::hub::Migrate;
use casewire_actors::office;

use crate::hub_settings::hub_settings;
use crate::settings::Settings;

/// Brings the database to the newest schema and says what it did.
pub(super) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let n_applied = office::migrate(&hub_settings(settings, Migrate::Any)?)
        .await
        .context("the database was not migrated")?;
    match n_applied {
        0 => println!("the schema is up to date"),
        1 => println!("applied 1 migration; the schema is up to date"),
        n => println!("applied {n} migrations; the schema is up to date"),
    }
    Ok(())
}
