//! What the hooks and a connection tell each other while pingora stands between them.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use super::Flood;
use crate::refusal::Refusal;

/// What a visitor was too slow with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A header section; in HTTP/2 the first.
    Header,
    /// A request's body.
    Body,
    /// Reading what is written to it.
    Write,
    /// Saying anything at all over an upgraded connection.
    Stream,
}

impl Cut {
    /// Label of the metric.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Body => "body",
            Self::Write => "write",
            Self::Stream => "stream",
        }
    }
}

/// One for each connection.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    has_request: AtomicBool,
    awaits_header: AtomicBool,
    is_raw: AtomicBool,
    wake: Mutex<Option<Waker>>,
    fault: OnceLock<Refusal>,
    cut: OnceLock<Cut>,
    read: AtomicU64,
    written: AtomicU64,
    /// One more than the place in [`Flood::ALL`]; 0: none.
    flood: AtomicUsize,
    stream_errors: AtomicU64,
}

impl Gauge {
    /// A header section arrived, or the first words of HTTP/2.
    pub(crate) fn header_arrived(&self) {
        self.has_request.store(true, Relaxed);
    }

    /// From the hooks: a request has ended, what follows is the next one's.
    pub(crate) fn await_header(&self) {
        self.awaits_header.store(true, Relaxed);
        self.wake();
    }

    /// From the hooks: the protocol is another one from here on, in both directions.
    pub(crate) fn pass_all(&self) {
        self.is_raw.store(true, Relaxed);
        self.wake();
    }

    /// To the hooks: what the gate found wrong with the body of the request at hand.
    pub(crate) fn fault(&self) -> Option<&Refusal> {
        self.fault.get()
    }

    /// What the visitor was too slow with, if it was.
    pub(crate) fn cut(&self) -> Option<Cut> {
        self.cut.get().copied()
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

    /// Whether there has been a request.
    pub(super) fn has_request(&self) -> bool {
        self.has_request.load(Relaxed)
    }

    /// Whether the next request may begin; true once for each.
    pub(super) fn take_await(&self) -> bool {
        self.awaits_header.load(Relaxed) && self.awaits_header.swap(false, Relaxed)
    }

    /// Whether the protocol is another one.
    pub(super) fn is_raw(&self) -> bool {
        self.is_raw.load(Relaxed)
    }

    /// Wakes `waker` when the hooks say something.
    pub(super) fn wake_later(&self, waker: &Waker) {
        *self.waker() = Some(waker.clone());
    }

    /// The first fault and the first cut are the ones that count: what follows is their doing.
    pub(super) fn set_fault(&self, refusal: Refusal) {
        let _first = self.fault.set(refusal);
    }

    pub(super) fn set_cut(&self, cut: Cut) {
        let _first = self.cut.set(cut);
    }

    pub(super) fn note_read(&self, bytes: usize) {
        self.read.fetch_add(count(bytes), Relaxed);
    }

    pub(super) fn note_written(&self, bytes: usize) {
        self.written.fetch_add(count(bytes), Relaxed);
    }

    fn wake(&self) {
        let waker = self.waker().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A panic elsewhere leaves it whole: it is replaced in one step.
    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.wake.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
