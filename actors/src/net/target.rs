//! Where a call goes: instance URLs and their names.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use url::{Host, Url};

use super::guard::{Forbidden, Reach, check_ip};

/// How long a name may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The base of an instance, `https://name` without a trailing slash.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct InstanceUrl(Url);

impl InstanceUrl {
    /// The text as it is stored and shown: lower-case host, no trailing slash.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// The host name or address, an IPv6 one in brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The port that is connected to.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(443)
    }

    /// The URL of a call. Segments and values are percent-encoded whole, so neither can leave its place.
    pub fn call(&self, segments: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

impl fmt::Display for InstanceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for InstanceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong with an instance URL. The text is fit to show to whoever entered it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlProblem {
    /// Not a URL at all.
    #[error("enter a url such as https://company.service-now.com")]
    Malformed,
    /// Another scheme.
    #[error("the url must start with https://")]
    NotHttps,
    /// A user name or password inside.
    #[error("the url must not hold a user name or password")]
    Credentials,
    /// More than the base.
    #[error("enter the url without a path, a query or a fragment")]
    NotBase,
    /// A port of its own.
    #[error("the url must not name a port other than 443")]
    Port,
    /// An address the hub does not connect to.
    #[error("{0}")]
    Forbidden(Forbidden),
}

/// Reads the base URL of an instance. The many spellings of an IPv4 address (octal, hexadecimal,
/// short) are made plain by the `url` crate before they are checked.
pub fn parse_instance_url(text: &str, reach: Reach) -> Result<InstanceUrl, UrlProblem> {
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) || text.contains('\\') {
        return Err(UrlProblem::Malformed);
    }
    let url = Url::parse(text).map_err(|_| UrlProblem::Malformed)?;
    let scheme_fits = match reach {
        Reach::PublicOnly => url.scheme() == "https",
        Reach::PrivateAllowed => matches!(url.scheme(), "https" | "http"),
    };
    if !scheme_fits {
        return Err(UrlProblem::NotHttps);
    }
    if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
        return Err(UrlProblem::Credentials);
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(UrlProblem::NotBase);
    }
    // A name that ends in a dot is another text for the same instance, and no certificate bears it.
    if url.host_str().is_none_or(|host| host.is_empty() || host.ends_with('.')) {
        return Err(UrlProblem::Malformed);
    }
    if reach == Reach::PublicOnly && url.port_or_known_default() != Some(443) {
        return Err(UrlProblem::Port);
    }
    check_url(&url, reach).map_err(UrlProblem::Forbidden)?;
    Ok(InstanceUrl(url))
}

/// Checks a host that is written as an address: such a host never meets the guarded resolver.
/// To be asked before every call.
pub fn check_url(url: &Url, reach: Reach) -> Result<(), Forbidden> {
    if reach == Reach::PrivateAllowed {
        return Ok(());
    }
    match url.host() {
        Some(Host::Ipv4(address)) => check_ip(address.into()),
        Some(Host::Ipv6(address)) => check_ip(address.into()),
        Some(Host::Domain(_)) | None => Ok(()),
    }
}

/// A name that leads nowhere, or where the hub does not go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// No address: a slip in the name, or the resolver is out of order.
    #[error("{host} does not resolve to an address: check the name")]
    Unknown {
        /// The name that was looked up.
        host: String,
    },
    /// At least one of its addresses is forbidden; then none is used.
    #[error("{host}: {forbidden}")]
    Forbidden {
        /// The name that was looked up.
        host: String,
        /// The first forbidden address.
        #[source]
        forbidden: Forbidden,
    },
}

/// Looks a host up and checks every address. An IPv6 host may stand in brackets.
pub async fn resolve(host: &str, port: u16, reach: Reach) -> Result<Vec<SocketAddr>, ResolveError> {
    let unknown = || ResolveError::Unknown { host: host.to_owned() };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = match bare.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((bare, port)))
            .await
            .map_err(|_| unknown())?
            .map_err(|_| unknown())?
            .collect(),
    };
    if addresses.is_empty() {
        return Err(unknown());
    }
    if reach == Reach::PublicOnly {
        for address in &addresses {
            check_ip(address.ip())
                .map_err(|forbidden| ResolveError::Forbidden { host: host.to_owned(), forbidden })?;
        }
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use UrlProblem::{Credentials, Malformed, NotBase, NotHttps, Port};

    #[test]
    fn instance_urls() {
        let taken = [
            ("https://acme.service-now.com", "https://acme.service-now.com"),
            ("https://acme.service-now.com/", "https://acme.service-now.com"),
            ("HTTPS://ACME.Service-Now.COM:443/", "https://acme.service-now.com"),
            ("https://8.8.8.8", "https://8.8.8.8"),
            ("https://[2606:4700:4700::1111]", "https://[2606:4700:4700::1111]"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
        ];
        for (text, stored) in taken {
            let url = parse_instance_url(text, Reach::PublicOnly);
            assert_eq!(url.as_ref().map(InstanceUrl::as_str), Ok(stored), "{text}");
        }
    }

    #[test]
    fn refused_instance_urls() {
        let refused = [
            ("", Malformed),
            ("acme.service-now.com", Malformed),
            ("https://", Malformed),
            ("https://acme.service-now.com.", Malformed),
            ("https://acme .service-now.com", Malformed),
            ("https://acme.service-now.com\n", Malformed),
            ("https:\\\\acme.service-now.com", Malformed),
            ("http://acme.service-now.com", NotHttps),
            ("ftp://acme.service-now.com", NotHttps),
            ("javascript:alert(1)", NotHttps),
            ("https://u:p@acme.service-now.com", Credentials),
            ("https://u@acme.service-now.com", Credentials),
            ("https://@acme.service-now.com", Credentials),
            ("https://acme.service-now.com/api", NotBase),
            ("https://acme.service-now.com//", NotBase),
            ("https://acme.service-now.com?", NotBase),
            ("https://acme.service-now.com/?a=b", NotBase),
            ("https://acme.service-now.com#", NotBase),
            ("https://acme.service-now.com:8443", Port),
            ("https://acme.service-now.com:80", Port),
        ];
        for (text, problem) in refused {
            assert_eq!(parse_instance_url(text, Reach::PublicOnly), Err(problem), "{text:?}");
        }
    }

    #[test]
    fn every_spelling_of_a_private_address_is_refused() {
        for host in [
            "127.0.0.1",
            "127.1",
            "0177.0.0.1",
            "0x7f.0.0.1",
            "0x7f000001",
            "2130706433",
            "017700000001",
            "10.1",
            "169.254.169.254",
            "2852039166",
            "①②⑦.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[64:ff9b::7f00:1]",
            "[fd00:ec2::254]",
        ] {
            let outcome = parse_instance_url(&format!("https://{host}"), Reach::PublicOnly);
            assert!(matches!(outcome, Err(UrlProblem::Forbidden(_))), "{host}: {outcome:?}");
        }
    }

    #[test]
    fn private_networks_lift_the_guard_but_not_the_shape() {
        let reach = Reach::PrivateAllowed;
        for text in
            ["http://127.0.0.1:8081", "http://snow.intern:8080/", "https://10.0.0.1:8443", "http://[::1]:1"]
        {
            assert!(parse_instance_url(text, reach).is_ok(), "{text}");
        }
        assert_eq!(parse_instance_url("http://u:p@127.0.0.1", reach), Err(Credentials));
        assert_eq!(parse_instance_url("http://127.0.0.1/x", reach), Err(NotBase));
        assert_eq!(parse_instance_url("file:///etc/passwd", reach), Err(NotHttps));
    }

    #[test]
    fn calls_are_encoded_whole() {
        let base = parse_instance_url("https://acme.service-now.com", Reach::PublicOnly).unwrap();
        let url = base.call(&["api", "now", "a/../b"], &[("sysparm_query", "a=b^c&d=ü +")]);
        assert_eq!(
            url.as_str(),
            "https://acme.service-now.com/api/now/a%2F..%2Fb?sysparm_query=a%3Db%5Ec%26d%3D%C3%BC+%2B"
        );
    }

    #[tokio::test]
    async fn one_forbidden_address_refuses_the_name() {
        let refused = resolve("localhost", 443, Reach::PublicOnly).await.unwrap_err();
        assert!(matches!(refused, ResolveError::Forbidden { .. }), "{refused}");
        assert!(resolve("localhost", 443, Reach::PrivateAllowed).await.is_ok());
        assert!(resolve("[::1]", 443, Reach::PublicOnly).await.is_err());
        assert_eq!(resolve("[::1]", 7, Reach::PrivateAllowed).await, Ok(vec!["[::1]:7".parse().unwrap()]));
    }

    #[tokio::test]
    async fn a_name_without_address_is_told() {
        let unknown = resolve("nothing-here.invalid", 443, Reach::PublicOnly).await.unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "nothing-here.invalid does not resolve to an address: check the name"
        );
    }
}
