//! A request's beginning, and the answers that the edge itself gives: pages and http-01 answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http::{Method, StatusCode, Version};
use pingora_core::protocols::http::HttpTask;
use pingora_core::{Error, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::{FailToProxy, Session};

use crate::connection::Carrier;
use crate::context::{Context, Exchange, Progress};
use crate::edge::Shared;
use crate::visitor::Visitor;
use crate::way::{Arrival, Passage};
use crate::{forward, grpc, page, way};

/// How long the body of a refused request is read on, so that the visitor sees the page before the end.
const DRAIN_BODY: Duration = Duration::from_secs(5);

/// A header section has arrived: its deadline is off, and the time limits of the rest hold.
pub(crate) fn begin(session: &mut Session, context: &mut Context, edge: &Shared) {
    if let Some(carrier) = Carrier::of(session) {
        carrier.gauge.header_arrived();
        context.visitor = Some(Visitor::of(session.req_header(), carrier, &edge.front.trusted));
        context.connection = Some(Arc::clone(carrier));
    }
    // HTTP/1.0 knows no informational responses (RFC 9110 §15.2).
    let is_http10 = session.req_header().version == Version::HTTP_10;
    session.set_ignore_info_resp(is_http10);
    // In HTTP/1 the gate and the wire look after time, silence between requests included. In HTTP/2 a visitor
    // can stop one stream while the connection goes on, which only pingora sees.
    let limit = session.is_http2().then_some(edge.deadlines.body);
    session.set_read_timeout(limit);
    session.set_write_timeout(limit);
    session.set_total_drain_timeout(Some(DRAIN_BODY));
}

/// Sends a request on its way; true if it got its answer here.
///
/// # Errors
/// If the visitor does not take the answer.
pub(crate) async fn receive(session: &mut Session, context: &mut Context, edge: &Shared) -> Result<bool> {
    let (Some(connection), Some(visitor)) = (context.connection.clone(), context.visitor) else {
        return Err(Error::explain(forward::NO_CARRIER, "a connection came from another listener"));
    };
    let arrival = Arrival { head: session.req_header(), connection: &connection, visitor };
    match way::admit(&arrival, edge) {
        Ok(Passage::Forward(admitted)) => {
            context.progress = Progress::Admitted(Exchange::new(admitted, context.arrived));
            invite_body(session).await?;
            Ok(false)
        }
        Ok(Passage::Challenge(body)) => {
            context.progress = Progress::Challenged;
            send(session, context, challenge(&body)?, body).await.map(|()| true)
        }
        Err(stopped) => {
            context.stop(stopped);
            refuse(session, context, edge).await.map(|()| true)
        }
    }
}

/// Tells a visitor who asked that the body may come (RFC 9110 §10.1.1). Not left to the backend: one that knows
/// nothing of it would let both sides wait for each other. pingora says nothing of it over HTTP/2.
async fn invite_body(session: &mut Session) -> Result<()> {
    let head = session.req_header();
    let waits = head.version == Version::HTTP_11
        && head
            .headers
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if waits { session.as_downstream_mut().write_continue_response().await } else { Ok(()) }
}

/// The end of a request that failed: a page, unless its response has begun or the visitor is gone.
pub(crate) async fn fail(
    session: &mut Session,
    error: &Error,
    context: &mut Context,
    edge: &Shared,
) -> FailToProxy {
    let mut error_code = 0;
    let fault = context.connection.as_ref().and_then(|connection| connection.gauge.fault().cloned());
    if let Some(refusal) = fault.or_else(|| forward::refusal(error)) {
        error_code = refusal.status();
        let has_begun = has_answer(session);
        match context.exchange().filter(|_| has_begun) {
            Some(exchange) => exchange.broken = Some(refusal),
            None if has_begun => {}
            None => {
                context.refuse(refusal);
                session.set_keepalive(None);
                // If it cannot be sent, the visitor is gone: the ending tells what was written.
                let _sent = refuse(session, context, edge).await;
            }
        }
    }
    FailToProxy { error_code, can_reuse_downstream: false }
}

/// Whether the visitor has the head of an answer, other than one that only says to wait.
pub(crate) fn has_answer(session: &Session) -> bool {
    session
        .response_written()
        .is_some_and(|head| !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS)
}

async fn refuse(session: &mut Session, context: &mut Context, edge: &Shared) -> Result<()> {
    let Some(refusal) = context.refusal() else { return Ok(()) };
    let head = session.req_header();
    if grpc::is_call(head) {
        let response = grpc::refusal(refusal, context.id)?;
        context.first_byte = Some(context.arrived.elapsed());
        let ending = vec![HttpTask::Header(response, true)];
        return session.as_downstream_mut().response_duplex_vec(ending).await.map(drop);
    }
    let is_head = head.method == Method::HEAD;
    let (response, body) = page::response(refusal, context.id, head.headers.get(ACCEPT), is_head);
    if refusal.ends_connection() || edge.state.course.is_ending() {
        session.set_keepalive(None);
    }
    send(session, context, response, body).await
}

async fn send(
    session: &mut Session,
    context: &mut Context,
    response: ResponseHeader,
    body: Bytes,
) -> Result<()> {
    context.first_byte = Some(context.arrived.elapsed());
    let downstream = session.as_downstream_mut();
    downstream.write_response_header(Box::new(response)).await?;
    if body.is_empty() {
        downstream.finish_body().await
    } else {
        downstream.write_response_body(body, true).await
    }
}

fn challenge(body: &Bytes) -> Result<ResponseHeader> {
    let mut response = ResponseHeader::build(200, Some(3))?;
    response.insert_header(CONTENT_TYPE, "application/octet-stream")?;
    response.insert_header(CONTENT_LENGTH, body.len())?;
    response.insert_header(CACHE_CONTROL, "no-store")?;
    Ok(response)
}
