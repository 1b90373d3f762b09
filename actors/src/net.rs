//! The one way out: every HTTP client of the hub is made here, behind the address guard.
//!
//! Anyone with an account may name a ServiceNow instance, so the hub calls addresses that others
//! choose. What holds, whatever they choose:
//!
//! 1. An address that is not public is never connected to, unless the operator allows private
//!    networks ([`Reach::PrivateAllowed`]). The guard sits in the resolver of the client itself:
//!    the addresses that were checked are the addresses that are connected to. Hosts written as an
//!    address never meet a resolver, so [`check_url`] has to be asked before each call.
//! 2. A redirect is never followed, no proxy is taken from the environment, no cookie is kept.
//! 3. A request is sent once. Nothing below the delivery engine repeats a call.
#![allow(clippy::doc_markdown, reason = "ServiceNow is a name, not an item")]

mod guard;
mod target;
mod transport;

pub use guard::{Forbidden, Reach, check_ip};
pub use target::{InstanceUrl, ResolveError, UrlProblem, check_url, parse_instance_url, resolve};
pub use transport::failure_of;

use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// How long an unused connection is kept. ServiceNow announces `Keep-Alive: timeout=70`; staying
/// well below it keeps a request from meeting a connection that the other side is closing, and the
/// connections of thousands of instances from piling up.
const POOL_IDLE: Duration = Duration::from_secs(15);
const POOL_IDLE_PER_HOST: usize = 4;
const USER_AGENT: &str = concat!("casewire/", env!("CARGO_PKG_VERSION"));

/// A client that could not be made: the system's certificates or its TLS are unusable.
#[derive(Debug, thiserror::Error)]
#[error("no http client can be made, check the system's ca certificates: {0}")]
pub struct ClientError(#[source] reqwest::Error);

/// Makes a client. `timeout` bounds a whole call, from connecting to the last byte of the answer;
/// `connect_timeout` bounds name, connection and TLS together.
pub fn client(
    reach: Reach,
    connect_timeout: Duration,
    timeout: Duration,
) -> Result<reqwest::Client, ClientError> {
    install_tls();
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .dns_resolver(GuardedResolver { reach })
        .https_only(reach == Reach::PublicOnly)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .no_proxy()
        .http1_only()
        .tcp_nodelay(true)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_IDLE_PER_HOST)
        .connect_timeout(connect_timeout)
        .timeout(timeout)
        .build()
        .map_err(ClientError)
}

/// Makes ring the process's cryptography. Safe to call again and from several threads; a provider
/// that is already there is kept.
pub fn install_tls() {
    // An error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Resolves as the system does and hands out nothing that the guard forbids.
struct GuardedResolver {
    reach: Reach,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.reach;
        Box::pin(async move {
            // The port of the address is replaced by that of the URL.
            let addresses = target::resolve(name.as_str(), 0, reach).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// A body that could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than the caller takes.
    #[error("the answer is longer than {max_bytes} bytes")]
    TooLong {
        /// What the caller takes.
        max_bytes: usize,
    },
    /// The time of the call ran out while it was being read.
    #[error("the answer did not end in time")]
    TimedOut,
    /// The connection ended before the body did.
    #[error("the connection ended within the answer")]
    Broken,
}

/// Reads a body of at most `max_bytes`; a longer one is given up as soon as that shows.
pub async fn read_capped(mut response: reqwest::Response, max_bytes: usize) -> Result<Vec<u8>, BodyError> {
    let too_long = BodyError::TooLong { max_bytes };
    if response.content_length().is_some_and(|n_bytes| n_bytes > max_bytes as u64) {
        return Err(too_long);
    }
    let mut body = Vec::new();
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Ok(body),
            Err(error) if error.is_timeout() => return Err(BodyError::TimedOut),
            Err(_) => return Err(BodyError::Broken),
        };
        if body.len() + chunk.len() > max_bytes {
            return Err(too_long);
        }
        body.extend_from_slice(&chunk);
    }
}

#[cfg(test)]
pub(crate) mod loopback;
#[cfg(test)]
mod tests;
