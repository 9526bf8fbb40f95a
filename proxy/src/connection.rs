//! A visitor's connection as pingora sees it, and what the hooks read of it in HTTP/1 and HTTP/2 alike.
//!
//! The [`Carrier`] travels in the digest that pingora hands to every request of a connection. TLS is our
//! own tokio-rustls stream, so that the handshake, its alerts and its configuration are ours too.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use async_trait::async_trait;
use model::Host;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::client_auth::Proof;
use crate::client_hello::Ja4;
use draft::Draft;
pub(crate) use farewell::Farewell;
pub(crate) use gate::Gate;
pub(crate) use gauge::{Cut, Gauge};
pub(crate) use guard::{Flood, Guard, Limits};
pub(crate) use pace::Alarm;
pub(crate) use wire::{Wire, reset};

mod draft;
mod farewell;
pub(crate) mod gate;
mod gauge;
pub(crate) mod guard;
mod pace;
mod wire;

/// What is known of a connection.
#[derive(Debug)]
pub(crate) struct Carrier {
    /// Counted from 1 in this process.
    pub(crate) id: u64,
    /// Who is at its other end.
    pub(crate) ends: Ends,
    /// Where it was made to, on this machine; none if the kernel does not say.
    pub(crate) local: Option<SocketAddr>,
    /// What TLS settled; none on a cleartext listener.
    pub(crate) tls: Option<Settled>,
    /// What the hooks and the connection tell each other.
    pub(crate) gauge: Arc<Gauge>,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    /// Who connected: a visitor, or what stands in front of this edge.
    pub(crate) peer: SocketAddr,
    /// The same, or whom a PROXY header names.
    pub(crate) client: SocketAddr,
    /// Whether the client is a proxy whose word on its own visitors counts.
    pub(crate) is_trusted: bool,
}

/// What a handshake settled.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    /// The name that the visitor asked for.
    pub(crate) sni: Host,
    /// E.g. `TLSv1_3`.
    pub(crate) version: &'static str,
    /// The certificate that the visitor showed, if the name asked for one.
    pub(crate) client: Option<Arc<Proof>>,
    /// Which program made it; none if its ClientHello could not be read again.
    pub(crate) ja4: Option<Ja4>,
}

impl Carrier {
    /// The carrier of the connection that `session` came over; none for a session that is not from our
    /// listeners, which there are none of.
    pub(crate) fn of(session: &Session) -> Option<&Arc<Self>> {
        let digest = session.digest()?.proxy_digest.as_ref()?;
        digest.user_data.as_ref()?.downcast_ref::<Arc<Self>>()
    }

    /// The fingerprint of the program at the other end; none in the clear. Behind a proxy it is the proxy's.
    pub(crate) fn ja4(&self) -> Option<&str> {
        self.tls.as_ref()?.ja4.as_ref().map(Ja4::as_str)
    }

    /// The client's address; an IPv4 address in an IPv6 one counts as what it is. Whom a request is from says
    /// [`crate::visitor::Visitor`].
    pub(crate) fn ip(&self) -> IpAddr {
        self.ends.client.ip().to_canonical()
    }
}

/// A connection in the shape that pingora takes.
pub(crate) struct Connection {
    transport: Transport,
    screen: Screen,
    /// For HTTP/1 over TLS. In the clear the wire joins, and HTTP/2 joins its frames itself.
    draft: Option<Draft>,
    farewell: Farewell,
    digest: Arc<ProxyDigest>,
    fd: UniqueIDType,
}

/// The bytes' way.
pub(crate) enum Transport {
    /// In the clear.
    Plain(Box<Wire>),
    /// Over TLS.
    Tls(Box<TlsStream<Wire>>),
    /// Left behind for a [`Farewell`].
    Gone,
}

/// What stands between the bytes' way and pingora.
pub(crate) enum Screen {
    /// Each request of HTTP/1 is checked and handed on alone.
    Http1(Box<Gate>),
    /// Whoever floods over HTTP/2 is ended.
    Http2(Box<Guard>),
}

impl Connection {
    /// Joins the bytes, what stands before them, and what is known of them. `empty` is a response that stands for
    /// none; what may be left at the end goes to `farewell`.
    pub(crate) fn new(
        mut transport: Transport,
        screen: Screen,
        carrier: Arc<Carrier>,
        farewell: Farewell,
        empty: ResponseHeader,
    ) -> Self {
        let fd = transport.wire().map_or(-1, AsRawFd::as_raw_fd);
        if let (Screen::Http1(_), Some(wire)) = (&screen, transport.wire_mut()) {
            wire.leave_reading();
        }
        let is_drafted = matches!((&screen, &transport), (Screen::Http1(_), Transport::Tls(_)));
        let digest = Arc::new(ProxyDigest::new(Box::new(empty), Some(Box::new(carrier))));
        Self { transport, screen, draft: is_drafted.then(Draft::default), farewell, digest, fd }
    }
}

/// pingora drops a connection that it has no more use for, without a look at what may still come.
impl Drop for Connection {
    fn drop(&mut self) {
        // What the visitor was to see of an answer that broke off; what is not taken at once is lost.
        let _sent = self.poll_drain(&mut Context::from_waker(Waker::noop()));
        if matches!(&self.screen, Screen::Http1(gate) if gate.owes_farewell()) {
            self.farewell.leave(std::mem::replace(&mut self.transport, Transport::Gone));
        }
    }
}

impl Connection {
    /// Waits for the next request of HTTP/1, which pingora can be asked to serve then. Ready with false if none comes:
    /// the visitor has left, or has got an answer of ours that ends the connection.
    pub(crate) fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match &mut self.screen {
            Screen::Http1(gate) => gate.poll_request(&mut self.transport, cx),
            Screen::Http2(_) => Poll::Ready(false),
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.draft {
            Some(draft) => draft.poll_drain(&mut self.transport, cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Transport {
    fn wire(&self) -> Option<&Wire> {
        match self {
            Self::Plain(wire) => Some(wire),
            Self::Tls(stream) => Some(stream.get_ref().0),
            Self::Gone => None,
        }
    }

    fn wire_mut(&mut self) -> Option<&mut Wire> {
        match self {
            Self::Plain(wire) => Some(wire),
            Self::Tls(stream) => Some(stream.get_mut().0),
            Self::Gone => None,
        }
    }

    /// Whether TLS settled on HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Gone => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("fd", &self.fd).finish_non_exhaustive()
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(wire) => Pin::new(wire).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Gone => Poll::Ready(Err(gone())),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(wire) => Pin::new(wire).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Gone => Poll::Ready(Err(gone())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(wire) => Pin::new(wire).poll_write_vectored(cx, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Self::Gone => Poll::Ready(Err(gone())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(wire) => Pin::new(wire).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Gone => Poll::Ready(Err(gone())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(wire) => Pin::new(wire).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Gone => Poll::Ready(Err(gone())),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { transport, screen, .. } = &mut *self;
        match screen {
            Screen::Http1(gate) => gate.poll_read(transport, cx, buf),
            Screen::Http2(guard) => guard.poll_read(transport, cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { transport, screen, draft, .. } = &mut *self;
        match screen {
            Screen::Http1(gate) => {
                gate.note_write();
                match draft {
                    Some(draft) => draft.poll_write(transport, cx, bytes),
                    None => Pin::new(transport).poll_write(cx, bytes),
                }
            }
            Screen::Http2(guard) => guard.poll_write(transport, cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(cx))?;
        let Self { transport, screen, .. } = &mut *self;
        match screen {
            Screen::Http1(gate) => {
                gate.note_write();
                Pin::new(transport).poll_write_vectored(cx, pieces)
            }
            Screen::Http2(guard) => guard.poll_write_vectored(transport, cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        let Self { transport, screen, .. } = &mut *self;
        match screen {
            Screen::Http1(_) => Pin::new(transport).poll_flush(cx),
            Screen::Http2(guard) => guard.poll_flush(transport, cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Connection {
    async fn shutdown(&mut self) {
        // The visitor may be gone already; nobody is left to tell.
        let _ended = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Connection {
    fn id(&self) -> UniqueIDType {
        self.fd
    }
}

/// pingora's own digest of TLS can only be made by its own stream; the [`Carrier`] says more.
impl Ssl for Connection {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match &self.transport {
            Transport::Plain(_) | Transport::Gone => None,
            transport if transport.is_http2() => Some(ALPN::H2),
            Transport::Tls(_) => Some(ALPN::H1),
        }
    }
}

impl GetTimingDigest for Connection {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Connection {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.digest))
    }
}

/// The [`Carrier`] knows the addresses; pingora's digest would ask the kernel for them on each request.
impl GetSocketDigest for Connection {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Peek for Connection {}
