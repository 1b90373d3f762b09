//! Values with units: durations, sizes, rates, addresses, networks and URLs.
//!
//! Each has a parser that says what is wrong in words that can follow the name of a key.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use casewire_actors::domain::duration::parse_duration_ms;
use casewire_actors::domain::rate::{Rate, RateError};
use casewire_actors::domain::secret::Secret;
use ipnet::IpNet;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use url::Url;

const UNITS_BYTES: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// Reads `30d`, `12h`, `15m`, `2s` or `250ms`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration_ms = parse_duration_ms(text.trim()).map_err(|problem| format!("{text:?}: {problem}"))?;
    Ok(Duration::from_millis(duration_ms.unsigned_abs()))
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    (number, unit.trim_start())
}

/// Reads `1MiB`, `512KiB`, `1MB` or a bare number of bytes.
fn parse_size(text: &str) -> Result<usize, String> {
    let wrong = || format!("{text:?} is not a size");
    let (digits, unit) = split_unit(text);
    let n: u64 = digits.parse().map_err(|_| wrong())?;
    let factor = match unit {
        "" => 1,
        unit => UNITS_BYTES.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1,
    };
    let bytes = n.checked_mul(factor).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| format!("{text:?} is too large"))
}

/// Where a service is reached: an http or https URL that paths are appended to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// The URL without a trailing slash.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// The parsed URL.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The URL of a path that begins with a slash, below any path of the base.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.as_str())
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The text may hold a password and is not shown.
        let url = Url::parse(text).map_err(|error| format!("not a URL ({error})"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("neither an http nor an https URL".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL with a user or password".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("a URL with a query or fragment".to_owned());
        }
        if url.path().contains("//") {
            return Err("a URL with an empty part in its path".to_owned());
        }
        Ok(Self(url))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for BaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, str::parse)
    }
}

/// Which database a URL is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DatabaseKind {
    /// `SQLite`, inside this process.
    Embedded,
    /// `PostgreSQL`, which several replicas share.
    Server,
}

/// The URL of the database. It may hold a password, so it is not shown.
#[derive(Clone)]
pub struct DatabaseUrl {
    kind: DatabaseKind,
    url: Secret,
}

impl DatabaseUrl {
    /// Which database it is.
    pub fn kind(&self) -> DatabaseKind {
        self.kind
    }

    /// The URL itself, to connect with.
    pub fn secret(&self) -> &Secret {
        &self.url
    }

    /// The file of an embedded database that is kept in one.
    pub fn file(&self) -> Option<PathBuf> {
        let rest = self.url.expose().strip_prefix("sqlite:")?;
        let path = rest.strip_prefix("//").unwrap_or(rest);
        let path = path.split('?').next().unwrap_or(path);
        if path.is_empty() || path == ":memory:" {
            return None;
        }
        Some(percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned().into())
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Secret::new(text);
        if text.starts_with("sqlite:") && text.len() > "sqlite:".len() {
            return Ok(Self { kind: DatabaseKind::Embedded, url });
        }
        let is_server = text.starts_with("postgres://") || text.starts_with("postgresql://");
        if is_server && Url::parse(text).is_ok() {
            return Ok(Self { kind: DatabaseKind::Server, url });
        }
        Err("not the URL of a database".to_owned())
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer, str::parse)
    }
}

/// Reads an address with its port; `localhost` is 127.0.0.1.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || format!("{text:?} is not an address with a port");
    if let Some(port) = text.strip_prefix("localhost:") {
        return port.parse().map(|port| (Ipv4Addr::LOCALHOST, port).into()).map_err(|_| wrong());
    }
    text.parse().map_err(|_| wrong())
}

/// Reads a network in CIDR notation, or one address.
fn parse_network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| format!("{text:?} is not a network"))
}

fn parsed<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(D::Error::custom)
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parsed(deserializer, parse_duration)
}

pub(super) fn duration_or_never<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    parsed(deserializer, |text| match text {
        "never" => Ok(None),
        text => parse_duration(text).map(Some),
    })
}

pub(super) fn rate_or_unlimited<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Rate>, D::Error> {
    parsed(deserializer, |text| match text {
        "unlimited" => Ok(None),
        text => text.parse().map(Some).map_err(|error: RateError| error.to_string()),
    })
}

pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "not a size")]
    enum Written {
        Bytes(usize),
        Text(String),
    }
    match Written::deserialize(deserializer)? {
        Written::Bytes(bytes) => Ok(bytes),
        Written::Text(text) => parse_size(&text).map_err(D::Error::custom),
    }
}

pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parsed(deserializer, parse_address)
}

pub(super) fn some_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    address(deserializer).map(Some)
}

pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| parse_network(text).map_err(D::Error::custom)).collect()
}
