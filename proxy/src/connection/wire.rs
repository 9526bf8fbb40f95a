//! The socket below TLS: counts bytes, joins small writes, and ends a visitor who does not read what is written.
//!
//! pingora's time limits hold for one write each, so a byte every few seconds keeps a connection, and the
//! answer that is held for it, for ever. Here bytes that wait go out at a least rate. What a visitor may take
//! for a request is the gate's matter in HTTP/1; in HTTP/2 the first request is due here.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::gauge::{Cut, Gauge};
use super::pace::{Alarm, Pace, Rules};
use crate::client_hello;
use crate::settings::Deadlines;

/// Writes are joined up to so many bytes: one full TLS record.
const JOIN_BYTES: usize = 16 << 10;
/// Room for the ClientHello of a browser.
const HELLO_BYTES: usize = 2 << 10;
/// Room for most small answers.
const USUAL_BYTES: usize = 2 << 10;

/// One TCP connection.
#[derive(Debug)]
pub(crate) struct Wire {
    tcp: TcpStream,
    gauge: Arc<Gauge>,
    header_limit: Duration,
    /// When the first request is due; none before requests are served, and when somebody else looks after it.
    due: Option<Instant>,
    alarm: Alarm,
    pace: Pace,
    /// For the pace alone: a read and a write may wait at the same time.
    write_alarm: Alarm,
    /// Whether the handshake is over.
    is_serving: bool,
    /// Whether what waits goes out before anything is awaited.
    is_due: bool,
    /// What has come in of a ClientHello; none when nobody wants it.
    hello: Option<Vec<u8>>,
    out: Vec<u8>,
    sent: usize,
}

impl Wire {
    /// A wire for a handshake: what is written and flushed goes out when the visitor's word is awaited. Call
    /// [`Self::serve`] before requests.
    pub(crate) fn new(tcp: TcpStream, deadlines: &Deadlines) -> Self {
        Self {
            tcp,
            gauge: Arc::default(),
            header_limit: deadlines.header,
            due: None,
            alarm: Alarm::default(),
            pace: Pace::new(Rules::new(deadlines)),
            write_alarm: Alarm::default(),
            is_serving: false,
            is_due: false,
            hello: None,
            out: Vec::new(),
            sent: 0,
        }
    }

    /// Where the visitor connected to, on this machine.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.tcp.local_addr().ok()
    }

    /// From now on requests are read, the first of which is due, and a flush sends at once.
    pub(crate) fn serve(&mut self) {
        self.is_serving = true;
        self.due = Some(Instant::now() + self.header_limit);
    }

    /// What waits goes out with the next flush, or at the end. After a handshake of TLS 1.3 that is tickets: nobody
    /// waits for them, and with the first answer they cost nothing.
    pub(crate) fn hold(&mut self) {
        self.is_due = false;
    }

    /// Somebody else looks after what is due.
    pub(super) fn leave_reading(&mut self) {
        self.due = None;
    }

    /// From now on what comes in is kept too, up to [`client_hello::MOST_BYTES`], after which it is an error.
    pub(crate) fn record(&mut self) {
        self.hello = Some(Vec::with_capacity(HELLO_BYTES));
    }

    /// What came in since [`Self::record`].
    pub(crate) fn recorded(&mut self) -> Vec<u8> {
        self.hello.take().unwrap_or_default()
    }

    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(hello) = &mut self.hello else { return Ok(()) };
        if hello.len() + bytes.len() > client_hello::MOST_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the ClientHello is too large"));
        }
        hello.extend_from_slice(bytes);
        Ok(())
    }

    /// Ends the connection at once: nothing of it is left in the kernel.
    pub(crate) fn reset(self) {
        reset(&self.tcp);
    }

    /// What the hooks need of it.
    pub(crate) fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.gauge)
    }

    /// Nothing is there to read. Ready when the first request is overdue.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.due {
            Some(due) if !self.gauge.has_request() => self.alarm.poll(due, cx),
            _ => Poll::Pending,
        }
    }

    /// Takes note of what came of a write.
    fn wrote(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(sent)) => {
                self.gauge.note_written(sent);
                self.pace.earn(sent);
                Poll::Ready(Ok(sent))
            }
            Poll::Pending if self.is_serving => {
                ready!(self.pace.poll(&mut self.write_alarm, cx));
                self.gauge.set_cut(Cut::Write);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the visitor reads too slowly")))
            }
            other => other,
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let result = Pin::new(&mut self.tcp).poll_write(cx, rest);
            let sent = ready!(self.wrote(cx, result))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        (self.sent, self.is_due) = (0, false);
        // An idle connection keeps nothing of it.
        self.out = Vec::new();
        Poll::Ready(Ok(()))
    }

    /// Whether `bytes` more are joined to what waits; makes room for them if so.
    fn joins(&mut self, bytes: usize) -> bool {
        let joins = self.out.len() + bytes <= JOIN_BYTES;
        if joins && self.out.is_empty() {
            self.out.reserve(bytes.max(USUAL_BYTES));
        }
        joins
    }
}

/// Has the kernel send a reset when `tcp` is dropped, and forget it.
pub(crate) fn reset(tcp: &TcpStream) {
    // An error costs the visitor a polite end instead.
    let _set = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
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
        let before = buf.filled().len();
        match Pin::new(&mut self.tcp).poll_read(cx, buf) {
            Poll::Ready(result) => {
                let bytes = buf.filled().get(before..).unwrap_or_default();
                self.gauge.note_read(bytes.len());
                Poll::Ready(result.and_then(|()| self.keep(bytes)))
            }
            Poll::Pending => {
                if self.is_due {
                    let _waits = self.poll_drain(cx)?;
                }
                ready!(self.poll_overdue(cx));
                self.gauge.set_cut(Cut::Header);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the first request is overdue")))
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
        let result = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.wrote(cx, result)
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
        let result = Pin::new(&mut self.tcp).poll_write_vectored(cx, pieces);
        self.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_serving {
            self.is_due = true;
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// rustls writes an alert without a flush when it gives a connection up; what the socket takes at once still
/// goes out. Who was cut for not reading would have the kernel keep all that is queued, megabytes of it, and ask
/// for minutes whether there is room by now.
impl Drop for Wire {
    fn drop(&mut self) {
        if self.gauge.cut() == Some(Cut::Write) {
            return reset(&self.tcp);
        }
        if let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let _sent = self.tcp.try_write(rest);
        }
    }
}

#[cfg(test)]
mod tests;
