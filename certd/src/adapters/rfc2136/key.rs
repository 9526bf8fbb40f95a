//! The key that signs updates (RFC 8945).

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hickory_resolver::proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_resolver::proto::rr::{Name, TSigner};
use model::secret::Secret;
use zeroize::Zeroizing;

use crate::CertdError;

/// How far the clocks of both sides may be apart, in seconds (RFC 8945 §10).
const FUDGE: u16 = 300;

/// What a message is signed with; MD5 and SHA-1 are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// HMAC-SHA-256, which every server has.
    #[default]
    HmacSha256,
    /// HMAC-SHA-384.
    HmacSha384,
    /// HMAC-SHA-512.
    HmacSha512,
}

impl Algorithm {
    /// `hmac-sha256`, `hmac-sha384` or `hmac-sha512`; none: another word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word.trim_end_matches('.') {
            "hmac-sha256" => Some(Self::HmacSha256),
            "hmac-sha384" => Some(Self::HmacSha384),
            "hmac-sha512" => Some(Self::HmacSha512),
            _ => None,
        }
    }
}

/// A key that both sides know.
pub struct Key(TSigner);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, ***)", self.0.signer_name())
    }
}

impl Key {
    /// The key of this name; the secret is base64, as `tsig-keygen` and `keymgr` print it.
    ///
    /// # Errors
    /// [`CertdError::Settings`] names what cannot be used, never the secret.
    pub fn new(name: &str, algorithm: Algorithm, secret: &Secret) -> Result<Self, CertdError> {
        let unusable = |what: &str| CertdError::Settings(format!("the TSIG key `{name}`: {what}"));
        let written = Name::from_ascii(format!("{}.", name.trim_end_matches('.')));
        let written = written.map_err(|_| unusable("its name is no DNS name"))?;
        let secret = BASE64_STANDARD.decode(secret.reveal().trim());
        let secret = Zeroizing::new(secret.map_err(|_| unusable("its secret is not base64"))?);
        if secret.is_empty() {
            return Err(unusable("its secret is empty"));
        }
        let algorithm = match algorithm {
            Algorithm::HmacSha256 => TsigAlgorithm::HmacSha256,
            Algorithm::HmacSha384 => TsigAlgorithm::HmacSha384,
            Algorithm::HmacSha512 => TsigAlgorithm::HmacSha512,
        };
        // The signer takes its own copy, which it does not wipe.
        let signer = TSigner::new(secret.to_vec(), algorithm, written, FUDGE);
        signer.map(Self).map_err(|error| unusable(&error.to_string()))
    }

    pub(super) fn signer(&self) -> &TSigner {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_shows_its_secret() {
        let secret = Secret::new("TgoKbCUHGYVfxZCeROJqxTNDGmGbodnOXyGabeTgLQg=".to_owned());
        let key = Key::new("stoa-key", Algorithm::HmacSha256, &secret).unwrap();
        assert_eq!(format!("{key:?}"), "Key(stoa-key., ***)");
        let error =
            Key::new("stoa-key", Algorithm::HmacSha256, &Secret::new("hunter2!".to_owned())).unwrap_err();
        assert_eq!(error.to_string(), "the TSIG key `stoa-key`: its secret is not base64");
    }
}
