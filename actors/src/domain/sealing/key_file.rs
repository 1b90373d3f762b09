//! The file that holds the sealing key: one that was made elsewhere, or the one beside an embedded database.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{NotAKey, SealingKey};
use crate::kernel::Sources;

/// A key in base64 with a line end is 45 bytes; what is much longer is not a key file.
const MAX_BYTES: u64 = 4096;

/// Why there is no key. The text names the file and how to mend it, never what it holds.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Others than its owner may read or write it.
    #[error(
        "the key file {} is open to others (mode {mode:04o}): run `chmod 600` on it, and take a new key if others may have read it",
        path.display()
    )]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Its content is not a key.
    #[error("the key file {} does not hold a key: {source}", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// What a key looks like.
        #[source]
        source: NotAKey,
    },
    /// It was named and is not there. A new key in its place would open nothing that is stored, and each
    /// replica would have another.
    #[error(
        "there is no key file {}: mend the path, or put the file with the key there; for a new hub make one with `(umask 077; openssl rand -base64 32 > FILE)` and give every replica the same",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It could not be read or made.
    #[error("the key file {} cannot be used: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Reads the key file that was named, and makes none.
pub fn load_key_file(path: &Path) -> Result<SealingKey, KeyFileError> {
    match File::open(path) {
        Ok(file) => load(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(KeyFileError::Missing { path: path.to_owned() })
        }
        Err(source) => Err(KeyFileError::Io { path: path.to_owned(), source }),
    }
}

/// Reads the key file; makes one with a new key where there is none. Two processes that start at the
/// same moment get the same key: the file appears whole or not at all, and the first one wins.
pub fn load_or_create_key_file(path: &Path, sources: &Sources) -> Result<SealingKey, KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    match File::open(path) {
        Ok(file) => return load(path, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    match create(path, &SealingKey::generate(sources), sources) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    load(path, File::open(path).map_err(failed)?)
}

fn load(path: &Path, file: File) -> Result<SealingKey, KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::OpenToOthers { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(64));
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    let not_a_key = |source| KeyFileError::NotAKey { path: path.to_owned(), source };
    let text = std::str::from_utf8(&bytes).map_err(|_| not_a_key(NotAKey))?;
    SealingKey::from_base64(text).map_err(not_a_key)
}

/// Writes a file of a name of its own, then links it to its place: a link never replaces a file.
fn create(path: &Path, key: &SealingKey, sources: &Sources) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", sources.nonce()));
    let draft = PathBuf::from(draft);
    let created = write_draft(&draft, key).and_then(|()| std::fs::hard_link(&draft, path));
    let removed = std::fs::remove_file(&draft);
    created.and(removed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn write_draft(draft: &Path, key: &SealingKey) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    // The mode above is narrowed by the umask, which could take the owner's own rights.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(key.to_base64().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::sources::ManualClock;
    use std::sync::Arc;

    fn sources(seed: u64) -> Sources {
        Sources::seeded(Arc::new(ManualClock::at(0)), seed)
    }

    #[test]
    fn it_is_made_once_and_only_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("casewire.key");
        let first = load_or_create_key_file(&path, &sources(1)).unwrap();
        let second = load_or_create_key_file(&path, &sources(2)).unwrap();
        assert!(*first.0 == *second.0);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn one_that_was_named_is_read_and_never_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("casewire.key");
        let refused = load_key_file(&path).err().unwrap();
        assert!(matches!(refused, KeyFileError::Missing { .. }), "{refused}");
        assert!(refused.to_string().contains("openssl rand -base64 32"), "{refused}");
        assert!(!path.exists());
        let made = load_or_create_key_file(&path, &sources(1)).unwrap();
        assert!(*load_key_file(&path).unwrap().0 == *made.0);
    }

    #[test]
    fn those_who_start_together_share_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("casewire.key");
        let load = |seed| load_or_create_key_file(&path, &sources(seed)).unwrap().to_base64();
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|seed| scope.spawn(move || load(seed))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn one_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("casewire.key");
        load_or_create_key_file(&path, &sources(1)).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o644] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let refused = load_or_create_key_file(&path, &sources(1)).err().unwrap();
            assert!(matches!(refused, KeyFileError::OpenToOthers { .. }), "{mode:o}: {refused}");
            assert!(refused.to_string().contains("chmod 600"), "{refused}");
        }
    }

    #[test]
    fn other_content_is_refused_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("casewire.key");
        for content in ["", "c2hvcnQ=", "\u{fffd}\u{fffd}"] {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let refused = load_or_create_key_file(&path, &sources(1)).err().unwrap();
            assert!(matches!(refused, KeyFileError::NotAKey { .. }), "{refused}");
            assert!(content.is_empty() || !refused.to_string().contains(content));
        }
        let missing = folder.path().join("no/such/folder/key");
        assert!(matches!(load_or_create_key_file(&missing, &sources(1)), Err(KeyFileError::Io { .. })));
    }
}
