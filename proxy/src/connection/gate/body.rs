//! The body of the request at hand: where it ends, and how long the visitor may take with it.

use std::task::{Context, Poll};

use super::chunked::Chunks;
use super::field::Flaw;
use super::framing::Framing;
use super::head::Checked;
use crate::connection::pace::{Alarm, Pace, Rules};

/// A body on its way.
#[derive(Debug)]
pub(super) struct Body {
    rest: Rest,
    pace: Pace,
    /// Whether the visitor waits for an answer before it sends: then it is not the visitor who is slow.
    awaits_answer: bool,
}

#[derive(Debug)]
enum Rest {
    Length(u64),
    Chunks(Chunks),
    Nothing,
}

impl Body {
    /// The body behind a header section that passed.
    pub(super) fn new(checked: Checked, rules: Rules) -> Self {
        let rest = match checked.framing {
            Framing::Length(0) => Rest::Nothing,
            Framing::Length(bytes) => Rest::Length(bytes),
            Framing::Chunked => Rest::Chunks(Chunks::new()),
        };
        Self { rest, pace: Pace::new(rules), awaits_answer: checked.expects_continue }
    }

    /// Whether all of it has passed.
    pub(super) const fn is_whole(&self) -> bool {
        matches!(self.rest, Rest::Nothing)
    }

    /// Looks at the bytes that came with the header section, and at no more than these.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn look_ahead(&self, bytes: &[u8]) -> Result<(), Flaw> {
        match &self.rest {
            Rest::Chunks(chunks) if !bytes.is_empty() => chunks.clone().follow(bytes).map(drop),
            _ => Ok(()),
        }
    }

    /// Bytes have come. How many of them are the body's; fewer than all: it ends there.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<usize, Flaw> {
        self.awaits_answer = false;
        self.pace.earn(bytes.len());
        match &mut self.rest {
            Rest::Nothing => Ok(0),
            Rest::Length(left) => {
                let taken = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= u64::try_from(taken).unwrap_or(*left);
                if *left == 0 {
                    self.rest = Rest::Nothing;
                }
                Ok(taken)
            }
            Rest::Chunks(chunks) => {
                let end = chunks.follow(bytes)?;
                if end.is_some() {
                    self.rest = Rest::Nothing;
                }
                Ok(end.unwrap_or(bytes.len()))
            }
        }
    }

    /// An answer has begun.
    pub(super) const fn note_answer(&mut self) {
        self.awaits_answer = false;
    }

    /// Nothing is there to read. Ready when the visitor has been too slow.
    pub(super) fn poll_slow(&mut self, alarm: &mut Alarm, cx: &mut Context<'_>) -> Poll<()> {
        if self.awaits_answer { Poll::Pending } else { self.pace.poll(alarm, cx) }
    }
}
