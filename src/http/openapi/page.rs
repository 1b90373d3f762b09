//! The page to try the API: one answer with nothing to load, its script and style allowed by their digests.

use std::sync::OnceLock;

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::http::problem::Problem;
use crate::http::request::Request;

const FRAME: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

struct Page {
    html: String,
    policy: HeaderValue,
}

/// `GET /api/docs/`
pub(crate) async fn docs(_: Request) -> Result<HttpResponse, Problem> {
    static PAGE: OnceLock<Option<Page>> = OnceLock::new();
    let page = PAGE.get_or_init(page).as_ref().ok_or(Problem::Internal)?;
    let mut response = HttpResponse::Ok().body(page.html.clone());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, page.policy.clone());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

fn page() -> Option<Page> {
    let digest = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest(SCRIPT),
        digest(STYLE),
    );
    let html = FRAME.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT);
    Some(Page { html, policy: HeaderValue::from_str(&policy).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        let page = page().unwrap();
        assert!(page.html.contains(SCRIPT) && page.html.contains(STYLE));
        for wanted in ["src=", "http://", "https://", "@import", "url(", "style=\"", "onclick", "innerHTML"] {
            assert!(!page.html.contains(wanted), "{wanted}");
        }
    }
}
