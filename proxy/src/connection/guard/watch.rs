//! The rules: which frames of a connection are too many, and how far a visitor may run ahead of us.
//!
//! Beside the floods of [`super::tally`] there is a **pace**: only so many new requests are let through before
//! the HTTP/2 library had its turn to write. What it thinks of the first ones (a stream reset because of an
//! error) is then known before the next ones reach an app, whatever the error was. No I/O, no clock, no timer.

use std::time::Duration;

use tokio::time::Instant;

use super::frames::{Cutter, Event, Head, Kind};
use super::streams::{Side, Streams};
use super::tally::{Flood, Leak, Tally};

/// Most requests of a flood of resets that reach an app.
const MOST_WASTED: u32 = 5;
/// A request that is taken back earlier was never meant. A human who leaves a page has seen it for longer.
const RAPID: Duration = Duration::from_millis(250);
/// A rapid reset is forgotten after so long, or by an answer.
const RAPID_PERIOD: Duration = Duration::from_secs(1);
/// A reset that was provoked is forgotten after so long.
const PROVOKED_PERIOD: Duration = Duration::from_secs(10);
/// Most CONTINUATION frames of a header block; one of the largest size that is read needs four.
const MOST_CONTINUATIONS: u32 = 8;
/// Most bytes of a header block, compressed: above the largest size that is read, because that is answered.
const MOST_BLOCK_BYTES: usize = 96 << 10;
/// Most streams that may be open here: those that are offered, and as many that are being refused.
const MOST_STREAMS: usize = 256;
/// Bytes of a frame of an unknown type that count as one frame.
const UNKNOWN_BYTES: usize = 1 << 10;

/// A header block that is being sent.
#[derive(Debug)]
struct Block {
    since: Instant,
    continuations: u32,
    bytes: usize,
}

/// How far bytes may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// All of them.
    On,
    /// So many; the rest when the library had its turn.
    Hold(usize),
}

/// What one connection has been up to.
#[derive(Debug)]
pub(super) struct Watch {
    inbound: Cutter,
    outbound: Cutter,
    streams: Streams,
    tally: Tally,
    rapid: Leak,
    provoked: Leak,
    /// New requests that may pass before the library's turn; none: it has just had it.
    openings: Option<u32>,
    block: Option<Block>,
    is_greeted: bool,
    emptied: Instant,
    errors: u64,
    verdict: Option<Flood>,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            inbound: Cutter::of_client(),
            outbound: Cutter::of_server(),
            streams: Streams::default(),
            tally: Tally::new(now),
            rapid: Leak::new(RAPID_PERIOD, now),
            provoked: Leak::new(PROVOKED_PERIOD, now),
            openings: None,
            block: None,
            is_greeted: false,
            emptied: now,
            errors: 0,
            verdict: None,
        }
    }

    /// Bytes from the visitor. While `may_open` is false, none that would open a stream go on.
    ///
    /// # Errors
    /// The flood that they complete; none of them should go on then.
    pub(super) fn receive(&mut self, bytes: &[u8], now: Instant, may_open: bool) -> Result<Step, Flood> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            let (count, event) = self.inbound.next(rest);
            taken += count;
            match event {
                None => {}
                Some(Event::Began(head)) => {
                    if head.kind == Kind::Headers && self.streams.is_new(head.stream) {
                        if !may_open || self.openings(now) == 0 {
                            self.inbound.put_back();
                            return Ok(Step::Hold(taken - 1));
                        }
                        self.open(head.stream, now)?;
                    }
                    self.began(head, now)?;
                }
                Some(Event::Ended(head, detail)) => self.ended(head, detail, now)?,
            }
        }
        Ok(Step::On)
    }

    /// Bytes from us. What they tell may complete a flood, see [`Self::verdict`].
    pub(super) fn send(&mut self, bytes: &[u8], now: Instant) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (count, event) = self.outbound.next(rest);
            rest = rest.get(count..).unwrap_or_default();
            match event {
                Some(Event::Began(head)) => self.sent(head, now),
                Some(Event::Ended(head, code)) if head.kind == Kind::Reset => {
                    if let Err(flood) = self.sent_reset(head.stream, code, now) {
                        self.verdict = Some(flood);
                    }
                }
                _ => {}
            }
        }
    }

    /// The library has its turn: after it, a few more requests may pass.
    pub(super) fn turn(&mut self) {
        self.openings = None;
    }

    /// The flood that our own frames showed.
    pub(super) fn verdict(&self) -> Option<Flood> {
        self.verdict
    }

    /// Whether a frame of ours could go out now.
    pub(super) fn is_between_frames(&self) -> bool {
        self.outbound.is_between()
    }

    /// The highest stream that came so far.
    pub(super) fn last_stream(&self) -> u32 {
        self.streams.last()
    }

    /// Whether preface and SETTINGS have come.
    pub(super) fn is_greeted(&self) -> bool {
        self.is_greeted
    }

    /// Since when a header block is being sent.
    pub(super) fn block_since(&self) -> Option<Instant> {
        self.block.as_ref().map(|block| block.since)
    }

    /// Since when there is no stream.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.is_greeted && self.streams.len() == 0).then_some(self.emptied)
    }

    /// Streams that were reset because of what the visitor sent.
    pub(super) fn errors(&self) -> u64 {
        self.errors
    }

    /// How many more requests may pass now: fewer the more were wasted of late, always one.
    fn openings(&mut self, now: Instant) -> u32 {
        let wasted = self.wasted(now);
        *self.openings.get_or_insert(MOST_WASTED.saturating_sub(wasted).max(1))
    }

    fn wasted(&mut self, now: Instant) -> u32 {
        self.rapid.level(now) + self.provoked.level(now)
    }

    fn open(&mut self, id: u32, now: Instant) -> Result<(), Flood> {
        if self.streams.len() >= MOST_STREAMS {
            return Err(Flood::Streams);
        }
        self.openings = self.openings.map(|openings| openings.saturating_sub(1));
        self.streams.open(id, now);
        Ok(())
    }

    fn began(&mut self, head: Head, now: Instant) -> Result<(), Flood> {
        match head.kind {
            Kind::Headers => {
                self.block = Some(Block { since: now, continuations: 0, bytes: 0 });
                self.add_to_block(head)?;
            }
            Kind::Continuation => self.add_to_block(head)?,
            // Whether it holds data is seen at its end.
            Kind::Data => {}
            Kind::Reset => self.received_reset(head.stream, now)?,
            Kind::Ping => self.tally.note(Flood::Ping, 1, now)?,
            Kind::Settings => self.tally.note(Flood::Settings, 1, now)?,
            Kind::WindowUpdate => self.tally.note(Flood::WindowUpdate, 1, now)?,
            Kind::Priority => self.tally.note(Flood::Priority, 1, now)?,
            Kind::Other => {
                let cost = u32::try_from(1 + head.length / UNKNOWN_BYTES).unwrap_or(u32::MAX);
                self.tally.note(Flood::Unknown, cost, now)?;
            }
        }
        if head.length == 0 { self.ended(head, 0, now) } else { Ok(()) }
    }

    fn add_to_block(&mut self, head: Head) -> Result<(), Flood> {
        // A CONTINUATION of nothing is an error that the library answers.
        let Some(block) = &mut self.block else { return Ok(()) };
        block.bytes += head.length;
        block.continuations += u32::from(head.kind == Kind::Continuation);
        if block.continuations > MOST_CONTINUATIONS {
            return Err(Flood::Continuation);
        }
        if block.bytes > MOST_BLOCK_BYTES { Err(Flood::HeaderBlock) } else { Ok(()) }
    }

    fn received_reset(&mut self, id: u32, now: Instant) -> Result<(), Flood> {
        let stream = self.streams.reset(id);
        self.note_close(now);
        let is_wasted = stream
            .is_some_and(|stream| !stream.is_answered && now.saturating_duration_since(stream.since) < RAPID);
        if is_wasted {
            self.rapid.rise(now);
            if self.wasted(now) >= MOST_WASTED {
                return Err(Flood::RapidReset);
            }
        }
        self.tally.note(Flood::Reset, 1, now)
    }

    fn ended(&mut self, head: Head, padding: u32, now: Instant) -> Result<(), Flood> {
        if head.kind == Kind::Data {
            let data = head.length.saturating_sub(usize::try_from(padding).unwrap_or(usize::MAX));
            if data > 0 {
                self.tally.work(data);
            } else if !head.ends_stream() {
                self.tally.note(Flood::EmptyData, 1, now)?;
            }
        }
        if head.ends_block() {
            self.block = None;
        }
        if head.ends_stream() {
            self.streams.end(head.stream, Side::Visitor);
            self.note_close(now);
        }
        if head.kind == Kind::Settings && !head.is_ack() && !self.is_greeted {
            self.is_greeted = true;
            self.emptied = now;
        }
        Ok(())
    }

    fn sent(&mut self, head: Head, now: Instant) {
        match head.kind {
            Kind::Headers if self.streams.answer(head.stream) => {
                self.tally.answer();
                self.rapid.fall();
            }
            Kind::Data => self.tally.work(head.length),
            _ => {}
        }
        if head.ends_stream() {
            self.streams.end(head.stream, Side::Edge);
            self.note_close(now);
        }
    }

    fn sent_reset(&mut self, id: u32, code: u32, now: Instant) -> Result<(), Flood> {
        self.streams.reset(id);
        self.note_close(now);
        match code {
            REFUSED_STREAM => self.tally.note(Flood::Streams, 1, now),
            code if is_visitors_error(code) => {
                self.errors += 1;
                self.provoked.rise(now);
                if self.wasted(now) >= MOST_WASTED { Err(Flood::ProvokedReset) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    fn note_close(&mut self, now: Instant) {
        if self.streams.len() == 0 {
            self.emptied = now;
        }
    }
}

/// RFC 9113 §7.
const REFUSED_STREAM: u32 = 7;

/// Whether we reset streams with this code only because of what the visitor sent: PROTOCOL_ERROR,
/// FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR, COMPRESSION_ERROR, ENHANCE_YOUR_CALM. The others
/// (NO_ERROR, INTERNAL_ERROR, CANCEL) follow from what an app does.
fn is_visitors_error(code: u32) -> bool {
    matches!(code, 1 | 3 | 5 | 6 | 9 | 11)
}
