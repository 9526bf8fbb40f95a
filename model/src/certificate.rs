//! A certificate as edges hold it: public chain, sealed private key, the names it is served for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::host::{Host, HostError};
use crate::id::{CertificateId, TenantId};
use crate::seal::Sealed;

/// A certificate with its private key sealed in the context [`Certificate::key_context`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its id.
    pub id: CertificateId,
    /// The tenant whose names it carries; none for the marketplace's own zones.
    pub tenant: Option<TenantId>,
    /// Where it came from; none: whoever told it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<CertificateSource>,
    /// The names it is served for.
    pub names: Vec<CertificateName>,
    /// Leaf first, PEM.
    pub chain_pem: String,
    /// The private key, PKCS #8 DER, sealed.
    pub key: Sealed,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
}

impl Certificate {
    /// The context that a private key is sealed in: moved to another row, it does not open.
    #[must_use]
    pub fn key_context(id: CertificateId) -> String {
        format!("certificate-key/{id}")
    }
}

/// A name of a certificate (RFC 6125 §6.4.3): exact, or a wildcard of one label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CertificateName {
    /// `a.b`
    Exact(Host),
    /// `*.b`: covers `a.b`, neither `b` nor `x.a.b`.
    Wildcard(Host),
}

impl CertificateName {
    /// Whether this name covers `host`.
    #[must_use]
    pub fn covers(&self, host: &Host) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Wildcard(parent) => host.parent() == Some(parent.as_str()),
        }
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => write!(f, "{name}"),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
        }
    }
}

impl FromStr for CertificateName {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        match text.strip_prefix("*.") {
            Some(parent) => Host::parse(parent).map(Self::Wildcard),
            None => Host::parse(text).map(Self::Exact),
        }
    }
}

impl TryFrom<String> for CertificateName {
    type Error = HostError;

    fn try_from(text: String) -> Result<Self, HostError> {
        text.parse()
    }
}

impl From<CertificateName> for String {
    fn from(name: CertificateName) -> Self {
        name.to_string()
    }
}

/// Where a certificate came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateSource {
    /// The local authority of this installation, for development.
    LocalCa,
    /// An ACME certificate authority.
    Acme,
    /// Uploaded through the API.
    Upload,
}

/// What a certificate is good for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateStatus {
    /// Served.
    Active,
    /// A newer one is served for the same names.
    Superseded,
    /// Past its end.
    Expired,
    /// The one before it is served again.
    RolledBack,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_covers_one_label_only() -> Result<(), HostError> {
        let name: CertificateName = "*.apps.localhost".parse()?;
        assert!(name.covers(&Host::parse("a.apps.localhost")?));
        assert!(!name.covers(&Host::parse("apps.localhost")?));
        assert!(!name.covers(&Host::parse("x.a.apps.localhost")?));
        Ok(())
    }
}
