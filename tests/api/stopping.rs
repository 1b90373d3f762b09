//! What operators are told while a hub stops.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::helpers::TestHub;

/// The status of an answer at the operators' address.
fn status(address: &str, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

#[test]
fn a_hub_that_stops_is_not_ready_although_it_lives() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let ops = free.expect("a free port").to_string();
    let hub = TestHub::with(&[("SERVER__OPS_LISTEN", &ops)]);
    assert_eq!(status(&ops, "/health/ready/"), Some(200));

    // A request that has not come to its end keeps the hub from ending.
    let mut held = TcpStream::connect(hub.address()).expect("the hub takes connections");
    let begun = b"POST /auth/login/ HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    held.write_all(begun).expect("the hub reads");
    assert_eq!(hub.get("/api/schema/", None).status, 200);
    let stopping = std::thread::spawn(move || hub.stop());
    let since = Instant::now();
    while status(&ops, "/health/ready/") != Some(503) {
        assert!(since.elapsed() < Duration::from_secs(10), "it says that it is ready");
    }
    assert_eq!(status(&ops, "/health/live/"), Some(200));
    drop(held);
    stopping.join().expect("it ends well");
}
