//! Lists in pages: `?limit=&offset=`, `X-Total-Count` and `Link`.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use serde::Serialize;

use super::problem::Problem;
use super::reply;
use super::request::Request;

const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    /// How many at most.
    pub(crate) limit: i64,
    /// How many are left out before them.
    pub(crate) offset: i64,
}

impl Page {
    /// Reads the query; without a limit the list is whole.
    pub(crate) fn of(request: &Request) -> Result<Self, Problem> {
        let limit = number(request.query("limit"), "limit", 1)?.unwrap_or(i64::MAX);
        let offset = number(request.query("offset"), "offset", 0)?.unwrap_or(0);
        Ok(Self { limit, offset })
    }

    /// The answer: a bare array, with its neighbours in the header.
    pub(crate) fn reply(self, request: &Request, items: &impl Serialize, n_all: i64) -> HttpResponse {
        let links: Vec<String> =
            self.neighbours(n_all).into_iter().map(|(rel, page)| page.link(request, rel)).collect();
        list(items, n_all, &links)
    }

    fn neighbours(self, n_all: i64) -> Vec<(&'static str, Self)> {
        let mut neighbours = Vec::new();
        if self.offset > 0 && self.limit < i64::MAX {
            let offset = (self.offset - self.limit).max(0);
            neighbours.push(("prev", Self { offset, ..self }));
        }
        let next = self.offset.saturating_add(self.limit);
        if next < n_all {
            neighbours.push(("next", Self { offset: next, ..self }));
        }
        neighbours
    }

    /// The same list at another place, with the other parameters kept.
    fn link(self, request: &Request, rel: &str) -> String {
        let place = [("limit", self.limit.to_string()), ("offset", self.offset.to_string())];
        link(request, &place, rel)
    }
}

/// A bare array, with its neighbours in the header.
pub(crate) fn list(items: &impl Serialize, n_all: i64, links: &[String]) -> HttpResponse {
    let mut response = reply::ok(items);
    response.headers_mut().insert(TOTAL_COUNT, HeaderValue::from(n_all));
    if let Ok(links) = HeaderValue::from_str(&links.join(", "))
        && !links.is_empty()
    {
        response.headers_mut().insert(header::LINK, links);
    }
    response
}

/// The same list at another place, with the other parameters kept.
pub(crate) fn link(request: &Request, place: &[(&str, String)], rel: &str) -> String {
    let kept = url::form_urlencoded::parse(request.http().query_string().as_bytes())
        .filter(|(name, _)| place.iter().all(|(known, _)| known != name));
    let query =
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).extend_pairs(place).finish();
    format!("<{}{}?{query}>; rel=\"{rel}\"", request.base_url(), request.http().path())
}

fn number(text: Option<String>, name: &str, min: i64) -> Result<Option<i64>, Problem> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let number = text.parse::<i64>().map_err(|_| Problem::field(name, "A valid integer is required."))?;
    if number < min {
        let message = format!("Ensure this value is greater than or equal to {min}.");
        return Err(Problem::field(name, message));
    }
    Ok(Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_told_when_there_are_some() {
        let page = |limit, offset| Page { limit, offset };
        for (this, n_all, expected) in [
            (page(i64::MAX, 0), 5, vec![]),
            (page(2, 0), 5, vec![("next", page(2, 2))]),
            (page(2, 2), 5, vec![("prev", page(2, 0)), ("next", page(2, 4))]),
            (page(2, 4), 5, vec![("prev", page(2, 2))]),
            (page(2, 1), 3, vec![("prev", page(2, 0))]),
            (page(5, 0), 5, vec![]),
            (page(2, i64::MAX), 5, vec![("prev", page(2, i64::MAX - 2))]),
        ] {
            assert_eq!(this.neighbours(n_all), expected, "{this:?}");
        }
    }
}
