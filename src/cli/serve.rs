//! `casewire serve`

use anyhow::Context as _;
use casewire_actors::hub::{Hub, Migrate};
use casewire_actors::kernel::Sources;

use super::Serve;
use crate::application::Application;
use crate::hub_settings::hub_settings;
use crate::settings::Settings;

/// Runs the hub until it is stopped.
pub(super) async fn run(settings: &Settings, asked: &Serve) -> anyhow::Result<()> {
    let migrate = if asked.migrate { Migrate::Any } else { Migrate::Embedded };
    let hub = Hub::start(hub_settings(settings, migrate), Sources::system())
        .await
        .context("the hub did not start")?;
    let listen = settings.server.listen;
    let application = Application::build(settings.clone(), hub)
        .with_context(|| format!("server.listen: cannot listen on {listen}"))?;
    Ok(application.run_until_stopped().await?)
}
