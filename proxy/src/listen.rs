//! Sockets and accept loops: from a TCP connection to pingora.
//!
//! A listening socket is bound once and shared by all workers (no `SO_REUSEPORT`, so that a second process is
//! told that the address is in use). Each worker accepts for itself, and a connection stays with its worker.
//! Above the cap, connections are dropped at once: memory is bounded, and the ones there are go on.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use pingora_core::apps::ServerApp as _;
use pingora_core::server::ShutdownWatch;
use pingora_http::ResponseHeader;
use pingora_proxy::HttpProxy;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::connection::{Carrier, Connection, Guard, Limits, Screen, Settled, Transport, Wire};
use crate::edge::{EdgeError, Shared};
use crate::hooks::Hooks;
use crate::metrics::Handshake;
use crate::tls::HandshakeError;

/// Connections that the kernel holds for us while all workers are busy.
const BACKLOG: i32 = 4096;
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

/// Binds `addresses`.
///
/// # Errors
/// [`EdgeError`] names the address and what to do.
pub(crate) fn bind(addresses: &[SocketAddr], protection: Protection) -> Result<Vec<Bound>, EdgeError> {
    let bound = |address: &SocketAddr| {
        let socket = listen(*address).map_err(|error| EdgeError::of_bind(*address, error))?;
        let address = socket.local_addr().map_err(|error| EdgeError::of_bind(*address, error))?;
        Ok(Bound { socket, address, protection })
    };
    addresses.iter().map(bound).collect()
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

/// How many connections there are, and how many there may be.
#[derive(Debug)]
pub(crate) struct Slots {
    open: AtomicUsize,
    most: usize,
    made: AtomicU64,
    emptied: Notify,
}

/// A connection's place, given back when dropped.
pub(crate) struct Slot(Arc<Shared>);

impl Slots {
    /// Places for `most` connections.
    pub(crate) fn new(most: usize) -> Self {
        Self { open: AtomicUsize::new(0), most, made: AtomicU64::new(0), emptied: Notify::new() }
    }

    fn take(edge: &Arc<Shared>) -> Option<Slot> {
        let slots = &edge.slots;
        let room = |open| (open < slots.most).then_some(open + 1);
        slots.open.fetch_update(Relaxed, Relaxed, room).ok()?;
        edge.state.metrics.connections.inc();
        Some(Slot(Arc::clone(edge)))
    }

    /// Waits until no connection is left.
    pub(crate) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.open.load(Relaxed) == 0 {
                return;
            }
            emptied.await;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.state.metrics.connections.dec();
        if self.0.slots.open.fetch_sub(1, Relaxed) == 1 {
            self.0.slots.emptied.notify_waiters();
        }
    }
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
}

/// Accepts until the edge drains.
pub(crate) async fn accept(worker: Worker, listener: TcpListener, protection: Protection) {
    let mut draining = worker.draining.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = draining.wait_for(|is_draining| *is_draining) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, client)) => admit(&worker, tcp, client, protection),
            Err(error) if is_visitors(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "listener cannot accept");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Whether the connection failed, not the listener.
fn is_visitors(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

fn admit(worker: &Worker, tcp: TcpStream, client: SocketAddr, protection: Protection) {
    let Some(slot) = Slots::take(&worker.edge) else {
        worker.edge.state.metrics.connections_over_cap.inc();
        return;
    };
    let worker = worker.clone();
    tokio::spawn(async move {
        // Without it, answers wait for the visitor's acknowledgement; an error costs only that.
        let _set = tcp.set_nodelay(true);
        let wire = Wire::new(tcp, worker.edge.deadlines.header);
        let gauge = wire.gauge();
        match protection {
            Protection::Clear => serve_clear(&worker, wire, client).await,
            Protection::Tls => serve_tls(&worker, wire, client).await,
        }
        let metrics = &worker.edge.state.metrics;
        metrics.count_wire_bytes(gauge.bytes());
        if gauge.was_cut() {
            metrics.connections_cut.inc();
        }
        metrics.http2_stream_errors.inc_by(gauge.stream_errors());
        if let Some(kind) = gauge.flood() {
            metrics.count_flood(kind);
            tracing::debug!(%client, kind = kind.as_str(), "connection was ended: it flooded over HTTP/2");
        }
        drop(slot);
    });
}

async fn serve_clear(worker: &Worker, mut wire: Wire, client: SocketAddr) {
    wire.serve();
    let gauge = wire.gauge();
    serve(worker, Transport::Plain(wire), carrier(&worker.edge, client, None, gauge)).await;
}

async fn serve_tls(worker: &Worker, wire: Wire, client: SocketAddr) {
    let edge = &worker.edge;
    let gauge = wire.gauge();
    let handshake = timeout(edge.deadlines.handshake, edge.tls.accept(wire, &*edge.state.clock)).await;
    let result = match &handshake {
        Ok(Ok(_)) => Handshake::Ok,
        Ok(Err(HandshakeError::UnknownName(_))) => Handshake::UnknownName,
        Ok(Err(HandshakeError::Failed(_))) => Handshake::Failed,
        Err(_) => Handshake::TimedOut,
    };
    edge.state.metrics.count_handshake(result);
    match handshake {
        Ok(Ok(secured)) => {
            let carrier = carrier(edge, client, Some(secured.settled), gauge);
            serve(worker, Transport::Tls(Box::new(secured.stream)), carrier).await;
        }
        Ok(Err(error)) => tracing::debug!(%client, %error, "handshake failed"),
        Err(_) => tracing::debug!(%client, "handshake was not done in time"),
    }
}

fn carrier(
    edge: &Shared,
    client: SocketAddr,
    tls: Option<Settled>,
    gauge: Arc<crate::connection::Gauge>,
) -> Arc<Carrier> {
    let id = edge.slots.made.fetch_add(1, Relaxed) + 1;
    Arc::new(Carrier { id, client, tls, gauge })
}

async fn serve(worker: &Worker, transport: Transport, carrier: Arc<Carrier>) {
    // A response with a known status always builds.
    let Ok(empty) = ResponseHeader::build(200, Some(0)) else { return };
    let screen = screen(&transport, &carrier, &worker.edge);
    let connection = Connection::new(transport, screen, carrier, empty);
    worker.proxy.process_new(Box::new(connection), &worker.draining).await;
}

fn screen(transport: &Transport, carrier: &Carrier, edge: &Shared) -> Screen {
    if !transport.is_http2() {
        return Screen::Open;
    }
    let deadlines = &edge.deadlines;
    let limits = Limits { header: deadlines.header, idle: deadlines.idle, stall: deadlines.body };
    Screen::Http2(Box::new(Guard::new(limits, Arc::clone(&carrier.gauge))))
}
