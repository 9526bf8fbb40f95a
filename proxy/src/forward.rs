//! Between a visitor and an app: the choice of a backend, retries, both headers, and what a failure means.
//!
//! A retry needs another backend (or the same one, if only a kept connection was stale), a place in the app's
//! retry budget, and safety: nothing was sent, or the method is idempotent and there is no body, and no
//! response has begun. Three attempts at most.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode, Uri};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result, RetryType};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use crate::backends::NoPick;
use crate::context::{Context, Exchange};
use crate::edge::Shared;
use crate::headers::{ForwardFacts, Hsts, rebuild_request, secure_response};
use crate::refusal::Refusal;

/// Attempts for one request: the first and two retries.
pub(crate) const ATTEMPTS: usize = 3;
/// A request without our carrier, which none of our listeners makes.
pub(crate) const NO_CARRIER: ErrorType = ErrorType::new("StoaNoCarrier");
const NO_BACKEND: ErrorType = ErrorType::new("StoaNoBackend");
const ALL_DOWN: ErrorType = ErrorType::new("StoaAllDown");
/// The whole request takes too long.
pub(crate) const OVERDUE: ErrorType = ErrorType::new("StoaOverdue");

/// Whether a request may be silent for long: an upgrade, or one that asks for an event stream as every
/// browser's `EventSource` does. pingora 0.9.1 wants to know before the response, and its read timeout holds
/// for the first byte too, so that these have none but [`crate::Deadlines::stream`].
pub(crate) fn may_stream(session: &Session) -> bool {
    session.is_upgrade_req() || has_event_stream(&session.req_header().headers, &ACCEPT)
}

fn has_event_stream(headers: &HeaderMap, name: &http::HeaderName) -> bool {
    const KIND: &[u8] = b"text/event-stream";
    headers
        .get(name)
        .is_some_and(|value| value.as_bytes().windows(KIND.len()).any(|part| part.eq_ignore_ascii_case(KIND)))
}

/// The backend for the next attempt.
///
/// # Errors
/// If there is none.
pub(crate) fn choose(_: &Session, context: &mut Context, edge: &Shared) -> Result<Box<HttpPeer>> {
    let Some(exchange) = context.exchange() else {
        return Err(Error::explain(NO_CARRIER, "a request was not admitted"));
    };
    let pool = &exchange.admitted.site.pool;
    let lease = match exchange.next.take() {
        Some(lease) => lease,
        None => {
            pool.note_request();
            pool.pick(&[]).map_err(|none| match none {
                NoPick::NoBackend => Error::explain(NO_BACKEND, "the app has no backend"),
                NoPick::AllDown => Error::explain(ALL_DOWN, "no backend can be tried"),
            })?
        }
    };
    let mut peer = lease.peer();
    if exchange.is_stream {
        peer.options.read_timeout = Some(edge.deadlines.stream);
    }
    exchange.tried.push(lease.index());
    exchange.lease = Some(lease);
    Ok(peer)
}

/// Makes a visitor's request one of the edge.
///
/// # Errors
/// None that a visitor can cause.
pub(crate) fn rewrite(request: &mut RequestHeader, context: &mut Context) -> Result<()> {
    make_origin_form(request);
    let id = context.id;
    let Some(connection) = context.connection.clone() else { return Ok(()) };
    let Some(exchange) = context.exchange() else { return Ok(()) };
    let facts = ForwardFacts {
        client: connection.ip(),
        https: connection.is_https(),
        host: exchange.admitted.host.as_str(),
        port: exchange.admitted.port,
        request: id,
    };
    rebuild_request(request, &facts)
}

/// The target as a path (RFC 9112 §3.2.1): the host was read from it and stands in `Host`.
fn make_origin_form(request: &mut RequestHeader) {
    if request.uri.authority().is_none() && matches!(request.raw_path().first(), Some(b'/' | b'*')) {
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
    if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
    }
    context.first_byte = Some(context.arrived.elapsed());
    if edge.state.course.is_ending() {
        session.set_keepalive(None);
    }
    let id = context.id;
    let is_https = context.connection.as_ref().is_some_and(|connection| connection.is_https());
    let Some(exchange) = context.exchange() else { return Ok(()) };
    if let Some(lease) = &exchange.lease {
        lease.succeeded();
    }
    let is_stream = response.status == StatusCode::SWITCHING_PROTOCOLS
        || has_event_stream(&response.headers, &CONTENT_TYPE);
    if is_stream {
        exchange.deadline = None;
    }
    let admitted = &exchange.admitted;
    let hsts = if is_https { admitted.hsts } else { Hsts::Off };
    secure_response(response, &admitted.site.policy, &edge.state.zones, hsts, id)
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

/// Something failed after the connection was there.
pub(crate) fn exchange_failed(
    session: &mut Session,
    context: &mut Context,
    mut error: Box<Error>,
    was_reused: bool,
    edge: &Shared,
) -> Box<Error> {
    let is_backends = *error.esource() == ErrorSource::Upstream && session.response_written().is_none();
    let is_stale = was_reused && error.retry == RetryType::ReusedOnly;
    let is_timeout = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
    let is_safe = session.req_header().method.is_idempotent() && session.is_body_empty();
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

/// Takes a backend for the next attempt, if there may be one.
fn plan(exchange: &mut Exchange, avoided: &[usize], attempts: usize) -> bool {
    let pool = &exchange.admitted.site.pool;
    if attempts >= ATTEMPTS {
        return false;
    }
    exchange.next = pool.pick(avoided).ok().filter(|_| pool.may_retry());
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
        kind if *kind == OVERDUE => Some(Refusal::BackendTimeout),
        kind => match error.esource() {
            ErrorSource::Downstream => match kind {
                E::ReadTimedout => Some(Refusal::BadRequest("the body came too slowly")),
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
            [("/a?b", "/a?b"), ("http://a.test/a?b", "/a?b"), ("http://a.test", "/"), ("*", "*")]
        {
            let mut request = RequestHeader::build("OPTIONS", target.as_bytes(), None).unwrap();
            make_origin_form(&mut request);
            assert_eq!(request.raw_path(), path.as_bytes(), "{target}");
        }
    }
}
