//! Which addresses X takes for a webhook (docs.x.com, `x-api/webhooks`; openapi `CreateWebhooksRequest`).

use url::{Host, Url};

/// X's own hosts. Anywhere else a sandbox answers, which takes plain addresses too.
const X_HOSTS: [&str; 2] = ["api.x.com", "api.twitter.com"];
const MAX_CHARS: usize = 200;

/// Why an address cannot be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefusal {
    /// Neither `http` nor `https`.
    #[error("the address must start with https://")]
    Scheme,
    /// `http`, at X itself.
    #[error("x takes https addresses only: give one that starts with https://")]
    NotHttps,
    /// A port, at X itself.
    #[error("x takes no address with a port: serve https on 443 and leave the port out")]
    Port,
    /// A number or a local name, at X itself.
    #[error("x takes public names only: give the address by which the internet knows this hub")]
    NotPublic,
    /// A user name or password.
    #[error("the address must not hold a user name or password")]
    Credentials,
    /// A part after `#`.
    #[error("the address must not hold a fragment: leave out what follows the #")]
    Fragment,
    /// More than 200 characters.
    #[error("x takes addresses of at most 200 characters")]
    TooLong,
}

/// Whether `twitter.api_url` is X's own.
pub fn is_x_itself(api_url: &Url) -> bool {
    api_url.host_str().is_some_and(|host| X_HOSTS.contains(&host.trim_end_matches('.')))
}

/// Checks an address before X is asked.
pub fn check_address(address: &Url, is_x_itself: bool) -> Result<(), UrlRefusal> {
    if !matches!(address.scheme(), "https" | "http") || address.host().is_none() {
        return Err(UrlRefusal::Scheme);
    }
    if !address.username().is_empty() || address.password().is_some() {
        return Err(UrlRefusal::Credentials);
    }
    if address.fragment().is_some() {
        return Err(UrlRefusal::Fragment);
    }
    if address.as_str().chars().count() > MAX_CHARS {
        return Err(UrlRefusal::TooLong);
    }
    if !is_x_itself {
        return Ok(());
    }
    if address.scheme() != "https" {
        return Err(UrlRefusal::NotHttps);
    }
    if address.port().is_some() {
        return Err(UrlRefusal::Port);
    }
    match address.host() {
        Some(Host::Domain(name)) if is_public_name(name) => Ok(()),
        _ => Err(UrlRefusal::NotPublic),
    }
}

/// Names that no public resolver answers (RFC 6761, RFC 6762) are no use to X.
fn is_public_name(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let last = name.rsplit('.').next().unwrap_or_default();
    name.contains('.') && !["localhost", "local", "internal", "test", "invalid"].contains(&last)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Checked = Result<(), UrlRefusal>;

    fn checked(text: &str, is_x_itself: bool) -> Checked {
        check_address(&Url::parse(text).unwrap(), is_x_itself)
    }

    #[test]
    fn addresses() {
        use UrlRefusal::{Credentials, Fragment, NotHttps, NotPublic, Port, Scheme, TooLong};
        let long = format!("https://hub.example.com/{}", "a".repeat(200));
        let cases: &[(&str, Checked, Checked)] = &[
            ("https://hub.example.com/api/activity/", Ok(()), Ok(())),
            ("https://hub.example.com:443/api/activity/", Ok(()), Ok(())),
            ("https://hub.example.com/api/activity/?app=1", Ok(()), Ok(())),
            ("http://hub.example.com/api/activity/", Err(NotHttps), Ok(())),
            ("https://hub.example.com:8443/api/activity/", Err(Port), Ok(())),
            ("https://127.0.0.1/api/activity/", Err(NotPublic), Ok(())),
            ("https://[::1]/api/activity/", Err(NotPublic), Ok(())),
            ("https://localhost/api/activity/", Err(NotPublic), Ok(())),
            ("https://hub.local/api/activity/", Err(NotPublic), Ok(())),
            ("http://127.0.0.1:8000/api/activity/", Err(NotHttps), Ok(())),
            ("https://u:p@hub.example.com/", Err(Credentials), Err(Credentials)),
            ("https://hub.example.com/#here", Err(Fragment), Err(Fragment)),
            ("ftp://hub.example.com/", Err(Scheme), Err(Scheme)),
            ("mailto:someone@example.com", Err(Scheme), Err(Scheme)),
            (&long, Err(TooLong), Err(TooLong)),
        ];
        for (text, at_x, elsewhere) in cases {
            assert_eq!(checked(text, true), *at_x, "{text} at x");
            assert_eq!(checked(text, false), *elsewhere, "{text} elsewhere");
        }
    }

    #[test]
    fn x_itself() {
        for (text, expected) in [
            ("https://api.x.com", true),
            ("https://API.X.com/", true),
            ("https://api.twitter.com/", true),
            ("http://127.0.0.1:8101", false),
            ("https://api.x.com.example.org/", false),
        ] {
            assert_eq!(is_x_itself(&Url::parse(text).unwrap()), expected, "{text}");
        }
    }
}
