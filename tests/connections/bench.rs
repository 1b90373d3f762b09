//! A hub on a port of its own, with an admin and two users.

use std::time::Duration;

use casewire::{Application, Stopper, startup};
use casewire_actors::domain::secret::Secret;
use casewire_actors::hub::Migrate;
use casewire_sandbox::{XUser, bodies};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::home::Home;

const PASSWORD: &str = "correct horse battery";
const PATIENCE: Duration = Duration::from_secs(10);

/// The hub.
pub(crate) struct Bench {
    base: String,
    client: reqwest::Client,
    stopper: Stopper,
    running: tokio::task::JoinHandle<std::io::Result<()>>,
    home: Home,
    /// Tokens of the admin and of two users.
    pub(crate) admin: String,
    pub(crate) alice: String,
    pub(crate) bob: String,
    pub(crate) alice_id: String,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not json: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body, after the status was checked.
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }
}

impl Bench {
    /// Starts it. Failing deliveries are given up after `retry_for`.
    pub(crate) async fn start(retry_for: Duration) -> Self {
        let home = Home::new();
        let mut settings = home.settings(&[]);
        settings.server.listen = ([127, 0, 0, 1], 0).into();
        settings.twitter.verify_signatures = false;
        settings.servicenow.allow_private_networks = true;
        settings.delivery.retry_for = retry_for;
        let hub = startup::start_hub(&settings, Migrate::Any).await.expect("a hub");
        let password = Secret::new(PASSWORD);
        startup::create_admin(&hub, "admin@example.com", &password).await.expect("an admin");
        let application = Application::build(settings, hub).expect("a listener");
        let base = format!("http://{}", application.address());
        let stopper = application.stopper();
        let running = actix_web::rt::spawn(application.run_until_stopped());
        casewire_actors::net::install_tls();
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        let nobody = String::new();
        let mut bench = Self {
            base,
            client,
            stopper,
            running,
            home,
            admin: nobody.clone(),
            alice: nobody.clone(),
            bob: nobody.clone(),
            alice_id: nobody,
        };
        bench.admin = bench.login("admin@example.com").await;
        bench.alice_id = bench.add_user("alice@example.com").await;
        bench.add_user("bob@example.com").await;
        bench.alice = bench.login("alice@example.com").await;
        bench.bob = bench.login("bob@example.com").await;
        bench
    }

    async fn add_user(&self, username: &str) -> String {
        let user = json!({
            "username": username, "first_name": "A", "last_name": "B", "company_name": "C", "password": PASSWORD
        });
        let made = self.send(Method::POST, "/auth/users/", &self.admin, Some(&user)).await.expect(201);
        made["id"].as_str().expect("an id").to_owned()
    }

    async fn login(&self, username: &str) -> String {
        let login = json!({ "username": username, "password": PASSWORD });
        let answer = self.send(Method::POST, "/auth/login/", "", Some(&login)).await.expect(200);
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// Sends a request with a JSON body.
    pub(crate) async fn send(&self, method: Method, path: &str, token: &str, body: Option<&Value>) -> Answer {
        let text = body.map(Value::to_string);
        self.send_raw(method, path, token, "application/json", text).await
    }

    /// Sends a request with any body.
    pub(crate) async fn send_raw(
        &self,
        method: Method,
        path: &str,
        token: &str,
        content_type: &str,
        body: Option<String>,
    ) -> Answer {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let mut request = self.client.request(method, url);
        if !token.is_empty() {
            request = request.header("Authorization", format!("Token {token}"));
        }
        if let Some(body) = body {
            request = request.header("Content-Type", content_type).body(body);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, text: response.text().await.expect("a body") }
    }

    /// Looks.
    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(Method::GET, path, token, None).await
    }

    /// Posts.
    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, token, Some(body)).await
    }

    /// Changes.
    pub(crate) async fn patch(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, token, Some(body)).await
    }

    /// Deletes.
    pub(crate) async fn delete(&self, path: &str, token: &str) -> Answer {
        self.send(Method::DELETE, path, token, None).await
    }

    /// Makes an instance that nobody answers for.
    pub(crate) async fn add_instance(&self, token: &str) -> String {
        let body = json!({
            "instance_url": "http://127.0.0.1:9", "auth": "basic", "admin_user": "hub", "admin_password": "pw-1"
        });
        let made = self.post("/api/servicenow-details/", token, &body).await.expect(201);
        made["id"].as_str().expect("an id").to_owned()
    }

    /// Links an X account.
    pub(crate) async fn link(&self, token: &str, twitter_user_id: &str) -> Value {
        let body = json!({
            "twitter_user_id": twitter_user_id, "access_token": "tok-1", "access_token_secret": "sec-1"
        });
        self.post("/api/twitter-details/", token, &body).await.expect(201)
    }

    /// X tells of a direct message to an account.
    pub(crate) async fn dm(&self, account: &str, id: u32) {
        let (company, customer) = (XUser::new(account, "acme", "Acme"), XUser::new("777", "cus", "Cus"));
        let body = bodies::dm_body(&company, &customer, &id.to_string(), "help", 1_700_000_000_000);
        let sent = self.send_raw(Method::POST, "/api/activity/", "", "application/json", Some(body)).await;
        let receipt = sent.expect(200);
        assert_eq!(receipt["accepted"], 1, "{receipt}");
    }

    /// Waits until the only delivery of a user is in a state.
    pub(crate) async fn delivery_in(&self, token: &str, status: &str) -> Value {
        let begun = std::time::Instant::now();
        loop {
            let listed = self.get("/api/deliveries/", token).await.expect(200);
            if listed[0]["status"] == status {
                return listed[0].clone();
            }
            assert!(begun.elapsed() < PATIENCE, "not {status}: {listed}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs a command beside the hub, on the same database; gives its exit code and what it printed.
    pub(crate) async fn command(&self, line: &str) -> (Option<i32>, String) {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_casewire"));
        command.args(line.split(' ')).current_dir(self.home.path()).envs(self.home.env());
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.expect("the thread ends").expect("the program runs");
        // What it says goes to one of the two; warnings beside a list are not part of it.
        let printed = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        (output.status.code(), String::from_utf8_lossy(&printed).into_owned())
    }

    /// Ends it in order.
    pub(crate) async fn stop(self) {
        self.stopper.stop().await;
        self.running.await.expect("the hub's task ends").expect("the hub stops in order");
    }
}
