//! The HTTP machinery that both simulated sides share: listeners on a thread of their own, calls as owned
//! values, and answers that may also be "none, the connection is cut".

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::ServerHandle;
use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde::Serialize;
use tokio::sync::oneshot;

/// More than any body that either side accepts (ServiceNow refuses above 10 MiB by itself).
const MAX_BODY_BYTES: usize = 12 * 1024 * 1024;

/// Why a simulated world could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not of this machine: choose another or port 0.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The server's thread did not come up.
    #[error("cannot start the sandbox server: {0}")]
    Server(String),
}

/// A request, owned, so that it may be worked on after its client has gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    /// Decoded path, for routing; never empty.
    pub(crate) path: String,
    /// The path as sent, for signatures.
    pub(crate) raw_path: String,
    pub(crate) query: String,
    pub(crate) host: String,
    pub(crate) authorization: Option<String>,
    pub(crate) api_key: Option<String>,
    pub(crate) cookie: Option<String>,
    pub(crate) accept: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) no_response_body: bool,
    pub(crate) body: Bytes,
    /// The announced length of a body that was too large to be read.
    pub(crate) too_large: Option<u64>,
}

impl Call {
    /// The parts of the path, without empty ones.
    pub(crate) fn segments(&self) -> Vec<&str> {
        self.path.split('/').filter(|part| !part.is_empty()).collect()
    }

    /// The decoded pairs of the query.
    pub(crate) fn query_pairs(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.query.as_bytes()).into_owned().collect()
    }

    fn read(request: &HttpRequest, body: Result<Bytes, actix_web::Error>) -> Self {
        let header =
            |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let length = || header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let raw_path = request.uri().path().to_owned();
        let path = percent_encoding::percent_decode_str(&raw_path).decode_utf8_lossy().into_owned();
        let method = match header("x-http-method-override") {
            Some(method) => method_name(&Method::from_bytes(method.as_bytes()).unwrap_or(Method::POST)),
            None => method_name(request.method()),
        };
        Self {
            method,
            path,
            raw_path,
            query: request.uri().query().unwrap_or_default().to_owned(),
            host: header("host").unwrap_or_else(|| request.app_config().local_addr().to_string()),
            authorization: header("authorization"),
            api_key: header("x-sn-apikey"),
            cookie: header("cookie"),
            accept: header("accept"),
            content_type: header("content-type"),
            no_response_body: header("x-no-response-body").is_some_and(|value| value == "true"),
            too_large: body.is_err().then(length),
            body: body.unwrap_or_default(),
        }
    }
}

fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self { status, headers: Vec::new(), content_type: "application/json", body }
    }

    pub(crate) fn html(status: u16, body: &str) -> Self {
        let body = body.as_bytes().to_vec();
        Self { status, headers: Vec::new(), content_type: "text/html;charset=UTF-8", body }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), content_type: "", body: Vec::new() }
    }

    pub(crate) fn typed(mut self, content_type: &'static str) -> Self {
        self.content_type = content_type;
        self
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn into_response(self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        if !self.content_type.is_empty() {
            response.insert_header(("content-type", self.content_type));
        }
        for header in self.headers {
            response.append_header(header);
        }
        response.body(self.body)
    }
}

/// How a call ends.
pub(crate) enum Outcome {
    Reply(Reply),
    /// The connection is closed without an answer.
    Cut,
}

/// A simulated side.
pub(crate) trait World: Send + Sync + 'static {
    fn serve(self: Arc<Self>, call: Call) -> impl Future<Output = Outcome>;
}

/// A body that fails before its first byte. The dispatcher of actix-http encodes the head into a buffer and
/// polls the body before it writes: on this error it drops the connection, so that the client gets nothing.
struct CutBody;

impl MessageBody for CutBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::ConnectionReset, "cut by a simulated fault"))))
    }
}

/// A running server; dropping it closes the listeners and cuts every connection.
pub(crate) struct Running {
    handle: ServerHandle,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Running {
    /// Ends the server and waits until its ports are free again.
    pub(crate) async fn stop(&self) {
        drop(self.handle.stop(false));
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            let _ = ended.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The command is sent when `stop` is called; the future only waits for the end.
        drop(self.handle.stop(false));
    }
}

/// Opens a listener; port 0 takes a free one.
pub(crate) fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}

/// Serves each world at its address, on threads of this server's own.
///
/// Callable from any runtime: nothing of the server runs on the caller's.
pub(crate) async fn start<W: World>(
    worlds: Vec<(TcpListener, SocketAddr, Arc<W>)>,
    n_workers: usize,
) -> Result<Running, StartError> {
    let (ready, started) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let run = move || {
        actix_rt::System::new().block_on(async move {
            match build(worlds, n_workers) {
                Ok(server) => {
                    let _ = ready.send(Ok(server.handle()));
                    let _ = server.await;
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
        let _ = end.send(());
    };
    let failed = |reason: String| StartError::Server(reason);
    std::thread::Builder::new()
        .name("sandbox".to_owned())
        .spawn(run)
        .map_err(|error| failed(error.to_string()))?;
    let handle = started
        .await
        .map_err(|_| failed("its thread ended".to_owned()))?
        .map_err(|error| failed(error.to_string()))?;
    Ok(Running { handle, ended: Mutex::new(Some(ended)) })
}

fn build<W: World>(
    worlds: Vec<(TcpListener, SocketAddr, Arc<W>)>,
    n_workers: usize,
) -> io::Result<actix_web::dev::Server> {
    let mut listeners = Vec::new();
    let mut by_address = HashMap::new();
    for (listener, address, world) in worlds {
        listeners.push(listener);
        by_address.insert(address, world);
    }
    let by_address = Arc::new(by_address);
    let factory = move || {
        let by_address = by_address.clone();
        let serve = move |request: HttpRequest, body: Result<Bytes, actix_web::Error>| {
            let world = by_address.get(&request.app_config().local_addr()).cloned();
            let call = Call::read(&request, body);
            async move {
                let Some(world) = world else { return HttpResponse::NotFound().finish() };
                match world.serve(call).await {
                    Outcome::Reply(reply) => reply.into_response(),
                    Outcome::Cut => HttpResponse::Ok().body(CutBody),
                }
            }
        };
        App::new().app_data(web::PayloadConfig::new(MAX_BODY_BYTES)).default_service(web::to(serve))
    };
    let mut server = HttpServer::new(factory)
        .workers(n_workers.max(1))
        .disable_signals()
        // A call whose client has gone is given up, so that it no longer counts as in flight.
        .h1_allow_half_closed(false)
        .keep_alive(Duration::from_secs(75))
        .client_request_timeout(Duration::from_mins(1));
    for listener in listeners {
        server = server.listen(listener)?;
    }
    Ok(server.run())
}
