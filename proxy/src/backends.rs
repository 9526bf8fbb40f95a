//! Where requests go: the pools of backends, their health, their addresses.
//!
//! Two witnesses tell how a backend fares: checks that one task makes for all pools, and the requests
//! themselves, which open and close a breaker. Names are resolved by the same task, so that a request meets addresses only. Fails open:
//! when every backend of an app looks bad, requests are sent to try (see [`Pool::pick`]), because a wrong
//! check must not take an app down. pingora's own load balancing is deliberately not used: it has a task
//! per app and no notion of requests in flight.

use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use dashmap::DashMap;
use foldhash::fast::{FixedState, RandomState};
use model::backend::{Backend, BackendHost};
use model::id::AppId;
use model::site::Settings;
use rand::RngExt;
use rustls::RootCertStore;
use tokio::sync::watch;
use tokio::time::{Duration, timeout};

use crate::resolver::Resolver;
pub(crate) use adopted::{Adopted, AskError, head_end};
use check::Checker;
use endpoint::Endpoint;
use fence::Fence;
pub(crate) use gate::{Entrance, Place, Ticket};
use health::Fitness;
use line::Dialer;
pub(crate) use line::Line;
pub(crate) use pool::{Caller, Lease, LineKey, NoPick, Pool};
use pool::{Member, SUSPICION};
pub(crate) use protocol::{Need, is_shared};
use schedule::Schedule;
use socket::SocketFence;
pub(crate) use tally::Tally;
use traffic::Traffic;
use trust::Trust;
use uptime::Uptime;

mod adopted;
mod breaker;
mod budget;
mod check;
mod choice;
mod endpoint;
mod fence;
mod gate;
mod health;
mod line;
mod pool;
mod protocol;
mod schedule;
mod socket;
mod tally;
mod traffic;
mod trust;
mod uptime;
mod warmup;

/// Most health checks at once: with 2 ms each, 32,000 a second.
const CHECKS_AT_ONCE: usize = 64;
/// Most resolutions at once: the system's resolver holds a thread of the runtime's blocking pool (512) for each
/// until it gives up, and the rest of the process needs some too.
const LOOKUPS_AT_ONCE: usize = 16;
/// Bounds of the time for which an answer of the resolver holds. A name whose time to live is 0 would be asked for
/// without end; a backend that moved should not be missed for a day because its zone says so.
const HOLDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// Time until a name is looked up again that did not resolve; what is known of it is used on.
const UNRESOLVED_FOR: Duration = Duration::from_secs(5);
/// Longest wait for the resolver: two attempts at each of two servers.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Least time between two checks of a backend whose app nobody asks for.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// Longest wait for the first check of a new backend, spread at random so that a restart with a hundred
/// thousand of them is no storm.
const FIRST_CHECK_WITHIN: Duration = Duration::from_secs(1);

/// What the pools need to know.
#[derive(Debug, Clone, Default)]
pub(crate) struct PoolSettings {
    /// Stoa's own listeners, where no backend may be. `0.0.0.0` and `[::]` stand for every address of the
    /// machine.
    pub(crate) forbidden: Vec<SocketAddr>,
    /// Directories below which backends may be Unix sockets.
    pub(crate) socket_directories: Vec<PathBuf>,
    /// Trust anchors for the health checks of `https` backends; none: the platform's. They must be those that
    /// the forwarding connector trusts.
    pub(crate) roots: Option<Arc<RootCertStore>>,
}

/// The pools of all apps. As many as there are sites, so bounded by the feed, never by visitors.
pub(crate) struct Pools {
    pools: DashMap<AppId, Arc<Pool>, RandomState>,
    fence: Arc<Fence>,
    sockets: Arc<SocketFence>,
    dialer: Arc<Dialer>,
    checker: Arc<Checker>,
    uptime: Uptime,
    tally: Arc<Tally>,
    checks: Arc<Schedule>,
    lookups: Arc<Schedule>,
}

impl Pools {
    /// No pools yet. Reads the platform's trust anchors if `settings` has none.
    pub(crate) fn new(settings: PoolSettings) -> Arc<Self> {
        let uptime = Uptime::start();
        let sockets = Arc::new(SocketFence::new(settings.socket_directories));
        Arc::new(Self {
            pools: DashMap::default(),
            fence: Arc::new(Fence::new(settings.forbidden)),
            dialer: Arc::new(Dialer { sockets: Arc::clone(&sockets), preamble: Vec::new() }),
            checker: Arc::new(Checker::new(settings.roots, Arc::clone(&sockets))),
            sockets,
            uptime,
            tally: Arc::default(),
            checks: Schedule::new(uptime, |endpoint| &endpoint.check_due),
            lookups: Schedule::new(uptime, |endpoint| &endpoint.lookup_due),
        })
    }

    /// Makes `backends` the ones of `app`. A backend that it had before keeps its health, its requests in flight
    /// and its addresses. One URL given twice is one backend with both weights. Requests that are under way
    /// end where they are. What is added to backends that take traffic begins slowly, and so does what was
    /// drained until now.
    pub(crate) fn replace(&self, app: AppId, backends: &[Backend], settings: &Settings) -> Arc<Pool> {
        let old = self.pools.get(&app).map(|pool| Arc::clone(&pool));
        let traffic = old.as_ref().map_or_else(Arc::default, |old| Arc::clone(&old.traffic));
        traffic.gate.resize(settings.max_concurrency);
        let is_running = old.iter().flat_map(|old| &old.members).any(|member| member.weight > 0);
        let trust = Trust::of(settings).map(Arc::new);
        let mut members: Vec<Member> = Vec::with_capacity(backends.len());
        for backend in backends {
            let weight = u32::from(backend.weight);
            if let Some(twin) = members.iter_mut().find(|member| member.endpoint.url == backend.url) {
                twin.weight += weight;
                continue;
            }
            let kept =
                old.iter().flat_map(|old| &old.members).find(|member| member.endpoint.url == backend.url);
            let endpoint = match kept {
                Some(member) => self.keep(&member.endpoint, settings),
                None => self.admit(app, backend, settings, &traffic),
            };
            endpoint.trust.store(trust.clone());
            if is_running && weight > 0 && kept.is_none_or(|member| member.weight == 0) {
                endpoint.health.warm_up(self.uptime.millis());
            }
            members.push(Member { endpoint, weight });
        }
        let pool = Arc::new(Pool {
            members,
            settings: settings.clone(),
            traffic,
            group_key: FixedState::default().hash_one((app, settings.protocol, &settings.backend_ca_pem)),
            trust,
            dialer: Arc::clone(&self.dialer),
            checker: Arc::clone(&self.checker),
            uptime: self.uptime,
            checks: Arc::clone(&self.checks),
        });
        self.pools.insert(app, Arc::clone(&pool));
        pool
    }

    /// Forgets `app`; its backends are checked no more.
    pub(crate) fn remove(&self, app: AppId) {
        self.pools.remove(&app);
    }

    /// Checks and resolves until `shutdown` becomes true or its sender is gone. To run once.
    pub(crate) async fn run(&self, resolver: Arc<dyn Resolver>, mut shutdown: watch::Receiver<bool>) {
        let checks = self
            .checks
            .work(CHECKS_AT_ONCE, |endpoint| check(endpoint, Arc::clone(&self.checker), self.uptime));
        let lookups = self.lookups.work(LOOKUPS_AT_ONCE, |endpoint| {
            resolve(endpoint, Arc::clone(&self.fence), Arc::clone(&resolver))
        });
        tokio::select! {
            _ = shutdown.wait_for(|is_over| *is_over) => {}
            () = checks => {}
            () = lookups => {}
        }
    }

    /// How many backends with a weight are fit for traffic, and how many are not. Walks over all pools.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let now = self.uptime.millis();
        self.pools.iter().fold((0, 0), |(up, down), pool| {
            let weighed = pool.members.iter().filter(|member| member.weight > 0);
            let fit =
                weighed.clone().filter(|member| member.endpoint.fitness(now) == Some(Fitness::Fit)).count();
            (up + fit, down + weighed.count() - fit)
        })
    }

    /// How often breakers turned.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    fn keep(&self, endpoint: &Arc<Endpoint>, settings: &Settings) -> Arc<Endpoint> {
        if **endpoint.settings.load() != *settings {
            endpoint.settings.store(Arc::new(settings.clone()));
            self.checks.put(endpoint, Duration::ZERO);
        }
        Arc::clone(endpoint)
    }

    fn admit(
        &self,
        app: AppId,
        backend: &Backend,
        settings: &Settings,
        traffic: &Arc<Traffic>,
    ) -> Arc<Endpoint> {
        let endpoint = Endpoint::new(
            app,
            backend.url.clone(),
            settings,
            Arc::clone(traffic),
            (&self.tally, &self.fence, &self.sockets),
        );
        if matches!(backend.url.host, BackendHost::Name(_)) {
            self.lookups.put(&endpoint, Duration::ZERO);
        }
        let within = FIRST_CHECK_WITHIN.min(settings.health_interval());
        self.checks.put(&endpoint, within.mul_f64(rand::rng().random_range(0.0..1.0)));
        endpoint
    }
}

/// Checks once, unless requests have shown already what the check would; returns the time until the next check, with a tenth of jitter: sooner when the backend is suspected,
/// later when its app is idle. A backend without an address is
/// not checked.
async fn check(endpoint: Arc<Endpoint>, checker: Arc<Checker>, uptime: Uptime) -> Duration {
    let settings = endpoint.settings.load_full();
    let place = endpoint.place();
    if let Some(place) = place.as_ref().filter(|_| !endpoint.is_proven(&settings, uptime.millis())) {
        let trust = endpoint.trust.load_full();
        let result = checker.check(&endpoint.url, place, &settings, trust.as_deref()).await;
        endpoint.note_check(result, uptime.millis());
    }
    let interval = settings.health_interval();
    let is_idle = place.is_some() && endpoint.traffic.is_idle(uptime.millis());
    let next = match (endpoint.health.is_suspected(), is_idle) {
        (true, _) => interval / SUSPICION,
        (false, true) => interval.max(IDLE_CHECK_INTERVAL),
        (false, false) => interval,
    };
    next.mul_f64(rand::rng().random_range(0.9..1.1))
}

/// Resolves once; returns the time until the next resolution, a little more than the answer holds. When it fails, the
/// last good answer stays; when the answer has no permitted address, the backend has none.
async fn resolve(endpoint: Arc<Endpoint>, fence: Arc<Fence>, resolver: Arc<dyn Resolver>) -> Duration {
    let BackendHost::Name(name) = &endpoint.url.host else { return HOLDS.1 };
    let next = match timeout(LOOKUP_TIMEOUT, resolver.resolve(name)).await {
        Ok(Ok(found)) if !found.addresses.is_empty() => {
            let total = found.addresses.len();
            let with_port = |ip| SocketAddr::new(ip, endpoint.url.port);
            let mut addresses: Vec<SocketAddr> = found.addresses.into_iter().map(with_port).collect();
            addresses.retain(|address| fence.permits(*address));
            if addresses.is_empty() {
                endpoint.note_unresolved(&format!("none of its {total} addresses may be a backend's"));
            }
            endpoint.set_addresses(addresses);
            found.holds.clamp(HOLDS.0, HOLDS.1)
        }
        failed => {
            match failed {
                Ok(Ok(_)) => endpoint.note_unresolved("it has no address"),
                Ok(Err(error)) => endpoint.note_unresolved(&error.to_string()),
                Err(_) => endpoint.note_unresolved("nobody answered in time"),
            }
            UNRESOLVED_FOR
        }
    };
    next.mul_f64(rand::rng().random_range(1.0..1.1))
}

#[cfg(test)]
mod tests;
