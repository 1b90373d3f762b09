//! Starting the hub from settings.

use anyhow::{Context, Result};
use casewire_actors::accounts::CreateUser;
use casewire_actors::domain::secret::Secret;
use casewire_actors::domain::user::NewUser;
use casewire_actors::hub::{Hub, HubSettings, Migrate};
use casewire_actors::kernel::Sources;

use crate::hub_settings::hub_settings;
use crate::settings::Settings;

/// Starts the actors of a hub. Must be called inside an actix system.
pub async fn start_hub(settings: &Settings, migrate: Migrate) -> Result<Hub> {
    start(hub_settings(settings, migrate)?).await
}

/// The same with settings in the hub's own types.
pub async fn start(settings: HubSettings) -> Result<Hub> {
    Hub::start(settings, Sources::system()).await.context("the hub cannot start")
}

/// Makes an admin, as `createsuperuser` does.
pub async fn create_admin(hub: &Hub, username: &str, password: &Secret) -> Result<()> {
    let new = NewUser {
        username: username.to_owned(),
        first_name: String::new(),
        last_name: String::new(),
        company_name: String::new(),
        is_staff: true,
        password: password.clone(),
    };
    hub.accounts().ask(CreateUser(new)).await?.context("the admin cannot be made")?;
    Ok(())
}
