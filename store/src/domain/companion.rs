//! Names that have to do with each other: `www` before a domain that was registered and the domain itself, which visitors
//! type as well; a name and the wildcard below it.

use model::id::DomainId;
use model::{Host, HostPattern};

use super::DomainRecord;
use crate::Store;
use crate::error::Result;

impl Store {
    /// The companion of a name, if nobody has it here.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn companion(&self, host: &HostPattern) -> Result<Option<Host>> {
        let Some(other) = host.exact().and_then(companion) else { return Ok(None) };
        Ok(self.domain_by_host(&other).await?.is_none().then_some(other))
    }

    /// The domain that has the companion's name, if it is the same app's: the two may share a certificate. One of another
    /// app keeps its own, because certificates go with their app.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn companion_of(&self, domain: &DomainRecord) -> Result<Option<DomainRecord>> {
        let Some(other) = domain.host.exact().and_then(companion) else { return Ok(None) };
        Ok(self.domain_by_host(&other).await?.filter(|other| other.app == domain.app))
    }
}

impl Store {
    /// The domain whose alias proves this one to an authority: of a name and the wildcard below it, where one tenant has
    /// both, the older one, since both are proved at one place.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn delegate_of(&self, domain: &DomainRecord) -> Result<DomainId> {
        let sibling = self.sibling_of(domain).await?;
        Ok(sibling.map_or(domain.id, |sibling| sibling.id.min(domain.id)))
    }

    /// The wildcard below a name, or the name above a wildcard, if the same tenant has it.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn sibling_of(&self, domain: &DomainRecord) -> Result<Option<DomainRecord>> {
        let base = domain.host.base().clone();
        let other =
            if domain.host.is_wildcard() { HostPattern::Exact(base) } else { HostPattern::Wildcard(base) };
        Ok(self.domain_by_host(other).await?.filter(|other| other.tenant == domain.tenant))
    }

    /// Whether another tenant has proved a wildcard that this name lies below.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn is_below_anothers(&self, domain: &DomainRecord) -> Result<bool> {
        let parent = domain.host.exact().and_then(Host::parent).and_then(|parent| Host::parse(parent).ok());
        let Some(parent) = parent else { return Ok(false) };
        let row = sqlx::query("SELECT id FROM domains WHERE host = $1 AND tenant_id <> $2 AND proved = 1")
            .bind(HostPattern::Wildcard(parent).to_string())
            .bind(domain.tenant.to_string())
            .fetch_optional(self.pool())
            .await?;
        Ok(row.is_some())
    }
}

fn companion(host: &Host) -> Option<Host> {
    let is_registered = |name: &str| psl::domain_str(name) == Some(name);
    match host.as_str().strip_prefix("www.") {
        Some(rest) if is_registered(rest) => Host::parse(rest).ok(),
        None if is_registered(host.as_str()) => host.with_label("www").ok(),
        _ => None,
    }
}
