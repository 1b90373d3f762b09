mod describe;

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;

use casewire_actors::domain::instance::CONCURRENCY;

use self::describe::format_duration;
use super::keys::KEYS;
use super::*;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/settings.yaml");
/// Variables and their values.
type Env = [(&'static str, &'static str)];

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn load(yaml: &str, env: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(yaml.as_bytes()).unwrap();
    Settings::load(Some(file.path()), pairs(env))
}

fn pairs(env: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>().into_iter()
}

fn refusal(yaml: &str, env: &[(&str, &str)]) -> SettingsError {
    load(yaml, env).err().unwrap_or_else(|| panic!("{yaml} {env:?} was taken"))
}

fn described(settings: &Settings, key: &str) -> String {
    let rows = settings.describe();
    rows.into_iter().find(|(name, _)| *name == key).unwrap_or_else(|| panic!("no {key}")).1
}

/// The fields of a type, as its refusal of an unknown one lists them.
fn fields<T: DeserializeOwned>() -> Vec<String> {
    let error = serde_yaml_ng::from_str::<T>("{no_such_field: 1}").err().unwrap().to_string();
    let listed = error.split_once("expected ").unwrap().1;
    listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_shipped_file_holds_exactly_the_defaults() {
    let shipped = Settings::load(Some(Path::new(SHIPPED)), std::iter::empty()).unwrap();
    assert_eq!(shipped.describe(), Settings::default().describe());
}

#[test]
fn the_shipped_file_names_every_key_in_order() {
    let text = std::fs::read_to_string(SHIPPED).unwrap();
    let mut section = "";
    let mut named = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with([' ', '#'])) {
            section = name;
        }
        let Some((name, _)) = line.trim_start().trim_start_matches("# ").split_once(": ") else { continue };
        let is_key = line.starts_with("  ") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        if is_key && keys::find(&format!("{section}.{name}")).is_some() {
            named.push(format!("{section}.{name}"));
        }
    }
    let known: Vec<&str> = KEYS.iter().map(|key| key.path).collect();
    assert_eq!(named, known);
}

#[test]
fn the_table_of_keys_is_that_of_the_types() {
    let mut typed = Vec::new();
    for section in fields::<Settings>() {
        let names = match section.as_str() {
            "server" => fields::<Server>(),
            // One field alone is listed the same way.
            "database" => fields::<Database>(),
            "secrets" => fields::<Secrets>(),
            "auth" => fields::<Auth>(),
            "twitter" => fields::<Twitter>(),
            "servicenow" => fields::<ServiceNow>(),
            "delivery" => fields::<Delivery>(),
            "events" => fields::<Events>(),
            "retention" => fields::<Retention>(),
            "log" => fields::<Log>(),
            other => panic!("{other} is not in this test"),
        };
        typed.extend(names.into_iter().map(|name| format!("{section}.{name}")));
    }
    let known: Vec<&str> = KEYS.iter().map(|key| key.path).collect();
    assert_eq!(typed, known);
    let described: Vec<&str> = Settings::default().describe().into_iter().map(|(key, _)| key).collect();
    assert_eq!(described, known);
}

#[test]
fn every_key_is_overridden_by_the_environment() {
    let key_and_value = [
        ("server.listen", "0.0.0.0:81", "0.0.0.0:81"),
        ("server.listen", "localhost:81", "127.0.0.1:81"),
        ("server.public_url", "https://hub.example.com/x/", "https://hub.example.com/x"),
        ("server.max_body", "512KiB", "524288B"),
        ("server.max_body", "1MB", "1000000B"),
        ("server.max_body", "77", "77B"),
        ("server.trusted_proxies", "10.0.0.0/8, 192.0.2.7", "[10.0.0.0/8, 192.0.2.7/32]"),
        ("server.trusted_proxies", "['fd00::/8']", "[fd00::/8]"),
        ("server.port_file", "/run/port", "/run/port"),
        ("server.ops_listen", "[::1]:9000", "[::1]:9000"),
        ("server.shutdown_timeout", "250ms", "250ms"),
        ("database.url", "sqlite::memory:", "sqlite::memory:"),
        ("secrets.key", KEY, "(set)"),
        ("secrets.key_file", "/etc/key", "/etc/key"),
        ("secrets.previous_keys", &format!("{KEY},{KEY}"), "(2 set)"),
        ("auth.token_ttl", "never", "never"),
        ("auth.token_limit_per_user", "3", "3"),
        ("auth.auto_refresh", "true", "true"),
        ("auth.min_refresh_interval", "0s", "0s"),
        ("auth.auto_refresh_max_ttl", "90d", "90d"),
        ("auth.token_prefix", "12_", "12_"),
        ("auth.password_check", "common", "common"),
        ("auth.login_attempts", "1000 per 1h", "1000 per 1h"),
        ("auth.request_rate", "unlimited", "unlimited"),
        ("twitter.api_url", "http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("twitter.authorize_url", "https://x.com", "https://x.com"),
        ("twitter.consumer_key", "0123", "(set)"),
        ("twitter.consumer_secret", "a: b", "(set)"),
        ("twitter.bearer_token", "null", "(set)"),
        ("twitter.verify_signatures", "false", "false"),
        ("twitter.timeout", "1s", "1s"),
        ("servicenow.allow_private_networks", "true", "true"),
        ("servicenow.timeout", "2m", "2m"),
        ("servicenow.connect_timeout", "3s", "3s"),
        ("delivery.rate", "5 per 2s", "5 per 2s"),
        ("delivery.concurrency", "1", "1"),
        ("delivery.retry_for", "1h", "1h"),
        (
            "delivery.backoff",
            "{first: 1s, factor: 1.5, max: 2s, jitter: 0}",
            "{first: 1s, factor: 1.5, max: 2s, jitter: 0}",
        ),
        ("delivery.queue_limit", "7", "7"),
        ("events.wait", "0s", "0s"),
        ("retention.payloads", "1d", "1d"),
        ("retention.attempts", "2d", "2d"),
        ("log.format", "json", "json"),
        ("log.level", "warn,casewire=debug", "warn,casewire=debug"),
    ];
    for key in KEYS {
        assert!(key_and_value.iter().any(|(path, ..)| *path == key.path), "{} is not tried", key.path);
    }
    for (path, value, expected) in key_and_value {
        let variable = format!("CASEWIRE_{}", path.replace('.', "__").to_uppercase());
        let settings = load("", &[(&variable, value)]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(described(&settings, path), expected, "{variable}={value}");
    }
}

#[test]
fn the_environment_goes_before_the_file_and_emptiness_counts_as_not_set() {
    let yaml = "server: {listen: 127.0.0.1:1, max_body: 5}\ntwitter:\nevents: {wait: }";
    let env = [("CASEWIRE_SERVER__LISTEN", "127.0.0.1:2"), ("CASEWIRE_SERVER__MAX_BODY", "")];
    let settings = load(yaml, &env).unwrap();
    assert_eq!(settings.server.listen.port(), 2);
    assert_eq!(settings.server.max_body, 5);
    assert_eq!(settings.events.wait, Duration::from_secs(1));
}

#[test]
fn other_variables_are_not_settings() {
    let env = [("CASEWIRE_SUPERUSER_PASSWORD", "x"), ("PATH", "/bin"), ("OTHER__KEY", "x")];
    assert!(load("", &env).is_ok());
}

#[test]
fn a_partial_map_keeps_the_other_defaults() {
    let settings = load("delivery: {backoff: {first: 5s}}", &[]).unwrap();
    assert_eq!(settings.delivery.backoff, Backoff { first: Duration::from_secs(5), ..Backoff::default() });
}

#[test]
fn a_missing_named_file_is_refused_and_a_missing_default_is_not() {
    let error = Settings::load(Some(Path::new("/nowhere/casewire.yaml")), std::iter::empty()).err().unwrap();
    assert!(error.to_string().contains("/nowhere/casewire.yaml"), "{error}");
    assert!(source::Document::read(None).is_ok());
}

#[test]
fn refusals_name_the_key_the_problem_and_the_remedy() {
    let cases: &[(&str, &Env, &str, &str)] = &[
        ("server: {lisen: 1}", &[], "server.lisen", "did you mean server.listen?"),
        ("serve: {listen: 1}", &[], "serve", "remove it"),
        ("", &[("CASEWIRE_AUTH__TOKEN_TLL", "1d")], "auth.token_tll", "did you mean auth.token_ttl?"),
        ("", &[("CASEWIRE_auth__token_ttl", "1d")], "auth.token_ttl", "did you mean auth.token_ttl?"),
        ("", &[("CASEWIRE__SERVER__LISTEN", "1")], "_server.listen", "did you mean server.listen?"),
        ("", &[("CASEWIRE_SERVER__LISTEN", "8000")], "server.listen", "from CASEWIRE_SERVER__LISTEN"),
        ("server: {listen: 8000}", &[], "server.listen", "127.0.0.1:8000"),
        ("server: {max_body: 1 elephant}", &[], "server.max_body", "such as 1MiB"),
        ("server: {max_body: 0}", &[], "server.max_body", "such as 1MiB"),
        ("server: {max_body: 99999999999GiB}", &[], "server.max_body", "too large"),
        ("server: {public_url: ftp://hub}", &[], "server.public_url", "neither an http nor an https"),
        ("server: {public_url: hub.example.com}", &[], "server.public_url", "such as https://hub"),
        ("server: {public_url: 'https://h/?a=1'}", &[], "server.public_url", "query"),
        ("server: {public_url: 'https://h/a//b'}", &[], "server.public_url", "empty part"),
        ("server: {trusted_proxies: [10.0.0.0/33]}", &[], "server.trusted_proxies", "10.0.0.0/33"),
        ("server: {trusted_proxies: proxy}", &[], "server.trusted_proxies", "a list of networks"),
        ("server: {ops_listen: '127.0.0.1:8000'}", &[], "server.ops_listen", "another port"),
        ("server: {shutdown_timeout: 25}", &[], "server.shutdown_timeout", "a number with a unit"),
        ("server: {shutdown_timeout: 25 weeks}", &[], "server.shutdown_timeout", "25 weeks"),
        ("server: {shutdown_timeout: 99999d}", &[], "server.shutdown_timeout", "at most 3650d"),
        ("auth: {token_ttl: 0s}", &[], "auth.token_ttl", "no time"),
        ("auth: {token_limit_per_user: 0}", &[], "auth.token_limit_per_user", "at least 1"),
        ("auth: {auto_refresh: yes}", &[], "auth.auto_refresh", "true or false"),
        ("auth: {token_prefix: elevenchars}", &[], "auth.token_prefix", "10"),
        ("auth: {token_prefix: 'a b'}", &[], "auth.token_prefix", "cannot stand in a token"),
        ("auth: {password_check: strict}", &[], "auth.password_check", "length or common"),
        ("auth: {login_attempts: 10/min}", &[], "auth.login_attempts", "10 per 1m"),
        ("auth: {login_attempts: 0 per 1m}", &[], "auth.login_attempts", "10 per 1m"),
        ("auth: {request_rate: none}", &[], "auth.request_rate", "unlimited"),
        ("delivery: {rate: 5 per 0s}", &[], "delivery.rate", "10ms to 30d"),
        ("delivery: {concurrency: 0}", &[], "delivery.concurrency", "from 1 to 64"),
        ("delivery: {concurrency: 65}", &[], "delivery.concurrency", "from 1 to 64"),
        ("delivery: {concurrency: 100000}", &[], "delivery.concurrency", "from 1 to 64"),
        ("delivery: {backoff: {frist: 2s}}", &[], "delivery.backoff", "{first: 2s"),
        ("delivery: {backoff: {factor: 0.5}}", &[], "delivery.backoff", "factor"),
        ("delivery: {backoff: {jitter: 2}}", &[], "delivery.backoff", "jitter"),
        ("delivery: {backoff: {max: 1s}}", &[], "delivery.backoff", "max"),
        ("", &[("CASEWIRE_DELIVERY__BACKOFF", "{first")], "delivery.backoff", "{first: 2s"),
        ("events: {wait: 31s}", &[], "events.wait", "at most 30s"),
        ("log: {level: infoo}", &[], "log.level", "infoo"),
        ("log: {level: 'a=b=c=d'}", &[], "log.level", "directives"),
        ("log: {format: xml}", &[], "log.format", "auto, text or json"),
        (
            "{server: {listen: '0.0.0.0:1'}, twitter: {verify_signatures: false}}",
            &[],
            "twitter.verify_signatures",
            "loopback",
        ),
        ("database: {url: postgres://u:p@h/d}", &[], "secrets.key", "openssl rand"),
        ("database: {url: 'postgres://u:p@h/d?sslmode=typo'}", &[], "database.url", "verify-full"),
        ("database: {url: 'postgres://u:p@h/d?sslmod=x'}", &[], "database.url", "not known"),
        ("database: {url: 'postgres://u:p@h/d?port=x'}", &[], "database.url", "the port"),
        ("database: {url: 'sqlite://a.db?mode=x'}", &[], "database.url", "mode, cache"),
        ("secrets: {key_file: k}", &[("CASEWIRE_SECRETS__KEY", KEY)], "secrets.key", "one of the two"),
    ];
    for (yaml, env, key, hint) in cases {
        let error = refusal(yaml, env);
        let message = error.to_string();
        assert!(error.key().is_some_and(|named| named.starts_with(key)), "{yaml}: {message}");
        assert!(message.contains(hint), "{yaml}: {message}");
    }
}

#[test]
fn the_concurrency_is_that_of_an_instance() {
    let (least, most) = (*CONCURRENCY.start(), *CONCURRENCY.end());
    let fits = keys::find("delivery.concurrency").unwrap().fits;
    assert!(fits.ends_with(&format!("from {least} to {most}")), "{fits}");
    for n_calls in [least, most] {
        assert!(load(&format!("delivery: {{concurrency: {n_calls}}}"), &[]).is_ok(), "{n_calls}");
    }
}

#[test]
fn refusals_never_show_a_secret() {
    let cases: &[(&str, &Env)] = &[
        ("secrets: {key: hunter2}", &[]),
        ("secrets: {key: {a: hunter2}}", &[]),
        ("secrets: hunter2", &[]),
        ("secrets: {previous_keys: [hunter2]}", &[]),
        ("secrets: {previous_keys: hunter2}", &[]),
        ("", &[("CASEWIRE_SECRETS__KEY", "hunter2")]),
        ("", &[("CASEWIRE_SECRETS__PREVIOUS_KEYS", "[hunter2")]),
        ("twitter: {consumer_secret: [hunter2]}", &[]),
        ("twitter: [hunter2]", &[]),
        ("database: {url: 'mysql://u:hunter2@h/d'}", &[]),
        ("database: {url: 'postgres://u:12?hunter2@h/d'}", &[]),
        ("database: {url: 'postgres://h/d?password=hunter2&x=hunter2'}", &[]),
        ("database: {url: 'postgres://h/d?sslmode=hunter2'}", &[]),
        ("server: {public_url: 'https://u:hunter2@h'}", &[]),
        ("hunter2", &[]),
    ];
    for (yaml, env) in cases {
        let error = refusal(yaml, env);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{yaml} {env:?}: {error}");
    }
    let error = refusal("twitter: {bearer_token: 31337}", &[]);
    assert!(!error.to_string().contains("31337"), "{error}");
}

#[test]
fn another_address_is_checked_again() {
    let settings = load("twitter: {verify_signatures: false}", &[]).unwrap();
    assert!(settings.clone().listening_on("[::1]:1".parse().unwrap()).is_ok());
    assert!(settings.listening_on("0.0.0.0:1".parse().unwrap()).is_err());
}

#[test]
fn keys_of_either_base64_are_taken() {
    for key in [KEY, KEY.trim_end_matches('='), &("_".repeat(42) + "8=")] {
        assert!(load("", &[("CASEWIRE_SECRETS__KEY", key)]).is_ok(), "{key}");
        assert!(load("", &[("CASEWIRE_SECRETS__PREVIOUS_KEYS", key)]).is_ok(), "{key}");
    }
}

#[test]
fn the_file_of_an_embedded_database_is_known() {
    let cases = [
        ("sqlite://casewire.db", Some("casewire.db")),
        ("sqlite:///var/lib/casewire.db?mode=rwc", Some("/var/lib/casewire.db")),
        ("sqlite:a%20b.db", Some("a b.db")),
        ("sqlite::memory:", None),
        ("sqlite://:memory:", None),
        ("postgres://h/d", None),
    ];
    for (url, file) in cases {
        let url: DatabaseUrl = url.parse().unwrap();
        assert_eq!(url.file().as_deref(), file.map(Path::new));
    }
}

#[test]
fn durations_are_written_as_they_are_read() {
    for text in ["0s", "250ms", "2s", "90s", "15m", "12h", "30d"] {
        let duration = parse_duration(text).unwrap();
        assert_eq!(parse_duration(&format_duration(duration)), Ok(duration), "{text}");
    }
    for wrong in ["", "5", "s", "-1s", "1.5h", "1h30m", "99999999999999999999d", "1 S"] {
        assert!(parse_duration(wrong).is_err(), "{wrong}");
    }
}
