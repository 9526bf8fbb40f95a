//! What is counted for Prometheus. Labels come from enums and from a bounded list of tenants: the first 200
//! that are visited have their own name, the rest is `_other`, so a visitor can never make a new series.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use model::tenant::Slug;
use model::usage::UsageClass;
use prometheus::core::Collector;
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::connection::{Cut, Flood};
use crate::hedge::HedgeEnd;

/// Tenants with a label of their own.
const NAMED_TENANTS: usize = 200;
/// Label of all others; a slug has no underscore.
const OTHER: &str = "_other";
/// Label of requests that reached no site.
const NOBODY: &str = "_none";
const STATUS_CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// Seconds: from what memory answers to what visitors leave for.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// The counters of one tenant, made when they are first used.
#[derive(Default)]
pub(crate) struct Series(OnceLock<Arc<Counts>>);

/// Requests by class and status.
struct Counts {
    label: String,
    requests: [[OnceLock<IntCounter>; 6]; 3],
}

impl Counts {
    fn new(label: &str) -> Arc<Self> {
        Arc::new(Self { label: label.to_owned(), requests: Default::default() })
    }
}

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// Done.
    Ok,
    /// Wrong in a way that none of the others says.
    Failed,
    /// The visitor went away.
    Gone,
    /// What came first was no TLS.
    NotTls,
    /// No protocol, version or algorithm in common.
    Incompatible,
    /// The visitor broke off with an alert: most often it does not trust the certificate.
    AlertReceived,
    /// No whole ClientHello in time.
    HelloTimedOut,
    /// Not done in time.
    TimedOut,
    /// A name without a certificate, or none.
    UnknownName,
    /// The name asks for a client certificate, and none that counts was shown.
    ClientCertificate,
    /// An authority has seen the proof of a name (tls-alpn-01).
    AcmeChallenge,
}

impl Handshake {
    /// Each of them.
    pub(crate) const ALL: [Self; 11] = [
        Self::Ok,
        Self::Failed,
        Self::Gone,
        Self::NotTls,
        Self::Incompatible,
        Self::AlertReceived,
        Self::HelloTimedOut,
        Self::TimedOut,
        Self::UnknownName,
        Self::ClientCertificate,
        Self::AcmeChallenge,
    ];
    /// How many there are.
    pub(crate) const KINDS: usize = Self::ALL.len();

    /// Its word in metric and log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Gone => "gone",
            Self::NotTls => "not_tls",
            Self::Incompatible => "incompatible",
            Self::AlertReceived => "alert_received",
            Self::HelloTimedOut => "hello_timed_out",
            Self::TimedOut => "timed_out",
            Self::UnknownName => "unknown_name",
            Self::ClientCertificate => "client_certificate",
            Self::AcmeChallenge => "acme_challenge",
        }
    }
}

/// Why a connection is closed before its first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    /// There are too many.
    Connections,
    /// There are too many of its address.
    Address,
    /// Too many handshakes are under way.
    Handshakes,
    /// It should have begun with a PROXY header.
    Unannounced,
    /// Its PROXY header did not come in time.
    AnnouncedLate,
}

impl Turned {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Address => "address",
            Self::Handshakes => "handshakes",
            Self::Unannounced => "proxy_header",
            Self::AnnouncedLate => "proxy_header_late",
        }
    }
}

/// How the wait for a place at an app ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitEnd {
    /// With a place.
    LetIn,
    /// Before it began: the queue was full.
    Full,
    /// Others needed the place in the queue.
    PushedOut,
    /// It took too long.
    TimedOut,
    /// The visitor left.
    Left,
}

impl WaitEnd {
    const fn as_str(self) -> &'static str {
        match self {
            Self::LetIn => "let_in",
            Self::Full => "full",
            Self::PushedOut => "pushed_out",
            Self::TimedOut => "timed_out",
            Self::Left => "left",
        }
    }
}

/// Days before their end at which owners of uploaded certificates are warned.
pub(crate) const UPLOADS_ENDING: [u32; 3] = [1, 7, 21];

/// What is read at the moment of a scrape.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Readings {
    /// Sites in memory.
    pub(crate) sites: usize,
    /// Certificates in memory.
    pub(crate) certificates: usize,
    /// Of these, past their end.
    pub(crate) certificates_expired: usize,
    /// Uploaded ones that end within [`UPLOADS_ENDING`] days.
    pub(crate) uploads_ending: [usize; 3],
    /// Backends that are fit, and those that are not.
    pub(crate) backends: (usize, usize),
    /// How often breakers of backends opened, let a trial through, and closed.
    pub(crate) breaker_turns: [u64; 3],
    /// Highest revision taken.
    pub(crate) feed_revision: u64,
    /// Whether the control plane answers.
    pub(crate) is_feed_connected: bool,
    /// Visitors that the limiter pushed out while they owed something.
    pub(crate) visitors_forgotten: u64,
}

/// The gauges that a scrape sets.
struct Gauges {
    sites: IntGauge,
    certificates: IntGauge,
    expired: IntGauge,
    uploads_ending: IntGaugeVec,
    backends: IntGaugeVec,
    breaker_turns: IntCounterVec,
    revision: IntGauge,
    connected: IntGauge,
    forgotten: IntGauge,
}

/// All metrics of one edge, in a registry of their own.
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    refusals: IntCounterVec,
    handshakes: IntCounterVec,
    /// Open connections.
    pub(crate) connections: IntGauge,
    refused_connections: IntCounterVec,
    /// Times that a listener could not accept.
    pub(crate) accepts_failed: IntCounter,
    connections_cut: IntCounterVec,
    floods: IntCounterVec,
    /// Streams of HTTP/2 that were reset because of what the visitor sent.
    pub(crate) http2_stream_errors: IntCounter,
    /// Attempts at another backend.
    pub(crate) retries: IntCounter,
    waits: IntCounterVec,
    hedges: IntCounterVec,
    /// Lines of the access log that were lost.
    pub(crate) log_dropped: IntCounter,
    body_bytes: [IntCounter; 2],
    wire_bytes: [IntCounter; 2],
    duration: Histogram,
    first_byte: Histogram,
    gauges: Gauges,
    named: AtomicUsize,
    other: Arc<Counts>,
    nobody: Series,
}

impl Metrics {
    /// Everything at zero.
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let bytes = counters(&registry, "stoa_body_bytes_total", "Bytes of bodies.", &["direction"]);
        let wire =
            counters(&registry, "stoa_wire_bytes_total", "Bytes of closed connections.", &["direction"]);
        let directions = |vec: &IntCounterVec| ["in", "out"].map(|word| vec.with_label_values(&[word]));
        Self {
            requests: counters(
                &registry,
                "stoa_requests_total",
                "Requests that ended.",
                &["tenant", "class", "status"],
            ),
            refusals: counters(&registry, "stoa_refusals_total", "Requests refused by the edge.", &["code"]),
            handshakes: counters(&registry, "stoa_handshakes_total", "TLS handshakes.", &["result"]),
            connections: gauge(&registry, "stoa_connections", "Open connections."),
            accepts_failed: counter(
                &registry,
                "stoa_accepts_failed_total",
                "Times that a listener could not accept, as without file descriptors: visitors waited.",
            ),
            refused_connections: counters(
                &registry,
                "stoa_connections_refused_total",
                "Connections closed before their first request.",
                &["reason"],
            ),
            connections_cut: counters(&registry, "stoa_connections_cut_total", "Slow visitors.", &["reason"]),
            floods: counters(
                &registry,
                "stoa_http2_floods_total",
                "Connections ended because they flooded over HTTP/2.",
                &["kind"],
            ),
            http2_stream_errors: counter(
                &registry,
                "stoa_http2_stream_errors_total",
                "Streams of HTTP/2 reset because of what the visitor sent.",
            ),
            waits: counters(
                &registry,
                "stoa_app_queue_total",
                "Requests over an app's max_concurrency, by how their wait ended.",
                &["result"],
            ),
            hedges: counters(&registry, "stoa_hedges_total", "Second requests for late ones.", &["result"]),
            retries: counter(&registry, "stoa_retries_total", "Attempts at another backend."),
            log_dropped: counter(&registry, "stoa_access_log_dropped_total", "Lines of the access log lost."),
            body_bytes: directions(&bytes),
            wire_bytes: directions(&wire),
            duration: histogram(&registry, "stoa_request_seconds", "Time from header to end."),
            first_byte: histogram(&registry, "stoa_first_byte_seconds", "Time from header to response."),
            gauges: Gauges::new(&registry),
            named: AtomicUsize::new(0),
            other: Counts::new(OTHER),
            nobody: Series(OnceLock::from(Counts::new(NOBODY))),
            registry,
        }
    }

    /// Counts a request that ended; `series` and `slug` are its tenant's.
    pub(crate) fn count_request(&self, tenant: Option<(&Series, &Slug)>, class: UsageClass, status: u16) {
        let counts = match tenant {
            Some((series, slug)) => series.0.get_or_init(|| self.name(slug)),
            None => self.nobody.0.get_or_init(|| Counts::new(NOBODY)),
        };
        let status = usize::from(status / 100).min(STATUS_CLASSES.len() - 1);
        let row = match class {
            UsageClass::Visitor => &counts.requests[0],
            UsageClass::Refused => &counts.requests[1],
            UsageClass::Blocked => &counts.requests[2],
        };
        let Some((cell, word)) = row.get(status).zip(STATUS_CLASSES.get(status)) else { return };
        cell.get_or_init(|| self.requests.with_label_values(&[&counts.label, class.as_str(), word])).inc();
    }

    /// Counts a refusal.
    pub(crate) fn count_refusal(&self, code: &'static str) {
        self.refusals.with_label_values(&[code]).inc();
    }

    /// Counts a connection that was ended for a flood.
    pub(crate) fn count_flood(&self, kind: Flood) {
        self.floods.with_label_values(&[kind.as_str()]).inc();
    }

    /// Counts a connection that was turned away.
    pub(crate) fn count_refused_connection(&self, why: Turned) {
        self.refused_connections.with_label_values(&[why.as_str()]).inc();
    }

    /// Counts a request that did not find a place at its app at once.
    pub(crate) fn count_wait(&self, end: WaitEnd) {
        self.waits.with_label_values(&[end.as_str()]).inc();
    }

    /// Counts a second request for a late one.
    pub(crate) fn count_hedge(&self, end: HedgeEnd) {
        self.hedges.with_label_values(&[end.as_str()]).inc();
    }

    /// Counts a handshake.
    pub(crate) fn count_handshake(&self, result: Handshake) {
        self.handshakes.with_label_values(&[result.as_str()]).inc();
    }

    /// Counts a connection that was cut.
    pub(crate) fn count_cut(&self, cut: Cut) {
        self.connections_cut.with_label_values(&[cut.as_str()]).inc();
    }

    /// Counts the bytes of a request's bodies, in and out.
    pub(crate) fn count_body_bytes(&self, received: u64, sent: u64) {
        self.body_bytes[0].inc_by(received);
        self.body_bytes[1].inc_by(sent);
    }

    /// Counts the bytes of a connection that was closed, in and out.
    pub(crate) fn count_wire_bytes(&self, (received, sent): (u64, u64)) {
        self.wire_bytes[0].inc_by(received);
        self.wire_bytes[1].inc_by(sent);
    }

    /// Takes the times of a request.
    pub(crate) fn observe(&self, total: Duration, first_byte: Option<Duration>) {
        self.duration.observe(total.as_secs_f64());
        if let Some(time) = first_byte {
            self.first_byte.observe(time.as_secs_f64());
        }
    }

    /// The text that Prometheus reads (exposition format 0.0.4).
    pub(crate) fn render(&self, readings: &Readings) -> Vec<u8> {
        self.gauges.set(readings);
        let mut text = Vec::with_capacity(16 << 10);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }

    fn name(&self, slug: &Slug) -> Arc<Counts> {
        let is_free =
            self.named.fetch_update(Relaxed, Relaxed, |named| (named < NAMED_TENANTS).then_some(named + 1));
        if is_free.is_ok() { Counts::new(slug.as_str()) } else { Arc::clone(&self.other) }
    }
}

impl Gauges {
    fn new(registry: &Registry) -> Self {
        let backends =
            IntGaugeVec::new(Opts::new("stoa_backends", "Backends with a weight, by fitness."), &["state"]);
        let uploads = Opts::new(
            "stoa_uploaded_certificates_ending",
            "Uploaded certificates, which nobody renews, that end within so many days.",
        );
        let uploads = IntGaugeVec::new(uploads, &["within_days"]);
        Self {
            sites: gauge(registry, "stoa_sites", "Sites in memory."),
            certificates: gauge(registry, "stoa_certificates", "Certificates in memory."),
            expired: gauge(registry, "stoa_certificates_expired", "Certificates that are past their end."),
            uploads_ending: register(registry, uploads),
            backends: register(registry, backends),
            breaker_turns: counters(
                registry,
                "stoa_backend_breaker_turns_total",
                "Times that the circuit breaker of a backend came into this state.",
                &["to"],
            ),
            revision: gauge(
                registry,
                "stoa_feed_revision",
                "Revision of the last change that was taken from the feed.",
            ),
            connected: gauge(registry, "stoa_feed_connected", "1 if the control plane answers."),
            forgotten: gauge(
                registry,
                "stoa_visitors_forgotten",
                "Visitors pushed out of the limiter's table while they still owed, since the start.",
            ),
        }
    }

    fn set(&self, readings: &Readings) {
        let size = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        self.sites.set(size(readings.sites));
        self.certificates.set(size(readings.certificates));
        self.expired.set(size(readings.certificates_expired));
        for (days, count) in UPLOADS_ENDING.iter().zip(readings.uploads_ending) {
            self.uploads_ending.with_label_values(&[days.to_string().as_str()]).set(size(count));
        }
        self.backends.with_label_values(&["up"]).set(size(readings.backends.0));
        self.backends.with_label_values(&["down"]).set(size(readings.backends.1));
        for (word, turns) in ["open", "half_open", "closed"].into_iter().zip(readings.breaker_turns) {
            let counter = self.breaker_turns.with_label_values(&[word]);
            counter.reset();
            counter.inc_by(turns);
        }
        self.revision.set(i64::try_from(readings.feed_revision).unwrap_or(i64::MAX));
        self.connected.set(i64::from(readings.is_feed_connected));
        self.forgotten.set(i64::try_from(readings.visitors_forgotten).unwrap_or(i64::MAX));
    }
}

#[expect(clippy::expect_used, reason = "names and labels are constants of this file, each used once")]
fn register<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect("a metric's name and labels are well formed");
    registry.register(Box::new(collector.clone())).expect("a metric is registered once");
    collector
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(name, help))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help))
}

fn histogram(registry: &Registry, name: &str, help: &str) -> Histogram {
    register(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(BUCKETS.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &Metrics) -> String {
        String::from_utf8(metrics.render(&Readings::default())).unwrap()
    }

    #[test]
    fn tenants_beyond_the_named_ones_share_a_label() {
        let metrics = Metrics::new();
        let tenants: Vec<(Series, Slug)> = (0..NAMED_TENANTS + 5)
            .map(|number| (Series::default(), Slug::parse(&format!("tenant-{number}")).unwrap()))
            .collect();
        for (series, slug) in tenants.iter().chain(&tenants) {
            metrics.count_request(Some((series, slug)), UsageClass::Visitor, 200);
        }
        let text = text(&metrics);
        assert_eq!(text.matches("stoa_requests_total{").count(), NAMED_TENANTS + 1);
        assert!(text.contains("stoa_requests_total{class=\"visitor\",status=\"2xx\",tenant=\"_other\"} 10"));
        assert!(text.contains("stoa_requests_total{class=\"visitor\",status=\"2xx\",tenant=\"tenant-0\"} 2"));
    }

    #[test]
    fn a_request_without_a_site_is_nobodys() {
        let metrics = Metrics::new();
        metrics.count_request(None, UsageClass::Refused, 404);
        metrics.count_request(None, UsageClass::Refused, 999);
        let text = text(&metrics);
        assert!(text.contains("stoa_requests_total{class=\"refused\",status=\"4xx\",tenant=\"_none\"} 1"));
        assert!(text.contains("stoa_requests_total{class=\"refused\",status=\"5xx\",tenant=\"_none\"} 1"));
    }
}
