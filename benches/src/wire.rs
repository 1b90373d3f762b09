//! A client that costs little, since it shares the cores with what it measures: whole requests that were
//! written beforehand, over kept-alive connections, and of the answer only what is needed.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer; the body is that of the connection's buffer until the next call.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Reply<'_> {
    /// The body as JSON; `Null` where there is none.
    pub(crate) fn json(&self) -> Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(self.body).context("the answer is not JSON")
    }
}

/// What the head of an answer says.
struct Head {
    status: u16,
    n_bytes: usize,
    body_length: usize,
}

/// One kept-alive connection, one call at a time.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(8 * 1024) })
    }

    /// Sends a whole request and waits for the whole answer.
    pub(crate) async fn call(&mut self, request: &[u8]) -> Result<Reply<'_>> {
        self.stream.write_all(request).await.context("the connection broke while sending")?;
        self.buffer.clear();
        let head = loop {
            if let Some(head) = parse_head(&self.buffer)? {
                break head;
            }
            self.read_more().await?;
        };
        let length = head.n_bytes + head.body_length;
        while self.buffer.len() < length {
            self.read_more().await?;
        }
        Ok(Reply { status: head.status, body: &self.buffer[head.n_bytes..length] })
    }

    async fn read_more(&mut self) -> Result<()> {
        let n_read = self.stream.read_buf(&mut self.buffer).await.context("the connection broke")?;
        if n_read == 0 {
            bail!("the connection was closed before the answer");
        }
        Ok(())
    }
}

/// Reads the head of an answer; `None` while it is not there as a whole.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).context("the head of the answer is not text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let status = status.context("the answer has no status")?;
    let mut body_length = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            body_length = value.trim().parse().context("the answer has no fit length")?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("the answer comes in chunks, which this client does not read");
        }
    }
    Ok(Some(Head { status, n_bytes: end + 4, body_length }))
}

/// Writes a whole request. `headers` are lines with `\r\n` at their ends.
pub(crate) fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nhost: bench\r\n{headers}content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// Calls of the public API by one user, one after another.
pub(crate) struct Session {
    connection: Connection,
    headers: String,
}

impl Session {
    /// A session without a token.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        Ok(Self { connection: Connection::open(address).await?, headers: String::new() })
    }

    /// A session of the token's user.
    pub(crate) async fn with_token(address: SocketAddr, token: &str) -> Result<Self> {
        let connection = Connection::open(address).await?;
        Ok(Self { connection, headers: token_header(token) })
    }

    /// Posts JSON; an answer other than `expected` is an error that shows it.
    pub(crate) async fn post(&mut self, path: &str, body: &Value, expected: u16) -> Result<Value> {
        let request = request("POST", path, &self.headers, body.to_string().as_bytes());
        let reply = self.connection.call(&request).await?;
        if reply.status != expected {
            bail!("POST {path} gave {}: {}", reply.status, String::from_utf8_lossy(reply.body));
        }
        reply.json()
    }
}

/// The header line that carries a token.
pub(crate) fn token_header(token: &str) -> String {
    format!("authorization: Token {token}\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_come() {
        let head = |text: &str| parse_head(text.as_bytes());
        assert!(head("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n").unwrap().is_none());
        let whole =
            head("HTTP/1.1 503 Busy\r\nContent-Length: 5\r\nretry-after: 1\r\n\r\nhello").unwrap().unwrap();
        assert_eq!((whole.status, whole.body_length), (503, 5));
        assert_eq!(head("HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap().body_length, 0);
        assert!(head("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(head("nonsense\r\n\r\n").is_err());
    }
}
