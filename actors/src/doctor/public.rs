//! The public URL: answers X's challenge as X would ask it. Slow or redirected answers are what ends most
//! webhooks, and X does not say so.

use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use url::Url;

use super::{Finding, Ward};
use crate::net;
use crate::webhooks::{check_address, is_x_itself};
use crate::x::signature;

const AREA: &str = "public url";
/// What is comfortable, and where X gives up.
const COMFORTABLE: Duration = Duration::from_secs(1);
const TIME_LIMIT: Duration = Duration::from_secs(3);
const MAX_BODY_BYTES: usize = 64 * 1024;

/// What came back to a challenge.
struct Told {
    status: u16,
    content_type: String,
    is_encoded: bool,
    location: Option<String>,
    body: Vec<u8>,
    took: Duration,
}

/// Asks the public URL as X would.
pub(super) async fn public_url(ward: &Ward) -> Vec<Finding> {
    let Some(text) = ward.settings.webhook_url.as_deref() else {
        let remedy = "server.public_url is not set: give the address by which X reaches this hub";
        return vec![Finding::yellow(AREA, remedy)];
    };
    let Ok(url) = Url::parse(text) else {
        return vec![Finding::red(AREA, "server.public_url is no url: correct it")];
    };
    if let Err(refusal) = check_address(&url, is_x_itself(&ward.settings.x_api_url)) {
        return vec![Finding::red(AREA, format!("server.public_url: {refusal}"))];
    }
    let Some(secret) = ward.settings.consumer_secret.as_ref().filter(|secret| !secret.is_empty()) else {
        return vec![Finding::yellow(
            AREA,
            "not asked: set twitter.consumer_secret, which signs the answer to X",
        )];
    };
    let token = ward.sources.nonce();
    let expected = signature::crc_response(secret, &token);
    vec![match challenge(ward, url, &token).await {
        Ok(told) => judge(&told, expected.as_deref()),
        Err(reason) => Finding::red(AREA, format!("{text} does not answer: {reason}")),
    }]
}

async fn challenge(ward: &Ward, mut url: Url, token: &str) -> Result<Told, String> {
    url.query_pairs_mut().append_pair("crc_token", token);
    let begun = Instant::now();
    let asked = ward.http.get(url).send().await.map_err(|error| net::failure_of(&error).detail)?;
    let (status, headers) = (asked.status().as_u16(), asked.headers().clone());
    let body = net::read_capped(asked, MAX_BODY_BYTES).await.map_err(|error| error.to_string())?;
    let header = |name| text_of(&headers, name);
    Ok(Told {
        status,
        content_type: header(CONTENT_TYPE).unwrap_or_default(),
        is_encoded: header(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity"),
        location: header(reqwest::header::LOCATION),
        body,
        took: begun.elapsed(),
    })
}

fn text_of(headers: &HeaderMap, name: reqwest::header::HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn judge(told: &Told, expected: Option<&str>) -> Finding {
    if (300..400).contains(&told.status) {
        let to = told.location.as_deref().unwrap_or("elsewhere");
        let text = format!("redirects to {to}, and X follows none: set server.public_url to where it ends");
        return Finding::red(AREA, text);
    }
    if told.status != 200 {
        let text = format!(
            "answers X's challenge with {}: check that the proxy passes /api/activity/ on to this hub",
            told.status
        );
        return Finding::red(AREA, text);
    }
    if told.is_encoded {
        return Finding::red(AREA, "compresses the answer unasked: switch that off in the proxy");
    }
    if !told.content_type.to_ascii_lowercase().starts_with("application/json") {
        let text = format!(
            "answers with {:?}, not with application/json: another program answers",
            told.content_type
        );
        return Finding::red(AREA, text);
    }
    let body: serde_json::Value = serde_json::from_slice(&told.body).unwrap_or_default();
    if body["response_token"].as_str() != expected {
        let text = "answers with a wrong token: the hub there has another twitter.consumer_secret";
        return Finding::red(AREA, text);
    }
    let took_ms = told.took.as_millis();
    if told.took >= TIME_LIMIT {
        return Finding::red(
            AREA,
            format!("takes {took_ms} ms, and X gives up after 3 s: make the way shorter"),
        );
    }
    if told.took >= COMFORTABLE {
        return Finding::yellow(
            AREA,
            format!("answers X's challenge, but takes {took_ms} ms of the 3 s there are"),
        );
    }
    Finding::green(AREA, format!("answers X's challenge in {took_ms} ms"))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn answers_to_the_challenge() {
        let good = || Told {
            status: 200,
            content_type: "application/json".to_owned(),
            is_encoded: false,
            location: None,
            body: br#"{"response_token":"sha256=x"}"#.to_vec(),
            took: Duration::from_millis(20),
        };
        let cases: [(Told, Level, &str); 8] = [
            (good(), Level::Green, "20 ms"),
            (Told { took: Duration::from_millis(1500), ..good() }, Level::Yellow, "1500 ms"),
            (Told { took: Duration::from_secs(3), ..good() }, Level::Red, "3 s"),
            (
                Told { status: 301, location: Some("https://b/".to_owned()), ..good() },
                Level::Red,
                "https://b/",
            ),
            (Told { status: 404, ..good() }, Level::Red, "404"),
            (Told { is_encoded: true, ..good() }, Level::Red, "compresses"),
            (Told { content_type: "text/html".to_owned(), ..good() }, Level::Red, "text/html"),
            (Told { body: b"{}".to_vec(), ..good() }, Level::Red, "consumer_secret"),
        ];
        for (told, level, words) in cases {
            let finding = judge(&told, Some("sha256=x"));
            assert_eq!(finding.level, level, "{}", finding.text);
            assert!(finding.text.contains(words), "{}", finding.text);
        }
    }
}
