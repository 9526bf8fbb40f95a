//! The socket below TLS: counts bytes, joins small writes, and ends a visitor who never ends a header section.
//!
//! pingora's time limits hold for one read each, so a byte every few seconds keeps a connection for ever
//! (slowloris). Here a header section has one deadline in all. The timer is armed only when a read has to
//! wait for the rest of one; a request that arrives in one piece costs no timer.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::Flood;

/// Writes are joined up to so many bytes: one full TLS record.
const JOIN_BYTES: usize = 16 << 10;
/// A drained buffer of at most so many bytes is kept for the next response.
const KEEP_BYTES: usize = 4 << 10;

/// What the hooks and the wire tell each other.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// Odd while a header section is awaited; another number for each wait.
    turn: AtomicU64,
    was_cut: AtomicBool,
    read: AtomicU64,
    written: AtomicU64,
    /// One more than the place in [`Flood::ALL`]; 0: none.
    flood: AtomicUsize,
    stream_errors: AtomicU64,
}

impl Gauge {
    /// A header section arrived: the deadline is off.
    pub(crate) fn header_arrived(&self) {
        self.turn_to(false);
    }

    /// The next bytes begin a header section, which has a deadline from its first byte.
    pub(crate) fn await_header(&self) {
        self.turn_to(true);
    }

    fn turn_to(&self, awaits_header: bool) {
        let next = |turn| (is_wait(turn) != awaits_header).then(|| turn + 1);
        // An error means that it is that turn already.
        let _turned = self.turn.fetch_update(Relaxed, Relaxed, next);
    }

    /// Whether the deadline ended the connection.
    pub(crate) fn was_cut(&self) -> bool {
        self.was_cut.load(Relaxed)
    }

    /// A deadline ends the connection.
    pub(super) fn note_cut(&self) {
        self.was_cut.store(true, Relaxed);
    }

    /// A flood ends the connection.
    pub(super) fn note_flood(&self, flood: Flood) {
        self.flood.store(1 + flood as usize, Relaxed);
    }

    /// The flood that ended the connection.
    pub(crate) fn flood(&self) -> Option<Flood> {
        Flood::ALL.get(self.flood.load(Relaxed).checked_sub(1)?).copied()
    }

    /// Streams were reset because of what the visitor sent.
    pub(super) fn note_stream_errors(&self, count: u64) {
        self.stream_errors.fetch_add(count, Relaxed);
    }

    /// Streams that were reset because of what the visitor sent; known when the connection is over.
    pub(crate) fn stream_errors(&self) -> u64 {
        self.stream_errors.load(Relaxed)
    }

    /// Bytes on the wire so far, in and out.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.read.load(Relaxed), self.written.load(Relaxed))
    }
}

const fn is_wait(turn: u64) -> bool {
    turn % 2 == 1
}

/// One TCP connection.
#[derive(Debug)]
pub(crate) struct Wire {
    tcp: TcpStream,
    gauge: Arc<Gauge>,
    header_limit: Duration,
    /// The turn of the gauge that what follows belongs to.
    turn: u64,
    /// Whether a header section has begun, so that its rest is due.
    is_due: bool,
    alarm: Option<Pin<Box<Sleep>>>,
    is_joining: bool,
    out: Vec<u8>,
    sent: usize,
}

impl Wire {
    /// A wire that sends at once, for a handshake. Call [`Self::serve`] before requests.
    pub(crate) fn new(tcp: TcpStream, header_limit: Duration) -> Self {
        let gauge = Arc::new(Gauge::default());
        Self {
            tcp,
            gauge,
            header_limit,
            turn: 0,
            is_due: false,
            alarm: None,
            is_joining: false,
            out: Vec::new(),
            sent: 0,
        }
    }

    /// From now on requests are read, the first of which is due, and small writes are joined until a flush.
    pub(crate) fn serve(&mut self) {
        self.is_joining = true;
        self.gauge.await_header();
        self.follow();
        self.is_due = true;
    }

    /// Ends the connection at once: nothing of it is left in the kernel.
    pub(crate) fn reset(self) {
        reset(&self.tcp);
    }

    /// What the hooks need of it.
    pub(crate) fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.gauge)
    }

    /// Forgets the header section before, if this is another one.
    fn follow(&mut self) {
        let turn = self.gauge.turn.load(Relaxed);
        if turn != self.turn {
            self.turn = turn;
            self.is_due = false;
            self.alarm = None;
        }
    }

    fn note_read(&mut self, bytes: usize) {
        self.gauge.read.fetch_add(count(bytes), Relaxed);
        self.is_due |= bytes > 0 && is_wait(self.turn);
    }

    /// Nothing is there to read. Ready when the rest of a header section is overdue.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_due {
            return Poll::Pending;
        }
        let limit = self.header_limit;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(limit)));
        alarm.as_mut().poll(cx)
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let sent = ready!(Pin::new(&mut self.tcp).poll_write(cx, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
            self.gauge.written.fetch_add(count(sent), Relaxed);
        }
        self.sent = 0;
        self.out.clear();
        if self.out.capacity() > KEEP_BYTES {
            self.out = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Whether `bytes` more are joined to what waits.
    fn joins(&self, bytes: usize) -> bool {
        self.is_joining && self.out.len() + bytes <= JOIN_BYTES
    }
}

/// Has the kernel send a reset when `tcp` is dropped, and forget it.
pub(crate) fn reset(tcp: &TcpStream) {
    // An error costs the visitor a polite end instead.
    let _set = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl AsRawFd for Wire {
    fn as_raw_fd(&self) -> RawFd {
        self.tcp.as_raw_fd()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.follow();
        let before = buf.filled().len();
        match Pin::new(&mut self.tcp).poll_read(cx, buf) {
            Poll::Ready(result) => {
                self.note_read(buf.filled().len() - before);
                Poll::Ready(result)
            }
            Poll::Pending => {
                ready!(self.poll_overdue(cx));
                self.gauge.note_cut();
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the header section is overdue")))
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.joins(bytes.len()) {
            self.out.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_drain(cx))?;
        let sent = ready!(Pin::new(&mut self.tcp).poll_write(cx, bytes))?;
        self.gauge.written.fetch_add(count(sent), Relaxed);
        Poll::Ready(Ok(sent))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total = pieces.iter().map(|piece| piece.len()).sum();
        if self.joins(total) {
            pieces.iter().for_each(|piece| self.out.extend_from_slice(piece));
            return Poll::Ready(Ok(total));
        }
        ready!(self.poll_drain(cx))?;
        let sent = ready!(Pin::new(&mut self.tcp).poll_write_vectored(cx, pieces))?;
        self.gauge.written.fetch_add(count(sent), Relaxed);
        Poll::Ready(Ok(sent))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// rustls writes an alert without a flush when it gives a connection up; what the socket takes at once still
/// goes out.
impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let _sent = self.tcp.try_write(rest);
        }
    }
}

#[cfg(test)]
mod tests;
