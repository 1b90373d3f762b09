//! The running hub: the public port, the signals that end it, and the order of ending.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpServer, web};
use casewire_actors::hub::Hub;

use crate::http::{self, AppState};
use crate::settings::Settings;

/// How long an idle connection is kept: longer than usual proxies keep theirs, so that they end it first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// However long requests took to end, what they asked for gets so long to be stored.
const LEAST_TO_STOP: Duration = Duration::from_secs(1);

/// A hub that listens and is ready to run.
pub struct Application {
    address: SocketAddr,
    server: Server,
    /// Health and metrics, when they have an address of their own.
    ops_server: Option<Server>,
    hub: Hub,
    shutdown_timeout: Duration,
    stopping_since: Arc<OnceLock<Instant>>,
}

/// Why a hub does not listen. The text begins with the setting that is to be mended.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The public address cannot be had.
    #[error("server.listen: cannot listen on {address}; give another address, or stop what uses it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The address for health and metrics cannot be had.
    #[error("server.ops_listen: cannot listen on {address}; give another address, or stop what uses it")]
    OpsListen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The port cannot be told.
    #[error("server.port_file: cannot write {}; name a file in a folder that can be written", path.display())]
    PortFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Ends a running [`Application`] gracefully, from anywhere.
#[derive(Clone)]
pub struct Stopper {
    server: ServerHandle,
    stopping_since: Arc<OnceLock<Instant>>,
}

impl Stopper {
    /// Stops accepting, finishes what is in flight, then ends the hub.
    pub async fn stop(&self) {
        self.stopping_since.get_or_init(Instant::now);
        self.server.stop(true).await;
    }
}

impl Application {
    /// Binds the listener and prepares the server. Must be called inside an actix system.
    pub fn build(settings: Settings, hub: Hub) -> Result<Self, BuildError> {
        let asked = settings.server.listen;
        let failed = |source| BuildError::Listen { address: asked, source };
        let listener = TcpListener::bind(asked).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        if let Some(path) = &settings.server.port_file {
            let unwritten = |source| BuildError::PortFile { path: path.clone(), source };
            std::fs::write(path, address.port().to_string()).map_err(unwritten)?;
        }
        let shutdown_timeout = settings.server.shutdown_timeout;
        let ops_listen = settings.server.ops_listen;
        let stopping_since = Arc::<OnceLock<Instant>>::default();
        let state = web::Data::new(AppState::new(hub.clone(), settings, Arc::clone(&stopping_since)));
        let ops_server = match ops_listen {
            Some(address) => Some(
                serve_ops(address, state.clone())
                    .map_err(|source| BuildError::OpsListen { address, source })?,
            ),
            None => None,
        };
        let server = HttpServer::new(move || {
            let state = state.clone();
            App::new().configure(move |config| http::configure(&state, config))
        })
        .workers(std::thread::available_parallelism().map_or(2, usize::from))
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(u64::try_from(shutdown_timeout.as_millis().div_ceil(1000)).unwrap_or(u64::MAX))
        .disable_signals()
        .listen(listener)
        .map_err(failed)?
        .run();
        tracing::info!("listening on http://{address}");
        Ok(Self { address, server, ops_server, hub, shutdown_timeout, stopping_since })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A way to end it.
    pub fn stopper(&self) -> Stopper {
        Stopper { server: self.server.handle(), stopping_since: Arc::clone(&self.stopping_since) }
    }

    /// Serves until it is stopped, or until SIGTERM or SIGINT; a second signal ends the process at once.
    /// Then stops the actors, which leave what is queued on disk.
    pub async fn run_until_stopped(self) -> io::Result<()> {
        let signals = actix_web::rt::spawn(stop_on_signal(self.stopper()));
        let ops = self.ops_server.map(|server| (server.handle(), actix_web::rt::spawn(server)));
        let served = self.server.await;
        let since = self.stopping_since.get().copied().unwrap_or_else(Instant::now);
        self.hub.stop(self.shutdown_timeout.saturating_sub(since.elapsed()).max(LEAST_TO_STOP)).await;
        // Health answers until the very end.
        if let Some((handle, _)) = ops {
            handle.stop(false).await;
        }
        signals.abort();
        served
    }
}

/// Serves health and metrics at an address of their own.
fn serve_ops(address: SocketAddr, state: web::Data<AppState>) -> io::Result<Server> {
    let listener = TcpListener::bind(address)?;
    tracing::info!("health and metrics on http://{}", listener.local_addr()?);
    let server = HttpServer::new(move || {
        let state = state.clone();
        App::new().configure(move |config| http::configure_ops(&state, config))
    })
    .workers(1)
    .disable_signals()
    .listen(listener)?
    .run();
    Ok(server)
}

/// Stops gracefully at the first signal, and at once at the second.
async fn stop_on_signal(stopper: Stopper) {
    let Ok(name) = next_signal().await else { return };
    tracing::info!(signal = name, "stopping; a second signal ends the process at once");
    actix_web::rt::spawn(async move { stopper.stop().await });
    if next_signal().await.is_ok() {
        tracing::warn!("stopped by a second signal; what was accepted stays queued");
        std::process::exit(1);
    }
}

/// Waits for SIGTERM or SIGINT.
async fn next_signal() -> io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}
