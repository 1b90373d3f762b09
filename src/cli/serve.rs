//! `casewire serve`: runs the hub.

use anyhow::{Context, Result};

use casewire_actors::hub::Migrate;

use crate::settings::Settings;
use crate::{Application, startup};

/// Runs the hub until it is told to stop. `Migrate::Any` brings a server database up to date first; an
/// embedded one always is.
pub async fn run(settings: Settings, migrate: Migrate) -> Result<()> {
    casewire_actors::metrics::count_panics();
    let hub = startup::start_hub(&settings, migrate).await?;
    let listen = settings.server.listen;
    let application =
        Application::build(settings, hub).with_context(|| format!("the hub cannot listen on {listen}"))?;
    application.run_until_stopped().await.context("the hub did not stop in order")
}
