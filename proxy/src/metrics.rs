//! What is counted for Prometheus. Labels come from enums and from a bounded list of tenants: the first 200
//! that are visited have their own name, the rest is `_other`, so a visitor can never make a new series.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use model::tenant::Slug;
use model::usage::UsageClass;
use prometheus::core::Collector;
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

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
    /// Broken off or wrong.
    Failed,
    /// Not done in time.
    TimedOut,
    /// A name without a certificate, or none.
    UnknownName,
}

impl Handshake {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::UnknownName => "unknown_name",
        }
    }
}

/// What is read at the moment of a scrape.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Readings {
    pub(crate) sites: usize,
    pub(crate) certificates: usize,
    pub(crate) certificates_expired: usize,
    pub(crate) backends_up: usize,
    pub(crate) backends_down: usize,
    pub(crate) feed_revision: u64,
    pub(crate) visitors_forgotten: u64,
}

/// All metrics of one edge, in a registry of their own.
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    refusals: IntCounterVec,
    handshakes: IntCounterVec,
    /// Open connections.
    pub(crate) connections: IntGauge,
    /// Connections that were dropped because there are too many.
    pub(crate) connections_over_cap: IntCounter,
    /// Connections that were cut because a header section was overdue.
    pub(crate) connections_cut: IntCounter,
    /// Attempts at another backend.
    pub(crate) retries: IntCounter,
    /// Lines of the access log that were lost.
    pub(crate) log_dropped: IntCounter,
    body_bytes: [IntCounter; 2],
    wire_bytes: [IntCounter; 2],
    duration: Histogram,
    first_byte: Histogram,
    gauges: IntGaugeVec,
    forgotten: AtomicU64,
    visitors_forgotten: IntCounter,
    named: AtomicUsize,
    other: Arc<Counts>,
    nobody: Series,
}

impl Metrics {
    /// Everything at zero.
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let bytes = counters(&registry, "stoa_body_bytes_total", "Bytes of bodies.", &["direction"]);
        let wire = counters(&registry, "stoa_wire_bytes_total", "Bytes of closed connections.", &["direction"]);
        let directions = |vec: &IntCounterVec| ["in", "out"].map(|word| vec.with_label_values(&[word]));
        let nobody = Series(OnceLock::from(Counts::new(NOBODY)));
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
            connections_over_cap: counter(
                &registry,
                "stoa_connections_over_cap_total",
                "Connections dropped because there were too many.",
            ),
            connections_cut: counter(
                &registry,
                "stoa_connections_cut_total",
                "Connections cut because a header section was overdue.",
            ),
            retries: counter(&registry, "stoa_retries_total", "Attempts at another backend."),
            log_dropped: counter(&registry, "stoa_access_log_dropped_total", "Lines of the access log lost."),
            body_bytes: directions(&bytes),
            wire_bytes: directions(&wire),
            duration: histogram(&registry, "stoa_request_seconds", "Time from header to end."),
            first_byte: histogram(&registry, "stoa_first_byte_seconds", "Time from header to response."),
            gauges: gauges(&registry),
            forgotten: AtomicU64::new(0),
            visitors_forgotten: counter(
                &registry,
                "stoa_visitors_forgotten_total",
                "Visitors pushed out of the limiter's table while they still owed.",
            ),
            named: AtomicUsize::new(0),
            other: Counts::new(OTHER),
            nobody,
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

    /// Counts a handshake.
    pub(crate) fn count_handshake(&self, result: Handshake) {
        self.handshakes.with_label_values(&[result.as_str()]).inc();
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
        let set = |name: &str, value: u64| {
            self.gauges.with_label_values(&[name]).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        let size = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        set("sites", size(readings.sites));
        set("certificates", size(readings.certificates));
        set("certificates_expired", size(readings.certificates_expired));
        set("backends_up", size(readings.backends_up));
        set("backends_down", size(readings.backends_down));
        set("feed_revision", readings.feed_revision);
        let before = self.forgotten.swap(readings.visitors_forgotten, Relaxed);
        self.visitors_forgotten.inc_by(readings.visitors_forgotten.saturating_sub(before));
        let mut text = Vec::with_capacity(16 << 10);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be written");
        }
        text
    }

    fn name(&self, slug: &Slug) -> Arc<Counts> {
        let is_free = self.named.fetch_update(Relaxed, Relaxed, |named| (named < NAMED_TENANTS).then_some(named + 1));
        if is_free.is_ok() { Counts::new(slug.as_str()) } else { Arc::clone(&self.other) }
    }
}
