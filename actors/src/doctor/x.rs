//! X: the clock, the webhook, the accounts.

use chrono::DateTime;
use reqwest::header::DATE;

use super::{Finding, Ward, each, unreadable};
use crate::directory::load_account;
use crate::net;
use crate::store::sealed::{self, SealedTable};
use crate::webhooks::WebhooksError;
use crate::x::{AccountCredentials, Stamp};

/// X refuses signatures that are older or newer than some minutes; well below, something is wrong already.
const MAX_SKEW_S: i64 = 60;

/// Compares the clock with X's.
pub(super) async fn clock(ward: &Ward) -> Vec<Finding> {
    let area = "clock";
    let asked = ward.http.get(ward.settings.x_api_url.clone()).send().await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(error) => {
            let reason = net::failure_of(&error).detail;
            let text =
                format!("X is not reached at {}: {reason}; check the network", ward.settings.x_api_url);
            return vec![Finding::red(area, text)];
        }
    };
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
    let Some(date) = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()) else {
        return vec![Finding::yellow(area, "X tells no date: compare the clock by hand")];
    };
    vec![judge_clock(ward.now_ms().div_euclid(1_000) - date.timestamp())]
}

fn judge_clock(ahead_s: i64) -> Finding {
    let area = "clock";
    let (skew_s, way) = (ahead_s.abs(), if ahead_s > 0 { "ahead of" } else { "behind" });
    if skew_s > MAX_SKEW_S {
        let text =
            format!("{skew_s} s {way} X's, which refuses our signatures: run a time service such as chrony");
        return Finding::red(area, text);
    }
    Finding::green(area, format!("within {skew_s} s of X's"))
}

/// Whether X sends events here.
pub(super) async fn webhook(ward: &Ward) -> Vec<Finding> {
    let area = "webhook";
    let listed = match ward.webhooks.list().await {
        Ok(listed) => listed,
        Err(error @ WebhooksError::Missing(_)) => return vec![Finding::yellow(area, error.to_string())],
        Err(error) => return vec![Finding::red(area, error.to_string())],
    };
    let own: Vec<_> = listed.iter().filter(|webhook| ward.webhooks.is_own(webhook)).collect();
    let finding = if let Some(valid) = own.iter().find(|webhook| webhook.is_valid) {
        Finding::green(area, format!("X sends events to {}", valid.url))
    } else if let Some(invalid) = own.first() {
        let text = format!(
            "X has stopped sending events to {}: mend the public url, then run `casewire webhooks validate {}`",
            invalid.url, invalid.id
        );
        Finding::red(area, text)
    } else if let Some(other) = listed.first() {
        let text = format!(
            "X sends events to {} and not here: run `casewire webhooks register --url … --replace`",
            other.url
        );
        Finding::red(area, text)
    } else {
        Finding::red(area, "X has no webhook of this app: run `casewire webhooks register --url …`")
    };
    vec![finding]
}

/// Whether X sends the events of every linked account.
pub(super) async fn subscriptions(ward: &Ward) -> Vec<Finding> {
    let area = "subscriptions";
    let listed = match ward.webhooks.subscriptions().await {
        Ok(listed) => listed,
        // The webhook's own check tells it.
        Err(WebhooksError::Missing(_)) => return Vec::new(),
        Err(error) => return vec![Finding::red(area, error.to_string())],
    };
    let mut found = Vec::new();
    let mut n_subscribed = 0;
    for one in &listed {
        let id = &one.twitter_user_id;
        match (&one.account, one.subscribed) {
            (Some(_), true) => n_subscribed += 1,
            (Some(_), false) => {
                let text =
                    format!("X sends no events of account {id}: run `casewire subscriptions add {id}`");
                found.push(Finding::red(area, text));
            }
            (None, _) => {
                let text = format!(
                    "X sends events of {id}, which nobody linked: link it, or run `casewire subscriptions remove {id}`"
                );
                found.push(Finding::yellow(area, text));
            }
        }
    }
    if n_subscribed > 0 {
        found.push(Finding::green(area, format!("X sends the events of {n_subscribed} linked accounts")));
    }
    found
}

/// Whether the tokens of every linked account work.
pub(super) async fn accounts(ward: &Ward) -> Vec<Finding> {
    let found =
        each("account", sealed::all(&ward.db, SealedTable::Accounts).await, |id| account(ward, id)).await;
    if found.is_empty() {
        return vec![Finding::yellow("account", "none is linked: link one at /api/twitter-details/")];
    }
    found
}

async fn account(ward: &Ward, id: String) -> Vec<Finding> {
    let area = "account";
    let account = match load_account(&ward.db, &ward.settings.sealer, &id).await {
        Ok(Some(account)) => account,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![unreadable(area, &error)],
    };
    let secrets = match account.secrets {
        Ok(secrets) => secrets,
        Err(error) => return vec![unreadable(area, &error.into())],
    };
    let user_id = account.settings.twitter_user_id;
    let credentials = AccountCredentials {
        user_id: user_id.clone(),
        token: secrets.access_token,
        token_secret: secrets.access_token_secret,
    };
    let nonce = ward.sources.nonce();
    let stamp = Stamp { now_ms: ward.now_ms(), nonce: &nonce };
    vec![match ward.x.users_me(&credentials, stamp).await {
        Ok(profile) if profile.id == user_id => {
            Finding::green(area, format!("@{} ({user_id}): its tokens work", profile.username))
        }
        Ok(profile) => {
            let text = format!("{user_id}: its tokens are those of {}: enter its own", profile.id);
            Finding::red(area, text)
        }
        Err(error) => Finding::red(area, format!("{user_id}: {}", error.failure.detail)),
    }]
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn clocks() {
        for (ahead_s, level) in [
            (0, Level::Green),
            (60, Level::Green),
            (-60, Level::Green),
            (61, Level::Red),
            (-3600, Level::Red),
        ] {
            assert_eq!(judge_clock(ahead_s).level, level, "{ahead_s}");
        }
    }
}
