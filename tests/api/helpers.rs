//! A running hub to test, and a client that says exactly what it is told.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use casewire::{Application, Stopper, hub_settings};
use casewire_actors::hub::{Hub, Migrate};
use casewire_actors::kernel::Sources;
use serde_json::{Value, json};

use crate::home::Home;

/// The password of every user that tests make.
pub(crate) const PASSWORD: &str = "password";
const ADMIN: &str = "admin@example.com";

/// A hub on a free port with a database of its own. It ends with the test.
pub(crate) struct TestHub {
    address: SocketAddr,
    home: Home,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl TestHub {
    /// With settings as tests want them.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With some settings otherwise, by the names of their environment variables without the prefix.
    pub(crate) fn with(changes: &[(&str, &str)]) -> Self {
        Self::on(Home::new(), changes)
    }

    /// On the database of a hub that ran before.
    pub(crate) fn on(home: Home, changes: &[(&str, &str)]) -> Self {
        let settings = home.settings(&[&[("SERVER__LISTEN", "127.0.0.1:0")], changes].concat());
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async {
                let hub = Hub::start(
                    hub_settings(&settings, Migrate::Any).expect("usable settings"),
                    Sources::system(),
                );
                let hub = hub.await.expect("the hub starts");
                let application = Application::build(settings, hub).expect("a free port");
                tell.send((application.address(), application.stopper())).expect("the test waits");
                application.run_until_stopped().await.expect("the hub ends well");
            });
        });
        let (address, stopper) = told.recv_timeout(Duration::from_secs(20)).expect("the hub listens");
        Self { address, home, stopper, thread: Some(thread) }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it and gives its database back.
    pub(crate) fn stop(mut self) -> Home {
        self.end();
        std::mem::replace(&mut self.home, Home::new())
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let stopper = self.stopper.clone();
        actix_web::rt::System::new().block_on(async move { stopper.stop().await });
        thread.join().expect("the hub ends well");
    }

    /// Runs a command of the program beside the hub, on the same database.
    pub(crate) fn command(&self, arguments: &[&str]) -> Outcome {
        let output = Command::new(env!("CARGO_BIN_EXE_casewire"))
            .args(arguments)
            .current_dir(self.home.path())
            .envs(self.home.env())
            .env("CASEWIRE_SUPERUSER_PASSWORD", PASSWORD)
            .output()
            .expect("the program runs");
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("text on stdout"),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Makes the first admin and logs in.
    pub(crate) fn admin(&self) -> User {
        let outcome = self.command(&["createsuperuser", "--email", ADMIN]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        self.log_in(ADMIN)
    }

    /// Makes a user and logs in.
    pub(crate) fn user(&self, admin: &User, username: &str) -> User {
        let body = new_user(username);
        let created = self.post("/auth/users/", Some(&admin.token), &body);
        assert_eq!(created.status, 201, "{}", created.text());
        self.log_in(username)
    }

    /// Logs in with the password of tests.
    pub(crate) fn log_in(&self, username: &str) -> User {
        let reply = self.try_log_in(username, PASSWORD);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let body = reply.json();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        User { id: text(&body["user"]["id"]), token: text(&body["token"]) }
    }

    /// Asks for a token.
    pub(crate) fn try_log_in(&self, username: &str, password: &str) -> Reply {
        self.post("/auth/login/", None, &json!({ "username": username, "password": password }))
    }

    /// Whether a token is taken.
    pub(crate) fn is_live(&self, user: &User) -> bool {
        let reply = self.get(&format!("/auth/users/{}/", user.id), Some(&user.token));
        assert!([200, 401].contains(&reply.status), "{}", reply.text());
        reply.status == 200
    }

    pub(crate) fn get(&self, path: &str, token: Option<&str>) -> Reply {
        self.call("GET", path, token, None)
    }

    pub(crate) fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Reply {
        self.call("POST", path, token, Some(body))
    }

    /// A call with a JSON body, or none.
    pub(crate) fn call(&self, method: &str, path: &str, token: Option<&str>, body: Option<&Value>) -> Reply {
        let mut headers = Vec::new();
        if let Some(token) = token {
            headers.push(("Authorization".to_owned(), format!("Token {token}").into_bytes()));
        }
        if body.is_some() {
            headers.push(("Content-Type".to_owned(), b"application/json".to_vec()));
        }
        let body = body.map(|body| body.to_string().into_bytes());
        self.send(method, path, &headers, body.as_deref())
    }

    /// A request exactly as given, on a connection of its own.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, Vec<u8>)],
        body: Option<&[u8]>,
    ) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            let _infallible = write!(head, "Host: {}\r\n", self.address);
        }
        if let Some(body) = body {
            let _infallible = write!(head, "Content-Length: {}\r\n", body.len());
        }
        let mut bytes = head.into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body.unwrap_or_default());
        let mut stream = TcpStream::connect(self.address).expect("the hub takes connections");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
        stream.write_all(&bytes).expect("the hub reads the request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the hub answers");
        Reply::parse(&answer)
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}

/// What a command did.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A user who is logged in.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) token: String,
}

/// The body that makes a user.
pub(crate) fn new_user(username: &str) -> Value {
    json!({
        "username": username,
        "first_name": "Tony",
        "last_name": "Stark",
        "company_name": "Stark Industries",
        "password": PASSWORD,
    })
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
        let head = std::str::from_utf8(&bytes[..end]).expect("a head in ASCII");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
        let headers = lines.filter_map(|line| line.split_once(": "));
        Self {
            status: status.parse().expect("a numeric status"),
            headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Status and body at once.
    pub(crate) fn told(&self) -> (u16, Value) {
        (self.status, if self.body.is_empty() { Value::Null } else { self.json() })
    }
}
