//! The one end of a request: meter, metrics, access log; and the counting of what flows before it.
//!
//! Bytes are those of bodies, as pingora counts them in HTTP/1, HTTP/2 and WebSockets. A long transfer is
//! metered while it flows, from the moment on when the app's answer has begun: what came before waits until its
//! class is known. The request itself is counted here, once. What the app answered is the visitor's; what the
//! edge answered is of its refusal's class; what was cut before an answer is refused.

use std::time::Duration;

use http::header::{HOST, USER_AGENT};
use model::usage::{Counters, UsageClass};
use pingora_core::{Error, Result};
use pingora_proxy::Session;
use tokio::time::Instant;

use crate::access_log::Entry;
use crate::answer::has_answer;
use crate::connection::Carrier;
use crate::context::{Context, Progress};
use crate::edge::Shared;
use crate::forward::OVERDUE;
use crate::hedge::HedgeEnd;

/// Bytes are metered at least after so many of them…
const FLOW_BYTES: u64 = 4 << 20;
/// … or after so long, whichever is first.
const FLOW_TIME: Duration = Duration::from_secs(1);
/// What a log tells when the visitor left before an answer, as nginx does.
const CLIENT_GONE: u16 = 499;

/// A piece of a body passes: meters what has flowed, if it is known to be served.
///
/// # Errors
/// If the request has taken longer than the app allows.
pub(crate) fn flow(session: &mut Session, context: &mut Context, edge: &Shared) -> Result<()> {
    let now = Instant::now();
    let bytes = body_bytes(session);
    let since = (bytes.0 + bytes.1).saturating_sub(context.metered.0 + context.metered.1);
    let is_due = since >= FLOW_BYTES || (since > 0 && now.duration_since(context.metered_at) >= FLOW_TIME);
    if is_due && class(context, has_answer(session)) == UsageClass::Visitor {
        meter(context, bytes, UsageClass::Visitor, 0, edge);
        context.metered_at = now;
    }
    let (is_begun, is_sent) = (context.first_byte.is_some(), session.as_mut().is_body_done());
    let is_silent = !is_sent && session.is_http2();
    let Some(exchange) = context.exchange() else { return Ok(()) };
    if let Some(patience) = exchange.patience.as_ref().filter(|_| !is_begun) {
        match (is_sent, is_silent) {
            (true, _) => patience.set(exchange.answer_due(true)),
            (_, true) => patience.set(Some(exchange.body_due(edge.deadlines.body))),
            _ => {}
        }
    }
    match exchange.deadline {
        Some(deadline) if now > deadline => {
            Err(Error::explain(OVERDUE, "the request takes longer than the app allows"))
        }
        _ => Ok(()),
    }
}

/// What a request asked for, as far as it could be read.
pub(crate) struct Asked<'a> {
    /// Empty if it could not be read.
    pub(crate) method: &'a str,
    /// As the visitor wrote it.
    pub(crate) host: Option<&'a str>,
    /// Without the query; empty if it could not be read.
    pub(crate) path: &'a str,
    /// `User-Agent`.
    pub(crate) user_agent: Option<&'a str>,
    /// E.g. `http/1.1`.
    pub(crate) protocol: &'static str,
}

/// How a request ended.
pub(crate) struct Outcome<'a> {
    /// What it asked for.
    pub(crate) asked: Asked<'a>,
    /// What the visitor was told, or [`CLIENT_GONE`].
    pub(crate) status: u16,
    /// Whether the visitor has the head of an answer.
    pub(crate) is_answered: bool,
    /// Bytes of the bodies, in and out.
    pub(crate) bytes: (u64, u64),
    /// What went wrong, beside the refusal.
    pub(crate) cause: Option<&'a Error>,
}

/// A request that pingora knows is over.
pub(crate) fn end(session: &Session, error: Option<&Error>, context: &mut Context, edge: &Shared) {
    if let Some(exchange) = context.exchange() {
        exchange.patience = None;
        if let Some(hedge) = &exchange.hedge {
            hedge.settle();
        }
    }
    if let Some(connection) = context.connection.as_ref().filter(|_| !session.is_http2()) {
        connection.gauge.await_header();
    }
    let outcome = Outcome {
        asked: asked(session),
        status: status(session, context),
        is_answered: has_answer(session),
        bytes: body_bytes(session),
        cause: error,
    };
    close(&outcome, context, edge);
}

/// A request is over: counts it, once, and tells of it.
pub(crate) fn close(outcome: &Outcome<'_>, context: &mut Context, edge: &Shared) {
    let status = outcome.status;
    let class = class(context, outcome.is_answered);
    let total = context.arrived.elapsed();
    meter(context, outcome.bytes, class, 1, edge);
    let metrics = &edge.state.metrics;
    metrics.count_body_bytes(outcome.bytes.0, outcome.bytes.1);
    metrics.observe(total, context.first_byte);
    match context.site().and_then(|site| site.tenant.tenant.load_full().map(|tenant| (site, tenant))) {
        Some((site, tenant)) => {
            metrics.count_request(Some((&site.tenant.series, &tenant.slug)), class, status);
        }
        None => metrics.count_request(None, class, status),
    }
    if let Some(refusal) = context.refusal() {
        metrics.count_refusal(refusal.code());
        tell(context, outcome.cause);
    }
    if edge.log.is_on() {
        edge.log.write(&entry(outcome, context, Facts { status, total }, edge), metrics);
    }
}

/// What the visitor was told; of a gRPC call that was refused, what any other request would have been told.
fn status(session: &Session, context: &Context) -> u16 {
    match (session.response_written(), &context.progress) {
        (None, _) => CLIENT_GONE,
        (Some(_), Progress::Refused(refused)) => refused.refusal.status(),
        (Some(head), _) => head.status.as_u16(),
    }
}

fn body_bytes(session: &Session) -> (u64, u64) {
    let count = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    (count(session.body_bytes_read()), count(session.body_bytes_sent()))
}

fn class(context: &Context, is_answered: bool) -> UsageClass {
    match &context.progress {
        Progress::Admitted(_) if is_answered => UsageClass::Visitor,
        Progress::Refused(refused) => refused.refusal.usage_class(),
        _ => UsageClass::Refused,
    }
}

/// Gives the meter what it does not have yet. A request that reached no site is nobody's.
fn meter(context: &mut Context, bytes: (u64, u64), class: UsageClass, requests: u64, edge: &Shared) {
    let (received, sent) = std::mem::replace(&mut context.metered, bytes);
    let more = Counters {
        requests,
        bytes_in: bytes.0.saturating_sub(received),
        bytes_out: bytes.1.saturating_sub(sent),
    };
    if let Some(site) = context.site() {
        edge.state.ledger.count(&site.meter, edge.state.clock.now(), class, more);
    }
}

/// A line for operators, at the level of the refusal; the access log has the rest under the same code.
fn tell(context: &Context, error: Option<&Error>) {
    let Some(refusal) = context.refusal() else { return };
    let (request, backend) = (context.id, context.backend());
    let cause = error.map(tracing::field::display);
    match refusal.level() {
        tracing::Level::WARN => tracing::warn!(%request, %refusal, backend, cause, "request failed"),
        tracing::Level::INFO => tracing::info!(%request, %refusal, backend, cause, "request was refused"),
        _ => tracing::debug!(%request, %refusal, backend, cause, "request was refused"),
    }
}

/// What was measured at the end.
struct Facts {
    status: u16,
    total: Duration,
}

fn asked(session: &Session) -> Asked<'_> {
    let head = session.req_header();
    let text = |name| head.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    Asked {
        method: head.method.as_str(),
        host: head.uri.authority().map(http::uri::Authority::as_str).or_else(|| text(HOST)),
        path: head.uri.path(),
        user_agent: text(USER_AGENT),
        protocol: protocol(session),
    }
}

fn entry<'a>(outcome: &Outcome<'a>, context: &'a Context, facts: Facts, edge: &Shared) -> Entry<'a> {
    let asked = &outcome.asked;
    let connection = context.connection.as_deref();
    let tls = connection.and_then(|connection| connection.tls.as_ref());
    let site = context.site().map(|site| &site.site);
    let client = context.visitor.map(|visitor| visitor.address);
    let peer = connection.map(|connection| connection.ends.peer.ip().to_canonical());
    Entry {
        time: edge.state.clock.now(),
        request_id: context.id,
        connection: connection.map_or(0, |connection| connection.id),
        client,
        peer: peer.filter(|peer| client != Some(*peer)),
        scheme: if context.visitor.is_some_and(|visitor| visitor.is_https) { "https" } else { "http" },
        host: asked.host,
        method: asked.method,
        path: asked.path,
        status: facts.status,
        refusal: context.refusal().map(crate::refusal::Refusal::code),
        reason: context.refusal().and_then(crate::refusal::Refusal::reason),
        tenant: site.map(|site| site.tenant),
        app: site.map(|site| site.app),
        backend: context.backend(),
        hedged: context.hedged().map(HedgeEnd::as_str),
        ttfb: context.first_byte,
        total: facts.total,
        bytes_in: outcome.bytes.0,
        bytes_out: outcome.bytes.1,
        protocol: asked.protocol,
        sni: tls.map(|tls| tls.sni.as_str()),
        tls_version: tls.map(|tls| tls.version),
        ja4: connection.and_then(Carrier::ja4),
        user_agent: asked.user_agent,
    }
}

fn protocol(session: &Session) -> &'static str {
    match session.req_header().version {
        _ if session.is_http2() => "h2",
        http::Version::HTTP_10 => "http/1.0",
        _ => "http/1.1",
    }
}
