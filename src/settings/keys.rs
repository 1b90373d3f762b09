//! Every key in one place: how its value is written in the environment, whether it is a secret,
//! and what to tell an operator whose value does not fit.

/// How a value is written in an environment variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// Taken as it stands.
    Text,
    /// A number, `true` or `false`.
    Scalar,
    /// Separated by commas, or a YAML flow list.
    List,
    /// A YAML flow map.
    Map,
}

/// One setting.
pub(super) struct Key {
    /// The dotted name.
    pub(super) path: &'static str,
    /// How the environment writes it.
    pub(super) form: Form,
    /// Whether its value must never be shown.
    pub(super) secret: bool,
    /// What fits, to follow «give».
    pub(super) fits: &'static str,
}

const fn key(path: &'static str, form: Form, fits: &'static str) -> Key {
    Key { path, form, secret: false, fits }
}

const fn secret(path: &'static str, form: Form, fits: &'static str) -> Key {
    Key { path, form, secret: true, fits }
}

const ADDRESS: &str = "an address with a port, such as 127.0.0.1:8000 or [::1]:8000";
const DURATION: &str = "a number with a unit, such as 30d, 12h, 15m, 2s or 250ms";
const DURATION_OR_NEVER: &str = "a number with a unit, such as 30d or 12h, or never";
const RATE: &str = "a number of times in a period, such as \"20 per 1s\" or \"10 per 1m\"";
const RATE_OR_UNLIMITED: &str = "a number of times in a period, such as \"1000 per 1s\", or unlimited";
const SWITCH: &str = "true or false";
const URL: &str = "an http or https URL without user, query or fragment, such as https://hub.example.com";
const QUOTED_TEXT: &str = "a text, in quotes where it looks like a number";
const SEALING_KEY: &str = "32 bytes in base64, as `openssl rand -base64 32` prints them";

/// Every setting, in the order of `settings.yaml`.
pub(super) const KEYS: &[Key] = &[
    key("server.listen", Form::Text, ADDRESS),
    key("server.public_url", Form::Text, URL),
    key("server.max_body", Form::Text, "a size, such as 1MiB, 512KiB, 1MB or a number of bytes"),
    key(
        "server.trusted_proxies",
        Form::List,
        "a list of networks, such as [10.0.0.0/8, 192.0.2.7, \"fd00::/8\"]",
    ),
    key("server.port_file", Form::Text, "the path of a file"),
    key("server.ops_listen", Form::Text, ADDRESS),
    key("server.shutdown_timeout", Form::Text, DURATION),
    secret("database.url", Form::Text, "sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE"),
    secret("secrets.key", Form::Text, SEALING_KEY),
    key("secrets.key_file", Form::Text, "the path of a file"),
    secret("secrets.previous_keys", Form::List, "a list of keys of 32 bytes in base64"),
    key("auth.token_ttl", Form::Text, DURATION_OR_NEVER),
    key("auth.token_limit_per_user", Form::Scalar, "a whole number of at least 1, or leave it out"),
    key("auth.auto_refresh", Form::Scalar, SWITCH),
    key("auth.min_refresh_interval", Form::Text, DURATION),
    key("auth.auto_refresh_max_ttl", Form::Text, DURATION_OR_NEVER),
    key(
        "auth.token_prefix",
        Form::Text,
        "up to 10 visible ASCII characters, in quotes where they look like a number",
    ),
    key("auth.password_check", Form::Text, "length or common"),
    key("auth.login_attempts", Form::Text, RATE),
    key("auth.request_rate", Form::Text, RATE_OR_UNLIMITED),
    key("twitter.api_url", Form::Text, URL),
    key("twitter.authorize_url", Form::Text, URL),
    secret("twitter.consumer_key", Form::Text, QUOTED_TEXT),
    secret("twitter.consumer_secret", Form::Text, QUOTED_TEXT),
    secret("twitter.bearer_token", Form::Text, QUOTED_TEXT),
    key("twitter.verify_signatures", Form::Scalar, SWITCH),
    key("twitter.timeout", Form::Text, DURATION),
    key("servicenow.allow_private_networks", Form::Scalar, SWITCH),
    key("servicenow.timeout", Form::Text, DURATION),
    key("servicenow.connect_timeout", Form::Text, DURATION),
    key("delivery.rate", Form::Text, RATE),
    key("delivery.concurrency", Form::Scalar, "a whole number from 1 to 64"),
    key("delivery.retry_for", Form::Text, DURATION),
    key("delivery.backoff", Form::Map, "a map such as {first: 2s, factor: 3, max: 1h, jitter: 0.2}"),
    key("delivery.queue_limit", Form::Scalar, "a whole number of at least 1"),
    key("events.wait", Form::Text, "a number with a unit of at most 30s, such as 1s or 250ms"),
    key("retention.payloads", Form::Text, DURATION),
    key("retention.attempts", Form::Text, DURATION),
    key("log.format", Form::Text, "auto, text or json"),
    key(
        "log.level",
        Form::Text,
        "off, error, warn, info, debug or trace, or directives such as info,casewire=debug",
    ),
];

/// The setting of that dotted name.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The setting that a position inside its value belongs to (`delivery.backoff.first`).
pub(super) fn owner(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| {
        path.strip_prefix(key.path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

/// Whether any setting lies in that section.
pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.path.split_once('.').is_some_and(|(section, _)| section == name))
}

/// The known key that is most like a mistyped one, if any is like it at all.
pub(super) fn nearest(path: &str) -> Option<&'static str> {
    const MOST_EDITS: usize = 4;
    let distance = |key: &&Key| edits(path, key.path);
    let best = KEYS.iter().min_by_key(distance)?;
    (distance(&best) <= MOST_EDITS).then_some(best.path)
}

/// How many characters must be put in, taken out or changed to make one text of the other.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
