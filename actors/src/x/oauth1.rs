//! OAuth 1.0a signing with HMAC-SHA1 (RFC 5849; docs.x.com, "Creating a signature").
//!
//! Query and form parameters are signed, JSON bodies are not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::Sha1;
use url::Url;

use crate::domain::secret::Secret;

/// Everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Who signs: the app, and the user on whose behalf (both empty before there is one).
pub struct Credentials<'a> {
    /// The app's API key.
    pub consumer_key: &'a str,
    /// The app's API secret.
    pub consumer_secret: &'a Secret,
    /// The user's access token.
    pub token: &'a Secret,
    /// The user's token secret.
    pub token_secret: &'a Secret,
}

/// What is signed.
pub struct Request<'a> {
    /// The HTTP method in upper case.
    pub method: &'a str,
    /// The whole address with its query.
    pub url: &'a Url,
    /// Parameters of a form body, decoded; empty for JSON bodies.
    pub form: &'a [(&'a str, &'a str)],
    /// Further protocol parameters (`oauth_callback`, `oauth_verifier`), which travel in the header.
    pub protocol: &'a [(&'a str, &'a str)],
}

/// The value of the `Authorization` header. `nonce` must be fresh and unguessable, `timestamp_s` is
/// the present time in seconds since 1970.
pub fn authorization_header(
    credentials: &Credentials<'_>,
    request: &Request<'_>,
    nonce: &str,
    timestamp_s: i64,
) -> String {
    let timestamp = timestamp_s.to_string();
    let mut protocol = vec![
        ("oauth_consumer_key", credentials.consumer_key),
        ("oauth_nonce", nonce),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", &timestamp),
        ("oauth_version", "1.0"),
    ];
    if !credentials.token.is_empty() {
        protocol.push(("oauth_token", credentials.token.expose()));
    }
    protocol.extend_from_slice(request.protocol);
    let signature = sign(credentials, &base_string(request, &protocol));
    protocol.push(("oauth_signature", &signature));
    protocol.sort_unstable();
    let fields: Vec<String> =
        protocol.iter().map(|(name, value)| format!("{}=\"{}\"", encode(name), encode(value))).collect();
    format!("OAuth {}", fields.join(", "))
}

fn base_string(request: &Request<'_>, protocol: &[(&str, &str)]) -> String {
    let query = request.url.query_pairs();
    let query = query.map(|(name, value)| (encode(&name), encode(&value)));
    let rest = protocol.iter().chain(request.form).map(|(name, value)| (encode(name), encode(value)));
    let mut parameters: Vec<(String, String)> = query.chain(rest).collect();
    parameters.sort_unstable();
    let pairs: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut address = request.url.clone();
    address.set_query(None);
    address.set_fragment(None);
    format!("{}&{}&{}", request.method, encode(address.as_str()), encode(&pairs.join("&")))
}

fn sign(credentials: &Credentials<'_>, base: &str) -> String {
    let key = Secret::new(format!(
        "{}&{}",
        encode(credentials.consumer_secret.expose()),
        encode(credentials.token_secret.expose())
    ));
    let mac = Hmac::<Sha1>::new_from_slice(key.expose().as_bytes());
    // HMAC takes keys of any length: the empty text is never returned.
    mac.map(|mac| STANDARD.encode(mac.chain_update(base).finalize().into_bytes())).unwrap_or_default()
}

/// Percent-encoding of RFC 3986: upper-case digits, only `A-Z a-z 0-9 - . _ ~` stay.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding() {
        for (text, expected) in [
            ("Ladies + Gentlemen", "Ladies%20%2B%20Gentlemen"),
            ("An encoded string!", "An%20encoded%20string%21"),
            ("Dogs, Cats & Mice", "Dogs%2C%20Cats%20%26%20Mice"),
            ("☃", "%E2%98%83"),
            ("*", "%2A"),
            ("aZ09-._~", "aZ09-._~"),
        ] {
            assert_eq!(encode(text), expected);
        }
    }

    struct Vector {
        url: &'static str,
        form: &'static [(&'static str, &'static str)],
        protocol: &'static [(&'static str, &'static str)],
        consumer: (&'static str, &'static str),
        token: (&'static str, &'static str),
        nonce: &'static str,
        timestamp_s: i64,
        signature: &'static str,
    }

    fn signature_of(vector: &Vector) -> String {
        let url = Url::parse(vector.url).unwrap();
        let credentials = Credentials {
            consumer_key: vector.consumer.0,
            consumer_secret: &Secret::new(vector.consumer.1),
            token: &Secret::new(vector.token.0),
            token_secret: &Secret::new(vector.token.1),
        };
        let request = Request { method: "POST", url: &url, form: vector.form, protocol: vector.protocol };
        let header = authorization_header(&credentials, &request, vector.nonce, vector.timestamp_s);
        let from = header.find("oauth_signature=\"").unwrap() + "oauth_signature=\"".len();
        let encoded = header[from..].split('"').next().unwrap();
        percent_encoding::percent_decode_str(encoded).decode_utf8().unwrap().into_owned()
    }

    const UPDATE: Vector = Vector {
        url: "https://api.x.com/1.1/statuses/update.json?include_entities=true",
        form: &[("status", "Hello Ladies + Gentlemen, a signed OAuth request!")],
        protocol: &[],
        consumer: ("xvz1evFS4wEEPTGEFPHBog", "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw"),
        token: (
            "370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb",
            "LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE",
        ),
        nonce: "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg",
        timestamp_s: 1_318_622_958,
        signature: "Ls93hJiZbQ3akF3HF3x1Bz8/zU4=",
    };

    const WALK_THROUGH: (&str, &str) =
        ("GDdmIQH6jhtmLUypg82g", "MCD8BKwGdgPHvAuvgvz4EQpqDAtx89grbuNMRd7Eh98");

    #[test]
    fn published_vectors() {
        for vector in [
            UPDATE,
            Vector {
                url: "https://api.twitter.com/1.1/statuses/update.json?include_entities=true",
                signature: "hCtSmYh+iHYCEqBWrE7C7hYmtUk=",
                ..UPDATE
            },
            Vector {
                url: "https://api.twitter.com/1/statuses/update.json?include_entities=true",
                signature: "tnnArxj06cWHq44gCs1OSKk/jLY=",
                ..UPDATE
            },
            Vector {
                url: "https://api.twitter.com/oauth/request_token",
                form: &[],
                protocol: &[(
                    "oauth_callback",
                    "http://localhost:3005/the_dance/process_callback?service_provider_id=11",
                )],
                consumer: WALK_THROUGH,
                token: ("", ""),
                nonce: "QP70eNmVz8jvdPevU3oJD2AfF7R7odC2XJcn4XlZJqk",
                timestamp_s: 1_272_323_042,
                signature: "8wUi7m5HFQy76nowoCThusfgB+Q=",
            },
            Vector {
                url: "https://api.twitter.com/oauth/access_token",
                form: &[],
                protocol: &[("oauth_verifier", "pDNg57prOHapMbhv25RNf75lVRd6JDsni1AJJIDYoTY")],
                consumer: WALK_THROUGH,
                token: (
                    "8ldIZyxQeVrFZXFOZH5tAwj6vzJYuLQpl0WUEYtWc",
                    "x6qpRnlEmW9JbQn4PQVVeVG8ZLPEx6A0TOebgwcuA",
                ),
                nonce: "9zWH6qe0qG7Lc1telCn7FhUbLyVdjEaL3MO5uHxn8",
                timestamp_s: 1_272_323_047,
                signature: "PUw/dHA4fnlJYM6RhXk5IU/0fCc=",
            },
            Vector {
                url: "http://api.twitter.com/1/statuses/update.json",
                form: &[("status", "setting up my twitter 私のさえずりを設定する")],
                protocol: &[],
                consumer: WALK_THROUGH,
                token: (
                    "819797-Jxq8aYUDRmykzVKrgoLhXSq67TEa5ruc4GJC2rWimw",
                    "J6zix3FfA9LofH0awS24M3HcBYXO5nI1iYe8EfBA",
                ),
                nonce: "oElnnMTQIZvqvlfXM56aBLAf5noGD0AQR3Fmi7Q6Y",
                timestamp_s: 1_272_325_550,
                signature: "yOahq5m0YjDDjfjxHaXEsW9D+X0=",
            },
        ] {
            assert_eq!(signature_of(&vector), vector.signature, "{}", vector.url);
        }
    }

    #[test]
    fn no_token_no_field() {
        let none = Secret::default();
        let credentials = Credentials {
            consumer_key: "k",
            consumer_secret: &Secret::new("hidden"),
            token: &none,
            token_secret: &none,
        };
        let url = Url::parse("https://api.x.com/2/users/me").unwrap();
        let request = Request { method: "GET", url: &url, form: &[], protocol: &[] };
        let header = authorization_header(&credentials, &request, "n", 1);
        assert!(header.starts_with("OAuth oauth_consumer_key=\"k\", oauth_nonce=\"n\", oauth_signature=\""));
        assert!(!header.contains("oauth_token") && !header.contains("hidden"), "{header}");
    }
}
