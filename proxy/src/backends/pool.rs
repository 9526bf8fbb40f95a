//! The backends of one app, as its requests see them: an immutable value, replaced whole.

use std::hash::BuildHasher as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use foldhash::fast::FixedState;
use model::backend::{BackendHost, Scheme};
use model::site::Settings;
use pingora_core::protocols::l4::ext;
use pingora_core::protocols::l4::socket::SocketAddr as Place;
use pingora_core::protocols::{ALPN, TcpKeepalive};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{ErrorType, OrErr as _, Result as Outcome};
use rand::Rng;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::adopted::{Adopted, AskError};
use super::check::Checker;
use super::choice::{Load, Set, choose};
use super::endpoint::{Endpoint, Entry, server_name};
use super::gate::Gate;
use super::health::Fitness;
use super::line::Dialer;
use super::protocol::{self, Need};
use super::schedule::Schedule;
use super::traffic::Traffic;
use super::trust::Trust;
use super::uptime::Uptime;
use super::warmup::{choose_warm, warmth};
use crate::proxy_protocol;

/// At most so many of a hundred backends of an app, rounded down, are kept from its requests because their breakers
/// are open: the others would get the whole load, and what makes requests fail is then more likely the app
/// than one machine. Backends that are down by their checks do not count.
const MAX_EJECTED_PERCENT: usize = 50;
/// While requests to a backend fail and no other is left, so many at a time are still sent to try it and the
/// rest is refused at once: else a backend that swallows connections would make every visitor wait.
const TRIALS_IN_FLIGHT: u32 = 64;
/// How long an unused connection to a backend is kept: long enough to be used again by a page's next requests,
/// and bounded, because every app has connections of its own.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for a connection that only one visitor's requests may use.
const ANNOUNCED_IDLE_TIMEOUT: Duration = Duration::from_secs(5);
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
    /// Keeps the connections of different apps apart, even to the same address, and those that were made under
    /// other settings.
    pub(super) group_key: u64,
    /// Whom its https backends are verified by; none: by whom the operator trusts.
    pub(super) trust: Option<Arc<Trust>>,
    pub(super) dialer: Arc<Dialer>,
    pub(super) checker: Arc<Checker>,
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
    /// Those that could be tried have as many requests in flight as they may.
    AllFull,
}

/// The indices of a pool's untried members by what can be expected of them.
#[derive(Default)]
struct Prospects {
    fit: Set,
    doubtful: Set,
    failing: Set,
    is_any_full: bool,
}

impl Pool {
    /// Picks a backend whose index is not in `tried`, by power of two choices among those that are fit and those
    /// whose trial is due. Fails open: if there is none, those whose checks fail but whose requests do not (the
    /// check may be wrong), and at last, of those whose breaker is open, the one that failed least recently.
    /// That one is also what is taken among the fit while more than half would be kept away.
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
        // What another thread takes first leaves this one with another look, at most one a backend.
        for _ in 0..=self.members.len() {
            let prospects = self.prospects(tried, now);
            match self.choose(&prospects, now, random) {
                Some(index) => match Lease::take(self, index, now) {
                    Some(lease) => return Ok(lease),
                    None => continue,
                },
                None if prospects.is_any_full => return Err(NoPick::AllFull),
                None => return Err(NoPick::AllDown),
            }
        }
        Err(NoPick::AllFull)
    }

    fn choose(&self, prospects: &Prospects, now: u64, random: &mut impl Rng) -> Option<usize> {
        let load = |index: usize| self.load(index);
        let warmth = |index: usize| self.warmth(index, now);
        choose_warm(prospects.fit, &load, &warmth, random)
            .or_else(|| choose(prospects.doubtful, &load, random))
            .or_else(|| self.least_recently_failed(prospects.failing))
    }

    /// Whether a request that is at the backend with the index `first` could be sent to another one too, by
    /// [`Self::pick_beside`].
    pub(crate) fn has_pair(&self, first: usize) -> bool {
        let mut others = self.members.iter().enumerate().filter(|(index, _)| *index != first);
        others.any(|(_, member)| member.weight > 0 && self.takes_seconds(member))
    }

    /// Picks, as [`Self::pick`] does, a backend for a request that is at `first` already: another one, and one that
    /// is spoken to in HTTP/1.1 or lets itself be.
    pub(crate) fn pick_beside(self: &Arc<Self>, first: usize) -> Option<Lease> {
        let is_left_out = |index: usize, member: &Member| index == first || !self.takes_seconds(member);
        let members = self.members.iter().enumerate();
        let left_out: Vec<usize> =
            members.filter(|(index, member)| is_left_out(*index, member)).map(|(index, _)| index).collect();
        self.pick(&left_out).ok()
    }

    fn takes_seconds(&self, member: &Member) -> bool {
        protocol::versions(member.endpoint.url.scheme, self.settings.protocol, Need::Http1) == ALPN::H1
    }

    /// Whether requests to all its backends may go the direct way: HTTP/1.1 in the clear to an address, no second
    /// request beside the first, nothing before the first byte.
    pub(crate) fn is_direct(&self) -> bool {
        let is_plain = |member: &Member| {
            let url = &member.endpoint.url;
            let versions = protocol::versions(url.scheme, self.settings.protocol, Need::Exchange);
            url.scheme == Scheme::Http && versions == ALPN::H1 && !matches!(url.host, BackendHost::Socket(_))
        };
        let wants_more = self.settings.hedge_after_ms > 0 || self.settings.send_proxy_protocol;
        !wants_more && self.members.iter().all(is_plain)
    }

    /// Time limits, health checks and load limits of the app.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The gate that each of the app's requests goes through first.
    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.traffic.gate
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
        let (mut prospects, mut ejected) = (Prospects::default(), Set::default());
        let (mut total, mut full) = (0, Set::default());
        for (index, member) in self.members.iter().enumerate().filter(|(_, member)| member.weight > 0) {
            total += 1;
            if member.endpoint.in_flight.load(Relaxed) >= self.settings.max_in_flight {
                full.insert(index);
            }
            match member.endpoint.fitness(now) {
                Some(Fitness::Fit | Fitness::OnTrial) => prospects.fit.insert(index),
                Some(Fitness::Doubtful) => prospects.doubtful.insert(index),
                Some(Fitness::Ejected) => ejected.insert(index),
                Some(Fitness::Failing) => prospects.failing.insert(index),
                None => full.remove(index),
            }
        }
        while ejected.len() > total * MAX_EJECTED_PERCENT / 100 {
            let Some(index) = self.least_recently_failed(ejected) else { break };
            ejected.remove(index);
            prospects.fit.insert(index);
        }
        prospects.failing = prospects.failing.union(ejected);
        tried.iter().for_each(|index| full.remove(*index));
        prospects.is_any_full = !full.is_empty();
        for index in full.iter().chain(tried.iter().copied()) {
            prospects.fit.remove(index);
            prospects.doubtful.remove(index);
            prospects.failing.remove(index);
        }
        prospects
    }

    fn load(&self, index: usize) -> Load {
        self.members.get(index).map_or(Load { weight: 0, in_flight: 0 }, |member| Load {
            weight: member.weight,
            in_flight: member.endpoint.in_flight.load(Relaxed),
        })
    }

    fn warmth(&self, index: usize, now: u64) -> u32 {
        let fit_ms = self.members.get(index).and_then(|member| member.endpoint.health.fit_for(now));
        warmth(fit_ms, self.settings.slow_start_ms)
    }

    fn least_recently_failed(&self, failing: Set) -> Option<usize> {
        let has_room = |endpoint: &Endpoint| {
            endpoint.health.breaker.is_closed() || endpoint.in_flight.load(Relaxed) < TRIALS_IN_FLIGHT
        };
        failing
            .iter()
            .filter_map(|index| self.members.get(index).map(|member| (index, &member.endpoint)))
            .filter(|(_, endpoint)| has_room(endpoint))
            .min_by_key(|(_, endpoint)| endpoint.health.breaker.last_failure())
            .map(|(index, _)| index)
    }
}

/// Whose requests a connection of the direct way can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineKey {
    /// The pool's [`Pool::group_key`].
    group: u64,
    /// Where the backend is.
    pub(crate) address: SocketAddr,
}

/// Whom a request is from, as a PROXY header tells it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    /// The number of the visitor's connection.
    pub(crate) connection: u64,
    /// The visitor.
    pub(crate) source: SocketAddr,
    /// Where the visitor connected to.
    pub(crate) destination: SocketAddr,
}

/// One attempt at one backend. Counts as in flight until it is dropped.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    endpoint: Arc<Endpoint>,
    /// None at a Unix socket.
    address: Option<SocketAddr>,
    index: usize,
    entry: Entry,
    /// When it was taken, in milliseconds of the uptime.
    began: u64,
}

impl Lease {
    fn take(pool: &Arc<Pool>, index: usize, now: u64) -> Option<Self> {
        let endpoint = Arc::clone(&pool.members.get(index)?.endpoint);
        let address = endpoint.address();
        endpoint.place()?;
        let entry = endpoint.enter(pool.settings.max_in_flight, now)?;
        Some(Self { pool: Arc::clone(pool), endpoint, address, index, entry, began: now })
    }

    /// Where and how pingora connects for a request with this `need`. It has no read timeout: that is for who knows what is read. Its connections
    /// have a [`super::Line`].
    pub(crate) fn peer(&self, need: Need) -> Box<HttpPeer> {
        let settings = &self.pool.settings;
        let scheme = self.endpoint.url.scheme;
        let is_tls = scheme == Scheme::Https;
        let name = server_name(&self.endpoint.url, settings);
        let mut peer = HttpPeer::new((Ipv4Addr::UNSPECIFIED, 0), is_tls, name);
        if let Some(place) = self.address.map(Place::Inet).or_else(|| self.endpoint.place()) {
            peer._address = place;
        }
        peer.group_key = self.pool.group_key;
        let options = &mut peer.options;
        protocol::apply(options, scheme, settings.protocol, need);
        options.connection_timeout = Some(settings.connect_timeout());
        options.total_connection_timeout = Some(settings.connect_timeout());
        options.custom_l4 = Some(Arc::<Dialer>::clone(&self.pool.dialer));
        options.ca = self.pool.trust.as_ref().map(|trust| Arc::clone(&trust.anchors));
        options.write_timeout = Some(WRITE_TIMEOUT);
        options.idle_timeout = Some(IDLE_TIMEOUT);
        options.tcp_keepalive = Some(keepalive());
        Box::new(peer)
    }

    /// Which connections of the direct way serve its requests; none at a Unix socket.
    pub(crate) fn key(&self) -> Option<LineKey> {
        self.address.map(|address| LineKey { group: self.pool.group_key, address })
    }

    /// Connects to `address` for the direct way.
    ///
    /// # Errors
    /// If there is no connection within the app's connect timeout.
    pub(crate) async fn dial(&self, address: SocketAddr) -> Outcome<TcpStream> {
        let limit = self.pool.settings.connect_timeout();
        let connected = timeout(limit, ext::connect(&address, None)).await;
        let tcp = connected.or_err(ErrorType::ConnectTimedout, "no connection in time")??;
        ext::set_tcp_keepalive(&tcp, &keepalive())?;
        tcp.set_nodelay(true).or_err(ErrorType::SocketError, "no option of a socket can be set")?;
        Ok(tcp)
    }

    /// Has the connection begin with a PROXY header that names the `caller`. Then it is the caller's, so it is used
    /// again for requests of the same connection of a visitor and for no others. It is HTTP/1.1 where the
    /// backend might choose: pingora 0.9.1 remembers for ever, by connection, which backends chose badly.
    pub(crate) fn announce(&self, peer: &mut HttpPeer, caller: Caller) {
        let Caller { connection, source, destination } = caller;
        let dialer = Dialer {
            sockets: Arc::clone(&self.pool.dialer.sockets),
            preamble: proxy_protocol::encode(source, destination),
        };
        peer.group_key = FixedState::default().hash_one((self.pool.group_key, connection, source));
        peer.options.custom_l4 = Some(Arc::new(dialer));
        peer.options.idle_timeout = Some(ANNOUNCED_IDLE_TIMEOUT);
        if peer.options.alpn == ALPN::H2H1 {
            peer.options.alpn = ALPN::H1;
        }
    }

    /// Sends it `request`, a head without a body, beside pingora and waits for the answer to begin. Its connection is
    /// the `caller`'s, if backends are to be told.
    ///
    /// # Errors
    /// [`AskError`].
    pub(crate) async fn ask(&self, request: &[u8], caller: Option<Caller>) -> Result<Adopted, AskError> {
        let mut peer = self.peer(Need::Http1);
        if let Some(caller) = caller {
            self.announce(&mut peer, caller);
        }
        Adopted::ask(&peer, self.pool.checker.connector(self.pool.trust.as_deref()), request).await
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
        self.endpoint.note_success(self.began, self.pool.uptime.millis());
    }

    /// No connection, or no first byte. A visitor who went away is no failure of the backend.
    pub(crate) fn failed(&self) {
        self.endpoint.note_failure(self.began, self.pool.uptime.millis());
        self.pool.checks.hasten(&self.endpoint, self.pool.settings.health_interval() / SUSPICION);
    }
}

/// Probes of a silent connection.
fn keepalive() -> TcpKeepalive {
    TcpKeepalive {
        idle: KEEPALIVE_IDLE,
        interval: KEEPALIVE_INTERVAL,
        count: KEEPALIVE_PROBES,
        #[cfg(target_os = "linux")]
        user_timeout: Duration::ZERO,
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.leave(&self.entry);
    }
}
