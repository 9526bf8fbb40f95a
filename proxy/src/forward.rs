//! Between a visitor and an app: the choice of a backend, retries, both headers, and what a failure means.
//!
//! A retry needs another backend (or the same one, if only a kept connection was stale), a place in the app's
//! retry budget, and safety: nothing was sent, or the method is idempotent and there is no body, and no
//! response has begun. Three attempts at most.
//!
//! An answer must have begun within the app's first-byte time, whatever the visitor asked for, and must have
//! ended within its total time, unless it turns out to be a stream: then [`crate::Deadlines::stream`] bounds
//! its silence. Over HTTP/2, where pingora 0.9.1 waits for a body for ever, each piece of it has a deadline, which
//! ends that request and no other. A gRPC call to an HTTP/2 backend is a stream from the start: its client says
//! by `grpc-timeout` how long it waits, and its server may begin the answer with the first message, whenever
//! that is.

use std::net::{Ipv4Addr, SocketAddr};

use http::header::{CONTENT_TYPE, TE, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode, Uri, Version};
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result, RetryType};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use tokio::time::Instant;

use crate::backends::{Adopted, Caller, Lease, Line, Need, NoPick, is_shared};
use crate::context::{Context, Exchange, Progress};
use crate::edge::Shared;
use crate::headers::{
    Asked, ForwardFacts, Hsts, check_response, hint_response, is_websocket, rebuild_request, secure_response,
};
use crate::hedge::{Hedge, Prize};
use crate::refusal::Refusal;
use crate::{ending, grpc, hedge, queue};

/// Attempts for one request: the first and two retries.
pub(crate) const ATTEMPTS: usize = 3;
/// A request without our carrier, which none of our listeners makes.
pub(crate) const NO_CARRIER: ErrorType = ErrorType::new("StoaNoCarrier");
/// Informational responses that a backend may send before its answer; more are a flood.
const MOST_INTERIM: u8 = 16;
const NO_BACKEND: ErrorType = ErrorType::new("StoaNoBackend");
const ALL_DOWN: ErrorType = ErrorType::new("StoaAllDown");
/// The app works on as many requests as it may.
pub(crate) const BUSY: ErrorType = ErrorType::new("StoaBusy");
/// An answer came after that of another backend.
const LATE: ErrorType = ErrorType::new("StoaLate");
/// The whole request takes too long.
pub(crate) const OVERDUE: ErrorType = ErrorType::new("StoaOverdue");

/// Whether a response may be silent for long: that a WebSocket is open, or an event stream, or gRPC's. What the
/// visitor asked for says nothing about it.
fn is_stream(response: &ResponseHeader) -> bool {
    const KIND: &[u8] = b"text/event-stream";
    let has_kind = |value: &HeaderValue| {
        let kind = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(KIND) || grpc::is_grpc(value)
    };
    is_switch(response) || response.headers.get(CONTENT_TYPE).is_some_and(has_kind)
}

/// Whether the connection is another protocol's from here on.
fn is_switch(response: &ResponseHeader) -> bool {
    response.status == StatusCode::SWITCHING_PROTOCOLS
}

/// Takes the backend for the next attempt, and the connection on which it has answered already, if it has. Before
/// the first, the request waits for its place at the app.
///
/// # Errors
/// If there is none.
pub(crate) async fn take(
    session: &mut Session,
    context: &mut Context,
    edge: &Shared,
) -> Result<Option<Adopted>> {
    queue::enter(session, context, edge).await?;
    let arrived = context.arrived;
    let exchange = context.exchange().ok_or_else(not_admitted)?;
    let (lease, adopted) = next(exchange)?;
    exchange.deadline = Some(arrived + exchange.admitted.site.pool.settings().total_timeout());
    exchange.tried.push(lease.index());
    exchange.lease = Some(lease);
    Ok(adopted)
}

fn not_admitted() -> Box<Error> {
    Error::explain(NO_CARRIER, "a request was not admitted")
}

/// The backend for the next attempt, as pingora connects to it.
///
/// # Errors
/// As [`take`].
pub(crate) async fn choose(
    session: &mut Session,
    context: &mut Context,
    edge: &Shared,
) -> Result<Box<HttpPeer>> {
    let adopted = take(session, context, edge).await?;
    let need = need(session.req_header());
    let caller = caller(context);
    let exchange = context.exchange().ok_or_else(not_admitted)?;
    let lease = exchange.lease.as_ref().ok_or_else(not_admitted)?;
    let settings = exchange.admitted.site.pool.settings();
    let mut peer = lease.peer(need);
    // The limits of what is no stream are shorter, and the patience's.
    peer.options.read_timeout = Some(edge.deadlines.stream);
    // A backend that does not take a body is found before the visitor seems to be silent.
    peer.options.write_timeout = peer.options.write_timeout.map(|time| time.min(edge.deadlines.body / 2));
    if let Some(caller) = caller.filter(|_| settings.send_proxy_protocol) {
        lease.announce(&mut peer, caller);
    }
    if let Some(adopted) = adopted {
        adopted.lead(&mut peer);
    }
    exchange.is_call = is_shared(&peer.options);
    if exchange.is_call {
        exchange.deadline = None;
    }
    Ok(peer)
}

/// The backend whose turn it is, with the connection on which it has answered already, if it has.
fn next(exchange: &mut Exchange) -> Result<(Lease, Option<Adopted>)> {
    if let Some(Prize { lease, connection }) = exchange.hedge.as_ref().and_then(Hedge::prize) {
        return Ok((lease, Some(connection)));
    }
    if let Some(lease) = exchange.next.take() {
        return Ok((*lease, None));
    }
    let pool = &exchange.admitted.site.pool;
    pool.note_request();
    let lease = pool.pick(&[]).map_err(|none| match none {
        NoPick::NoBackend => Error::explain(NO_BACKEND, "the app has no backend"),
        NoPick::AllDown => Error::explain(ALL_DOWN, "no backend can be tried"),
        NoPick::AllFull => Error::explain(BUSY, "no backend takes more requests at a time"),
    })?;
    Ok((lease, None))
}

/// Whom the request is from, as a backend may be told. Behind a proxy that the operator trusts, the visitor's port
/// is not known.
fn caller(context: &Context) -> Option<Caller> {
    let (connection, visitor) = (context.connection.as_ref()?, context.visitor?);
    let port = if visitor.address == connection.ip() { connection.ends.client.port() } else { 0 };
    let unknown = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    Some(Caller {
        connection: connection.id,
        source: SocketAddr::new(visitor.address, port),
        destination: connection.local.unwrap_or(unknown),
    })
}

/// What a request needs of its connection to a backend.
fn need(request: &RequestHeader) -> Need {
    match request {
        request if grpc::is_call(request) => Need::Call,
        request if is_websocket(request) || request.version == Version::HTTP_10 => Need::Http1,
        _ => Need::Exchange,
    }
}

/// A connection to the backend is there: from now on it keeps the request waiting. A connection that others
/// share is never cut.
pub(crate) fn connected(
    session: &mut Session,
    digest: Option<&Digest>,
    context: &mut Context,
    edge: &Shared,
) {
    let is_sent = session.as_mut().is_body_done();
    let is_silent = !is_sent && session.is_http2();
    let Some(exchange) = context.exchange() else { return };
    let due = match is_silent {
        true => Some(exchange.body_due(edge.deadlines.body)),
        false => exchange.answer_due(is_sent),
    };
    let line = digest.filter(|_| !exchange.is_call).and_then(Line::of);
    exchange.patience = line.map(|line| edge.waits.begin(line, due));
}

/// A request is about to be sent to its backend: makes it one of the edge, and has a second follow if this one is
/// late and the app wants that.
///
/// # Errors
/// None that a visitor can cause.
pub(crate) fn send(
    session: &mut Session,
    request: &mut RequestHeader,
    context: &mut Context,
    edge: &Shared,
) -> Result<()> {
    rewrite(request, context)?;
    let wants_second = |exchange: &mut Exchange| exchange.admitted.site.pool.settings().hedge_after_ms > 0;
    if context.exchange().is_some_and(wants_second) && session.is_body_empty() {
        let caller = caller(context);
        let Some(exchange) = context.exchange() else { return Ok(()) };
        // The first attempt's stays.
        exchange.hedge = hedge::begin(request, exchange, caller, &edge.state).or(exchange.hedge.take());
    }
    Ok(())
}

fn rewrite(request: &mut RequestHeader, context: &mut Context) -> Result<()> {
    make_origin_form(request);
    let Some(facts) = facts(context) else { return Ok(()) };
    rebuild_request(request, &facts)?;
    if context.exchange().is_some_and(|exchange| exchange.is_call) {
        // It belongs to one connection, so what the visitor said is gone; gRPC servers insist on it.
        request.insert_header(TE, "trailers")?;
    }
    Ok(())
}

/// What the app should know about the request; none before it is admitted.
pub(crate) fn facts(context: &Context) -> Option<ForwardFacts<'_>> {
    let visitor = context.visitor?;
    let Progress::Admitted(exchange) = &context.progress else { return None };
    Some(ForwardFacts {
        client: visitor.address,
        https: visitor.is_https,
        host: exchange.admitted.host.as_str(),
        port: exchange.admitted.port,
        request: context.id,
        client_certificate: exchange.admitted.client.as_ref().map(|proof| &proof.identity),
    })
}

/// The target as a path (RFC 9112 §3.2.1): in HTTP/2 it comes with the host, which stands in `Host` by now. In
/// HTTP/1 it is a path and its bytes are left as they are.
fn make_origin_form(request: &mut RequestHeader) {
    if request.uri.authority().is_none() {
        return;
    }
    if let Some(path) = request.uri.path_and_query().cloned() {
        request.set_uri(Uri::from(path));
    }
}

/// A backend's response has begun: makes it one of the platform.
///
/// # Errors
/// None that a backend can cause.
pub(crate) fn relay(
    session: &mut Session,
    response: &mut ResponseHeader,
    context: &mut Context,
    edge: &Shared,
) -> Result<()> {
    if context.exchange().and_then(|exchange| exchange.hedge.as_ref()).is_some_and(|hedge| !hedge.settle()) {
        return Err(Error::explain(LATE, "another backend has answered before").into_up());
    }
    let asked = if is_websocket(session.req_header()) { Asked::WebSocket } else { Asked::Answer };
    check_response(response, asked).map_err(broken)?;
    if response.status.is_informational() && !is_switch(response) {
        return relay_interim(response, context);
    }
    context.first_byte = Some(context.arrived.elapsed());
    if let Some(connection) = context.connection.as_ref().filter(|_| is_switch(response)) {
        connection.gauge.pass_all();
    }
    if edge.state.course.is_ending() {
        session.set_keepalive(None);
    }
    let id = context.id;
    let is_https = context.visitor.is_some_and(|visitor| visitor.is_https);
    let Some(exchange) = context.exchange() else { return Ok(()) };
    if let Some(lease) = &exchange.lease {
        lease.succeeded();
    }
    if is_stream(response) {
        exchange.deadline = None;
    }
    if let Some(patience) = &exchange.patience {
        patience.set(exchange.deadline);
    }
    if session.req_header().version == Version::HTTP_10 && response.headers.contains_key(TRANSFER_ENCODING) {
        // It knows no chunks, which pingora makes of an answer without a length: the connection's end ends it.
        response.remove_header(&TRANSFER_ENCODING);
        session.set_keepalive(None);
    }
    let admitted = &exchange.admitted;
    let hsts = if is_https { admitted.hsts } else { Hsts::Off };
    secure_response(response, &admitted.site.policy, &edge.state.zones, hsts, id)
}

/// A backend says something before its response.
fn relay_interim(response: &mut ResponseHeader, context: &mut Context) -> Result<()> {
    let Some(exchange) = context.exchange() else { return Ok(()) };
    exchange.interim += 1;
    if exchange.interim > MOST_INTERIM {
        return Err(broken("informational responses without end"));
    }
    hint_response(response);
    Ok(())
}

fn broken(reason: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, reason).into_up()
}

/// A piece of a backend's response passes. After the last one, nobody waits for this connection any more: the
/// next request may have it before this one is told of its end.
///
/// # Errors
/// If the request has taken longer than the app allows.
pub(crate) fn relay_body(
    session: &mut Session,
    context: &mut Context,
    is_last: bool,
    edge: &Shared,
) -> Result<()> {
    if let Some(exchange) = context.exchange().filter(|_| is_last) {
        exchange.patience = None;
    }
    ending::flow(session, context, edge)
}

/// No connection came about. Nothing was sent, so any request may try another backend.
pub(crate) fn connect_failed(context: &mut Context, mut error: Box<Error>, edge: &Shared) -> Box<Error> {
    let is_planned = context.exchange().is_some_and(|exchange| {
        if let Some(lease) = &exchange.lease {
            lease.failed();
        }
        let tried = std::mem::take(&mut exchange.tried);
        let is_planned = plan(exchange, &tried, tried.len());
        exchange.tried = tried;
        is_planned
    });
    note_retry(is_planned, edge);
    error.set_retry(is_planned);
    error
}

/// What it means that the patience was lost, which pingora sees as the connection's end. While the visitor still
/// sends, the time that is over is the request's or that of a piece of its body, and the backend is not to blame.
fn blame(error: &mut Error, is_sent: bool, is_over: bool) {
    (error.etype, error.esource) = match (is_sent, is_over) {
        (true, _) => (ErrorType::ReadTimedout, ErrorSource::Upstream),
        (false, true) => (OVERDUE, ErrorSource::Internal),
        (false, false) => (ErrorType::ReadTimedout, ErrorSource::Downstream),
    };
    error.set_retry(false);
}

/// Something failed after the connection was there.
pub(crate) fn exchange_failed(
    session: &mut Session,
    context: &mut Context,
    mut error: Box<Error>,
    was_reused: bool,
    edge: &Shared,
) -> Box<Error> {
    let patience = context.exchange().and_then(|exchange| exchange.patience.take());
    let hedge = context.exchange().and_then(|exchange| exchange.hedge.as_ref());
    if *error.esource() == ErrorSource::Upstream && hedge.is_some_and(|hedge| !hedge.settle()) {
        // Its connection was cut for the one that has answered, which is the next.
        error.set_retry(true);
        return error;
    }
    let deadline = context.exchange().and_then(|exchange| exchange.deadline);
    let is_lost = patience.is_some_and(|patience| patience.was_lost());
    if is_lost && *error.esource() == ErrorSource::Upstream {
        let is_over = deadline.is_some_and(|deadline| deadline <= Instant::now());
        blame(&mut error, session.as_mut().is_body_done(), is_over);
    }
    let is_backends = *error.esource() == ErrorSource::Upstream && session.response_written().is_none();
    let is_unused = is_backends && is_unprocessed(&error);
    let is_stale = is_unused || was_reused && error.retry == RetryType::ReusedOnly;
    let is_timeout = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
    let is_whole = is_unused && !session.as_ref().retry_buffer_truncated();
    let is_safe = is_whole || session.req_header().method.is_idempotent() && session.is_body_empty();
    let is_planned = context.exchange().is_some_and(|exchange| {
        if let Some(lease) = exchange.lease.as_ref().filter(|_| is_backends && !is_stale) {
            lease.failed();
        }
        let tried = std::mem::take(&mut exchange.tried);
        let avoided = if is_stale { &[][..] } else { &tried };
        let is_planned = is_backends && is_safe && !is_timeout && plan(exchange, avoided, tried.len());
        exchange.tried = tried;
        is_planned
    });
    note_retry(is_planned, edge);
    error.set_retry(is_planned);
    error
}

/// Whether an HTTP/2 backend said that it did nothing about the request: it is about to close the connection
/// (GOAWAY), or has no room (REFUSED_STREAM), or wants HTTP/1.1 (RFC 9113 §8.7).
fn is_unprocessed(error: &Error) -> bool {
    error.retry == RetryType::Decided(true)
        && matches!(error.etype(), ErrorType::H2Error | ErrorType::H2Downgrade)
}

/// Takes a backend for the next attempt, if there may be one.
fn plan(exchange: &mut Exchange, avoided: &[usize], attempts: usize) -> bool {
    let pool = &exchange.admitted.site.pool;
    if attempts >= ATTEMPTS {
        return false;
    }
    exchange.next = pool.pick(avoided).ok().filter(|_| pool.may_retry()).map(Box::new);
    exchange.next.is_some()
}

fn note_retry(is_planned: bool, edge: &Shared) {
    if is_planned {
        edge.state.metrics.retries.inc();
    }
}

/// What a failure means to the visitor; none if the visitor is gone.
pub(crate) fn refusal(error: &Error) -> Option<Refusal> {
    use ErrorType as E;
    match error.etype() {
        kind if *kind == NO_BACKEND => Some(Refusal::NoBackend),
        kind if *kind == ALL_DOWN => Some(Refusal::BackendDown),
        kind if *kind == BUSY => Some(Refusal::AppBusy),
        kind if *kind == OVERDUE => Some(Refusal::BackendTimeout),
        kind => match error.esource() {
            ErrorSource::Downstream => match kind {
                E::ReadTimedout => Some(Refusal::RequestTimeout("the body came too slowly")),
                E::InvalidHTTPHeader => Some(Refusal::BadRequest("the header section breaks HTTP")),
                E::ReadError | E::WriteError | E::WriteTimedout | E::ConnectionClosed | E::H2Error => None,
                _ => Some(Refusal::BadRequest("the request breaks HTTP")),
            },
            _ => Some(backend_refusal(kind)),
        },
    }
}

fn backend_refusal(kind: &ErrorType) -> Refusal {
    use ErrorType as E;
    match kind {
        E::ConnectTimedout | E::TLSHandshakeTimedout | E::ReadTimedout | E::WriteTimedout => {
            Refusal::BackendTimeout
        }
        E::ConnectRefused
        | E::ConnectNoRoute
        | E::ConnectError
        | E::ConnectProxyFailure
        | E::SocketError
        | E::BindError
        | E::TLSHandshakeFailure
        | E::HandshakeError
        | E::InvalidCert => Refusal::BackendDown,
        _ => Refusal::BackendBroken,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn failures_of_a_backend_have_three_faces() {
        let of = |kind: ErrorType| refusal(&Error::new_up(kind)).map(|refusal| refusal.code());
        assert_eq!(of(ErrorType::ConnectRefused), Some("backend_down"));
        assert_eq!(of(ErrorType::InvalidCert), Some("backend_down"));
        assert_eq!(of(ErrorType::ConnectTimedout), Some("backend_timeout"));
        assert_eq!(of(ErrorType::ReadTimedout), Some("backend_timeout"));
        assert_eq!(of(ErrorType::ConnectionClosed), Some("backend_broken"));
        assert_eq!(of(ErrorType::InvalidHTTPHeader), Some("backend_broken"));
    }

    #[test]
    fn a_visitor_who_is_gone_gets_no_page() {
        let of = |kind: ErrorType| refusal(&Error::new_down(kind)).map(|refusal| refusal.code());
        for kind in [ErrorType::ConnectionClosed, ErrorType::WriteError, ErrorType::ReadError] {
            assert_eq!(of(kind), None);
        }
        assert_eq!(of(ErrorType::InvalidHTTPHeader), Some("bad_request"));
    }

    #[test]
    fn a_target_reaches_the_app_as_a_path() {
        for (target, path) in
            [("/a?b", "/a?b"), ("https://a.test/a?b", "/a?b"), ("https://a.test", "/"), ("*", "*")]
        {
            let mut request = RequestHeader::build("OPTIONS", b"*", None).unwrap();
            request.set_uri(target.parse().unwrap());
            make_origin_form(&mut request);
            assert_eq!(request.raw_path(), path.as_bytes(), "{target}");
        }
    }

    #[test]
    fn only_what_the_backend_calls_a_stream_is_one() {
        let of = |status: u16, kind: &'static str| {
            let mut response = ResponseHeader::build(status, None).unwrap();
            response.insert_header(CONTENT_TYPE, kind).unwrap();
            is_stream(&response)
        };
        assert!(of(200, "application/grpc+proto"));
        assert!(of(200, "text/event-stream") && of(200, "Text/Event-Stream ; charset=utf-8") && of(101, ""));
        assert!(!of(200, "text/plain") && !of(200, "text/plain; a=text/event-stream"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn whatever_is_asked_for_an_app_gets_a_path(
            method in prop::sample::select(vec!["GET", "POST", "OPTIONS", "HEAD", "CONNECT"]),
            start in prop::sample::select(vec!["", "/", "//", "*", "http://", "HTTPS://", "http:/", "http://a", "?", "#"]),
            rest in prop::collection::vec(any::<u8>(), 0..40),
            is_readable in any::<bool>(),
        ) {
            let rest: Vec<u8> =
                rest.into_iter().map(|byte| if is_readable { b"a/:?#@[]%.*\\&=x"[usize::from(byte) % 15] } else { byte }).collect();
            let target = [start.as_bytes(), &rest].concat();
            // pingora refuses the rest before the edge sees it.
            let Ok(mut request) = RequestHeader::build(method, &target, None) else { return Ok(()) };
            let is_checked = crate::head::check(&request).is_ok();
            make_origin_form(&mut request);
            if is_checked {
                let is_any = method == "OPTIONS" && request.raw_path() == b"*";
                let text = request.raw_path().escape_ascii().to_string();
                prop_assert!(is_any || request.raw_path().first() == Some(&b'/'), "{}", text);
            }
        }
    }
}
