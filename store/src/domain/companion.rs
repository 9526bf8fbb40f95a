//! The name that visitors type as well: `www` before a domain that was registered, and the domain itself for its `www`.

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

fn companion(host: &Host) -> Option<Host> {
    let is_registered = |name: &str| psl::domain_str(name) == Some(name);
    match host.as_str().strip_prefix("www.") {
        Some(rest) if is_registered(rest) => Host::parse(rest).ok(),
        None if is_registered(host.as_str()) => host.with_label("www").ok(),
        _ => None,
    }
}
