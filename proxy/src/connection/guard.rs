//! Stands between a visitor's HTTP/2 and the library that speaks it, and ends the connection of who floods.
//!
//! Follows the frames of both directions (RFC 9113 §4.1) and counts what the h2 crate does not; see
//! [`tally::Flood`] for what. The frame that is one too many is not passed on, nor what was read along with it.
//! A visitor that may still listen gets a GOAWAY with the reason. Deadlines: preface and SETTINGS (the
//! [`Wire`](super::Wire) holds it), a header block, idleness, and bytes of ours that are not taken. Streams that
//! wait for something are the affair of the requests on them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Cut, Gauge};
use watch::{Step, Watch};

pub(crate) use tally::Flood;

mod frames;
mod streams;
mod tally;
mod watch;

/// Error codes of RFC 9113 §7.
const NO_ERROR: u8 = 0;
const ENHANCE_YOUR_CALM: u8 = 11;

/// Time limits of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// A header block, from its first byte to its last.
    pub(crate) header: Duration,
    /// No stream.
    pub(crate) idle: Duration,
    /// Bytes of ours that the visitor does not take.
    pub(crate) stall: Duration,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Flood(Flood),
    HeaderOverdue,
    Idle,
    Stalled,
}

impl End {
    /// The code of the GOAWAY frame and its debug data.
    const fn words(self) -> (u8, &'static str) {
        match self {
            Self::Flood(flood) => (ENHANCE_YOUR_CALM, flood.as_str()),
            Self::HeaderOverdue => (ENHANCE_YOUR_CALM, "header_overdue"),
            Self::Idle => (NO_ERROR, "idle"),
            Self::Stalled => (ENHANCE_YOUR_CALM, "stalled"),
        }
    }
}

/// What came of a read.
enum Passed {
    Some,
    Nothing,
    Refused(Flood),
}

impl Passed {
    /// So many bytes go on.
    const fn of(count: usize) -> Self {
        if count > 0 { Self::Some } else { Self::Nothing }
    }
}

/// The guard of one connection.
#[derive(Debug)]
pub(crate) struct Guard {
    watch: Watch,
    gauge: Arc<Gauge>,
    limits: Limits,
    /// Bytes that were read and may not go on yet, from `passed` on.
    held: Vec<u8>,
    passed: usize,
    /// Since when the visitor does not take our bytes, and how many it had taken by then.
    blocked: Option<(Instant, u64)>,
    alarm: Option<Pin<Box<Sleep>>>,
    now: Instant,
    is_over: bool,
}

impl Guard {
    /// A guard for a connection that begins now.
    pub(crate) fn new(limits: Limits, gauge: Arc<Gauge>) -> Self {
        let now = Instant::now();
        Self {
            watch: Watch::new(now),
            gauge,
            limits,
            held: Vec::new(),
            passed: 0,
            blocked: None,
            alarm: None,
            now,
            is_over: false,
        }
    }

    /// Reads what may go on.
    pub(super) fn poll_read(
        &mut self,
        transport: &mut (impl AsyncRead + AsyncWrite + Unpin),
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(flood) = self.watch.verdict() {
            return self.end(End::Flood(flood), self.watch.last_stream(), transport, cx);
        }
        self.now = Instant::now();
        let last = self.watch.last_stream();
        let passed = match self.held.is_empty() {
            true => self.pass_fresh(transport, cx, buf)?,
            false => self.pass_held(buf),
        };
        match passed {
            Passed::Some => Poll::Ready(Ok(())),
            Passed::Nothing => self.poll_wait(transport, cx),
            Passed::Refused(flood) => self.end(End::Flood(flood), last, transport, cx),
        }
    }

    /// Bytes that come now.
    fn pass_fresh(
        &mut self,
        transport: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> io::Result<Passed> {
        let before = buf.filled().len();
        match Pin::new(transport).poll_read(cx, buf) {
            Poll::Pending => return Ok(Passed::Nothing),
            Poll::Ready(result) => result?,
        }
        let fresh = buf.filled().get(before..).unwrap_or_default();
        let step = self.watch.receive(fresh, self.now, self.blocked.is_none());
        if self.watch.is_greeted() {
            // Until now the wire's own deadline held.
            self.gauge.header_arrived();
        }
        let (count, passed) = match step {
            Ok(Step::On) => return Ok(Passed::Some),
            Ok(Step::Hold(count)) => (count, Passed::of(count)),
            Err(flood) => (0, Passed::Refused(flood)),
        };
        self.held.extend_from_slice(fresh.get(count..).unwrap_or_default());
        buf.set_filled(before + count);
        Ok(passed)
    }

    /// Bytes that were held.
    fn pass_held(&mut self, buf: &mut ReadBuf<'_>) -> Passed {
        let rest = self.held.get(self.passed..).unwrap_or_default();
        let rest = rest.get(..rest.len().min(buf.remaining())).unwrap_or_default();
        let count = match self.watch.receive(rest, self.now, self.blocked.is_none()) {
            Ok(Step::On) => rest.len(),
            Ok(Step::Hold(count)) => count,
            Err(flood) => return Passed::Refused(flood),
        };
        buf.put_slice(rest.get(..count).unwrap_or_default());
        self.passed += count;
        if self.passed == self.held.len() {
            self.held = Vec::new();
            self.passed = 0;
        }
        Passed::of(count)
    }

    /// Nothing may go on: the library has its turn. Held bytes go on at once after that, unless the visitor does
    /// not take what we wrote, for then we do not know yet what the library thinks of the requests before.
    fn poll_wait(
        &mut self,
        transport: &mut (impl AsyncRead + AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.watch.turn();
        if !self.held.is_empty() && self.blocked.is_none() {
            cx.waker().wake_by_ref();
        }
        let end = ready!(self.poll_overdue(cx));
        self.end(end, self.watch.last_stream(), transport, cx)
    }

    /// What is due first, and when.
    fn due(&self) -> Option<(Instant, End)> {
        let block = self.watch.block_since().map(|since| (since + self.limits.header, End::HeaderOverdue));
        let idle = self.watch.idle_since().map(|since| (since + self.limits.idle, End::Idle));
        let stall = self.blocked.map(|(since, _)| (since + self.limits.stall, End::Stalled));
        [block, idle, stall].into_iter().flatten().min_by_key(|(due, _)| *due)
    }

    /// Ready when something is overdue. The alarm is not set anew while it rings early enough: most of the time
    /// a request costs no timer.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let Some((due, end)) = self.due() else { return Poll::Pending };
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if alarm.deadline() > due {
                alarm.as_mut().reset(due);
            }
            ready!(alarm.as_mut().poll(cx));
            if Instant::now() < due {
                alarm.as_mut().reset(due);
            } else if end != End::Stalled || !self.note_progress() {
                return Poll::Ready(end);
            }
        }
    }

    /// Whether some bytes were taken since the last look. A slow visitor is not one who does not read.
    fn note_progress(&mut self) -> bool {
        let written = self.gauge.bytes().1;
        let has_moved = self.blocked.is_some_and(|(_, before)| before < written);
        if has_moved {
            self.blocked = Some((Instant::now(), written));
        }
        has_moved
    }

    /// Writes bytes of the library.
    pub(super) fn poll_write(
        &mut self,
        transport: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let sent = Pin::new(transport).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = sent {
            self.watch.send(bytes.get(..count).unwrap_or_default(), self.now);
        }
        self.note_write(sent.is_pending(), cx);
        sent
    }

    /// The same for several pieces.
    pub(super) fn poll_write_vectored(
        &mut self,
        transport: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let sent = Pin::new(transport).poll_write_vectored(cx, pieces);
        if let Poll::Ready(Ok(count)) = sent {
            let mut left = count;
            for piece in pieces {
                let taken = piece.len().min(left);
                self.watch.send(piece.get(..taken).unwrap_or_default(), self.now);
                left -= taken;
            }
        }
        self.note_write(sent.is_pending(), cx);
        sent
    }

    /// Sends what waits on the way.
    pub(super) fn poll_flush(
        &mut self,
        transport: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        let flushed = Pin::new(transport).poll_flush(cx);
        self.note_write(flushed.is_pending(), cx);
        flushed
    }

    fn check(&self) -> io::Result<()> {
        if self.is_over { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    /// Whoever reads is woken when a write decides something for it.
    fn note_write(&mut self, is_pending: bool, cx: &mut Context<'_>) {
        let was_blocked = self.blocked.is_some();
        match is_pending {
            false => self.blocked = None,
            true if was_blocked => {}
            true => self.blocked = Some((Instant::now(), self.gauge.bytes().1)),
        }
        let is_freed = was_blocked && !is_pending && !self.held.is_empty();
        let is_stalled = is_pending && self.poll_overdue(cx).is_ready();
        if is_freed || is_stalled || self.watch.verdict().is_some() {
            cx.waker().wake_by_ref();
        }
    }

    /// Says why, if the visitor can be told without waiting, and ends the connection.
    fn end(
        &mut self,
        end: End,
        last: u32,
        transport: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let (code, text) = end.words();
        if !self.is_over {
            self.is_over = true;
            match end {
                End::Flood(flood) => self.gauge.note_flood(flood),
                End::HeaderOverdue => self.gauge.set_cut(Cut::Header),
                End::Stalled => self.gauge.set_cut(Cut::Write),
                End::Idle => {}
            }
            if self.watch.is_between_frames() {
                // What does not fit now is not worth waiting for.
                let _told = Pin::new(&mut *transport).poll_write(cx, &go_away(last, code, text));
                let _flushed = Pin::new(&mut *transport).poll_flush(cx);
            }
            let _closed = Pin::new(transport).poll_shutdown(cx);
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, text)))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.gauge.note_stream_errors(self.watch.errors());
    }
}

/// A GOAWAY frame (RFC 9113 §6.8).
fn go_away(last: u32, code: u8, text: &'static str) -> Vec<u8> {
    const TYPE: u8 = 7;
    let length = u8::try_from(8 + text.len()).unwrap_or(8);
    let mut frame = vec![0, 0, length, TYPE, 0, 0, 0, 0, 0];
    frame.extend_from_slice(&last.to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0, code]);
    frame.extend(text.bytes().take(usize::from(length).saturating_sub(8)));
    frame
}

/// What the rules say of a visitor's bytes that come in pieces of this size, and of the same bytes if we sent
/// them. For fuzzing.
pub(crate) fn judge(bytes: &[u8], size: usize) -> [Option<Flood>; 2] {
    let now = Instant::now();
    let (mut visitor, mut edge) = (Watch::new(now), Watch::new(now));
    for piece in bytes.chunks(size.max(1)) {
        edge.send(piece, now);
    }
    for piece in bytes.chunks(size.max(1)) {
        let mut rest = piece;
        while !rest.is_empty() {
            visitor.turn();
            match visitor.receive(rest, now, true) {
                Ok(Step::On) => break,
                Ok(Step::Hold(count)) => rest = rest.get(count..).unwrap_or_default(),
                Err(flood) => return [Some(flood), edge.verdict()],
            }
        }
    }
    [None, edge.verdict()]
}

#[cfg(test)]
mod tests;
