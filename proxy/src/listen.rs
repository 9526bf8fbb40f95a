//! Sockets and accept loops: from a TCP connection to pingora.
//!
//! A listening socket is bound once and shared by all workers (no `SO_REUSEPORT`, so that a second process is
//! told that the address is in use). Each worker accepts for itself, and a connection stays with its worker.
//! Above a cap (see [`crate::slots`]) connections are reset at once: memory is bounded, and the ones there are
//! go on.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::apps::{HttpServerApp as _, ReusedHttpStream, ServerApp as _};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use pingora_http::ResponseHeader;
use pingora_proxy::HttpProxy;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::connection::{
    Carrier, Connection, Ends, Farewell, Gate, Gauge, Guard, Limits, Screen, Transport, Wire, reset,
};
use crate::edge::{EdgeError, Shared, wait_for};
use crate::front::Unannounced;
use crate::handshake;
use crate::hooks::Hooks;
use crate::metrics::Turned;
use crate::slots::{Slot, Slots};

/// Connections that the kernel holds for us while all workers are busy.
const BACKLOG: i32 = 4096;
/// That connections are kept. pingora would wait so long for a request; the gate has one before pingora is asked.
const KEEP_ALIVE_SECONDS: u64 = 60;
/// Pause after an accept that failed for want of file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    /// Cleartext.
    Clear,
    /// TLS.
    Tls,
}

/// A bound socket.
#[derive(Debug)]
pub(crate) struct Bound {
    /// The socket.
    pub(crate) socket: StdListener,
    /// Where it listens, with its real port.
    pub(crate) address: SocketAddr,
    /// What it speaks.
    pub(crate) protection: Protection,
}

/// Listens on `addresses`: with a socket of `given` that does already, else with a new one.
///
/// # Errors
/// [`EdgeError`] names the address and what to do.
pub(crate) fn bind(
    addresses: &[SocketAddr],
    protection: Protection,
    given: &mut Vec<StdListener>,
) -> Result<Vec<Bound>, EdgeError> {
    let bound = |address: &SocketAddr| {
        let socket = match take(given, *address) {
            Some(socket) => socket.set_nonblocking(true).map(|()| socket),
            None => listen(*address),
        };
        let socket = socket.map_err(|error| EdgeError::of_bind(*address, error))?;
        // Its connections have it from here. Without it answers wait for the visitor's acknowledgement; an error
        // costs only that.
        let _set = SockRef::from(&socket).set_tcp_nodelay(true);
        let address = socket.local_addr().map_err(|error| EdgeError::of_bind(*address, error))?;
        Ok(Bound { socket, address, protection })
    };
    addresses.iter().map(bound).collect()
}

fn take(given: &mut Vec<StdListener>, address: SocketAddr) -> Option<StdListener> {
    let at = given.iter().position(|socket| socket.local_addr().is_ok_and(|own| own == address))?;
    Some(given.swap_remove(at))
}

fn listen(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart may bind while old connections are in TIME_WAIT; two listeners still exclude each other.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// One worker's half of the edge.
#[derive(Clone)]
pub(crate) struct Worker {
    /// What all workers share.
    pub(crate) edge: Arc<Shared>,
    /// This worker's pingora, with connections to backends of its own.
    pub(crate) proxy: Arc<HttpProxy<Hooks>>,
    /// True when connections should end.
    pub(crate) draining: ShutdownWatch,
    /// True when idle connections are closed.
    pub(crate) closing: ShutdownWatch,
}

/// Accepts until the edge drains.
pub(crate) async fn accept(worker: Worker, listener: TcpListener, protection: Protection) {
    let mut draining = worker.draining.clone();
    let mut is_stuck = false;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = draining.wait_for(|is_draining| *is_draining) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, client)) => {
                admit(&worker, tcp, client, protection);
                if std::mem::take(&mut is_stuck) {
                    tracing::info!("listener accepts again");
                }
            }
            Err(error) if is_visitors(&error) => {}
            Err(error) => {
                worker.edge.state.metrics.accepts_failed.inc();
                if !std::mem::replace(&mut is_stuck, true) {
                    tracing::error!(%error, "listener cannot accept: visitors wait, and it is tried again");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// Whether the connection failed, not the listener.
fn is_visitors(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

fn admit(worker: &Worker, mut tcp: TcpStream, peer: SocketAddr, protection: Protection) {
    let front = &worker.edge.front;
    // Behind a sender of PROXY headers it is not known yet whom the connection is from.
    let ends = (!front.announces(peer)).then(|| front.direct(peer));
    let slot = match (Slots::take(&worker.edge), &ends) {
        (Ok(slot), Some(ends)) => place(slot, ends),
        (slot, _) => slot,
    };
    let mut slot = match slot {
        Ok(slot) => slot,
        Err(why) => return turn_away(&worker.edge, &tcp, why),
    };
    let worker = worker.clone();
    tokio::spawn(async move {
        let edge = &worker.edge;
        let ends = match ends {
            Some(ends) => ends,
            None => {
                let Some(ends) = Box::pin(announced(edge, &mut tcp, peer)).await else { return };
                // What the sender does on its own account is not counted: its health checks.
                if ends.client != peer {
                    slot = match place(slot, &ends) {
                        Ok(slot) => slot,
                        Err(why) => return turn_away(edge, &tcp, why),
                    };
                }
                ends
            }
        };
        run(&worker, tcp, ends, protection).await;
        drop(slot);
    });
}

/// Counts the connection as one of its client's, unless that is a trusted proxy: its connections are those of
/// many visitors.
fn place(mut slot: Slot, ends: &Ends) -> Result<Slot, Turned> {
    if !ends.is_trusted {
        slot.belong_to(ends.client.ip())?;
    }
    Ok(slot)
}

/// Resets a connection: nothing of it is left, neither here nor in the kernel.
fn turn_away(edge: &Shared, tcp: &TcpStream, why: Turned) {
    edge.state.metrics.count_refused_connection(why);
    reset(tcp);
}

/// Whom a connection is from that begins with a PROXY header; none if it is to be closed.
async fn announced(edge: &Shared, tcp: &mut TcpStream, peer: SocketAddr) -> Option<Ends> {
    let error = match edge.front.announced(tcp, peer).await {
        Ok(ends) => return Some(ends),
        Err(error) => error,
    };
    tracing::debug!(%peer, %error, "connection was closed: it should have begun with a PROXY header");
    match error {
        Unannounced::Malformed(_) => edge.state.metrics.count_refused_connection(Turned::Unannounced),
        Unannounced::Late => edge.state.metrics.count_refused_connection(Turned::AnnouncedLate),
        Unannounced::Gone(_) => {}
    }
    None
}

/// What a connection needs only at its beginning, or only at its end, is boxed here and below: what is left is what an
/// idle one holds.
async fn run(worker: &Worker, tcp: TcpStream, ends: Ends, protection: Protection) {
    let client = ends.client;
    let (gauge, prepared) = prepare(worker, tcp, ends, protection);
    if let Some(ready) = prepared.await {
        serve(worker, ready).await;
    }
    let metrics = &worker.edge.state.metrics;
    metrics.count_wire_bytes(gauge.bytes());
    if let Some(cut) = gauge.cut() {
        metrics.count_cut(cut);
    }
    metrics.http2_stream_errors.inc_by(gauge.stream_errors());
    if let Some(kind) = gauge.flood() {
        metrics.count_flood(kind);
        tracing::debug!(%client, kind = kind.as_str(), "connection was ended: it flooded over HTTP/2");
    }
}

/// A connection that can be served.
struct Ready {
    connection: Box<Connection>,
    farewell: Farewell,
    is_http2: bool,
}

/// The way to a connection that can be served, or to none, and what it tells of itself.
fn prepare(
    worker: &Worker,
    tcp: TcpStream,
    ends: Ends,
    protection: Protection,
) -> (Arc<Gauge>, Pin<Box<impl Future<Output = Option<Ready>> + Send>>) {
    let mut wire = Wire::new(tcp, &worker.edge.deadlines);
    let (gauge, local) = (wire.gauge(), wire.local());
    let carrier = {
        let gauge = Arc::clone(&gauge);
        move |edge: &Shared, tls| Arc::new(Carrier { id: edge.slots.number(), ends, local, tls, gauge })
    };
    let edge = Arc::clone(&worker.edge);
    let prepared = async move {
        match protection {
            Protection::Clear => {
                wire.serve();
                ready(&edge, Transport::Plain(Box::new(wire)), carrier(&edge, None))
            }
            Protection::Tls => {
                let secured = handshake::perform(&edge, wire, ends.client).await?;
                ready(&edge, Transport::Tls(Box::new(secured.stream)), carrier(&edge, Some(secured.settled)))
            }
        }
    };
    (gauge, Box::pin(prepared))
}

fn ready(edge: &Arc<Shared>, transport: Transport, carrier: Arc<Carrier>) -> Option<Ready> {
    // A response with a known status always builds.
    let empty = ResponseHeader::build(200, Some(0)).ok()?;
    let is_http2 = transport.is_http2();
    let screen = screen(&transport, &carrier, edge);
    let farewell = Farewell::default();
    let connection = Box::new(Connection::new(transport, screen, carrier, farewell.clone(), empty));
    Some(Ready { connection, farewell, is_http2 })
}

async fn serve(worker: &Worker, ready: Ready) {
    let Ready { connection, farewell, is_http2 } = ready;
    if is_http2 {
        worker.proxy.process_new(connection, &worker.draining).await;
    } else {
        serve_http1(worker, connection).await;
    }
    if farewell.is_due() {
        Box::pin(farewell.say()).await;
    }
}

/// One request after the other. pingora's own loop would keep room for a whole request, 23 KB, while the next one is
/// awaited, which for most connections is nearly always.
async fn serve_http1(worker: &Worker, mut connection: Box<Connection>) {
    let mut closing = worker.closing.clone();
    let closing = wait_for(&mut closing);
    tokio::pin!(closing);
    loop {
        let is_there = tokio::select! {
            biased;
            is_there = poll_fn(|cx| connection.poll_request(cx)) => is_there,
            () = &mut closing => false,
        };
        if !is_there {
            return;
        }
        let Some(again) = serve_request(worker, connection).await.and_then(kept) else { return };
        connection = again;
    }
}

/// The way of one request, by which what was parsed of it stays out of what an idle connection holds.
fn serve_request(
    worker: &Worker,
    connection: Box<Connection>,
) -> impl Future<Output = Option<ReusedHttpStream>> + Send {
    let mut session = ServerSession::new_http1(connection);
    session.set_keepalive(Some(KEEP_ALIVE_SECONDS));
    worker.proxy.process_new_http(session, &worker.draining)
}

/// The connection that another request may come over.
fn kept(reused: ReusedHttpStream) -> Option<Box<Connection>> {
    reused.consume().0.into_any().downcast().ok()
}

fn screen(transport: &Transport, carrier: &Arc<Carrier>, edge: &Arc<Shared>) -> Screen {
    if !transport.is_http2() {
        return Screen::Http1(Box::new(Gate::new(Arc::clone(edge), Arc::clone(carrier))));
    }
    let deadlines = &edge.deadlines;
    let limits = Limits { header: deadlines.header, idle: deadlines.idle, stall: deadlines.body };
    Screen::Http2(Box::new(Guard::new(limits, Arc::clone(&carrier.gauge))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_new_and_given_sockets_send_at_once() {
        let any = [SocketAddr::from(([127, 0, 0, 1], 0))];
        let given = StdListener::bind(any[0]).unwrap();
        let address = given.local_addr().unwrap();
        let bound = [
            bind(&any, Protection::Tls, &mut Vec::new()).unwrap(),
            bind(&[address], Protection::Clear, &mut vec![given]).unwrap(),
        ];
        for bound in bound.iter().flatten() {
            let _client = std::net::TcpStream::connect(bound.address).unwrap();
            bound.socket.set_nonblocking(false).unwrap();
            assert!(bound.socket.accept().unwrap().0.nodelay().unwrap());
        }
    }
}
