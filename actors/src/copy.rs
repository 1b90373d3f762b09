//! Moving: everything of an embedded database into an empty one on a PostgreSQL server.
//!
//! The source is locked for the whole copy, so no hub can serve it. The target carries a mark until everything
//! has arrived and was compared, row by row; while it stands, no hub starts there. A copy that was interrupted
//! goes on behind the last row that arrived if the source is still what it was, and begins anew if not. What a
//! hub may have worked on is never overwritten. In the end the source carries a mark as well, and no hub starts
//! there until somebody takes it away.

use serde::Serialize;

use crate::database_url::{UrlProblem, check_database_url};
use crate::domain::secret::Secret;
use crate::store::{self, StoreError};

/// How many rows are written in one transaction.
const BATCH: i64 = 2000;

/// Why nothing, or not everything, was copied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// Source and target are one.
    #[error("--to is the database that database.url names: name another one")]
    SameDatabase,
    /// The source is on a server.
    #[error(
        "database.url is on a server: this command moves an embedded database (sqlite://); use pg_dump and psql between servers"
    )]
    SourceNotEmbedded,
    /// Only an embedded database is marked as moved.
    #[error("database.url is on a server: only an embedded database (sqlite://) is closed by a copy")]
    NotEmbedded,
    /// The target is none on a server.
    #[error("--to must be the URL of a PostgreSQL database: postgres://user@host/name")]
    TargetNotServer,
    /// The URL of the target has a slip in it.
    #[error("--to: {0}")]
    TargetUrl(#[from] UrlProblem),
    /// There is no source, or it may not be read.
    #[error("there is no database that can be opened at database.url: name the one to copy in the settings")]
    SourceMissing,
    /// Somebody has the source open.
    #[error(
        "the database is open in another process: stop the hub that serves it, and any other command, and copy again"
    )]
    SourceInUse,
    /// So many migrations are missing in the source.
    #[error(
        "the schema of the source is behind by {0} migration(s): run `casewire migrate`, then copy again"
    )]
    SourceBehind(usize),
    /// The source was made by a newer version of this program.
    #[error("the schema of the source is newer than this program: copy with a newer casewire")]
    SourceAhead,
    /// The target was made by a newer version of this program.
    #[error("the schema of the target is newer than this program: copy with a newer casewire")]
    TargetAhead,
    /// The source could not be read.
    #[error("the source: {0}")]
    Source(#[source] StoreError),
    /// The target could not be read or written. What was committed stays; the copy can go on.
    #[error("the target: {0}")]
    Target(#[source] StoreError),
    /// Sessions of this program are connected to the target.
    #[error("{0} session(s) of casewire are connected to the target: stop the hub, or the other copy, first")]
    TargetInUse(i64),
    /// The target has users that the source does not have.
    #[error("the target has {0} user(s) that the source does not have: copy into an empty database")]
    ForeignUsers(usize),
    /// The target has data that is not the source's as it stands now.
    #[error(
        "the target already holds data, and its {0} are not those of the source: a hub may have worked on it; copy into an empty database"
    )]
    Diverged(&'static str),
    /// Another copy put its mark where that of this one stood.
    #[error("another copy into the target has begun meanwhile; nothing more was written")]
    Displaced,
    /// PostgreSQL cannot store such a text.
    #[error(
        "{table}.{column} of the row {key} holds a NUL character, which PostgreSQL cannot store: mend it in the source and copy again"
    )]
    Unstorable {
        /// The table.
        table: &'static str,
        /// The column.
        column: String,
        /// The primary key of the row.
        key: String,
    },
}

impl CopyError {
    /// Whether the command line or a setting is to be mended.
    pub fn is_misuse(&self) -> bool {
        matches!(
            self,
            Self::SameDatabase
                | Self::SourceNotEmbedded
                | Self::NotEmbedded
                | Self::TargetNotServer
                | Self::TargetUrl(_)
        )
    }
}

/// What the copy is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It reads the source, to know it again.
    Reading,
    /// It writes to the target.
    Copying,
    /// It compares what arrived.
    Comparing,
}

/// What the copy tells while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An earlier copy of the source as it is now was interrupted: this one goes on where it stopped.
    GoesOn,
    /// The source is not what an interrupted copy began with: what arrived was discarded.
    BeginsAnew,
    /// The target held everything already: nothing was written.
    WasComplete,
    /// So many rows of a table are done.
    Progress {
        /// With what.
        step: Step,
        /// Which table.
        table: &'static str,
        /// How many rows are done.
        n_rows: u64,
        /// How many there are in the source; 0 while that is not known.
        n_all: u64,
    },
}

/// Whether every row of a table arrived as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Both sides hold the same rows.
    Same,
    /// They do not.
    Different,
}

/// A table in both databases, after the copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Its name.
    pub table: &'static str,
    /// Rows in the source.
    pub source: u64,
    /// Rows in the target.
    pub target: u64,
    /// Whether they are the same.
    pub content: Content,
}

/// Copies everything of the embedded database at `from` into the one on a server at `to`. Returns every table
/// with what stands on either side; the target may be used only if they are all the same.
///
/// It can be given up, or killed, at any point, and called again.
pub async fn copy_database(
    from: &Secret,
    to: &Secret,
    mut tell: impl FnMut(Event),
) -> Result<Vec<Compared>, CopyError> {
    let (from, to) = (from.expose(), to.expose());
    refuse_misuse(from, to)?;
    store::copy::copy(from, to, BATCH, &mut tell).await
}

/// Lets a hub serve an embedded database again that was moved. Whether it was.
pub async fn reopen_database(from: &Secret) -> Result<bool, CopyError> {
    let from = from.expose();
    if !from.starts_with("sqlite:") {
        return Err(CopyError::NotEmbedded);
    }
    store::copy::reopen(from).await
}

fn refuse_misuse(from: &str, to: &str) -> Result<(), CopyError> {
    if from == to {
        return Err(CopyError::SameDatabase);
    }
    if !["postgres://", "postgresql://"].iter().any(|scheme| to.starts_with(scheme)) {
        return Err(CopyError::TargetNotServer);
    }
    if !from.starts_with("sqlite:") {
        return Err(CopyError::SourceNotEmbedded);
    }
    Ok(check_database_url(to)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_from_inside_to_a_server() {
        let (file, server) = ("sqlite://a.db", "postgres://u@h/a");
        for (from, to, expected) in [
            (file, server, Ok(())),
            (file, "postgresql://h/a", Ok(())),
            (file, file, Err(CopyError::SameDatabase)),
            (server, server, Err(CopyError::SameDatabase)),
            (file, "sqlite://b.db", Err(CopyError::TargetNotServer)),
            (file, "nowhere", Err(CopyError::TargetNotServer)),
            (file, "postgres://h/a?sslmode=typo", Err(CopyError::TargetUrl(UrlProblem::SslMode))),
            (server, "postgres://u@h/b", Err(CopyError::SourceNotEmbedded)),
        ] {
            assert_eq!(refuse_misuse(from, to), expected, "{from} {to}");
        }
    }
}
