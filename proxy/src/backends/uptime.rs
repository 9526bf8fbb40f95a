//! Milliseconds since the pools were made: a moment that fits into an atomic.

use tokio::time::{Duration, Instant};

/// Where the milliseconds are counted from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Uptime(Instant);

impl Uptime {
    /// Counts from now.
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds so far, at least 1, so that 0 can mean "never".
    pub(super) fn millis(self) -> u64 {
        as_millis(self.0.elapsed()).max(1)
    }

    /// The moment `millis` after the start.
    pub(super) fn at(self, millis: u64) -> Instant {
        self.0 + Duration::from_millis(millis)
    }
}

/// Whole milliseconds, saturating.
pub(super) fn as_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
