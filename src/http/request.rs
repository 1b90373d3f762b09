//! A request as handlers see it.

use std::net::IpAddr;
use std::time::Duration;

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{HttpRequest, web};
use futures_util::StreamExt;

use super::body::Body;
use super::problem::Problem;
use super::room::Place;
use super::{AppState, client};

/// How much more than the limit is read away before a body is refused, so that a client that is
/// still sending gets to read the refusal.
const DRAINED_BYTES: usize = 8 << 20;

/// How long a body may take to arrive.
const BODY_LIMIT: Duration = Duration::from_secs(30);

/// A request, with its body unread.
pub(crate) struct Request {
    http: HttpRequest,
    payload: web::Payload,
    state: web::Data<AppState>,
    /// Of its body, until it is answered.
    place: Place,
}

impl Request {
    pub(super) fn new(http: HttpRequest, payload: web::Payload, state: web::Data<AppState>) -> Self {
        Self { http, payload, state, place: Place::default() }
    }

    /// What all handlers share.
    pub(crate) fn state(&self) -> &AppState {
        &self.state
    }

    /// The head of the request.
    pub(crate) fn http(&self) -> &HttpRequest {
        &self.http
    }

    /// The first header of this name.
    pub(crate) fn header(&self, name: HeaderName) -> Option<&HeaderValue> {
        self.http.headers().get(name)
    }

    /// A segment of the path, decoded.
    pub(crate) fn segment(&self, name: &str) -> &str {
        self.http.match_info().get(name).unwrap_or_default()
    }

    /// The value of a query parameter; the last of several.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let pairs = url::form_urlencoded::parse(self.http.query_string().as_bytes());
        pairs.filter(|(key, _)| key == name).last().map(|(_, value)| value.into_owned())
    }

    /// Who sent it: the address at the other end, or what a trusted proxy says.
    pub(crate) fn client(&self) -> IpAddr {
        client::address(&self.http, &self.state.settings.server.trusted_proxies)
    }

    /// How the caller, or the operator, calls this hub: scheme and host, without a slash at the end.
    pub(crate) fn base_url(&self) -> String {
        if let Some(public_url) = &self.state.settings.server.public_url {
            return public_url.as_str().to_owned();
        }
        let info = self.http.connection_info();
        format!("http://{}", info.host())
    }

    /// Reads the body as JSON or a form, by its `Content-Type`.
    pub(crate) async fn body(&mut self) -> Result<Body, Problem> {
        let bytes = self.bytes().await?;
        let content_type = self.header(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        Ok(Body::parse(content_type, &bytes)?)
    }

    /// Reads the whole body, up to `server.max_body`.
    pub(crate) async fn bytes(&mut self) -> Result<Bytes, Problem> {
        tokio::time::timeout(BODY_LIMIT, self.read()).await.unwrap_or(Err(Problem::TooSlow))
    }

    async fn read(&mut self) -> Result<Bytes, Problem> {
        let limit = self.state.settings.server.max_body;
        let mut body = BytesMut::new();
        let mut n_excess = 0;
        while let Some(chunk) = self.payload.next().await {
            let chunk = chunk.map_err(|_| Problem::Malformed("The body ended early.".to_owned()))?;
            if n_excess > 0 || body.len() + chunk.len() > limit {
                n_excess += chunk.len();
                if n_excess > DRAINED_BYTES {
                    break;
                }
                continue;
            }
            self.state.room.grow(&mut self.place, chunk.len())?;
            body.extend_from_slice(&chunk);
        }
        if n_excess > 0 { Err(Problem::TooLarge(limit)) } else { Ok(body.freeze()) }
    }
}
