//! Hashing passwords: argon2id on the blocking pool, so many at a time and so many waiting.
//!
//! A hash takes tens of milliseconds of a core and 19 MiB. Without a bound a flood of logins would take
//! every core and all memory from those who only show their token.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::domain::secret::Secret;
use crate::kernel::{AskError, Sources};

/// How many hashes may wait for a core; more are refused.
const MAX_WAITING: usize = 64;

/// OWASP's parameters: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Stands for the password of a user that does not exist, so that a login takes as long. It is the hash
/// of random bytes, with the parameters above.
const NOBODYS_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$3qBVhVRZkCBQxO1S9QkJGg0Lm4oTz3zDnXyVQ8q1Y0w";

/// The pool. Clones share their bounds.
#[derive(Clone)]
pub(super) struct Hashing {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    sources: Sources,
}

impl Hashing {
    /// A pool that leaves one core to others.
    pub(super) fn new(sources: Sources) -> Self {
        let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
        let n_running = n_cores.saturating_sub(1).max(1);
        Self {
            running: Arc::new(Semaphore::new(n_running)),
            admitted: Arc::new(Semaphore::new(n_running + MAX_WAITING)),
            sources,
        }
    }

    /// Hashes a new password.
    pub(super) async fn hash(&self, password: Secret) -> Result<String, AskError> {
        let mut salt = [0; 16];
        self.sources.fill(&mut salt);
        let hash = self.run(move || hash_with(&password, &salt)).await?;
        hash.ok_or(AskError::Interrupted)
    }

    /// Whether this is the password. Without a hash it takes as long and is not.
    pub(super) async fn verify(&self, password: Secret, hash: Option<String>) -> Result<bool, AskError> {
        self.run(move || {
            let is_it = is_password(&password, hash.as_deref().unwrap_or(NOBODYS_HASH));
            is_it && hash.is_some()
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, AskError> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| AskError::Overloaded)?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| AskError::OutOfService)?;
        // The permits go with the work: it runs to its end also when its caller has left.
        let hashed = tokio::task::spawn_blocking(move || {
            let result = work();
            drop((running, admitted));
            result
        });
        hashed.await.map_err(|_| AskError::Interrupted)
    }
}

fn argon2() -> Option<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash_with(password: &Secret, salt: &[u8; 16]) -> Option<String> {
    let hash: PasswordHash = argon2()?.hash_password_with_salt(password.expose().as_bytes(), salt).ok()?;
    Some(hash.to_string())
}

/// Whether this is the password. Takes tens of milliseconds of a core: not to be called on an arbiter.
pub(crate) fn is_password(password: &Secret, hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    argon2().is_some_and(|argon2| argon2.verify_password(password.expose().as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashing() -> Hashing {
        Hashing::new(Sources::system())
    }

    #[tokio::test]
    async fn a_password_is_verified_against_its_own_hash_only() {
        let hashing = hashing();
        let hash = hashing.hash(Secret::new("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(hashing.verify(Secret::new("correct horse"), Some(hash.clone())).await.unwrap());
        assert!(!hashing.verify(Secret::new("correct horse "), Some(hash.clone())).await.unwrap());
        assert!(!hashing.verify(Secret::new("correct horse"), Some("no hash".to_owned())).await.unwrap());
        assert_ne!(hash, hashing.hash(Secret::new("correct horse")).await.unwrap(), "salted");
    }

    #[test]
    fn a_user_that_does_not_exist_costs_a_whole_hash() {
        let hash = PasswordHash::new(NOBODYS_HASH).expect("a well-formed hash");
        let (params, ours) = (Params::try_from(&hash).unwrap(), argon2().unwrap());
        let costs = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        assert_eq!(costs(&params), costs(ours.params()));
        assert_eq!(hash.hash.map(|hash| hash.as_bytes().len()), Some(32));
    }

    #[tokio::test]
    async fn more_than_may_wait_are_refused_at_once() {
        let hashing = hashing();
        let all = hashing.admitted.available_permits();
        let _taken = hashing.admitted.clone().try_acquire_many_owned(u32::try_from(all).unwrap()).unwrap();
        assert_eq!(hashing.verify(Secret::new("x"), None).await, Err(AskError::Overloaded));
    }
}
