//! What the figures stand beside: the disk, a route that does nothing, the password hash alone.

use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpResponse, HttpServer};
use anyhow::{Context as _, Result, bail};
use argon2::Argon2;

use crate::machine::n_cores;
use crate::stats::per_second;

/// How many appends of 4 KiB a second the folder's disk makes durable, one after another.
pub(crate) fn syncs_per_second(folder: &Path, span: Duration) -> Result<f64> {
    let path = folder.join("fdatasync");
    let mut file = File::create(&path)?;
    let block = [7_u8; 4096];
    let begun = Instant::now();
    let mut n_syncs = 0;
    while begun.elapsed() < span {
        file.write_all(&block)?;
        file.sync_data()?;
        n_syncs += 1;
    }
    let rate = per_second(n_syncs, begun.elapsed());
    std::fs::remove_file(&path)?;
    Ok(rate)
}

/// A server in this process whose only route reads the body and answers with a fixed one.
pub(crate) struct Nothing {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    handle: ServerHandle,
}

impl Nothing {
    /// Starts it, with as many workers as cores; its answers have `n_bytes` of JSON.
    pub(crate) async fn start(n_bytes: usize) -> Result<Self> {
        let answer = Bytes::from(format!("\"{}\"", "x".repeat(n_bytes.saturating_sub(2))));
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = listener.local_addr()?;
        let (ready, started) = tokio::sync::oneshot::channel();
        let run = move || {
            actix_rt::System::new().block_on(async move {
                let factory = move || {
                    let answer = answer.clone();
                    let route = move |_: Bytes| {
                        let answer = answer.clone();
                        async move { HttpResponse::Ok().content_type("application/json").body(answer) }
                    };
                    App::new().default_service(web::to(route))
                };
                let server = HttpServer::new(factory).workers(n_cores()).disable_signals().listen(listener);
                match server {
                    Ok(server) => {
                        let server = server.run();
                        let _listening = ready.send(Ok(server.handle()));
                        let _ended = server.await;
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            });
        };
        std::thread::Builder::new().name("nothing".to_owned()).spawn(run)?;
        let handle = started.await.context("the do-nothing server did not start")??;
        Ok(Self { address, handle })
    }
}

impl Drop for Nothing {
    fn drop(&mut self) {
        // The command is given by the call; the future only waits for the end.
        drop(self.handle.stop(false));
    }
}

/// How many password hashes a second (argon2id with OWASP's parameters) all cores together make.
pub(crate) fn hashes_per_second(span: Duration) -> Result<f64> {
    let threads: Vec<_> = (0..n_cores()).map(|_| std::thread::spawn(move || hash_for(span))).collect();
    let mut rate = 0.0;
    for thread in threads {
        match thread.join() {
            Ok(one) => rate += one?,
            Err(_) => bail!("a hashing thread panicked"),
        }
    }
    Ok(rate)
}

fn hash_for(span: Duration) -> Result<f64> {
    let argon2 = Argon2::default();
    let begun = Instant::now();
    let mut n_hashes = 0;
    let mut hash = [0; 32];
    while begun.elapsed() < span {
        let hashed =
            argon2.hash_password_into(b"correct horse battery staple", b"salt of sixteen b", &mut hash);
        hashed.map_err(|error| anyhow::anyhow!("the reference hash failed: {error}"))?;
        n_hashes += 1;
    }
    Ok(per_second(n_hashes, begun.elapsed()))
}
