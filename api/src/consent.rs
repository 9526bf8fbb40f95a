//! Links to creators' own providers (Domain Connect): found by whoever owns lookups, shown here.

use std::fmt::Debug;

use async_trait::async_trait;
use store::DomainRecord;

/// A link with which a creator's provider sets the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// At the provider, for the creator's browser.
    pub url: String,
    /// The provider's name.
    pub provider: String,
}

/// Makes links.
#[async_trait]
pub trait Consent: Debug + Send + Sync + 'static {
    /// A link for the domain; `state` comes back with the browser. None: the records must be set by hand. Ends within
    /// some 4 s.
    async fn link(&self, domain: &DomainRecord, state: &str) -> Option<Link>;
}
