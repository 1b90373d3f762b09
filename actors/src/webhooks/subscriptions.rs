//! Which linked accounts X sends events for.

use serde::Serialize;

use super::{Webhooks, WebhooksError};
use crate::directory::{LoadError, load_account};
use crate::store::accounts::{self, AccountRow, SetSubscribed};
use crate::writer::{Apply, WriteError};
use crate::x::webhooks::Webhook;
use crate::x::{AccountCredentials, Stamp};

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subscription {
    /// The account's id in the hub; nothing where X sends events of an account that nobody linked.
    pub account: Option<String>,
    /// Its id at X.
    pub twitter_user_id: String,
    /// Its handle.
    pub screen_name: Option<String>,
    /// Whether X sends its events.
    pub subscribed: bool,
    /// X's id of the webhook they go to.
    pub webhook: Option<String>,
}

/// How subscribing an account ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribed {
    /// The account's id in the hub.
    pub account: String,
    /// Its id at X.
    pub twitter_user_id: String,
    /// Its handle; may be empty.
    pub screen_name: String,
    /// Why not, if not.
    pub outcome: Result<(), WebhooksError>,
}

impl Subscribed {
    /// What people call the account.
    pub fn name(&self) -> String {
        name(&self.screen_name, &self.twitter_user_id)
    }
}

fn name(screen_name: &str, twitter_user_id: &str) -> String {
    if screen_name.is_empty() { twitter_user_id.to_owned() } else { format!("@{screen_name}") }
}

impl Webhooks {
    /// Every linked account, and every other one that X sends events for. What X tells is stored.
    pub async fn subscriptions(&self) -> Result<Vec<Subscription>, WebhooksError> {
        let mut listed = Vec::new();
        for webhook in self.list().await? {
            let client = self.as_app().await?;
            let user_ids = client.list_subscriptions(&webhook.id, self.now_ms()).await?;
            listed.extend(user_ids.into_iter().map(|user_id| (user_id, webhook.id.clone())));
        }
        let rows = accounts::all(&self.shared.db).await?;
        let mut told = Vec::new();
        for row in &rows {
            let webhook =
                listed.iter().find(|(user_id, _)| *user_id == row.twitter_user_id).map(|(_, id)| id.clone());
            if row.subscribed != Some(webhook.is_some()) {
                self.note(&row.id, webhook.is_some()).await?;
            }
            told.push(Subscription {
                account: Some(row.id.clone()),
                twitter_user_id: row.twitter_user_id.clone(),
                screen_name: Some(row.screen_name.clone()).filter(|name| !name.is_empty()),
                subscribed: webhook.is_some(),
                webhook,
            });
        }
        let is_linked = |user_id: &str| rows.iter().any(|row| row.twitter_user_id == user_id);
        for (user_id, webhook) in listed.into_iter().filter(|(user_id, _)| !is_linked(user_id)) {
            told.push(Subscription {
                account: None,
                twitter_user_id: user_id,
                screen_name: None,
                subscribed: true,
                webhook: Some(webhook),
            });
        }
        Ok(told)
    }

    /// Has X send the events of every linked account to this webhook; tells how each went.
    pub async fn subscribe_all(&self, webhook_id: &str) -> Result<Vec<Subscribed>, WebhooksError> {
        let mut told = Vec::new();
        for row in accounts::all(&self.shared.db).await? {
            told.push(self.subscribe(row, webhook_id).await);
        }
        Ok(told)
    }

    /// Has X send the events of an account, called by its id here, its id at X or its handle.
    pub async fn add(&self, account: &str) -> Result<Subscribed, WebhooksError> {
        self.as_accounts()?;
        let row = self.find(account).await?;
        let webhook = self.best_webhook().await?;
        Ok(self.subscribe(row, &webhook.id).await)
    }

    /// Has X send no more events of an account; one that nobody linked is called by its id at X.
    /// Tells its name.
    pub async fn remove(&self, account: &str) -> Result<String, WebhooksError> {
        let row = match self.find(account).await {
            Ok(row) => Some(row),
            Err(WebhooksError::UnknownAccount(_)) if crate::classify::is_id(account) => None,
            Err(error) => return Err(error),
        };
        let user_id = row.as_ref().map_or(account, |row| row.twitter_user_id.as_str());
        let webhooks = self.list().await?;
        for webhook in &webhooks {
            self.as_app().await?.unsubscribe(&webhook.id, user_id, self.now_ms()).await?;
        }
        if let Some(row) = &row {
            self.note(&row.id, false).await?;
        }
        Ok(row.map_or_else(|| account.to_owned(), |row| name(&row.screen_name, &row.twitter_user_id)))
    }

    /// Has X send no more events of accounts that were forgotten here, called by their ids at X. It is tried
    /// once: what X goes on sending is ignored.
    pub(crate) async fn let_go(&self, user_ids: &[String]) {
        if user_ids.is_empty() || !self.is_configured() {
            return;
        }
        let webhooks = match self.list().await {
            Ok(webhooks) => webhooks,
            Err(error) => {
                let n_accounts = user_ids.len();
                tracing::warn!(%error, n_accounts, "x could not be told of forgotten accounts; see `casewire subscriptions list`");
                return;
            }
        };
        for user_id in user_ids {
            if let Err(error) = self.let_one_go(user_id, &webhooks).await {
                tracing::warn!(%error, user_id, "x sends the events of a forgotten account still; `casewire subscriptions remove` ends it");
            }
        }
    }

    async fn let_one_go(&self, user_id: &str, webhooks: &[Webhook]) -> Result<(), WebhooksError> {
        for webhook in webhooks {
            // Somebody may have linked it again meanwhile.
            if accounts::is_linked(&self.shared.db, user_id).await? {
                return Ok(());
            }
            self.as_app().await?.unsubscribe(&webhook.id, user_id, self.now_ms()).await?;
        }
        Ok(())
    }

    async fn subscribe(&self, row: AccountRow, webhook_id: &str) -> Subscribed {
        let mut outcome = self.call_subscribe(&row, webhook_id).await;
        // After a call without an answer nobody knows; what was known before stays.
        let is_known = !matches!(&outcome, Err(error) if is_uncertain(error));
        if is_known && let Err(error) = self.note(&row.id, outcome.is_ok()).await {
            outcome = outcome.and(Err(error));
        }
        Subscribed {
            account: row.id,
            twitter_user_id: row.twitter_user_id,
            screen_name: row.screen_name,
            outcome,
        }
    }

    async fn call_subscribe(&self, row: &AccountRow, webhook_id: &str) -> Result<(), WebhooksError> {
        let client = self.as_accounts()?;
        let account = load_account(&self.shared.db, &self.sealer, &row.id).await?;
        let account = account.ok_or_else(|| WebhooksError::UnknownAccount(row.twitter_user_id.clone()))?;
        let secrets = account.secrets.map_err(LoadError::from)?;
        let credentials = AccountCredentials {
            user_id: account.settings.twitter_user_id,
            token: secrets.access_token,
            token_secret: secrets.access_token_secret,
        };
        let nonce = self.shared.sources.nonce();
        let stamp = Stamp { now_ms: self.now_ms(), nonce: &nonce };
        Ok(client.subscribe(webhook_id, &credentials, stamp).await?)
    }

    /// Stores what X told of an account.
    async fn note(&self, account_id: &str, is_subscribed: bool) -> Result<(), WebhooksError> {
        let change = SetSubscribed { id: account_id.to_owned(), is_subscribed: Some(is_subscribed) };
        let stored = self.shared.writer.ask(Apply(change)).await;
        Ok(stored.map_err(WriteError::from)??)
    }

    async fn find(&self, called: &str) -> Result<AccountRow, WebhooksError> {
        let rows = accounts::all(&self.shared.db).await?;
        find(rows, called)
    }

    /// The one that leads here, else a valid one, else any.
    async fn best_webhook(&self) -> Result<Webhook, WebhooksError> {
        let mut webhooks = self.list().await?;
        webhooks.sort_by_key(|webhook| (!self.is_own(webhook), !webhook.is_valid));
        webhooks.into_iter().next().ok_or(WebhooksError::NoWebhook)
    }
}

fn find(rows: Vec<AccountRow>, called: &str) -> Result<AccountRow, WebhooksError> {
    let called = called.trim();
    if let Some(row) = rows.iter().find(|row| row.id == called || row.twitter_user_id == called) {
        return Ok(row.clone());
    }
    let handle = called.trim_start_matches('@');
    let mut fitting =
        rows.into_iter().filter(|row| !handle.is_empty() && row.screen_name.eq_ignore_ascii_case(handle));
    match (fitting.next(), fitting.next()) {
        (Some(row), None) => Ok(row),
        (Some(_), Some(_)) => Err(WebhooksError::Ambiguous(called.to_owned())),
        (None, _) => Err(WebhooksError::UnknownAccount(called.to_owned())),
    }
}

fn is_uncertain(error: &WebhooksError) -> bool {
    use crate::domain::failure::Effect;
    use crate::x::webhooks::WebhookError;
    matches!(error, WebhooksError::X(WebhookError::Call(call)) if call.failure.effect != Effect::None)
}
