//! The lock of an embedded database: one process at a time delivers from it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Db, StoreError};

/// Held by the process that serves. It ends with the process, however that ends; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct ServeLock(Arc<File>);

impl ServeLock {
    /// Takes the lock of an embedded database; `None` on a server, where replicas share the work.
    pub(crate) fn take(db: &Db) -> Result<Option<Self>, StoreError> {
        let Db::Sqlite(db) = db else { return Ok(None) };
        take(&db.path)
    }

    /// Lets the next one in.
    pub(crate) fn release(&self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the database could not be unlocked; it is when this process ends");
        }
    }
}

/// Beside the database, in a file of its own: closing any handle of the database's own file would take away
/// `SQLite`'s locks on it.
fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn take(database: &Path) -> Result<Option<ServeLock>, StoreError> {
    let path = lock_path(database);
    let unusable = |error: std::io::Error| {
        let remedy = "let this user write beside the database";
        StoreError::Unfit(format!("the lock {} cannot be used: {error}; {remedy}", path.display()))
    };
    let file = File::options().create(true).append(true).open(&path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(ServeLock(Arc::new(file)))),
        Err(TryLockError::WouldBlock) => Err(StoreError::Served(database.display().to_string())),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("hub.db");
        let first = take(&database).expect("nobody has it").expect("a lock");
        let refused = take(&database).expect_err("it is taken");
        assert_eq!(refused, StoreError::Served(database.display().to_string()));
        assert!(refused.to_string().contains("hub.db"), "{refused}");
        first.release();
        let second = take(&database).expect("it was let go").expect("a lock");
        drop(second);
        drop(take(&database).expect("it went with its holder"));

        let nowhere = folder.path().join("gone").join("hub.db");
        assert!(matches!(take(&nowhere), Err(StoreError::Unfit(_))));
    }
}
