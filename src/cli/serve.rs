//! `casewire serve`: runs the hub.

use anyhow::{Context as _, Result};
use casewire_actors::hub::Migrate;

use super::Serve;
use crate::settings::Settings;
use crate::{Application, startup};

/// Runs the hub until it is told to stop.
pub(super) async fn run(settings: &Settings, asked: &Serve) -> Result<()> {
    casewire_actors::metrics::count_panics();
    let migrate = if asked.migrate { Migrate::Any } else { Migrate::Embedded };
    let hub = startup::start_hub(settings, migrate).await?;
    let listen = settings.server.listen;
    let application = Application::build(settings.clone(), hub)
        .with_context(|| format!("server.listen: cannot listen on {listen}"))?;
    application.run_until_stopped().await.context("the hub did not stop in order")
}
