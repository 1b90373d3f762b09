//! `casewire serve`: runs the hub.

use anyhow::{Context as _, Result};
use casewire_actors::hub::{EarlierKey, Migrate};

use super::Serve;
use crate::hub_settings::hub_settings;
use crate::settings::Settings;
use crate::{Application, startup};

/// Lets the process open as many files as the system allows it: every instance with traffic has connections,
/// and the usual limit of 1024 is soon used up.
fn allow_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

/// Runs the hub until it is told to stop.
pub(super) async fn run(settings: &Settings, asked: &Serve) -> Result<()> {
    casewire_actors::metrics::count_panics();
    allow_open_files();
    let migrate = if asked.migrate { Migrate::Any } else { Migrate::Embedded };
    let mut wanted = hub_settings(settings, migrate)?;
    if asked.key_lost {
        wanted.earlier_key = EarlierKey::Lost;
    }
    let hub = startup::start(wanted).await?;
    let application = Application::build(settings.clone(), hub)?;
    application.run_until_stopped().await.context("the hub did not stop in order")
}
