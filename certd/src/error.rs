//! Why certd cannot begin.

use model::seal::SealError;
use store::StoreError;

/// Why certd cannot begin, or cannot make a local certificate. What goes wrong later is kept as a fact of
/// the domain it happened to.
#[derive(Debug, thiserror::Error)]
pub enum CertdError {
    /// A setting cannot be used: an operator must change it.
    #[error("{0}")]
    Settings(String),
    /// The DNS resolver cannot be set up: an operator must act.
    #[error("the DNS resolver cannot be set up: {0}; name servers can be given as dns.resolvers")]
    Resolver(String),
    /// The local authority cannot sign, or is damaged.
    #[error("the local certificate authority: {0}")]
    LocalCa(String),
    /// A stored key does not open: the sealing key must be restored.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The store does not answer, or refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}
