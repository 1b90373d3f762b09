//! A tiny server for tests: it answers each request with the next canned reply and keeps what it read.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Writes these bytes and keeps the connection.
    Bytes(String),
    /// Writes these bytes, then closes.
    Cut(String),
    /// Closes without a word, after the whole request was read.
    Reset,
    /// Never answers.
    Silence,
}

/// A running server. Requests beyond the last reply are answered as by [`Reply::Reset`], and kept.
pub(crate) struct Loopback {
    /// `http://127.0.0.1:port`
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Loopback {
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let mut replies: Vec<Reply> = replies.into_iter().collect();
        replies.reverse();
        let replies = Arc::new(Mutex::new(replies));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&replies), Arc::clone(&seen)));
            }
        });
        Self { url, requests }
    }

    /// Every request read so far, head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, replies: Arc<Mutex<Vec<Reply>>>, seen: Arc<Mutex<Vec<String>>>) {
    while let Some(request) = read_request(&mut stream).await {
        seen.lock().unwrap().push(request);
        let reply = replies.lock().unwrap().pop().unwrap_or(Reply::Reset);
        match reply {
            Reply::Bytes(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Reply::Cut(text) => {
                stream.write_all(text.as_bytes()).await.unwrap();
                return;
            }
            Reply::Reset => {
                // Lingering for no time turns the close into a reset.
                stream.set_zero_linger().unwrap();
                return;
            }
            Reply::Silence => tokio::time::sleep(Duration::from_mins(1)).await,
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut chunk = [0_u8; 4096];
    loop {
        let n_bytes = stream.read(&mut chunk).await.ok()?;
        if n_bytes == 0 {
            return None;
        }
        bytes.extend_from_slice(&chunk[..n_bytes]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        if body.len() >= content_length(head) {
            return Some(text);
        }
    }
}

fn content_length(head: &str) -> usize {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().unwrap())
}

/// A whole reply with a JSON body.
pub(crate) fn json(status: &str, body: &str) -> Reply {
    with(status, "Content-Type: application/json;charset=UTF-8\r\n", body)
}

/// A whole reply with these header lines, each ending in CR LF.
pub(crate) fn with(status: &str, headers: &str, body: &str) -> Reply {
    Reply::Bytes(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
}
