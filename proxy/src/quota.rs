//! How fast all visitors of a tenant together may ask, on this edge. One word in memory: it never waits and is
//! never away. The last stage, so that what is blocked before is not held against the tenant. A request that is refused
//! later, because the app is busy or down, has been taken from the rate; it is never billed.

use model::tenant::Tenant;
use ratelimit::Limiter as _;

use crate::refusal::Refusal;
use crate::state::{SiteEntry, State};
use crate::throttle;

/// Takes one request of the tenant's rate.
///
/// # Errors
/// [`Refusal::TenantLimit`].
pub(crate) fn take(site: &SiteEntry, tenant: &Tenant, state: &State) -> Result<(), Refusal> {
    let rate = tenant.limits.tenant;
    let decision = site.tenant.bucket.take(state.stopwatch.now(), rate, 1);
    throttle::refused("tenant", rate, &decision).map_or(Ok(()), |policy| Err(Refusal::TenantLimit { policy }))
}
