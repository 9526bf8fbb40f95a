//! Whether a tenant is served. Fails closed for a tenant that the feed has not brought yet: its site is
//! taken for not there, since its limits are not known either. Reads memory only.

use std::sync::Arc;

use model::tenant::{Standing, Tenant};

use crate::refusal::Refusal;
use crate::state::SiteEntry;

/// The tenant of a site, in good standing.
///
/// # Errors
/// [`Refusal::Suspended`], or [`Refusal::UnknownHost`] if the tenant is not here yet.
pub(crate) fn check(site: &SiteEntry) -> Result<Arc<Tenant>, Refusal> {
    let tenant = site.tenant.tenant.load_full().ok_or(Refusal::UnknownHost)?;
    match tenant.standing {
        Standing::Active => Ok(tenant),
        Standing::Suspended => Err(Refusal::Suspended),
    }
}
