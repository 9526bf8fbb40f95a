//! The door of the API: who has come in and not said anything yet.
//!
//! hyper ends a connection of which it has read nothing when it is told to end, though a request may be on its
//! way. So a stop first closes the door, then waits for those to speak.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A listener that can be told to take nobody any more; who waits then is left to another process.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    /// How many connections have not said anything.
    pub(crate) silent: Arc<watch::Sender<usize>>,
    /// Closed once it is true, or its sender is gone.
    pub(crate) closed: watch::Receiver<bool>,
}

impl Listener for Door {
    type Io = Visit;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visit, SocketAddr) {
        let closed = async { drop(self.closed.wait_for(|closed| *closed).await) };
        let (tcp, address) = tokio::select! {
            biased;
            () = closed => std::future::pending().await,
            accepted = Listener::accept(&mut self.listener) => accepted,
        };
        self.silent.send_modify(|count| *count += 1);
        (Visit { tcp, silence: Some(Silence(Arc::clone(&self.silent))) }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Visit {
    tcp: TcpStream,
    silence: Option<Silence>,
}

/// Counts for as long as it is there.
#[derive(Debug)]
struct Silence(Arc<watch::Sender<usize>>);

impl Drop for Silence {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl AsyncRead for Visit {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let visit = self.get_mut();
        let read = ready!(Pin::new(&mut visit.tcp).poll_read(cx, buffer));
        visit.silence = None;
        Poll::Ready(read)
    }
}

impl AsyncWrite for Visit {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
