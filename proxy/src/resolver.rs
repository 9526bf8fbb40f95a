//! Where the names of backends lead.
//!
//! The edge asks beside requests, never while one waits, and again when an answer is over. Who answers is given
//! to it ([`crate::Parts::resolver`]); what is here by itself is the system's resolver, which tells no time to
//! live.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use model::Host;

/// How long an answer of the system's resolver is taken to hold.
const SYSTEM_HOLDS: Duration = Duration::from_secs(30);

/// Tells where names lead.
#[async_trait]
pub trait Resolver: Send + Sync + 'static {
    /// Every address of `name`. Takes as long as it takes: who asks has a bound.
    ///
    /// # Errors
    /// [`ResolveError`] if there is none, or nobody can tell.
    async fn resolve(&self, name: &Host) -> Result<Resolved, ResolveError>;
}

/// An answer of a [`Resolver`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The addresses, the best first.
    pub addresses: Vec<IpAddr>,
    /// How long they hold: the least time to live on the way to them.
    pub holds: Duration,
}

/// Why a name leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ResolveError(pub String);

/// The system's resolver (`getaddrinfo`).
#[derive(Debug, Clone, Copy)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &Host) -> Result<Resolved, ResolveError> {
        let found = tokio::net::lookup_host((name.as_str(), 0)).await;
        let found = found.map_err(|error| ResolveError(error.to_string()))?;
        Ok(Resolved { addresses: found.map(|address| address.ip()).collect(), holds: SYSTEM_HOLDS })
    }
}
