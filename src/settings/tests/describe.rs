//! What is set, as text, for comparing.

use std::fmt::Display;
use std::time::Duration;

use casewire_actors::domain::duration::format_duration_ms;
use casewire_actors::domain::secret::Secret;

use crate::settings::{DatabaseKind, LogFormat, PasswordCheck, Settings};

const NOT_SET: &str = "(not set)";

impl Settings {
    /// Every key with its value in the order of `settings.yaml`; of a secret only whether it is set.
    pub(super) fn describe(&self) -> Vec<(&'static str, String)> {
        let mut rows = self.describe_process().to_vec();
        rows.extend(self.describe_auth());
        rows.extend(self.describe_delivery());
        rows
    }

    fn describe_process(&self) -> [(&'static str, String); 11] {
        let Self { server, database, secrets, .. } = self;
        let networks: Vec<String> = server.trusted_proxies.iter().map(ToString::to_string).collect();
        let port_file = server.port_file.as_ref().map(|path| path.display());
        let key_file = secrets.key_file.as_ref().map(|path| path.display());
        let database = match database.url.kind() {
            DatabaseKind::Embedded => database.url.secret().expose(),
            DatabaseKind::Server => "postgres://(not shown)",
        };
        [
            ("server.listen", server.listen.to_string()),
            ("server.public_url", maybe(server.public_url.as_ref())),
            ("server.max_body", format!("{}B", server.max_body)),
            ("server.trusted_proxies", format!("[{}]", networks.join(", "))),
            ("server.port_file", maybe(port_file)),
            ("server.ops_listen", maybe(server.ops_listen)),
            ("server.shutdown_timeout", format_duration(server.shutdown_timeout)),
            ("database.url", database.to_owned()),
            ("secrets.key", hidden(secrets.key.as_ref())),
            ("secrets.key_file", maybe(key_file)),
            ("secrets.previous_keys", format!("({} set)", secrets.previous_keys.len())),
        ]
    }

    fn describe_auth(&self) -> [(&'static str, String); 9] {
        let auth = &self.auth;
        let check = match auth.password_check {
            PasswordCheck::Length => "length",
            PasswordCheck::Common => "common",
        };
        [
            ("auth.token_ttl", or_never(auth.token_ttl)),
            ("auth.token_limit_per_user", maybe(auth.token_limit_per_user)),
            ("auth.auto_refresh", auth.auto_refresh.to_string()),
            ("auth.min_refresh_interval", format_duration(auth.min_refresh_interval)),
            ("auth.auto_refresh_max_ttl", or_never(auth.auto_refresh_max_ttl)),
            ("auth.token_prefix", auth.token_prefix.clone()),
            ("auth.password_check", check.to_owned()),
            ("auth.login_attempts", auth.login_attempts.to_string()),
            ("auth.request_rate", auth.request_rate.map_or("unlimited".to_owned(), |rate| rate.to_string())),
        ]
    }

    fn describe_delivery(&self) -> [(&'static str, String); 20] {
        let Self { twitter, servicenow, delivery, .. } = self;
        let backoff = &delivery.backoff;
        let pauses = format!(
            "{{first: {}, factor: {}, max: {}, jitter: {}}}",
            format_duration(backoff.first),
            backoff.factor,
            format_duration(backoff.max),
            backoff.jitter
        );
        let format = match self.log.format {
            LogFormat::Auto => "auto",
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        [
            ("twitter.api_url", twitter.api_url.to_string()),
            ("twitter.authorize_url", twitter.authorize_url().to_string()),
            ("twitter.consumer_key", hidden(twitter.consumer_key.as_ref())),
            ("twitter.consumer_secret", hidden(twitter.consumer_secret.as_ref())),
            ("twitter.bearer_token", hidden(twitter.bearer_token.as_ref())),
            ("twitter.verify_signatures", twitter.verify_signatures.to_string()),
            ("twitter.timeout", format_duration(twitter.timeout)),
            ("servicenow.allow_private_networks", servicenow.allow_private_networks.to_string()),
            ("servicenow.timeout", format_duration(servicenow.timeout)),
            ("servicenow.connect_timeout", format_duration(servicenow.connect_timeout)),
            ("delivery.rate", delivery.rate.to_string()),
            ("delivery.concurrency", delivery.concurrency.to_string()),
            ("delivery.retry_for", format_duration(delivery.retry_for)),
            ("delivery.backoff", pauses),
            ("delivery.queue_limit", delivery.queue_limit.to_string()),
            ("events.wait", format_duration(self.events.wait)),
            ("retention.payloads", format_duration(self.retention.payloads)),
            ("retention.attempts", format_duration(self.retention.attempts)),
            ("log.format", format.to_owned()),
            ("log.level", self.log.level.clone()),
        ]
    }
}

pub(super) fn format_duration(duration: Duration) -> String {
    format_duration_ms(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

fn maybe(value: Option<impl Display>) -> String {
    value.map_or_else(|| NOT_SET.to_owned(), |value| value.to_string())
}

fn or_never(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "never".to_owned(), format_duration)
}

fn hidden(secret: Option<&Secret>) -> String {
    if secret.is_some() { "(set)".to_owned() } else { NOT_SET.to_owned() }
}
