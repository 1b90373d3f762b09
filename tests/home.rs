//! Where the hub of a test keeps its things: a folder with an embedded database, or, where
//! `CASEWIRE_TEST_HUBS_ON=postgresql` asks for it, a database of its own on the server of the tests.

use std::path::Path;

use casewire::settings::Settings;

use crate::postgres::{Database, server_or_skip};

/// Seals what hubs on a server keep.
const KEY: &str = "Y2FzZXdpcmUtdGVzdC1rZXktb2YtMzItYnl0ZXMhISE=";

/// Its contents are gone with the value.
pub(crate) struct Home {
    folder: tempfile::TempDir,
    server_database: Option<Database>,
}

impl Home {
    /// With an embedded database whatever is asked for.
    pub(crate) fn embedded() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder"), server_database: None }
    }

    pub(crate) fn new() -> Self {
        let is_on_server = std::env::var("CASEWIRE_TEST_HUBS_ON").is_ok_and(|place| place == "postgresql");
        let server_database = is_on_server.then(|| {
            let server = server_or_skip("every hub").expect("CASEWIRE_TEST_POSTGRES_URL names the server");
            // A thread of its own: this may run inside a runtime.
            let making = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(Database::make(&server))
            });
            making.join().expect("a database")
        });
        Self { server_database, ..Self::embedded() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The settings of a hub here, with some otherwise by the names of their environment variables without the
    /// prefix.
    pub(crate) fn settings(&self, changes: &[(&str, &str)]) -> Settings {
        let file = self.path().join("settings.yaml");
        std::fs::write(&file, "{}").expect("a settings file");
        let changes = changes.iter().map(|(key, value)| (format!("CASEWIRE_{key}"), (*value).to_owned()));
        Settings::load(Some(&file), self.env().into_iter().chain(changes)).expect("settings of the test")
    }

    /// What a hub, or a command beside it, is told of its database.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        let (url, key) = match &self.server_database {
            None => (format!("sqlite://{}", self.path().join("hub.db").display()), None),
            Some(database) => (database.url(), Some(KEY)),
        };
        let key = key.map(|key| ("CASEWIRE_SECRETS__KEY".to_owned(), key.to_owned()));
        [("CASEWIRE_DATABASE__URL".to_owned(), url)].into_iter().chain(key).collect()
    }
}
