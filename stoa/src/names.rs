//! Where the names of backends lead: certd's resolver, as the edge asks for it.

use std::sync::Arc;

use async_trait::async_trait;
use certd::dns::Addresses;
use config::Settings;
use model::Host;
use proxy::{ResolveError, Resolved, Resolver, SystemResolver};

/// Looks names up at `[dns] resolvers`, or at the system's name servers.
struct Names(Addresses);

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &Host) -> Result<Resolved, ResolveError> {
        let found = self.0.of(name.as_str()).await.map_err(|error| ResolveError(error.to_string()))?;
        Ok(Resolved { addresses: found.0, holds: found.1 })
    }
}

/// The resolver for backends. Where the system's name servers cannot be read (no `/etc/resolv.conf`), the
/// system itself is asked, which tells no time to live.
pub(crate) fn resolver(settings: &Settings) -> Arc<dyn Resolver> {
    match Addresses::new(&settings.dns.resolvers) {
        Ok(addresses) => Arc::new(Names(addresses)),
        Err(error) => {
            tracing::warn!(%error, "name servers are not known: backends' names are looked up by the system");
            Arc::new(SystemResolver)
        }
    }
}
