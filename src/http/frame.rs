//! The frame around every handler: which checks run in which order, and what every answer carries.
//!
//! The order is that of Django REST framework, which clients can tell apart by its answers: route (404),
//! `Accept` (406), authentication (401), permission (403), throttle (429), method (405); then, inside the
//! handler, the object (404, 403), the body (415, 400) and its validation (400). Handlers are plain functions from a
//! [`Request`], and the [`Caller`] or [`Admin`] that their entry in the table asks for, to an answer.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Instant;

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use casewire_actors::metrics::{RouteMetrics, UNKNOWN};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::auth::{self, Admin, Caller};
use super::options::Metadata;
use super::problem::Problem;
use super::request::Request;
use super::{AppState, negotiate, options};

/// What a handler comes to.
pub(crate) type Answer = LocalBoxFuture<'static, Result<HttpResponse, Problem>>;

/// The methods that handlers are written for. `HEAD` is answered by `GET`, `OPTIONS` by the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    /// As it stands in a request line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// The verb whose handler answers a method.
    fn answering(method: &Method) -> Option<Self> {
        match *method {
            Method::GET | Method::HEAD => Some(Self::Get),
            Method::POST => Some(Self::Post),
            Method::PUT => Some(Self::Put),
            Method::PATCH => Some(Self::Patch),
            Method::DELETE => Some(Self::Delete),
            _ => None,
        }
    }
}

/// A handler, with who may call it.
#[derive(Clone, Copy)]
pub(crate) enum Endpoint {
    /// Anyone; credentials are not looked at.
    Public(fn(Request) -> Answer),
    /// Anyone, with a browser: the answer is a page, so `Accept` is not looked at.
    Page(fn(Request) -> Answer),
    /// Anyone with a valid token.
    User(fn(Request, Caller) -> Answer),
    /// Admins.
    Admin(fn(Request, Admin) -> Answer),
}

/// One entry of the table of routes.
pub(crate) struct Resource {
    /// The path, with its trailing slash unless it has none; `{name}` stands for a segment.
    pub(crate) path: &'static str,
    /// What `OPTIONS` calls it.
    pub(crate) name: &'static str,
    /// Its methods, in the order in which `Allow` tells them.
    pub(crate) methods: &'static [(Verb, Endpoint)],
    /// What `OPTIONS` tells beyond the name.
    pub(crate) metadata: Metadata,
}

impl Resource {
    /// Whether the methods that nobody wrote a handler for need a token too.
    fn needs_token(&self) -> bool {
        !self.methods.iter().any(|(_, endpoint)| matches!(endpoint, Endpoint::Public(_) | Endpoint::Page(_)))
    }

    fn endpoint(&self, method: &Method) -> Option<Endpoint> {
        let wanted = Verb::answering(method)?;
        self.methods.iter().find(|(verb, _)| *verb == wanted).map(|(_, endpoint)| *endpoint)
    }

    fn allow(&self) -> String {
        let verbs = self.methods.iter().map(|(verb, _)| verb.as_str());
        let has_get = self.methods.iter().any(|(verb, _)| *verb == Verb::Get);
        let implied = if has_get { ["HEAD", "OPTIONS"].as_slice() } else { &["OPTIONS"] };
        verbs.chain(implied.iter().copied()).collect::<Vec<_>>().join(", ")
    }
}

/// A resource as one worker serves it.
struct Mounted {
    resource: &'static Resource,
    allow: HeaderValue,
    metrics: RouteMetrics,
}

/// Mounts the table of routes, with and without the trailing slash, and the 404 for everything else.
pub(crate) fn mount(
    table: &'static [Resource],
    state: &web::Data<AppState>,
    config: &mut web::ServiceConfig,
) {
    for resource in table {
        let allow = HeaderValue::from_str(&resource.allow()).unwrap_or(HeaderValue::from_static("OPTIONS"));
        let metrics = state.hub.metrics().http().route(resource.path);
        let mounted = Rc::new(Mounted { resource, allow, metrics });
        let slashless = resource.path.trim_end_matches('/');
        let paths = if slashless.is_empty() || slashless == resource.path {
            vec![resource.path]
        } else {
            vec![resource.path, slashless]
        };
        config.service(web::resource(paths).to(
            move |http: HttpRequest, payload: web::Payload, state: web::Data<AppState>| {
                serve(Rc::clone(&mounted), Request::new(http, payload, state))
            },
        ));
    }
    let metrics = Rc::new(state.hub.metrics().http().route(UNKNOWN));
    config.default_service(web::to(move |http: HttpRequest| {
        let metrics = Rc::clone(&metrics);
        async move {
            let begun = Instant::now();
            let mut response = Problem::NotFound.into_response();
            add_constant_headers(&mut response);
            metrics.observe(method_label(http.method()), response.status().as_u16(), begun.elapsed());
            response
        }
    }));
}

/// Runs a request through the checks and the handler, and finishes the answer.
async fn serve(mounted: Rc<Mounted>, request: Request) -> HttpResponse {
    let begun = Instant::now();
    let method = method_label(request.http().method());
    let answer = AssertUnwindSafe(answer(&mounted, request)).catch_unwind().await;
    let mut response = match answer {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.into_response(),
        Err(_panic) => {
            tracing::error!(
                route = mounted.resource.path,
                "a handler panicked; report its message from the log"
            );
            Problem::Internal.into_response()
        }
    };
    response.headers_mut().insert(header::ALLOW, mounted.allow.clone());
    add_constant_headers(&mut response);
    mounted.metrics.observe(method, response.status().as_u16(), begun.elapsed());
    response
}

/// The checks before the handler, in their order.
async fn answer(mounted: &Mounted, request: Request) -> Result<HttpResponse, Problem> {
    let resource = mounted.resource;
    let endpoint = resource.endpoint(request.http().method());
    let is_page = matches!(endpoint, Some(Endpoint::Page(_)));
    if !is_page
        && !negotiate::accepts_json(
            request.http().headers().get_all(header::ACCEPT).map(HeaderValue::as_bytes),
        )
    {
        return Err(Problem::NotAcceptable);
    }
    match endpoint {
        Some(Endpoint::Public(handle) | Endpoint::Page(handle)) => handle(request).await,
        Some(Endpoint::User(handle)) => {
            let caller = auth::caller(&request).await?;
            request.state().throttle.check(&caller)?;
            handle(request, caller).await
        }
        Some(Endpoint::Admin(handle)) => {
            let admin = auth::caller(&request).await?.into_admin()?;
            request.state().throttle.check(&admin)?;
            handle(request, admin).await
        }
        None => {
            let caller = if resource.needs_token() { Some(auth::caller(&request).await?) } else { None };
            if *request.http().method() == Method::OPTIONS {
                return Ok(options::describe(resource, request, caller).await);
            }
            Err(Problem::MethodNotAllowed(request.http().method().to_string()))
        }
    }
}

/// A method as metrics name it; invented ones share a label.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// What every answer carries. A page that needs another content policy has set its own.
fn add_constant_headers(response: &mut HttpResponse) {
    let has_body = response.status() != StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    if has_body && !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
}
