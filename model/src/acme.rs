//! A challenge as edges answer it: http-01 (RFC 8555 §8.3) or tls-alpn-01 (RFC 8737).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::host::Host;
use crate::id::DomainId;

/// Path below which challenges are answered, before any redirect or rule.
pub const HTTP01_PREFIX: &str = "/.well-known/acme-challenge/";

/// The label before a name that is proved by a text (RFC 8555 §8.4).
pub const DNS01_LABEL: &str = "_acme-challenge";

/// The label before a name that is proved by a text that stays (draft-ietf-acme-dns-persist).
pub const STANDING_LABEL: &str = "_validation-persist";

/// Where the text for a creator's domain stands in a zone of ours: what `_acme-challenge.<host>` must be an alias of,
/// so that its certificates can be made before, and whether or not, its visitors come here.
#[must_use]
pub fn delegate(domain: DomainId, zone: &Host) -> String {
    let id = domain.to_string().to_ascii_lowercase();
    let bare = id.rsplit('_').next().unwrap_or_default();
    format!("{bare}.acme.{zone}")
}

/// The token of a challenge: 1 to 128 characters of base64url (RFC 8555 §8.3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token(String);

/// A text that is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an ACME token: 1 to 128 characters of base64url")]
pub struct TokenError(String);

impl Token {
    /// Parses a token.
    ///
    /// # Errors
    /// [`TokenError`] names the text.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let sound = (1..=128).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if sound { Ok(Self(text.to_owned())) } else { Err(TokenError(text.to_owned())) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Token {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Token {
    type Error = TokenError;

    fn try_from(text: String) -> Result<Self, TokenError> {
        Self::parse(&text)
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.0
    }
}

/// How a name is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum ChallengeKind {
    /// A text on port 80 (RFC 8555 §8.3).
    #[default]
    #[serde(rename = "http-01")]
    Http01,
    /// A certificate on port 443 (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// A text in the DNS (RFC 8555 §8.4). Edges have no part in it.
    #[serde(rename = "dns-01")]
    Dns01,
    /// A text in the DNS that stays for good (draft-ietf-acme-dns-persist). Nobody answers anything.
    #[serde(rename = "dns-persist-01")]
    DnsPersist01,
}

/// One answer that an edge holds ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// What the authority asks for.
    #[serde(default)]
    pub kind: ChallengeKind,
    /// Names the challenge; with http-01 the last part of the path.
    pub token: Token,
    /// The name being proved.
    pub host: Host,
    /// `token.thumbprint`: the body of an http-01 answer; its SHA-256 stands in a tls-alpn-01 certificate.
    pub key_authorization: String,
    /// When the answer may be forgotten.
    pub expires_at: Timestamp,
}
