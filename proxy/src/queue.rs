//! The wait for a place among the requests that an app works on.
//!
//! The one stage that may wait, for a short time and after the way: what comes here is admitted and has been taken
//! from the tenant's rate; refused as busy, it is not billed. It wakes when it is called and when its time is
//! over, and in between it costs nothing. A visitor who leaves gives up the wait, as far as that can be
//! seen: while the body of an HTTP/1 request is still to be read, its end stands behind it. In memory, so it is
//! never away.

use pingora_core::protocols::http::ServerSession;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::time::{Duration, sleep};

use crate::backends::{Entrance, Place, Ticket};
use crate::context::Context;
use crate::edge::Shared;
use crate::forward::BUSY;
use crate::metrics::WaitEnd;

/// Takes the request's place, if it has none.
///
/// # Errors
/// If there is none in time, or the visitor has left.
pub(crate) async fn enter(session: &mut Session, context: &mut Context, edge: &Shared) -> Result<()> {
    let Some(visitor) = context.visitor.map(|visitor| visitor.address.into()) else { return Ok(()) };
    let Some(exchange) = context.exchange().filter(|exchange| exchange.place.is_none()) else {
        return Ok(());
    };
    let pool = &exchange.admitted.site.pool;
    let limit = pool.settings().queue_timeout();
    let place = match pool.gate().enter(visitor) {
        Entrance::Open(place) => place,
        Entrance::Full => return Err(busy(edge, WaitEnd::Full)),
        Entrance::Wait(_) if limit.is_zero() => return Err(busy(edge, WaitEnd::Full)),
        Entrance::Wait(ticket) => wait(session, ticket, limit, edge).await?,
    };
    exchange.place = Some(place);
    Ok(())
}

async fn wait(session: &mut Session, mut ticket: Ticket, limit: Duration, edge: &Shared) -> Result<Place> {
    tokio::select! {
        place = ticket.called() => match place {
            Some(place) => {
                edge.state.metrics.count_wait(WaitEnd::LetIn);
                Ok(place)
            }
            None => Err(busy(edge, WaitEnd::PushedOut)),
        },
        () = sleep(limit) => Err(busy(edge, WaitEnd::TimedOut)),
        error = left(session.as_downstream_mut()) => {
            edge.state.metrics.count_wait(WaitEnd::Left);
            Err(error.into_down())
        }
    }
}

/// Waits until the visitor is gone.
pub(crate) async fn left(visitor: &mut ServerSession) -> Box<Error> {
    if visitor.is_body_done() {
        if let Err(error) = visitor.read_body_or_idle(true).await {
            return error;
        }
    } else if let Some(idle) = visitor.watch_h2_stream_close() {
        // A reset or the connection's end.
        let _reason = idle.await;
        return Error::new(ErrorType::ConnectionClosed);
    }
    std::future::pending().await
}

fn busy(edge: &Shared, end: WaitEnd) -> Box<Error> {
    edge.state.metrics.count_wait(end);
    Error::explain(BUSY, "the app works on as many requests as it may")
}
