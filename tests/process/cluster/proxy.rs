//! What stands between a replica and its database: a connection that can be cut, refused, slowed and held, and led to
//! another server.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::postgres::ServerAddress;

/// Bytes taken at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// How connections fare.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// Connections made at an earlier count are cut.
    n_cuts: u64,
    /// New connections end at once.
    is_refusing: bool,
    /// Nothing passes, in either direction; what was sent waits.
    is_holding: bool,
    /// Each chunk of bytes waits so long.
    delay: Duration,
}

/// One replica's way to the database. Ends when dropped.
pub(crate) struct Proxy {
    port: u16,
    server: watch::Sender<ServerAddress>,
    weather: watch::Sender<Weather>,
    answered: Arc<Notify>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(server: ServerAddress) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (weather, seen) = watch::channel(Weather::default());
        let answered = Arc::new(Notify::new());
        let (server, current) = watch::channel(server);
        let accepting = tokio::spawn(accept(listener, current, seen, answered.clone()));
        Self { port, server, weather, answered, accepting }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// New connections lead to another server.
    pub(crate) fn lead_to(&self, server: ServerAddress) {
        self.server.send_replace(server);
    }

    /// Waits until the database has just answered something, at most so long.
    pub(crate) async fn next_answer(&self, limit: Duration) {
        let _nothing_was_asked = tokio::time::timeout(limit, self.answered.notified()).await;
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.weather.send_modify(|weather| weather.n_cuts += 1);
    }

    /// Cuts every connection, and new ones too until [`Self::clear_up`].
    pub(crate) fn refuse(&self) {
        self.weather.send_modify(|weather| {
            weather.n_cuts += 1;
            weather.is_refusing = true;
        });
    }

    /// Lets nothing pass until [`Self::clear_up`]; then what was sent arrives.
    pub(crate) fn hold(&self) {
        self.weather.send_modify(|weather| weather.is_holding = true);
    }

    /// Slows everything down until [`Self::clear_up`].
    pub(crate) fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Back to normal.
    pub(crate) fn clear_up(&self) {
        self.weather
            .send_modify(|weather| *weather = Weather { n_cuts: weather.n_cuts, ..Weather::default() });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    server: watch::Receiver<ServerAddress>,
    weather: watch::Receiver<Weather>,
    answered: Arc<Notify>,
) {
    while let Ok((client, _)) = listener.accept().await {
        if weather.borrow().is_refusing {
            continue;
        }
        let (server, weather, answered) = (server.borrow().clone(), weather.clone(), answered.clone());
        tokio::spawn(async move {
            let n_cuts = weather.borrow().n_cuts;
            match &server {
                ServerAddress::Tcp(address) => {
                    let Ok(server) = TcpStream::connect(address).await else { return };
                    let _no_delay = server.set_nodelay(true);
                    pass(client, server, n_cuts, weather, &answered).await;
                }
                ServerAddress::Unix(path) => {
                    let Ok(server) = UnixStream::connect(path).await else { return };
                    pass(client, server, n_cuts, weather, &answered).await;
                }
            }
        });
    }
}

/// Passes bytes both ways until one side ends or the connection is cut.
async fn pass<S>(
    client: TcpStream,
    server: S,
    n_cuts: u64,
    weather: watch::Receiver<Weather>,
    answered: &Notify,
) where
    S: AsyncRead + AsyncWrite,
{
    let _no_delay = client.set_nodelay(true);
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    let mut until_cut = weather.clone();
    tokio::select! {
        _ = pump(from_client, to_server, weather.clone(), || ()) => {}
        _ = pump(from_server, to_client, weather, || answered.notify_waiters()) => {}
        // An error means that the proxy is gone.
        _ = until_cut.wait_for(|weather| weather.n_cuts != n_cuts) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut weather: watch::Receiver<Weather>,
    passed: impl Fn(),
) -> io::Result<()> {
    let mut bytes = vec![0; CHUNK_BYTES];
    loop {
        let n_read = from.read(&mut bytes).await?;
        if n_read == 0 {
            return to.shutdown().await;
        }
        let delay = weather.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if weather.wait_for(|weather| !weather.is_holding).await.is_err() {
            return Ok(());
        }
        to.write_all(&bytes[..n_read]).await?;
        passed();
    }
}
