//! A certificate as edges hold it: public chain, sealed private key, the names it is served for.

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::host::HostPattern;
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
    /// Directory of the authority that it was ordered from; none: it was not, or whoever told it did not say. Edges keep
    /// it for a store that is rebuilt from what they know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// The names it is served for.
    pub names: Vec<HostPattern>,
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
