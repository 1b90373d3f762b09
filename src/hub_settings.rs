//! What the actors need of the settings, in their own types.

use casewire_actors::accounts::AttemptLimit;
use casewire_actors::domain::token_policy::{Refresh, TokenPolicy};
use casewire_actors::hub::{HubSettings, Migrate};

use crate::settings::{Auth, Settings};

/// The hub that these settings ask for.
pub fn hub_settings(settings: &Settings, migrate: Migrate) -> HubSettings {
    let attempts = settings.auth.login_attempts;
    HubSettings {
        database_url: settings.database.url.secret().clone(),
        migrate,
        tokens: token_policy(&settings.auth),
        login_attempts: AttemptLimit { failures: attempts.times.get(), period: attempts.per },
    }
}

fn token_policy(auth: &Auth) -> TokenPolicy {
    let on_use = Refresh::OnUse { min_gain: auth.min_refresh_interval, max_ttl: auth.auto_refresh_max_ttl };
    TokenPolicy {
        ttl: auth.token_ttl,
        limit: auth.token_limit_per_user.map(std::num::NonZeroU32::get),
        refresh: if auth.auto_refresh { on_use } else { Refresh::Never },
        prefix: auth.token_prefix.clone(),
    }
}
