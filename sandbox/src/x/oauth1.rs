//! OAuth 1.0a with HMAC-SHA1 as X checks it (RFC 5849, section 3).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha1::Sha1;
use subtle::ConstantTimeEq;

/// RFC 3986's unreserved characters stay; everything else is escaped (RFC 5849, 3.6).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// X takes time-stamps up to five minutes off its own clock.
pub(crate) const MAX_CLOCK_SKEW_S: i64 = 300;

/// Percent-encoding as RFC 5849, section 3.6, asks for it.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// The parameters of an `Authorization: OAuth …` header, decoded; `None` for another scheme or a malformed one.
pub(crate) fn parse_header(header: &str) -> Option<BTreeMap<String, String>> {
    let (scheme, rest) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("oauth") {
        return None;
    }
    let mut params = BTreeMap::new();
    for pair in rest.split(',') {
        let (name, value) = pair.trim().split_once('=')?;
        let value = value.trim().strip_prefix('"')?.strip_suffix('"')?;
        let decode = |text| percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned).ok();
        params.insert(decode(name.trim())?, decode(value)?);
    }
    Some(params)
}

/// The signature base string (section 3.4.1). `url` is scheme, host and path; `params` holds the decoded
/// parameters of header, query and form body, without `oauth_signature` and `realm`.
pub(crate) fn base_string(method: &str, url: &str, params: &[(String, String)]) -> String {
    let mut encoded: Vec<(String, String)> =
        params.iter().map(|(name, value)| (encode(name), encode(value))).collect();
    encoded.sort();
    let pairs: Vec<String> = encoded.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{}&{}&{}", method.to_ascii_uppercase(), encode(url), encode(&pairs.join("&")))
}

/// The base64 HMAC-SHA1 of a base string (section 3.4.2).
pub(crate) fn signature(base: &str, consumer_secret: &str, token_secret: &str) -> String {
    let key = format!("{}&{}", encode(consumer_secret), encode(token_secret));
    // HMAC takes keys of any length, so there is no error to report.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key.as_bytes()) else { return String::new() };
    mac.update(base.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// A signed request, taken apart.
pub(crate) struct Signed {
    /// The header's `oauth_…` parameters.
    pub(crate) oauth: BTreeMap<String, String>,
    base: String,
}

impl Signed {
    /// `url` is scheme, host and path as the client wrote them; `query` and `form` are raw.
    pub(crate) fn read(method: &str, url: &str, query: &str, form: &str, header: &str) -> Option<Self> {
        let oauth = parse_header(header)?;
        let mut params: Vec<(String, String)> = oauth
            .iter()
            .filter(|(name, _)| *name != "oauth_signature" && *name != "realm")
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        for raw in [query, form] {
            params.extend(url::form_urlencoded::parse(raw.as_bytes()).into_owned());
        }
        let base = base_string(method, url, &params);
        Some(Self { oauth, base })
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.oauth.get(name).map_or("", String::as_str)
    }

    /// Whether the signature was made with these secrets.
    pub(crate) fn is_by(&self, consumer_secret: &str, token_secret: &str) -> bool {
        let expected = signature(&self.base, consumer_secret, token_secret);
        self.get("oauth_signature_method") == "HMAC-SHA1"
            && expected.as_bytes().ct_eq(self.get("oauth_signature").as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    struct Vector {
        method: &'static str,
        url: &'static str,
        query: &'static str,
        form: &'static [(&'static str, &'static str)],
        oauth: &'static [(&'static str, &'static str)],
        consumer_secret: &'static str,
        token_secret: &'static str,
        expected: &'static str,
    }

    const DOCS_OAUTH: &[(&str, &str)] = &[
        ("oauth_consumer_key", "xvz1evFS4wEEPTGEFPHBog"),
        ("oauth_nonce", "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg"),
        ("oauth_timestamp", "1318622958"),
        ("oauth_token", "370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb"),
    ];

    fn docs(url: &'static str, expected: &'static str) -> Vector {
        Vector {
            method: "POST",
            url,
            query: "include_entities=true",
            form: &[("status", "Hello Ladies + Gentlemen, a signed OAuth request!")],
            oauth: DOCS_OAUTH,
            consumer_secret: "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw",
            token_secret: "LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE",
            expected,
        }
    }

    fn walk_through(
        url: &'static str,
        form: &'static [(&'static str, &'static str)],
        oauth: &'static [(&'static str, &'static str)],
        token_secret: &'static str,
        expected: &'static str,
    ) -> Vector {
        let consumer_secret = "MCD8BKwGdgPHvAuvgvz4EQpqDAtx89grbuNMRd7Eh98";
        Vector { method: "POST", url, query: "", form, oauth, consumer_secret, token_secret, expected }
    }

    /// Published signatures: X's "Creating a signature" page and the walk-through of dev.twitter.com.
    fn vectors() -> Vec<Vector> {
        vec![
            docs("https://api.x.com/1.1/statuses/update.json", "Ls93hJiZbQ3akF3HF3x1Bz8/zU4="),
            docs("https://api.twitter.com/1.1/statuses/update.json", "hCtSmYh+iHYCEqBWrE7C7hYmtUk="),
            docs("https://api.twitter.com/1/statuses/update.json", "tnnArxj06cWHq44gCs1OSKk/jLY="),
            walk_through(
                "https://api.twitter.com/oauth/request_token",
                &[],
                &[
                    (
                        "oauth_callback",
                        "http://localhost:3005/the_dance/process_callback?service_provider_id=11",
                    ),
                    ("oauth_consumer_key", "GDdmIQH6jhtmLUypg82g"),
                    ("oauth_nonce", "QP70eNmVz8jvdPevU3oJD2AfF7R7odC2XJcn4XlZJqk"),
                    ("oauth_timestamp", "1272323042"),
                ],
                "",
                "8wUi7m5HFQy76nowoCThusfgB+Q=",
            ),
            walk_through(
                "https://api.twitter.com/oauth/access_token",
                &[],
                &[
                    ("oauth_consumer_key", "GDdmIQH6jhtmLUypg82g"),
                    ("oauth_nonce", "9zWH6qe0qG7Lc1telCn7FhUbLyVdjEaL3MO5uHxn8"),
                    ("oauth_timestamp", "1272323047"),
                    ("oauth_token", "8ldIZyxQeVrFZXFOZH5tAwj6vzJYuLQpl0WUEYtWc"),
                    ("oauth_verifier", "pDNg57prOHapMbhv25RNf75lVRd6JDsni1AJJIDYoTY"),
                ],
                "x6qpRnlEmW9JbQn4PQVVeVG8ZLPEx6A0TOebgwcuA",
                "PUw/dHA4fnlJYM6RhXk5IU/0fCc=",
            ),
            walk_through(
                "http://api.twitter.com/1/statuses/update.json",
                &[("status", "setting up my twitter 私のさえずりを設定する")],
                &[
                    ("oauth_consumer_key", "GDdmIQH6jhtmLUypg82g"),
                    ("oauth_nonce", "oElnnMTQIZvqvlfXM56aBLAf5noGD0AQR3Fmi7Q6Y"),
                    ("oauth_timestamp", "1272325550"),
                    ("oauth_token", "819797-Jxq8aYUDRmykzVKrgoLhXSq67TEa5ruc4GJC2rWimw"),
                ],
                "J6zix3FfA9LofH0awS24M3HcBYXO5nI1iYe8EfBA",
                "yOahq5m0YjDDjfjxHaXEsW9D+X0=",
            ),
        ]
    }

    #[test]
    fn accepts_the_published_signatures() {
        for vector in vectors() {
            let mut header = String::from("OAuth realm=\"x\"");
            let fixed = [("oauth_signature_method", "HMAC-SHA1"), ("oauth_version", "1.0")];
            let signed = [("oauth_signature", vector.expected)];
            for (name, value) in vector.oauth.iter().chain(&fixed).chain(&signed) {
                let _ = write!(header, ", {name}=\"{}\"", encode(value));
            }
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.extend_pairs(vector.form);
            let form = form.finish();
            let read = |query| Signed::read(vector.method, vector.url, query, &form, &header).unwrap();
            let signed = read(vector.query);
            assert!(signed.is_by(vector.consumer_secret, vector.token_secret), "{}", vector.expected);
            assert!(!signed.is_by(vector.consumer_secret, "another secret"), "{}", vector.expected);
            assert!(!read("changed=1").is_by(vector.consumer_secret, vector.token_secret));
        }
    }

    #[test]
    fn encodes_as_published() {
        for (text, expected) in [
            ("Ladies + Gentlemen", "Ladies%20%2B%20Gentlemen"),
            ("An encoded string!", "An%20encoded%20string%21"),
            ("Dogs, Cats & Mice", "Dogs%2C%20Cats%20%26%20Mice"),
            ("☃", "%E2%98%83"),
            ("*", "%2A"),
            ("-._~", "-._~"),
        ] {
            assert_eq!(encode(text), expected);
        }
    }

    #[test]
    fn refuses_malformed_headers() {
        for header in ["Bearer abc", "OAuth", "OAuth oauth_nonce=1", "OAuth a=\"%FF\"", "OAuth oauth_nonce"] {
            assert!(parse_header(header).is_none(), "{header}");
        }
    }
}
