//! One backend of one app: where it is, how it fares, how much it has to do.
//!
//! It outlives the pools that use it: when an app's backends are replaced, the ones that stay keep their
//! health and their requests in flight. It is never shared between apps, so that one app's time limits and
//! failures say nothing about another's.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use arc_swap::{ArcSwap, ArcSwapOption};
use model::backend::{BackendHost, BackendUrl, Scheme};
use model::id::AppId;
use model::site::Settings;
use pingora_core::protocols::l4::socket::SocketAddr as Place;

use super::breaker::{State, Trial};
use super::check::CheckError;
use super::fence::Fence;
use super::health::{Fitness, Health, Turn};
use super::socket::SocketFence;
use super::tally::Tally;
use super::traffic::Traffic;
use super::trust::Trust;
use super::uptime::as_millis;

/// Most addresses of one name that are kept; a resolver may return hundreds.
const MAX_ADDRESSES: usize = 16;

/// A backend with its state.
pub(super) struct Endpoint {
    /// The app it serves.
    pub(super) app: AppId,
    /// What the creator wrote.
    pub(super) url: BackendUrl,
    /// [`Self::url`] as text.
    pub(super) label: String,
    /// Requests that it works on.
    pub(super) in_flight: AtomicU32,
    /// Whether it is fit.
    pub(super) health: Health,
    /// When it answered a request last, in milliseconds of the uptime; 0: never.
    answered: AtomicU64,
    /// How it is checked, and the app's time limits.
    pub(super) settings: ArcSwap<Settings>,
    /// The traffic of its app.
    pub(super) traffic: Arc<Traffic>,
    /// Where its turns are counted.
    pub(super) tally: Arc<Tally>,
    /// Turn of its next health check.
    pub(super) check_due: AtomicU64,
    /// Turn of its next resolution.
    pub(super) lookup_due: AtomicU64,
    /// Whom it is verified by, if it is https; none: by whom the operator trusts.
    pub(super) trust: ArcSwapOption<Trust>,
    /// Where its socket is, if it has one and may.
    socket: Option<Place>,
    addresses: ArcSwap<Vec<SocketAddr>>,
    /// Which address is in use; moved on when it fails.
    cursor: AtomicUsize,
    is_unresolved: AtomicBool,
}

impl Endpoint {
    /// A backend of `app` that nothing is known about yet. An address behind the `fence` is left out, so that
    /// the backend never gets a request.
    pub(super) fn new(
        app: AppId,
        url: BackendUrl,
        settings: &Settings,
        traffic: Arc<Traffic>,
        (tally, fence, sockets): (&Arc<Tally>, &Fence, &SocketFence),
    ) -> Arc<Self> {
        let label = url.to_string();
        let fixed = match url.host {
            BackendHost::Address(ip) => Some(SocketAddr::new(ip, url.port)),
            BackendHost::Name(_) | BackendHost::Socket(_) => None,
        };
        let socket = socket(&url, sockets);
        if matches!(url.host, BackendHost::Socket(_)) && socket.is_none() {
            tracing::warn!(%app, backend = label, "backend is a socket below no directory that is listed in edge.unix_backends: it gets no request");
        }
        let addresses: Vec<SocketAddr> =
            fixed.into_iter().filter(|address| fence.permits(*address)).collect();
        if fixed.is_some() && addresses.is_empty() {
            tracing::warn!(%app, backend = label, "backend is an address of Stoa itself or of no app: it gets no request");
        }
        Arc::new(Self {
            app,
            url,
            label,
            in_flight: AtomicU32::new(0),
            health: Health::default(),
            answered: AtomicU64::new(0),
            settings: ArcSwap::from_pointee(settings.clone()),
            traffic,
            tally: Arc::clone(tally),
            check_due: AtomicU64::new(0),
            lookup_due: AtomicU64::new(0),
            trust: ArcSwapOption::empty(),
            socket,
            addresses: ArcSwap::from_pointee(addresses),
            cursor: AtomicUsize::new(0),
            is_unresolved: AtomicBool::new(false),
        })
    }

    /// Where it is: its socket, or the address in use; none if none is known or permitted.
    pub(super) fn place(&self) -> Option<Place> {
        self.socket.clone().or_else(|| self.address().map(Place::Inet))
    }

    /// The address in use; none if none is known or permitted.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let addresses = self.addresses.load();
        let index = self.cursor.load(Relaxed).checked_rem(addresses.len())?;
        addresses.get(index).copied()
    }

    /// How fit it is; none if it has no address.
    pub(super) fn fitness(&self, now: u64) -> Option<Fitness> {
        (self.socket.is_some() || !self.addresses.load().is_empty()).then(|| self.health.fitness(now))
    }

    /// Takes what its name resolves to. The same addresses in another order change nothing.
    pub(super) fn set_addresses(&self, mut found: Vec<SocketAddr>) {
        found.truncate(MAX_ADDRESSES);
        if !found.is_empty() {
            self.is_unresolved.store(false, Relaxed);
        }
        let held = self.addresses.load();
        let is_same = found.len() == held.len() && found.iter().all(|address| held.contains(address));
        if !is_same {
            tracing::debug!(app = %self.app, backend = self.label, ?found, "backend has new addresses");
            self.addresses.store(Arc::new(found));
        }
    }

    /// Takes that its name could not be resolved; the addresses it had stay.
    pub(super) fn note_unresolved(&self, reason: &str) {
        if !self.is_unresolved.swap(true, Relaxed) {
            tracing::warn!(app = %self.app, backend = self.label, reason, "backend's name does not resolve");
        }
    }

    /// Takes the result of an active check that ended at `now`.
    pub(super) fn note_check(&self, result: Result<(), CheckError>, now: u64) {
        if result.is_err() {
            self.cursor.fetch_add(1, Relaxed);
        }
        let turn = self.health.note_check(result.is_ok(), now);
        match (turn, result) {
            (Some(Turn::Down), Err(error)) => {
                tracing::warn!(app = %self.app, backend = self.label, %error, "backend is down");
            }
            (Some(Turn::Up), _) => tracing::info!(app = %self.app, backend = self.label, "backend is up"),
            _ => {}
        }
    }

    /// Takes a request that began at `began` and got its first byte at `now`.
    pub(super) fn note_success(&self, began: u64, now: u64) {
        self.answered.store(now, Relaxed);
        if self.health.breaker.note_success(began) {
            self.health.warm_up(now);
            self.tally.closed.fetch_add(1, Relaxed);
            tracing::info!(app = %self.app, backend = self.label, "backend answers again: its breaker is closed");
        }
    }

    /// Whether a check at `now` that only connects could say nothing new: it counts as fit, and has answered a request
    /// since the last one was due. With a busy app in each place of a market, checks would cost more than requests.
    pub(super) fn is_proven(&self, settings: &Settings, now: u64) -> bool {
        let answered = self.answered.load(Relaxed);
        let is_recent = answered > 0 && now.saturating_sub(answered) < as_millis(settings.health_interval());
        let is_fit = !self.health.is_suspected() && self.health.fitness(now) == Fitness::Fit;
        settings.health_path.is_none() && is_recent && is_fit
    }

    /// Takes a request that began at `began` and failed at `now` before its first byte.
    pub(super) fn note_failure(&self, began: u64, now: u64) {
        self.cursor.fetch_add(1, Relaxed);
        let base = as_millis(self.settings.load().health_interval());
        if let Some(length_ms) = self.health.breaker.note_failure(began, now, base) {
            self.tally.opened.fetch_add(1, Relaxed);
            tracing::warn!(app = %self.app, backend = self.label, length_ms, "requests to a backend fail: its breaker is open");
        }
    }

    /// Takes a place at it, if fewer than `most` requests are at it, and its trial if it needs one.
    pub(super) fn enter(&self, most: u32, now: u64) -> Option<Entry> {
        let room = |held: u32| (held < most).then_some(held + 1);
        self.in_flight.fetch_update(Relaxed, Relaxed, room).ok()?;
        if self.health.breaker.state(now) != State::HalfOpen {
            return Some(Entry { trial: None });
        }
        let Some(trial) = self.health.breaker.begin_trial() else {
            self.in_flight.fetch_sub(1, Relaxed);
            return None;
        };
        self.tally.half_opened.fetch_add(1, Relaxed);
        Some(Entry { trial: Some(trial) })
    }

    /// Gives a place back.
    pub(super) fn leave(&self, entry: &Entry) {
        self.in_flight.fetch_sub(1, Relaxed);
        if let Some(trial) = entry.trial {
            self.health.breaker.end_trial(trial);
        }
    }
}

/// A place at a backend; for [`Endpoint::leave`].
#[derive(Debug)]
pub(super) struct Entry {
    trial: Option<Trial>,
}

/// The place of a socket that `sockets` permit as far as its path tells.
fn socket(url: &BackendUrl, sockets: &SocketFence) -> Option<Place> {
    let BackendHost::Socket(path) = &url.host else { return None };
    let path = Some(Path::new(path.as_str())).filter(|path| sockets.permits(path))?;
    std::os::unix::net::SocketAddr::from_pathname(path).ok().map(Place::Unix)
}

/// The name that a backend's certificate must have: what the app says, or its host name, or its address (an `iPAddress` of the
/// certificate, RFC 9110 §4.3.5). Never empty, because pingora-core 0.9.1 then verifies nothing. Without TLS
/// there is none.
pub(super) fn server_name(url: &BackendUrl, settings: &Settings) -> String {
    match (url.scheme, &settings.backend_server_name, &url.host) {
        (Scheme::Http | Scheme::H2c, ..) => String::new(),
        (Scheme::Https, Some(name), _) | (Scheme::Https, None, BackendHost::Name(name)) => {
            name.as_str().to_owned()
        }
        (Scheme::Https, None, BackendHost::Address(ip)) => ip.to_canonical().to_string(),
        // No URL of a socket is https.
        (Scheme::Https, None, BackendHost::Socket(_)) => "localhost".to_owned(),
    }
}
