//! Where hosts lead: exact names, and wildcards of one label. An exact name goes before a wildcard, whoever has them.

use dashmap::DashMap;
use foldhash::fast::RandomState;
use model::id::{AppId, TenantId};
use model::{Host, HostPattern};

use super::Route;

type ByName = DashMap<Host, Route, RandomState>;

/// The routes of an edge, found by name without an allocation.
#[derive(Default)]
pub(crate) struct Hosts {
    exact: ByName,
    /// By the name that the wildcard stands below.
    wildcard: ByName,
}

impl Hosts {
    /// What `take` makes of the route of `host`; none: nobody answers there.
    pub(super) fn find<T>(&self, host: &str, take: impl FnOnce(&Route) -> T) -> Option<T> {
        if let Some(route) = self.exact.get(host) {
            return Some(take(&route));
        }
        let (_, parent) = host.split_once('.')?;
        self.wildcard.get(parent).map(|route| take(&route))
    }

    /// What `take` makes of the route of exactly this pattern.
    pub(super) fn get<T>(&self, pattern: &HostPattern, take: impl FnOnce(&Route) -> T) -> Option<T> {
        self.map(pattern).get(pattern.base()).map(|route| take(&route))
    }

    pub(super) fn put(&self, pattern: &HostPattern, route: Route) {
        self.map(pattern).insert(pattern.base().clone(), route);
    }

    /// Takes the pattern out, unless it is another app's by now.
    pub(super) fn take_out(&self, pattern: &HostPattern, app: AppId) {
        self.map(pattern).remove_if(pattern.base(), |_, route| route.site.site.app == app);
    }

    /// Whether a wildcard of `tenant` may speak for `host`: not for a name below it that another one has.
    pub(crate) fn may_cover(&self, host: &str, tenant: TenantId) -> bool {
        self.exact.get(host).is_none_or(|route| route.site.site.tenant == tenant)
    }

    const fn map(&self, pattern: &HostPattern) -> &ByName {
        match pattern {
            HostPattern::Exact(_) => &self.exact,
            HostPattern::Wildcard(_) => &self.wildcard,
        }
    }
}
