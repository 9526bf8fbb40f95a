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
use crate::context::{Context, Progress};
use crate::edge::Shared;
use crate::forward::OVERDUE;

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
    if is_due && class(context, session) == UsageClass::Visitor {
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

/// A request is over.
pub(crate) fn end(session: &Session, error: Option<&Error>, context: &mut Context, edge: &Shared) {
    if let Some(exchange) = context.exchange() {
        exchange.patience = None;
    }
    if let Some(connection) = context.connection.as_ref().filter(|_| !session.is_http2()) {
        connection.gauge.await_header();
    }
    let status = status(session, context);
    let class = class(context, session);
    let total = context.arrived.elapsed();
    let bytes = body_bytes(session);
    meter(context, bytes, class, 1, edge);
    let metrics = &edge.state.metrics;
    metrics.count_body_bytes(bytes.0, bytes.1);
    metrics.observe(total, context.first_byte);
    match context.site().and_then(|site| site.tenant.tenant.load_full().map(|tenant| (site, tenant))) {
        Some((site, tenant)) => {
            metrics.count_request(Some((&site.tenant.series, &tenant.slug)), class, status);
        }
        None => metrics.count_request(None, class, status),
    }
    if let Some(refusal) = context.refusal() {
        metrics.count_refusal(refusal.code());
        tell(context, error);
    }
    if edge.log.is_on() {
        edge.log.write(&entry(session, context, Facts { status, total, bytes }, edge), metrics);
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

fn class(context: &Context, session: &Session) -> UsageClass {
    match &context.progress {
        Progress::Admitted(_) if has_answer(session) => UsageClass::Visitor,
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
    bytes: (u64, u64),
}

fn entry<'a>(session: &'a Session, context: &'a Context, facts: Facts, edge: &Shared) -> Entry<'a> {
    let head = session.req_header();
    let text = |name| head.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let host = head.uri.authority().map(http::uri::Authority::as_str).or_else(|| text(HOST));
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
        host,
        method: head.method.as_str(),
        path: head.uri.path(),
        status: facts.status,
        refusal: context.refusal().map(crate::refusal::Refusal::code),
        tenant: site.map(|site| site.tenant),
        app: site.map(|site| site.app),
        backend: context.backend(),
        ttfb: context.first_byte,
        total: facts.total,
        bytes_in: facts.bytes.0,
        bytes_out: facts.bytes.1,
        protocol: protocol(session),
        sni: tls.map(|tls| tls.sni.as_str()),
        tls_version: tls.map(|tls| tls.version),
        user_agent: text(USER_AGENT),
    }
}

fn protocol(session: &Session) -> &'static str {
    match session.req_header().version {
        _ if session.is_http2() => "h2",
        http::Version::HTTP_10 => "http/1.0",
        _ => "http/1.1",
    }
}
