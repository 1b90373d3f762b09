//! A database of its own for each test.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use url::Url;

static N_DATABASES: AtomicU32 = AtomicU32::new(0);

/// Where the server of the tests listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerAddress {
    /// `host:port`
    Tcp(String),
    /// The path of a socket.
    Unix(String),
}

/// A new database. Dropped with its value, unless it is to be kept.
///
/// Not a schema that the URL's `options` choose: poolers refuse those, and the tests run through one as well.
pub(crate) struct Database {
    server: Url,
    name: String,
    is_kept: bool,
}

/// The server that `CASEWIRE_TEST_POSTGRES_URL` names, if it does; else prints that the test is skipped.
pub(crate) fn server_or_skip(test: &str) -> Option<String> {
    let server = std::env::var("CASEWIRE_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty());
    if server.is_none() {
        println!("{test} is skipped: CASEWIRE_TEST_POSTGRES_URL names no server");
    }
    server
}

impl Database {
    pub(crate) async fn make(server: &str) -> Self {
        let n = N_DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("cluster_{}_{n}", std::process::id());
        let server = Url::parse(server).expect("the server's address is a URL");
        let is_kept = std::env::var_os("CASEWIRE_TEST_KEEP").is_some();
        run(&server, &format!("CREATE DATABASE {name}")).await.expect("a database of the test's own");
        Self { server, name, is_kept }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// From now on it is at another server, that of a copy.
    pub(crate) fn move_to(&mut self, server: &str) {
        self.server = Url::parse(server).expect("the server's address is a URL");
    }

    /// Where the server is.
    pub(crate) fn server_address(&self) -> ServerAddress {
        let host = self.server.host_str().unwrap_or("127.0.0.1");
        let host = percent_encoding::percent_decode_str(host).decode_utf8_lossy().into_owned();
        let port = self.server.port().unwrap_or(5432);
        if host.starts_with('/') {
            ServerAddress::Unix(format!("{host}/.s.PGSQL.{port}"))
        } else {
            ServerAddress::Tcp(format!("{host}:{port}"))
        }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url.into()
    }

    /// Its URL for a hub that reaches the server through this port of ours.
    pub(crate) fn url_through(&self, port: u16) -> String {
        let user = self.server.username();
        let password = self.server.password().map(|password| format!(":{password}")).unwrap_or_default();
        format!("postgres://{user}{password}@127.0.0.1:{port}/{}", self.name)
    }
}

async fn run(server: &Url, statement: &str) -> sqlx::Result<()> {
    let options = PgConnectOptions::from_url(server)?.extra_float_digits(None);
    let mut connection = PgConnection::connect_with(&options).await?;
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
    connection.close().await
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.is_kept {
            println!("kept: database {}", self.name);
            return;
        }
        // Replicas that were killed a moment ago may not have been noticed by the server yet.
        let statement = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let server = self.server.clone();
        // A thread of its own: this may run inside a runtime, and while a test panics.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(run(&server, &statement)))
        });
        let is_dropped = dropping.join().is_ok_and(|dropped| matches!(dropped, Ok(Ok(()))));
        if !is_dropped {
            println!("database {} could not be dropped", self.name);
        }
    }
}
