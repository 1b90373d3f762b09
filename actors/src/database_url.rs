//! URLs of databases: what is wrong with one, told before anything connects, and without showing any of it.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use url::Url;

/// What may follow the `?` of a URL of PostgreSQL. The driver warns of others, with their values, and goes on.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Why a URL cannot be used. The texts show none of it: a password may stand anywhere in one with a slip in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlProblem {
    /// It is neither that of a file nor that of a server.
    #[error("it is not the URL of a database")]
    NotADatabase,
    /// Something follows the `?` that nobody knows.
    #[error(
        "it has a parameter after the ? that is not known (sslmode, sslrootcert, sslcert, sslkey, options and the \
         like are); a ? in the password is written %3F"
    )]
    UnknownParameter,
    /// `sslmode` has a value that does not exist.
    #[error("its sslmode is none of disable, allow, prefer, require, verify-ca and verify-full")]
    SslMode,
    /// Something else does not fit.
    #[error("one of its parts, such as the port or a parameter after the ?, does not fit")]
    Part,
    /// A parameter of an embedded database.
    #[error(
        "it has a parameter after the ? that is not known, or a value that does not fit (known are mode, cache, immutable and vfs)"
    )]
    FileParameter,
}

/// Whether a hub could connect with this URL, as far as it tells by itself.
pub fn check_database_url(url: &str) -> Result<(), UrlProblem> {
    if url.starts_with("sqlite:") {
        return SqliteConnectOptions::from_str(url).map(drop).map_err(|_| UrlProblem::FileParameter);
    }
    let parsed = Url::parse(url).map_err(|_| UrlProblem::NotADatabase)?;
    if !matches!(parsed.scheme(), "postgres" | "postgresql") {
        return Err(UrlProblem::NotADatabase);
    }
    for (key, value) in parsed.query_pairs() {
        let is_option = key.starts_with("options[") && key.ends_with(']');
        if !is_option && !PARAMETERS.contains(&&*key) {
            return Err(UrlProblem::UnknownParameter);
        }
        let is_mode = matches!(&*key, "sslmode" | "ssl-mode");
        if is_mode && !SSL_MODES.contains(&&*value) {
            return Err(UrlProblem::SslMode);
        }
    }
    PgConnectOptions::from_str(url).map(drop).map_err(|_| UrlProblem::Part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_told_without_showing_it() {
        for (url, expected) in [
            ("sqlite://casewire.db", Ok(())),
            ("sqlite://casewire.db?mode=rwc", Ok(())),
            ("sqlite://casewire.db?mode=hunter2", Err(UrlProblem::FileParameter)),
            ("sqlite://casewire.db?hunter2=1", Err(UrlProblem::FileParameter)),
            ("postgres://u:p@h/d", Ok(())),
            ("postgresql://u:p@h:5433/d?sslmode=verify-full&sslrootcert=/etc/ca.pem", Ok(())),
            ("postgres://casewire@%2Ftmp%2Fpg/d?options=-csearch_path%3Da&options[jit]=off", Ok(())),
            ("postgres://h/d?sslmode=verify_full", Err(UrlProblem::SslMode)),
            ("postgres://h/d?ssl-mode=hunter2", Err(UrlProblem::SslMode)),
            ("postgres://h/d?connect_timeout=5", Err(UrlProblem::UnknownParameter)),
            ("postgres://u:pa?hunter2@h/d", Err(UrlProblem::NotADatabase)),
            ("postgres://u@h/d?port=hunter2", Err(UrlProblem::Part)),
            ("postgres://h/d?hostaddr=hunter2", Err(UrlProblem::Part)),
            ("mysql://h/d", Err(UrlProblem::NotADatabase)),
            ("hunter2", Err(UrlProblem::NotADatabase)),
        ] {
            let told = check_database_url(url);
            assert_eq!(told, expected, "{url}");
            assert!(told.is_ok() || !told.unwrap_err().to_string().contains("hunter2"), "{url}");
        }
    }
}
