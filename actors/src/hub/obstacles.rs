//! What keeps the hub from showing any credentials to an instance or for an account, before a call is made.
//!
//! The record then says `needs_auth` and why. Whether it is so is seen from the settings each time they are
//! read: when the obstacle is gone (other settings, the right key, a newer version of the hub), the record says
//! so by itself. That is why the reasons are told from all that the other side may say.

use crate::domain::account::{Account, AccountSecrets};
use crate::domain::instance::{AuthKind, Instance, Mode};
use crate::servicenow::Credentials;

/// Why nothing is sent, for the user.
type Reason = &'static str;

const NO_OAUTH: Reason = "this version of the hub does not speak OAuth to ServiceNow yet, so nothing is sent: \
                          set auth to basic or api_key";
const NO_APPLICATION: Reason = "this version of the hub has no application on the instance to speak to yet, so \
                                nothing is sent: set mode to auto or case_api";
const UNOPENED: Reason = "the stored credentials cannot be opened, so nothing is sent: enter them again, or start \
                          the hub with the key that sealed them";

const NEEDS_AUTH: &str = "needs_auth";

/// What the hub shows to the instance, or why nothing.
pub(super) fn credentials_of(instance: &Instance) -> Result<Credentials, Reason> {
    let settings = &instance.settings;
    if settings.mode == Mode::App {
        return Err(NO_APPLICATION);
    }
    let secrets = instance.secrets.as_ref().map_err(|_| UNOPENED);
    match settings.auth {
        AuthKind::OauthClientCredentials | AuthKind::OauthPassword => Err(NO_OAUTH),
        AuthKind::ApiKey => Ok(Credentials::ApiKey { key: secrets?.api_key.clone() }),
        AuthKind::Basic => Ok(Credentials::Basic {
            user: settings.admin_user.clone(),
            password: secrets?.admin_password.clone(),
        }),
    }
}

/// The tokens of the account, or why there are none to use.
pub(super) fn tokens_of(account: &Account) -> Result<AccountSecrets, Reason> {
    account.secrets.clone().map_err(|_| UNOPENED)
}

/// The status and its detail that a record must get for what was seen now; `None` when what it says stands.
pub(super) fn correction(
    obstacle: Option<Reason>,
    status: &str,
    detail: &str,
) -> Option<(&'static str, Reason)> {
    match obstacle {
        // What the other side refused is not tried by itself again, be the key lost and found meanwhile.
        Some(UNOPENED) if status == NEEDS_AUTH && !is_obstacle(detail) => None,
        Some(reason) => ((status, detail) != (NEEDS_AUTH, reason)).then_some((NEEDS_AUTH, reason)),
        None => is_obstacle(detail).then_some(("unchecked", "")),
    }
}

/// Whether the detail of a record tells of an obstacle on this side, rather than what the other side said.
pub(crate) fn is_obstacle(detail: &str) -> bool {
    [NO_OAUTH, NO_APPLICATION, UNOPENED].contains(&detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_corrected_when_an_obstacle_comes_or_goes() {
        for (obstacle, status, detail, expected) in [
            (None, "ok", "", None),
            (None, "needs_auth", "the instance refuses the user", None),
            (None, "needs_auth", NO_OAUTH, Some(("unchecked", ""))),
            (Some(UNOPENED), "ok", "", Some(("needs_auth", UNOPENED))),
            (Some(UNOPENED), "needs_auth", NO_OAUTH, Some(("needs_auth", UNOPENED))),
            (Some(UNOPENED), "needs_auth", UNOPENED, None),
            (Some(UNOPENED), "needs_auth", "the instance refuses the user", None),
            (Some(NO_OAUTH), "needs_auth", "the instance refuses the user", Some(("needs_auth", NO_OAUTH))),
            (Some(UNOPENED), "rate_limited", UNOPENED, Some(("needs_auth", UNOPENED))),
        ] {
            assert_eq!(correction(obstacle, status, detail), expected, "{obstacle:?} {status} {detail}");
        }
    }
}
