//! Sealing of secrets at rest and on the wire: AES-256-GCM (NIST SP 800-38D) with bound context.
//!
//! A sealed value names the key that opens it, and opens only in the context it was sealed in: moved to
//! another row, file or purpose, it is refused. Nonces are 96 random bits; one key is good for 2^32 values.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

mod ring;

pub use ring::KeyRing;

/// What an edge's own sealing key is derived for, from the text of its API key, on both sides of the feed.
pub const EDGE_FEED_PURPOSE: &str = "stoa edge feed";
/// Length of a sealing key in bytes.
pub const KEY_BYTES: usize = 32;

/// A 256-bit key. Wiped from memory when dropped; never printed.
#[derive(Clone)]
pub struct SealingKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

/// A sealed value: `v1.<key fingerprint>.<base64url of nonce and ciphertext>`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sealed {
    fingerprint: String,
    body: Vec<u8>,
}

/// Why something cannot be sealed, opened or read as a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The text is not a key.
    #[error("the sealing key must be 64 hexadecimal digits; it has {0} characters")]
    KeyForm(usize),
    /// The text is not a sealed value.
    #[error("a sealed value has the form v1.<key>.<text>; this one does not")]
    Form,
    /// Another key sealed it.
    #[error(
        "sealed with key {sealed_with}, but the key at hand is {at_hand}: restore the key it was sealed with"
    )]
    OtherKey {
        /// Fingerprint of the key that sealed it.
        sealed_with: String,
        /// Fingerprint of the key at hand.
        at_hand: String,
    },
    /// The value was damaged, or belongs to another place.
    #[error("a sealed value does not open as `{0}`: it was damaged or belongs elsewhere")]
    Damaged(String),
    /// A ring of no keys.
    #[error("there is no sealing key")]
    NoKey,
    /// The system gave no randomness, or the key was refused.
    #[error("the cryptographic library refused to seal")]
    Refused,
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

impl SealingKey {
    /// A new random key.
    #[must_use]
    pub fn generate() -> Self {
        Self { bytes: Zeroizing::new(rand::random()) }
    }

    /// A key from 64 hexadecimal digits; white space around them is ignored.
    ///
    /// # Errors
    /// [`SealError::KeyForm`] tells the length, never the text.
    pub fn from_hex(text: &str) -> Result<Self, SealError> {
        let text = text.trim();
        let wrong = || SealError::KeyForm(text.chars().count());
        if text.len() != KEY_BYTES * 2 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            let digits = text.get(at..at + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self { bytes })
    }

    /// The key as 64 hexadecimal digits, for the file that keeps it.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex(self.bytes.as_slice()))
    }

    /// A key for one purpose, derived from a secret of at least 128 bits (HKDF-SHA-256, RFC 5869).
    ///
    /// # Errors
    /// [`SealError::Refused`] if the library refuses.
    pub fn derive(secret: &[u8], purpose: &str) -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
        Salt::new(HKDF_SHA256, b"stoa")
            .extract(secret)
            .expand(&[purpose.as_bytes()], Length)
            .and_then(|okm| okm.fill(bytes.as_mut_slice()))
            .map_err(|_| SealError::Refused)?;
        Ok(Self { bytes })
    }

    /// Eight hexadecimal digits that name the key without telling it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let hash = digest(&SHA256, self.bytes.as_slice());
        hex(hash.as_ref().get(..4).unwrap_or_default())
    }

    /// Seals `plaintext` so that it opens in `context` only.
    ///
    /// # Errors
    /// [`SealError::Refused`] if the library refuses.
    pub fn seal(&self, context: &str, plaintext: &[u8]) -> Result<Sealed, SealError> {
        let body = self.seal_bytes(context, plaintext)?;
        Ok(Sealed { fingerprint: self.fingerprint(), body })
    }

    /// Seals `plaintext` as nonce, ciphertext and tag: for files whose head names the key once.
    ///
    /// # Errors
    /// [`SealError::Refused`] if the library refuses.
    pub fn seal_bytes(&self, context: &str, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut text = plaintext.to_vec();
        let sealed = self.cipher()?.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(context.as_bytes()),
            &mut text,
        );
        if sealed.is_err() {
            text.zeroize();
            return Err(SealError::Refused);
        }
        let mut body = nonce.to_vec();
        body.append(&mut text);
        Ok(body)
    }

    /// Opens what [`Self::seal`] sealed in the same context.
    ///
    /// # Errors
    /// [`SealError::OtherKey`] or [`SealError::Damaged`].
    pub fn open(&self, context: &str, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let at_hand = self.fingerprint();
        if sealed.fingerprint != at_hand {
            return Err(SealError::OtherKey { sealed_with: sealed.fingerprint.clone(), at_hand });
        }
        self.open_bytes(context, &sealed.body)
    }

    /// Opens what [`Self::seal_bytes`] sealed in the same context.
    ///
    /// # Errors
    /// [`SealError::Damaged`], also if another key sealed it.
    pub fn open_bytes(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let damaged = || SealError::Damaged(context.to_owned());
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or_else(damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self
            .cipher()?
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut text)
            .map_err(|_| damaged())?
            .len();
        text.truncate(length);
        Ok(text)
    }

    fn cipher(&self) -> Result<LessSafeKey, SealError> {
        let key = UnboundKey::new(&AES_256_GCM, self.bytes.as_slice()).map_err(|_| SealError::Refused)?;
        Ok(LessSafeKey::new(key))
    }
}

impl Sealed {
    /// Fingerprint of the key that sealed it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// What the text of everything begins with that the key of this fingerprint sealed.
    #[must_use]
    pub fn prefix(fingerprint: &str) -> String {
        format!("v1.{fingerprint}.")
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.fingerprint())
    }
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1.{}.{}", self.fingerprint, URL_SAFE_NO_PAD.encode(&self.body))
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({}, {} bytes)", self.fingerprint, self.body.len())
    }
}

impl FromStr for Sealed {
    type Err = SealError;

    fn from_str(text: &str) -> Result<Self, SealError> {
        let rest = text.strip_prefix("v1.").ok_or(SealError::Form)?;
        let (fingerprint, body) = rest.split_once('.').ok_or(SealError::Form)?;
        let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| SealError::Form)?;
        Ok(Self { fingerprint: fingerprint.to_owned(), body })
    }
}

impl TryFrom<String> for Sealed {
    type Error = SealError;

    fn try_from(text: String) -> Result<Self, SealError> {
        text.parse()
    }
}

impl From<Sealed> for String {
    fn from(sealed: Sealed) -> Self {
        sealed.to_string()
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_in_its_context_only() -> Result<(), SealError> {
        let key = SealingKey::generate();
        let sealed: Sealed = key.seal("certificate-key/1", b"secret")?.to_string().parse()?;
        assert_eq!(key.open("certificate-key/1", &sealed)?.as_slice(), b"secret");
        assert_eq!(
            key.open("certificate-key/2", &sealed),
            Err(SealError::Damaged("certificate-key/2".to_owned()))
        );
        Ok(())
    }

    #[test]
    fn another_key_is_named_not_tried() -> Result<(), SealError> {
        let (one, other) = (SealingKey::generate(), SealingKey::generate());
        let error = other.open("x", &one.seal("x", b"secret")?);
        let expected = SealError::OtherKey { sealed_with: one.fingerprint(), at_hand: other.fingerprint() };
        assert_eq!(error, Err(expected));
        Ok(())
    }

    #[test]
    fn a_key_survives_its_file() -> Result<(), SealError> {
        let key = SealingKey::generate();
        let read = SealingKey::from_hex(&format!("{}\n", key.to_hex().as_str()))?;
        assert_eq!(read.fingerprint(), key.fingerprint());
        assert!(matches!(SealingKey::from_hex("abc"), Err(SealError::KeyForm(3))));
        assert!(matches!(SealingKey::from_hex(&"é".repeat(32)), Err(SealError::KeyForm(32))));
        Ok(())
    }

    #[test]
    fn neither_key_nor_secret_is_printed() -> Result<(), SealError> {
        let key = SealingKey::generate();
        let printed = format!("{key:?} {:?}", key.seal("x", b"secret")?);
        assert!(!printed.contains(key.to_hex().as_str()) && !printed.contains("secret"));
        Ok(())
    }
}
