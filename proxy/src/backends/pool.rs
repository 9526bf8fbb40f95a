//! The backends of one app, as its requests see them: an immutable value, replaced whole.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use model::backend::Scheme;
use model::site::Settings;
use pingora_core::protocols::TcpKeepalive;
use pingora_core::upstreams::peer::HttpPeer;
use rand::Rng;

use super::choice::{Load, Set, choose};
use super::endpoint::{Endpoint, server_name};
use super::health::Fitness;
use super::line::dialer;
use super::schedule::Schedule;
use super::traffic::Traffic;
use super::uptime::Uptime;

/// While requests to a backend fail and no other is left, so many at a time are still sent to try it and the
/// rest is refused at once: else a backend that swallows connections would make every visitor wait.
const TRIALS_IN_FLIGHT: u32 = 64;
/// How long an unused connection to a backend is kept: long enough to be used again by a page's next requests,
/// and bounded, because every app has connections of its own.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long one write to a backend may take: one that reads nothing for so long is stuck.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A suspected backend is checked again after this part of the interval, and so is one whose request failed:
/// two bad checks then follow the first failure within half an interval.
pub(super) const SUSPICION: u32 = 4;
/// Probes of a silent connection, so that a WebSocket to a dead machine ends after two minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: usize = 4;

/// A backend with its share in one pool.
pub(super) struct Member {
    /// The backend.
    pub(super) endpoint: Arc<Endpoint>,
    /// Its share; 0 is drained.
    pub(super) weight: u32,
}

/// The backends of one app.
pub(crate) struct Pool {
    pub(super) members: Vec<Member>,
    pub(super) settings: Settings,
    pub(super) traffic: Arc<Traffic>,
    /// Keeps the connections of different apps apart, even to the same address.
    pub(super) group_key: u64,
    pub(super) uptime: Uptime,
    pub(super) checks: Arc<Schedule>,
}

/// Why no backend is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPick {
    /// The app has none that takes traffic.
    NoBackend,
    /// None that is left could be tried.
    AllDown,
}

/// The indices of a pool's untried members by what can be expected of them.
#[derive(Default)]
struct Prospects {
    fit: Set,
    doubtful: Set,
    failing: Set,
}

impl Pool {
    /// Picks a backend whose index is not in `tried`, by power of two choices among those that are fit. Fails
    /// open: if none is fit, those whose checks fail but whose requests do not (the check may be wrong), and at
    /// last the one that failed least recently.
    ///
    /// # Errors
    /// [`NoPick`].
    pub(crate) fn pick(self: &Arc<Self>, tried: &[usize]) -> Result<Lease, NoPick> {
        self.pick_with(tried, &mut rand::rng())
    }

    pub(super) fn pick_with(
        self: &Arc<Self>,
        tried: &[usize],
        random: &mut impl Rng,
    ) -> Result<Lease, NoPick> {
        if self.members.iter().all(|member| member.weight == 0) {
            return Err(NoPick::NoBackend);
        }
        let now = self.uptime.millis();
        if self.traffic.touch(now) {
            self.members.iter().for_each(|member| self.checks.put(&member.endpoint, Duration::ZERO));
        }
        let prospects = self.prospects(tried, now);
        let load = |index: usize| self.load(index);
        choose(prospects.fit, &load, random)
            .or_else(|| choose(prospects.doubtful, &load, random))
            .or_else(|| self.least_recently_failed(prospects.failing))
            .and_then(|index| Lease::take(self, index))
            .ok_or(NoPick::AllDown)
    }

    /// Time limits and health checks of the app.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Counts a request towards the retry budget. Once a request, not once an attempt.
    pub(crate) fn note_request(&self) {
        self.traffic.budget.note_request(self.uptime.millis() / 1000);
    }

    /// Takes one retry out of the app's budget (a fifth of its requests of the last 10 s and 3 a second); false
    /// if there is none left. Ask only when about to retry.
    pub(crate) fn may_retry(&self) -> bool {
        self.traffic.budget.take_retry(self.uptime.millis() / 1000)
    }

    fn prospects(&self, tried: &[usize], now: u64) -> Prospects {
        let mut prospects = Prospects::default();
        for (index, member) in self.members.iter().enumerate() {
            if member.weight == 0 || tried.contains(&index) {
                continue;
            }
            match member.endpoint.fitness(now) {
                Some(Fitness::Fit) => prospects.fit.insert(index),
                Some(Fitness::Doubtful) => prospects.doubtful.insert(index),
                Some(Fitness::Failing) => prospects.failing.insert(index),
                None => {}
            }
        }
        prospects
    }

    fn load(&self, index: usize) -> Load {
        self.members.get(index).map_or(Load { weight: 0, in_flight: 0 }, |member| Load {
            weight: member.weight,
            in_flight: member.endpoint.in_flight.load(Relaxed),
        })
    }

    fn least_recently_failed(&self, failing: Set) -> Option<usize> {
        let has_room = |endpoint: &Endpoint| {
            !endpoint.health.is_on_trial() || endpoint.in_flight.load(Relaxed) < TRIALS_IN_FLIGHT
        };
        failing
            .iter()
            .filter_map(|index| self.members.get(index).map(|member| (index, &member.endpoint)))
            .filter(|(_, endpoint)| has_room(endpoint))
            .min_by_key(|(_, endpoint)| endpoint.health.last_failure())
            .map(|(index, _)| index)
    }
}

/// One attempt at one backend. Counts as in flight until it is dropped.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    endpoint: Arc<Endpoint>,
    address: SocketAddr,
    index: usize,
}

impl Lease {
    fn take(pool: &Arc<Pool>, index: usize) -> Option<Self> {
        let endpoint = Arc::clone(&pool.members.get(index)?.endpoint);
        let address = endpoint.address()?;
        endpoint.in_flight.fetch_add(1, Relaxed);
        Some(Self { pool: Arc::clone(pool), endpoint, address, index })
    }

    /// Where and how pingora connects. It has no read timeout: that is for who knows what is read. Its connections
    /// have a [`super::Line`].
    pub(crate) fn peer(&self) -> Box<HttpPeer> {
        let settings = &self.pool.settings;
        let is_tls = self.endpoint.url.scheme == Scheme::Https;
        let mut peer = HttpPeer::new(self.address, is_tls, server_name(&self.endpoint.url));
        peer.group_key = self.pool.group_key;
        let options = &mut peer.options;
        options.connection_timeout = Some(settings.connect_timeout());
        options.total_connection_timeout = Some(settings.connect_timeout());
        options.custom_l4 = Some(dialer());
        options.write_timeout = Some(WRITE_TIMEOUT);
        options.idle_timeout = Some(IDLE_TIMEOUT);
        options.tcp_keepalive = Some(TcpKeepalive {
            idle: KEEPALIVE_IDLE,
            interval: KEEPALIVE_INTERVAL,
            count: KEEPALIVE_PROBES,
            #[cfg(target_os = "linux")]
            user_timeout: Duration::ZERO,
        });
        Box::new(peer)
    }

    /// Its place in the pool, for the `tried` of the next [`Pool::pick`].
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Its URL, for the log.
    pub(crate) fn label(&self) -> &str {
        &self.endpoint.label
    }

    /// The backend began its answer.
    pub(crate) fn succeeded(&self) {
        self.endpoint.health.note_success();
    }

    /// No connection, or no first byte. A visitor who went away is no failure of the backend.
    pub(crate) fn failed(&self) {
        self.endpoint.note_failure(self.pool.uptime.millis());
        self.pool.checks.hasten(&self.endpoint, self.pool.settings.health_interval() / SUSPICION);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Relaxed);
    }
}
