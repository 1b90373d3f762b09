//! Credentials at rest: sealed with a key that the database does not hold.
//!
//! XChaCha20-Poly1305. A sealed value is one version byte, the first four bytes of the key's SHA-256,
//! a random nonce of 24 bytes, and the ciphertext with its tag. The table and the row's id are
//! associated data, so a value that was copied into another row does not open there. The nonce is long
//! enough to be drawn at random for as many values as a hub will ever seal.

mod key_file;

pub use key_file::{KeyFileError, load_key_file, load_or_create_key_file};

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::kernel::Sources;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

const VERSION: u8 = 1;
/// Digested before a key, so that its fingerprint is not what values begin with.
const FINGERPRINT_OF: &[u8] = b"casewire sealing key\0";
const KEY_ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 24;
const HEADER_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_BYTES;

const ANY_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// A sealing key. Has no `Debug`, `Display` or `Serialize`, and is wiped when dropped.
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; KEY_BYTES]>);

/// A text that is not a key. It is not repeated: it may be one with a slip in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is 32 random bytes in base64, 44 characters: make one with `openssl rand -base64 32`")]
pub struct NotAKey;

impl SealingKey {
    /// Reads a key from base64 in either alphabet, with or without padding; white space around it, as a
    /// file has it, is ignored.
    pub fn from_base64(text: &str) -> Result<Self, NotAKey> {
        let text = text.trim();
        let is_url_safe = text.contains(['-', '_']);
        let alphabet = if is_url_safe { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
        let decoded = GeneralPurpose::new(alphabet, ANY_PADDING).decode(text);
        let decoded = Zeroizing::new(decoded.map_err(|_| NotAKey)?);
        let bytes: [u8; KEY_BYTES] = decoded.as_slice().try_into().map_err(|_| NotAKey)?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// Draws a new key.
    pub fn generate(sources: &Sources) -> Self {
        let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
        sources.fill(&mut *bytes);
        Self(bytes)
    }

    fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0.as_slice()))
    }
}

/// Why a sealed value did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It was sealed with a key that this process was not given.
    #[error("it was sealed with another key: give that one in `secrets.previous_keys`")]
    UnknownKey,
    /// It was cut, altered, or belongs to another row.
    #[error("it is damaged or belongs to another row: enter the credentials again")]
    Damaged,
}

/// Seals with the current key; opens with that and with earlier ones.
#[derive(Clone)]
pub struct Sealer {
    current: NamedKey,
    previous: Vec<NamedKey>,
}

#[derive(Clone)]
struct NamedKey {
    id: [u8; KEY_ID_BYTES],
    fingerprint: i64,
    cipher: XChaCha20Poly1305,
}

impl NamedKey {
    fn new(key: &SealingKey) -> Self {
        let digest = Sha256::digest(key.0.as_slice());
        let mut id = [0_u8; KEY_ID_BYTES];
        id.copy_from_slice(&digest[..KEY_ID_BYTES]);
        let bytes: &[u8; KEY_BYTES] = &key.0;
        Self { id, fingerprint: fingerprint_of(bytes), cipher: XChaCha20Poly1305::new(bytes.into()) }
    }
}

/// Tells keys apart, and nothing of them: a part of a digest of 32 random bytes.
fn fingerprint_of(key: &[u8; KEY_BYTES]) -> i64 {
    let digest = Sha256::new().chain_update(FINGERPRINT_OF).chain_update(key).finalize();
    let mut bytes = [0_u8; 8];
    bytes.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(bytes)
}

impl Sealer {
    /// A sealer for these keys.
    pub fn new(current: &SealingKey, previous: &[SealingKey]) -> Self {
        Self { current: NamedKey::new(current), previous: previous.iter().map(NamedKey::new).collect() }
    }

    /// Seals a value for one row of one table.
    pub fn seal(
        &self,
        sources: &Sources,
        table: &str,
        row_id: &str,
        plain: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0_u8; NONCE_BYTES];
        sources.fill(&mut nonce);
        let place = place_of(table, row_id);
        let payload = Payload { msg: plain, aad: &place };
        // Refused only for texts of hundreds of gigabytes.
        let text =
            self.current.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Damaged)?;
        let mut sealed = Vec::with_capacity(HEADER_BYTES + text.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.current.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// Opens a value that was sealed for this row of this table.
    pub fn open(&self, table: &str, row_id: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if sealed.len() < HEADER_BYTES || sealed[0] != VERSION {
            return Err(SealError::Damaged);
        }
        let (header, text) = sealed.split_at(HEADER_BYTES);
        let (key_id, nonce) = header[1..].split_at(KEY_ID_BYTES);
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| SealError::Damaged)?;
        let place = place_of(table, row_id);
        let keys = std::iter::once(&self.current).chain(&self.previous);
        let mut is_known = false;
        // Two keys may share an id: every one that fits is tried.
        for key in keys.filter(|key| key.id == key_id) {
            is_known = true;
            if let Ok(plain) = key.cipher.decrypt(&XNonce::from(nonce), Payload { msg: text, aad: &place }) {
                return Ok(Zeroizing::new(plain));
            }
        }
        Err(if is_known { SealError::Damaged } else { SealError::UnknownKey })
    }

    /// The fingerprint of the current key.
    pub(crate) fn fingerprint(&self) -> i64 {
        self.current.fingerprint
    }

    /// Whether an earlier key has this fingerprint.
    pub(crate) fn knows(&self, fingerprint: i64) -> bool {
        self.previous.iter().any(|key| key.fingerprint == fingerprint)
    }

    /// Whether a value was sealed with the current key; one that was not should be sealed anew.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.get(1..=KEY_ID_BYTES) == Some(&self.current.id)
    }
}

/// The associated data: which row of which table. Table names hold no zero byte.
fn place_of(table: &str, row_id: &str) -> Vec<u8> {
    [table.as_bytes(), b"\0", row_id.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::sources::ManualClock;
    use std::sync::Arc;

    fn sources() -> Sources {
        Sources::seeded(Arc::new(ManualClock::at(0)), 3)
    }

    #[test]
    fn a_value_opens_only_where_it_was_sealed() {
        let sources = sources();
        let sealer = Sealer::new(&SealingKey::generate(&sources), &[]);
        let value = sealer.seal(&sources, "instances", "i1", b"hunter2").unwrap();
        assert_eq!(*sealer.open("instances", "i1", &value).unwrap(), b"hunter2");
        for (table, row) in [("instances", "i2"), ("accounts", "i1"), ("instance", "si1"), ("", "")] {
            assert_eq!(sealer.open(table, row, &value).err(), Some(SealError::Damaged), "{table} {row}");
        }
        let again = sealer.seal(&sources, "instances", "i1", b"hunter2").unwrap();
        assert_ne!(value, again, "each has a nonce of its own");
        assert!(!value.windows(7).any(|window| window == b"hunter2"));
    }

    #[test]
    fn what_was_cut_or_altered_does_not_open() {
        let sources = sources();
        let sealer = Sealer::new(&SealingKey::generate(&sources), &[]);
        let value = sealer.seal(&sources, "t", "r", b"text").unwrap();
        for n_bytes in 0..value.len() {
            assert!(sealer.open("t", "r", &value[..n_bytes]).is_err(), "{n_bytes} bytes");
        }
        for at in 0..value.len() {
            let mut altered = value.clone();
            altered[at] ^= 1;
            assert!(sealer.open("t", "r", &altered).is_err(), "byte {at}");
        }
    }

    #[test]
    fn an_earlier_key_still_opens_and_a_foreign_one_is_named_so() {
        let sources = sources();
        let (old, new) = (SealingKey::generate(&sources), SealingKey::generate(&sources));
        let before = Sealer::new(&old, &[]);
        let value = before.seal(&sources, "t", "r", b"text").unwrap();
        let rotated = Sealer::new(&new, std::slice::from_ref(&old));
        assert_eq!(*rotated.open("t", "r", &value).unwrap(), b"text");
        assert!(before.is_current(&value) && !rotated.is_current(&value));
        let resealed = rotated.seal(&sources, "t", "r", b"text").unwrap();
        assert!(rotated.is_current(&resealed));
        assert_eq!(before.open("t", "r", &resealed).err(), Some(SealError::UnknownKey));
        assert_eq!(Sealer::new(&new, &[]).open("t", "r", &value).err(), Some(SealError::UnknownKey));
    }

    #[test]
    fn keys_are_32_bytes_in_base64() {
        let key = SealingKey::generate(&sources());
        let text = format!("  {}\n", &*key.to_base64());
        assert!(SealingKey::from_base64(&text).is_ok_and(|read| *read.0 == *key.0));
        let is_all_ones = |text: &str| SealingKey::from_base64(text).is_ok_and(|read| *read.0 == [255; 32]);
        for text in ["/".repeat(42) + "8=", "/".repeat(42) + "8", "_".repeat(42) + "8=", "_".repeat(42) + "8"]
        {
            assert!(is_all_ones(&text), "{text}");
        }
        let (long, mixed) = ("A".repeat(44), "_/".repeat(21) + "8=");
        for text in ["", "abc", "AAAA", "not base64 at all, but long enough to be!!!!", &long, &mixed] {
            assert!(SealingKey::from_base64(text).is_err(), "{text}");
        }
    }
}
