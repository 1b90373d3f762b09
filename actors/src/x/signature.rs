//! Webhook signatures: X proves that a body is its own, the hub proves that it holds the app's secret.
//!
//! Both use HMAC-SHA256 under the app's consumer secret, written `sha256=<base64>` (docs.x.com,
//! `x-api/webhooks/quickstart`). Because key and construction are the same, answering any token
//! would sign forged bodies: only tokens that cannot be JSON are answered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::percent_decode_str;
use sha2::Sha256;

use crate::domain::secret::Secret;

/// The header that carries the signature of a POST.
pub const SIGNATURE_HEADER: &str = "x-twitter-webhooks-signature";

const PREFIX: &str = "sha256=";

/// The `response_token` for a challenge. `None` if the token is not 1 to 256 characters of
/// `A-Z a-z 0-9 + / = _ -`, or if there is no secret to sign with.
pub fn crc_response(consumer_secret: &Secret, token: &str) -> Option<String> {
    let is_token = (1..=256).contains(&token.len()) && token.bytes().all(is_token_byte);
    if !is_token {
        return None;
    }
    let digest = keyed(consumer_secret)?.chain_update(token).finalize().into_bytes();
    Some(format!("{PREFIX}{}", STANDARD.encode(digest)))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte)
}

/// The first `crc_token` of a raw query string. Percent signs are decoded; a raw `+` is a `+`,
/// because tokens may be base64.
pub fn crc_token(raw_query: &str) -> Option<String> {
    let raw = raw_query.split('&').find_map(|pair| pair.strip_prefix("crc_token="))?;
    let token = percent_decode_str(raw).decode_utf8().ok()?;
    Some(token.into_owned())
}

/// Whether the header is X's signature of exactly these bytes. Compares in constant time; without a
/// secret nothing is genuine.
pub fn verify(consumer_secret: &Secret, body: &[u8], header: &str) -> bool {
    let Some(signature) = header.strip_prefix(PREFIX).and_then(|encoded| STANDARD.decode(encoded).ok())
    else {
        return false;
    };
    keyed(consumer_secret).is_some_and(|mac| mac.chain_update(body).verify_slice(&signature).is_ok())
}

fn keyed(consumer_secret: &Secret) -> Option<Hmac<Sha256>> {
    if consumer_secret.is_empty() {
        return None;
    }
    Hmac::<Sha256>::new_from_slice(consumer_secret.expose().as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn challenges() {
        let gist = "z3ZX4v7mAAUGykl3EcmkqbartmuW8VFOOzCloLx9Q45P0hLrFu";
        for (secret, token, expected) in [
            (
                gist,
                "9b4507b3-9040-4669-9ca3-6b94edb50553",
                "sha256=Cytd4Sq+NvEcV3MMrXxWJGJx5A+y/lXzzU2Maartkx8=",
            ),
            ("DDD", "some_random", "sha256=VE19eUk6krbdSqWPdvH71xtFhApBAU81uPW3UT65vOs="),
        ] {
            assert_eq!(crc_response(&Secret::new(secret), token).as_deref(), Some(expected));
        }
    }

    #[test]
    fn bodies() {
        for (secret, body, header) in [
            (
                "test",
                r#"{"test_number":1,"test_string":"two"}"#,
                "sha256=YWHphPn/JFq43jkF0y4/w8R/SelmLjvpunhVFY8JhlI=",
            ),
            ("test", "test=1&other_test=2", "sha256=25Cu3iwbbiqBTwQRzcKJZwisjf736V2Q8UaTlkfLSoc="),
            (
                "DDD",
                r#"{"for_user_id":123,"key":"value"}"#,
                "sha256=JjEmBe1lVKT8XldrYUKibF+D5ehp8f0jDk3PXZSHEWI=",
            ),
            ("DDD", r#"{"key":"value"}"#, "sha256=EERHBy/k17v+SuT+K0OXuwhJtKnPtxi0n/Y4Wye4kVU="),
            (
                "DDD",
                "crc_token=some_random&nonce=some_nonce",
                "sha256=JXggmBS6fCrrQHHGNM3xgqziKZ84jhtV4C4a/IGNZeY=",
            ),
        ] {
            let secret = Secret::new(secret);
            assert!(verify(&secret, body.as_bytes(), header), "{body}");
            assert!(!verify(&secret, format!("{body} ").as_bytes(), header), "{body}");
            assert!(!verify(&Secret::new("another"), body.as_bytes(), header), "{body}");
            assert!(!verify(&Secret::default(), body.as_bytes(), header), "{body}");
        }
    }

    #[test]
    fn samples_as_stated() {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/payloads/x"));
        let stated: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.join("signatures.json")).unwrap()).unwrap();
        let secret = Secret::new(stated["consumer_secret"].as_str().unwrap());
        for (name, header) in stated["signatures"].as_object().unwrap() {
            let body = std::fs::read(folder.join(format!("{name}.json"))).unwrap();
            assert!(verify(&secret, &body, header.as_str().unwrap()), "{name}");
        }
    }

    #[test]
    fn the_challenge_signs_no_body() {
        let secret = Secret::new("DDD");
        let long = "a".repeat(257);
        for token in ["", r#"{"key":"value"}"#, "a b", "a\n", "a&b", "a%b", "a.b", "ä", long.as_str()] {
            assert_eq!(crc_response(&secret, token), None, "{token}");
        }
        assert!(crc_response(&secret, &long[..256]).is_some());
        assert_eq!(crc_response(&Secret::default(), "foo"), None);
    }

    #[test]
    fn headers_that_are_none() {
        let secret = Secret::new("DDD");
        let genuine = "EERHBy/k17v+SuT+K0OXuwhJtKnPtxi0n/Y4Wye4kVU=";
        for header in [
            String::new(),
            "sha256=".to_owned(),
            genuine.to_owned(),
            format!("sha1={genuine}"),
            format!("sha256={}", &genuine[..20]),
            format!("sha256={genuine}="),
            "sha256=not base64".to_owned(),
        ] {
            assert!(!verify(&secret, br#"{"key":"value"}"#, &header), "{header}");
        }
    }

    #[test]
    fn raw_queries() {
        for (query, expected) in [
            ("crc_token=foo", Some("foo")),
            ("nonce=1&crc_token=a+b/c==&x=2", Some("a+b/c==")),
            ("crc_token=a%2Bb%2Fc%3D", Some("a+b/c=")),
            ("crc_token=a%20b", Some("a b")),
            ("crc_token=first&crc_token=second", Some("first")),
            ("crc_token=", Some("")),
            ("crc_token=%ff", None),
            ("crc_token", None),
            ("xcrc_token=foo", None),
            ("", None),
        ] {
            assert_eq!(crc_token(query).as_deref(), expected, "{query}");
        }
    }
}
