//! The direct way to a backend: what most requests are, spoken by the edge itself.
//!
//! pingora 0.9.1 runs the two halves of an exchange as two tasks with a channel each way, which is right for
//! uploads and upgrades and costs more than all of the edge's own stages for a small GET. So a request without a
//! body, to an app whose backends speak HTTP/1.1 in the clear, is sent from here, over connections of our own
//! ([`Lines`]). Everything else goes pingora's way: bodies, WebSockets, gRPC, TLS and HTTP/2 to backends, apps that
//! hedge or want PROXY headers. The visitor's side is pingora's in both. Who is asked, what is said to it, what
//! is made of its answer, when it is tried again and what a failure means is one code for both ways
//! ([`crate::forward`]).

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use pingora_core::protocols::http::HttpTask;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use tokio::time::Instant;

use crate::context::Context;
use crate::edge::Shared;
use crate::forward::NO_CARRIER;
use crate::headers::write_request;
use crate::{ending, forward, grpc};
use body::Rest;
use head::Stay;
use line::Line;
pub(crate) use lines::Lines;

mod body;
mod head;
mod line;
mod lines;

/// Sends an admitted request to its app and the answer to the visitor; false if it has to go pingora's way, for
/// which nothing has been done then.
///
/// # Errors
/// If there is no answer, or the visitor does not take it, and no other attempt may be made.
pub(crate) async fn forward(
    session: &mut Session,
    context: &mut Context,
    edge: &Shared,
    lines: &Lines,
) -> Result<bool> {
    if !is_direct(session, context) {
        return Ok(false);
    }
    loop {
        match attempt(session, context, edge, lines).await {
            Ok(()) => return Ok(true),
            Err(error) if error.retry() => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_direct(session: &mut Session, context: &mut Context) -> bool {
    let is_app = context.exchange().is_some_and(|exchange| exchange.admitted.site.pool.is_direct());
    is_app && session.as_mut().is_body_empty() && is_plain(session.req_header())
}

/// Whether a head asks for nothing but an answer.
fn is_plain(head: &RequestHeader) -> bool {
    let is_version = matches!(head.version, Version::HTTP_11 | Version::HTTP_2);
    let says_little = |value: &HeaderValue| {
        let options = ["keep-alive", "close"];
        options.iter().any(|option| value.as_bytes().eq_ignore_ascii_case(option.as_bytes()))
    };
    is_version
        && !head.headers.contains_key(UPGRADE)
        && head.headers.get_all(CONNECTION).iter().all(says_little)
        && !grpc::is_call(head)
}

/// One attempt at one backend.
async fn attempt(session: &mut Session, context: &mut Context, edge: &Shared, lines: &Lines) -> Result<()> {
    forward::take(session, context, edge).await?;
    let (mut line, is_kept) = match connect(context, lines).await {
        Ok(found) => found,
        Err(error) => return Err(forward::connect_failed(context, error.into_up(), edge)),
    };
    match exchange(&mut line, session, context, edge).await {
        Ok(Some(stay)) => lines.keep(line, stay),
        Ok(None) => {}
        Err(error) => return Err(forward::exchange_failed(session, context, error, is_kept, edge)),
    }
    Ok(())
}

/// A connection to the backend that was chosen, and whether it has served a request before.
async fn connect(context: &mut Context, lines: &Lines) -> Result<(Line, bool)> {
    let lease = context.exchange().and_then(|exchange| exchange.lease.as_ref());
    let lease = lease.ok_or_else(nothing_chosen)?;
    let key = lease.key().ok_or_else(nothing_chosen)?;
    match lines.take(key) {
        Some(line) => Ok((line, true)),
        None => Ok((Line::new(key, lease.dial(key.address).await?), false)),
    }
}

fn nothing_chosen() -> Box<Error> {
    Error::explain(NO_CARRIER, "no backend was chosen")
}

/// Asks over `line` and passes the answer on; how long the connection can be used after that, if it can.
async fn exchange(
    line: &mut Line,
    session: &mut Session,
    context: &mut Context,
    edge: &Shared,
) -> Result<Option<Stay>> {
    say(line, session, context).await?;
    let mut head = answer(line, session, context, edge).await?;
    let mut rest = Rest::of(&head, session.req_header().method == Method::HEAD).map_err(broken)?;
    let stay = Stay::of(&head, &rest);
    if matches!(rest, Rest::UntilEnd) {
        // So that the visitor sees where it ends, and that it was not cut.
        head.set_version(Version::HTTP_11);
        head.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    forward::relay(session, &mut head, context, edge)?;
    tell(session, HttpTask::Header(head, rest.is_over())).await?;
    relay_body(line, &mut rest, session, context, edge).await?;
    Ok(stay.filter(|_| line.unread().is_empty()))
}

/// Sends the request.
async fn say(line: &mut Line, session: &Session, context: &mut Context) -> Result<()> {
    let Some(facts) = forward::facts(context) else { return Err(nothing_chosen()) };
    let out = line.draft();
    write_request(session.req_header(), &facts, out)?;
    line.send().await
}

/// The head of the answer. Informational ones before it are passed on.
async fn answer(
    line: &mut Line,
    session: &mut Session,
    context: &mut Context,
    edge: &Shared,
) -> Result<Box<ResponseHeader>> {
    let due = context.exchange().and_then(|exchange| exchange.answer_due(true));
    let due = due.unwrap_or_else(|| Instant::now() + edge.deadlines.stream);
    let mut is_silent = true;
    loop {
        if let Some(mut head) = head::parse(line.unread())? {
            if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(head);
            }
            forward::relay(session, &mut head, context, edge)?;
            tell(session, HttpTask::Header(head, false)).await?;
        } else if line.fill(due, session.as_downstream_mut()).await? == 0 {
            let mut error = Error::explain(ErrorType::ConnectionClosed, "no answer").into_up();
            if is_silent {
                error.retry = pingora_core::RetryType::ReusedOnly;
            }
            return Err(error);
        } else {
            is_silent = false;
        }
    }
}

/// Passes the body on as it comes.
async fn relay_body(
    line: &mut Line,
    rest: &mut Rest,
    session: &mut Session,
    context: &mut Context,
    edge: &Shared,
) -> Result<()> {
    let mut has_ended = rest.is_over();
    while !has_ended {
        let piece: Option<Bytes> = rest.gather(line.unread()).map_err(broken)?;
        has_ended = rest.is_over();
        if piece.is_some() || has_ended {
            ending::flow(session, context, edge)?;
            tell(session, HttpTask::Body(piece, has_ended)).await?;
            continue;
        }
        let deadline = context.exchange().and_then(|exchange| exchange.deadline);
        let silence = Instant::now() + edge.deadlines.stream;
        let due = deadline.map_or(silence, |deadline| deadline.min(silence));
        if line.fill(due, session.as_downstream_mut()).await? == 0 && !rest.end() {
            return Err(Error::explain(ErrorType::ConnectionClosed, "the answer was cut").into_up());
        }
    }
    Ok(())
}

/// Passes a part of the answer on.
async fn tell(session: &mut Session, part: HttpTask) -> Result<()> {
    session.as_downstream_mut().response_duplex_vec(vec![part]).await.map(drop)
}

/// What a backend said: its head, its body without framing, whether that is whole, and how many bytes follow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    head: ResponseHead,
    body: Vec<u8>,
    is_whole: bool,
    left: usize,
}

type ResponseHead = (StatusCode, Version, HeaderMap);

/// For [`crate::fuzzing`]: reads an answer that comes in pieces of `step` bytes; none if it is cut in its head or
/// broken.
pub(crate) fn judge(bytes: &[u8], step: usize) -> Option<Said> {
    let (mut read, mut body, mut known) = (BytesMut::new(), Vec::new(), None);
    for piece in bytes.chunks(step.max(1)) {
        read.extend_from_slice(piece);
        if known.is_none() {
            let Some(head) = head::parse(&mut read).ok()? else { continue };
            let rest = Rest::of(&head, false).ok()?;
            known = Some((head, rest));
        }
        if let Some((_, rest)) = &mut known {
            body.extend(rest.gather(&mut read).ok()?.unwrap_or_default());
        }
    }
    let (head, rest) = known?;
    let head = (head.status, head.version, head.headers.clone());
    Some(Said { head, body, is_whole: rest.is_over(), left: read.len() })
}

fn broken(reason: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, reason).into_up()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_head_that_asks_for_nothing_but_an_answer_is_plain() {
        let is_plain = |fields: &[(&'static str, &'static str)], version| {
            let mut head = RequestHeader::build("GET", b"/", None).unwrap();
            head.set_version(version);
            fields.iter().for_each(|(name, value)| _ = head.append_header(*name, *value).unwrap());
            is_plain(&head)
        };
        assert!(is_plain(&[], Version::HTTP_11) && is_plain(&[], Version::HTTP_2));
        assert!(!is_plain(&[], Version::HTTP_10));
        for (value, wanted) in [("Keep-Alive", true), ("close", true), ("x-a", false), ("close, x", false)] {
            assert_eq!(is_plain(&[("connection", value)], Version::HTTP_11), wanted, "{value}");
        }
        assert!(!is_plain(&[("upgrade", "h2c")], Version::HTTP_11));
    }
}
