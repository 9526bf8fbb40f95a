//! How far an edge is from its start to its end, and what that means to a new request.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::refusal::Refusal;

/// The phases of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    /// No state yet: neither from the replica nor from the feed.
    Empty = 0,
    /// Serves.
    Serving = 1,
    /// Takes no new connections; requests on the ones there are go on.
    Draining = 2,
    /// About to be cut: what begins now could not end.
    Closing = 3,
}

/// The phase of one edge. It only ever moves forward.
#[derive(Debug, Default)]
pub(crate) struct Course(AtomicU8);

impl Course {
    /// Moves on to `phase`; never back.
    pub(crate) fn advance(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Relaxed);
    }

    /// The phase now.
    pub(crate) fn phase(&self) -> Phase {
        match self.0.load(Relaxed) {
            0 => Phase::Empty,
            1 => Phase::Serving,
            2 => Phase::Draining,
            _ => Phase::Closing,
        }
    }

    /// Whether connections are to be closed after the request that they are at.
    pub(crate) fn is_ending(&self) -> bool {
        self.phase() >= Phase::Draining
    }
}

/// Refuses what begins in the second half of the drain time, so that it is told and not cut. Reads memory
/// only.
///
/// # Errors
/// [`Refusal::ShuttingDown`].
pub(crate) fn check(course: &Course) -> Result<(), Refusal> {
    if course.phase() == Phase::Closing { Err(Refusal::ShuttingDown) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_never_goes_back() {
        let course = Course::default();
        assert_eq!(course.phase(), Phase::Empty);
        course.advance(Phase::Draining);
        course.advance(Phase::Serving);
        assert_eq!(course.phase(), Phase::Draining);
    }

    #[test]
    fn only_the_last_phase_refuses() {
        let course = Course::default();
        for phase in [Phase::Serving, Phase::Draining] {
            course.advance(phase);
            assert_eq!(check(&course), Ok(()));
        }
        course.advance(Phase::Closing);
        assert_eq!(check(&course), Err(Refusal::ShuttingDown));
    }
}
