//! HTTP/1 before pingora: each request is read here, checked, and handed on alone.
//!
//! pingora 0.9.1 repairs what is ambiguous, answers what it refuses where no log and no metric sees it, and has
//! no least rate for bodies. So it gets from here exactly the bytes of one request: a header section only when
//! it is whole and passed [`head::check`], its body up to the byte where it ends, and then nothing until the
//! hooks say that the next one is awaited. Requests that a visitor sends without waiting are held, a bounded
//! part of them, and served one after the other. What is refused is answered from here, with the same page and
//! the same ending as every refusal.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Carrier;
use super::gauge::Cut;
use super::pace::{Alarm, Rules};
use crate::edge::Shared;
use crate::refusal::Refusal;
use body::Body;
use scan::Scan;

mod body;
pub(crate) mod chunked;
mod field;
mod framing;
mod glimpse;
pub(crate) mod head;
mod refuse;
pub(crate) mod scan;

/// What is read at once of a header section: most are smaller.
const READ_BYTES: usize = 4 << 10;
/// What is held of requests that wait for their turn. Whoever sends more waits until they are served.
const MOST_HELD_BYTES: usize = 16 << 10;

/// What a gate reads from and answers on: the visitor's bytes in the clear.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// The gate of one connection.
pub(crate) struct Gate {
    edge: Arc<Shared>,
    carrier: Arc<Carrier>,
    stage: Stage,
    /// Bytes that came and were not handed on.
    held: Vec<u8>,
    alarm: Alarm,
    /// Whether the visitor has ended, so that nothing more is owed to it.
    is_gone: bool,
}

enum Stage {
    /// A header section is awaited, the first of the connection or another one.
    Head(Wait),
    /// So many held bytes are a header section that passed; the rest of the message follows.
    Hand { left: usize, body: Body },
    /// A body passes.
    Body(Body),
    /// The message was handed on whole.
    Whole,
    /// Another protocol passes; since when it is silent, and the byte counts at that time.
    Raw { since: Instant, bytes: (u64, u64) },
    /// An answer of ours is written.
    Answer { page: Vec<u8>, sent: usize },
    /// Nothing more is handed on.
    Over,
}

/// For a header section.
#[derive(Debug, Default)]
struct Wait {
    scan: Scan,
    /// Whether there was a request before on this connection.
    is_another: bool,
    /// When there was nothing to read for the first time, and when that was so with a part of it there. Never
    /// set for a section that comes whole.
    since: Option<Instant>,
    begun: Option<Instant>,
}

/// Whether a step ended the read at hand.
enum Step {
    Again,
    Done,
}

impl Gate {
    /// A gate at the start of a connection: its first header section is due.
    pub(crate) fn new(edge: Arc<Shared>, carrier: Arc<Carrier>) -> Self {
        let (stage, alarm) = (Stage::Head(Wait::default()), Alarm::default());
        Self { edge, carrier, stage, held: Vec::new(), alarm, is_gone: false }
    }

    /// Whether the visitor may be sending what nobody will read, so that it needs a farewell.
    pub(super) fn owes_farewell(&self) -> bool {
        let is_unread = match &self.stage {
            Stage::Hand { .. } | Stage::Body(_) | Stage::Answer { .. } => true,
            Stage::Over => self.carrier.gauge.cut() != Some(Cut::Stream),
            Stage::Head(_) | Stage::Whole => !self.held.is_empty(),
            Stage::Raw { .. } => false,
        };
        is_unread && !self.is_gone
    }

    /// An answer goes out: a visitor who waited for it before the body need not wait any longer.
    pub(super) fn note_write(&mut self) {
        if let Stage::Hand { body, .. } | Stage::Body(body) = &mut self.stage {
            body.note_answer();
        }
    }

    /// Ready with true once a whole header section has passed; with false if none will.
    pub(super) fn poll_request<T: Stream>(&mut self, transport: &mut T, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            self.follow();
            match &self.stage {
                Stage::Head(_) => {
                    if ready!(self.poll_head(transport, cx)).is_err() {
                        return Poll::Ready(false);
                    }
                }
                Stage::Hand { .. } => return Poll::Ready(true),
                Stage::Body(body) if body.is_whole() => self.stage = Stage::Whole,
                Stage::Answer { .. } => {
                    let _done = ready!(self.poll_answer(transport, cx));
                }
                _ => return Poll::Ready(false),
            }
        }
    }

    /// What pingora reads.
    pub(super) fn poll_read<T: Stream>(
        &mut self,
        transport: &mut T,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            self.follow();
            let step = match &mut self.stage {
                Stage::Head(_) => ready!(self.poll_head(transport, cx))?,
                Stage::Hand { .. } => self.hand_on(buf),
                Stage::Body(_) => ready!(self.poll_body(transport, cx, buf))?,
                Stage::Whole => ready!(self.poll_whole(transport, cx))?,
                Stage::Raw { .. } => ready!(self.poll_raw(transport, cx, buf))?,
                Stage::Answer { .. } => ready!(self.poll_answer(transport, cx)),
                Stage::Over => Step::Done,
            };
            if matches!(step, Step::Done) {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Does what the hooks said.
    fn follow(&mut self) {
        let gauge = &self.carrier.gauge;
        match &self.stage {
            Stage::Whole if gauge.take_await() => {
                self.stage = Stage::Head(Wait { is_another: true, ..Wait::default() });
            }
            Stage::Hand { .. } | Stage::Body(_) | Stage::Whole if gauge.is_raw() => {
                self.stage = Stage::Raw { since: Instant::now(), bytes: gauge.bytes() };
            }
            _ => {}
        }
    }

    /// Gathers a header section.
    fn poll_head<T: Stream>(&mut self, transport: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<Step>> {
        match self.look() {
            Ok(None) => {}
            Ok(Some(stage)) => {
                self.stage = stage;
                return Poll::Ready(Ok(Step::Again));
            }
            Err(refusal) => {
                self.refuse(refusal);
                return Poll::Ready(Ok(Step::Again));
            }
        }
        match self.poll_more(transport, cx) {
            Poll::Ready(Ok(0)) => {
                self.stage = Stage::Over;
                Poll::Ready(Ok(Step::Done))
            }
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(Step::Again)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_late(cx).map(Ok),
        }
    }

    /// Looks for a whole header section in what is held, and checks it.
    fn look(&mut self) -> Result<Option<Stage>, Refusal> {
        let Stage::Head(wait) = &mut self.stage else { return Ok(None) };
        if self.held.is_empty() {
            return Ok(None);
        }
        let Some(section) = wait.scan.find(&self.held)? else { return Ok(None) };
        let known = self.carrier.tls.as_ref().map(|tls| &tls.sni);
        let checked = head::check(self.held.get(section.clone()).unwrap_or_default(), known)?;
        let body = Body::new(checked, Rules::new(&self.edge.deadlines));
        // A body that is seen to be broken already never costs an app a request.
        let ahead = self.held.get(section.end..).unwrap_or_default();
        body.look_ahead(ahead).map_err(Refusal::BadRequest)?;
        self.held.drain(..section.start);
        Ok(Some(Stage::Hand { left: section.len(), body }))
    }

    /// Nothing is there to read where a header section is awaited. Ready when it is too late for it.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let Stage::Head(wait) = &mut self.stage else { return Poll::Ready(Step::Again) };
        let deadlines = &self.edge.deadlines;
        let is_begun = !self.held.is_empty();
        let since = *wait.since.get_or_insert_with(Instant::now);
        let deadline = match (wait.is_another, is_begun) {
            // The time of the first begins with the connection.
            (false, _) => since + deadlines.header,
            (true, false) => since + deadlines.idle,
            (true, true) => *wait.begun.get_or_insert_with(Instant::now) + deadlines.header,
        };
        let is_idle = wait.is_another && !is_begun;
        ready!(self.alarm.poll(deadline, cx));
        if !is_idle {
            self.carrier.gauge.set_cut(Cut::Header);
        }
        if is_begun {
            self.refuse(Refusal::RequestTimeout("the header section came too slowly"));
        } else {
            self.stage = Stage::Over;
        }
        Poll::Ready(Step::Again)
    }

    /// Writes the page of a refusal, after which there is nothing but the end.
    fn refuse(&mut self, refusal: Refusal) {
        let page = refuse::refuse(refusal, &self.held, &self.carrier, &self.edge);
        self.held = Vec::new();
        self.stage = Stage::Answer { page, sent: 0 };
    }

    fn poll_answer<T: Stream>(&mut self, transport: &mut T, cx: &mut Context<'_>) -> Poll<Step> {
        let Stage::Answer { page, sent } = &mut self.stage else { return Poll::Ready(Step::Again) };
        let mut is_ok = true;
        while let Some(rest) = page.get(*sent..).filter(|rest| !rest.is_empty() && is_ok) {
            match ready!(Pin::new(&mut *transport).poll_write(cx, rest)) {
                Ok(count) if count > 0 => *sent += count,
                _ => is_ok = false,
            }
        }
        self.is_gone = !is_ok || ready!(Pin::new(transport).poll_flush(cx)).is_err();
        self.stage = Stage::Over;
        Poll::Ready(Step::Done)
    }

    /// Hands on a header section that passed.
    fn hand_on(&mut self, buf: &mut ReadBuf<'_>) -> Step {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Hand { left, body } => {
                let left = left - release(&mut self.held, left, buf);
                self.stage = if left == 0 { Stage::Body(body) } else { Stage::Hand { left, body } };
            }
            other => self.stage = other,
        }
        Step::Done
    }

    /// Hands on what comes of a body.
    fn poll_body<T: Stream>(
        &mut self,
        transport: &mut T,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Step>> {
        let Stage::Body(body) = &mut self.stage else { return Poll::Ready(Ok(Step::Again)) };
        if body.is_whole() {
            self.stage = Stage::Whole;
            return Poll::Ready(Ok(Step::Again));
        }
        let before = buf.filled().len();
        if self.held.is_empty() {
            match Pin::new(transport).poll_read(cx, buf) {
                Poll::Ready(result) => result?,
                Poll::Pending => {
                    ready!(body.poll_slow(&mut self.alarm, cx));
                    self.carrier.gauge.set_cut(Cut::Body);
                    return Poll::Ready(Err(self.fault(Refusal::RequestTimeout("the body came too slowly"))));
                }
            }
        } else {
            release(&mut self.held, buf.remaining(), buf);
        }
        let came = buf.filled().get(before..).unwrap_or_default();
        if came.is_empty() {
            self.is_gone = buf.remaining() > 0;
            return Poll::Ready(Ok(Step::Done));
        }
        match body.follow(came) {
            Ok(taken) => {
                // What is another request's goes back in front of what is held.
                if let Some(rest) = came.get(taken..).filter(|rest| !rest.is_empty()) {
                    self.held = [rest, &self.held].concat();
                }
                buf.set_filled(before + taken);
                Poll::Ready(Ok(Step::Done))
            }
            Err(flaw) => {
                buf.set_filled(before);
                Poll::Ready(Err(self.fault(Refusal::BadRequest(flaw))))
            }
        }
    }

    /// The body is no good: the hooks hear why, pingora that it cannot be read.
    fn fault(&mut self, refusal: Refusal) -> io::Error {
        let kind = match refusal {
            Refusal::RequestTimeout(_) => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::InvalidData,
        };
        let error = io::Error::new(kind, refusal.to_string());
        self.carrier.gauge.set_fault(refusal);
        self.stage = Stage::Over;
        error
    }

    /// The app has the request. Only the visitor's end is news; what else it sends is held until its turn.
    fn poll_whole<T: Stream>(&mut self, transport: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<Step>> {
        while self.held.len() < MOST_HELD_BYTES {
            match self.poll_more(transport, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Step::Done)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        if !self.held.is_empty() {
            self.carrier.gauge.wake_later(cx.waker());
        }
        Poll::Pending
    }

    /// Hands on what comes over an upgraded connection, as long as one side says something now and then.
    fn poll_raw<T: Stream>(
        &mut self,
        transport: &mut T,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Step>> {
        if !self.held.is_empty() {
            release(&mut self.held, buf.remaining(), buf);
            return Poll::Ready(Ok(Step::Done));
        }
        if let Poll::Ready(result) = Pin::new(transport).poll_read(cx, buf) {
            return Poll::Ready(result.map(|()| Step::Done));
        }
        let Stage::Raw { since, bytes } = &mut self.stage else { return Poll::Ready(Ok(Step::Again)) };
        loop {
            let now = self.carrier.gauge.bytes();
            if *bytes != now {
                (*since, *bytes) = (Instant::now(), now);
            }
            ready!(self.alarm.poll(*since + self.edge.deadlines.stream, cx));
            if *bytes == self.carrier.gauge.bytes() {
                self.carrier.gauge.set_cut(Cut::Stream);
                self.stage = Stage::Over;
                return Poll::Ready(Ok(Step::Done));
            }
        }
    }

    /// Reads into what is held; 0 at the visitor's end.
    fn poll_more<T: Stream>(&mut self, transport: &mut T, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [const { std::mem::MaybeUninit::uninit() }; READ_BYTES];
        let mut space = ReadBuf::uninit(&mut space);
        let result = ready!(Pin::new(transport).poll_read(cx, &mut space));
        self.is_gone = result.is_err() || space.filled().is_empty();
        self.held.extend_from_slice(space.filled());
        Poll::Ready(result.map(|()| space.filled().len()))
    }
}

/// Moves at most `most` bytes from `held` to `buf`; returns how many. An empty buffer gives its memory back.
fn release(held: &mut Vec<u8>, most: usize, buf: &mut ReadBuf<'_>) -> usize {
    let count = most.min(held.len()).min(buf.remaining());
    buf.put_slice(held.get(..count).unwrap_or_default());
    if count == held.len() {
        *held = Vec::new();
    } else {
        held.drain(..count);
    }
    count
}

#[cfg(test)]
#[cfg(test)]
mod tests;
