//! Why the store did not do something, in words that say what to do.

use std::time::Duration;

/// Why the store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is full or too busy. Nothing was stored; try again later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Another transaction was in the way, and this one was given up for it. Nothing was stored; try again.
    #[error("another transaction was in the way; try again")]
    Contended,
    /// A value that must be unique stands in another row already.
    #[error("a row with the same unique value exists")]
    Duplicate,
    /// A row that this one belongs to is gone.
    #[error("a row that this one belongs to does not exist any more")]
    Orphan,
    /// A value of this row cannot be stored, now or later; others can.
    #[error("the database cannot store such a value: {0}")]
    Unstorable(String),
    /// Not all of another database was copied into this one yet. Nothing may work on it before.
    #[error(
        "a copy into this database is unfinished: run the same `casewire database copy` again, or take an empty database"
    )]
    HalfCopied,
    /// Everything of it was copied to a server, where a hub may have gone on since.
    #[error(
        "this database was moved to a server by `casewire database copy`: serve that one. To serve this one again all the same, run `casewire database reopen`: where both are served, both deliver what waited in them"
    )]
    Moved,
    /// Another process serves it.
    #[error("another process serves {0} already: stop that one first, or use PostgreSQL to run several")]
    Served(String),
    /// Connections to the database are not sessions, because of what stands before it.
    #[error(
        "a pooler in transaction mode is in front of the database: use session mode (pgbouncer: pool_mode = session), or connect to PostgreSQL itself"
    )]
    SharedSessions,
    /// Something around the database is to be mended first; the text says what.
    #[error("{0}")]
    Unfit(String),
    /// The database refused the statement: a bug here, or a schema that is not this program's.
    #[error("the database refused a statement: {0}")]
    Refused(String),
}

impl StoreError {
    /// Whether the same may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Contended)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let Some(refusal) = error.as_database_error() else { return Self::Unavailable(error.to_string()) };
        if refusal.is_unique_violation() {
            return Self::Duplicate;
        }
        if refusal.is_foreign_key_violation() {
            return Self::Orphan;
        }
        of_code(refusal.code().as_deref().unwrap_or_default(), refusal.message())
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Codes of `SQLite` are numbers; those of PostgreSQL have five characters, the first two of which are a class.
fn of_code(code: &str, message: &str) -> StoreError {
    let message = || message.to_owned();
    match code {
        // PostgreSQL: read-only transaction.
        "25006" => StoreError::Unavailable(message()),
        code if is_transient_sqlite(code) => StoreError::Unavailable(message()),
        // Serialization failure, deadlock, a lock that was not had in time.
        "40001" | "40P01" | "55P03" => StoreError::Contended,
        // SQLite: too big; constraints CHECK, NOT NULL and those of triggers.
        "18" | "275" | "1299" | "1811" => StoreError::Unstorable(message()),
        "3D000" => {
            let remedy = "make it (CREATE DATABASE … ENCODING 'UTF8'), or correct database.url";
            StoreError::Unfit(format!("{}: {remedy}", message()))
        }
        "42501" => {
            let remedy = "let the role of database.url own the database, or run, as its owner, \
                          `GRANT USAGE, CREATE ON SCHEMA public TO …` and grant it the tables that are there";
            StoreError::Unfit(format!("{}: {remedy}", message()))
        }
        _ => of_class(code, message()),
    }
}

/// Busy, locked, read-only, I/O error, full, cannot open: the lowest byte of a code, whatever the others add.
fn is_transient_sqlite(code: &str) -> bool {
    let is_number = code.len() < 5 || code.starts_with('0');
    is_number && code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 8 | 10 | 13 | 14))
}

fn of_class(code: &str, message: String) -> StoreError {
    let class = if code.len() == 5 { &code[..2] } else { "" };
    match class {
        // Connection, rollback, resources, operator intervention, system error.
        "08" | "40" | "53" | "57" | "58" => StoreError::Unavailable(message),
        // Values that fit no type or no constraint.
        "22" | "23" => StoreError::Unstorable(message),
        "28" => StoreError::Unfit(format!("{message}: correct the user and the password in database.url")),
        _ => StoreError::Refused(message),
    }
}

/// How long one question to the store may take before it counts as not available: a server that is cut off
/// may never answer at all.
const ANSWER_LIMIT: Duration = Duration::from_secs(8);

/// Waits for the store, but not for ever.
pub(crate) async fn in_time<T, E>(asking: impl Future<Output = Result<T, E>>) -> Result<T, E>
where
    E: From<std::io::Error>,
{
    within(ANSWER_LIMIT, asking).await
}

/// Waits for the store so long at most.
pub(crate) async fn within<T, E>(limit: Duration, asking: impl Future<Output = Result<T, E>>) -> Result<T, E>
where
    E: From<std::io::Error>,
{
    let late = || std::io::Error::new(std::io::ErrorKind::TimedOut, "it did not answer in time");
    tokio::time::timeout(limit, asking).await.unwrap_or_else(|_| Err(late().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_what_to_do() {
        // (code, whether it may succeed later, what its text begins with or holds)
        for (code, is_transient, words) in [
            ("5", true, "the database is not available: told"),
            ("1034", true, "the database is not available: told"),
            ("4874", true, "the database is not available: told"),
            ("8", true, "the database is not available: told"),
            ("57P01", true, "the database is not available: told"),
            ("53300", true, "the database is not available: told"),
            ("40001", true, "another transaction"),
            ("55P03", true, "another transaction"),
            ("22P05", false, "the database cannot store such a value: told"),
            ("22021", false, "the database cannot store such a value: told"),
            ("23514", false, "the database cannot store such a value: told"),
            ("1299", false, "the database cannot store such a value: told"),
            ("28P01", false, "told: correct the user and the password in database.url"),
            ("28000", false, "told: correct the user and the password in database.url"),
            ("3D000", false, "told: make it"),
            ("42501", false, "told: let the role of database.url own the database"),
            ("42703", false, "the database refused a statement: told"),
            ("1", false, "the database refused a statement: told"),
        ] {
            let error = of_code(code, "told");
            assert_eq!(error.is_transient(), is_transient, "{code}");
            assert!(error.to_string().starts_with(words), "{code}: {error}");
        }
    }
}
