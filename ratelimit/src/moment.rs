//! Monotonic time: nanoseconds since a stopwatch was started. A step of the wall clock moves no limit.

use std::time::{Duration, Instant};

/// A moment on one [`Stopwatch`]: nanoseconds since it was started, good for 584 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// The moment `nanos` nanoseconds after the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Whole microseconds since the start, rounded down.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0 / 1_000
    }

    /// The moment `by` later, saturating.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is before.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The source of [`Moment`]s. A process starts one and reads it once a request; moments of two stopwatches
/// cannot be compared.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts at [`Moment`] 0.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one owner of monotonic time without a runtime"
    )]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The present. About 30 ns.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment::default().plus(self.0.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopwatch_never_goes_back() {
        let watch = Stopwatch::start();
        let early = watch.now();
        assert!(watch.now() >= early);
    }

    #[test]
    fn differences_saturate() {
        let early = Moment::from_nanos(1_999);
        assert_eq!(early.micros(), 1);
        assert_eq!(early.since(early.plus(Duration::MAX)), Duration::ZERO);
        assert_eq!(early.plus(Duration::from_nanos(1)).since(early), Duration::from_nanos(1));
    }
}
