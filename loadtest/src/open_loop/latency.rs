//! Times in a histogram.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest time that is told apart from longer ones.
const LONGEST: Duration = Duration::from_secs(60);
/// Digits that are kept of each time.
const DIGITS: u8 = 3;

/// Times, of which percentiles are asked: three digits of each, from a nanosecond to a minute.
#[derive(Debug, Clone)]
pub(crate) struct Latency(Histogram<u64>);

impl Latency {
    /// None yet.
    #[expect(clippy::expect_used, reason = "the bounds are constants that suit the library")]
    pub(crate) fn new() -> Self {
        let longest = u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX);
        Self(Histogram::new_with_bounds(1, longest, DIGITS).expect("1 ns to a minute"))
    }

    /// One more.
    pub(crate) fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Those of another one too.
    pub(crate) fn add(&mut self, other: &Self) {
        // Fails only for other bounds, and all have the same.
        let _added = self.0.add(&other.0);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Milliseconds that a share of `quantile` does not exceed, e.g. 0.999; 0 of none.
    pub(crate) fn millis(&self, quantile: f64) -> f64 {
        Duration::from_nanos(self.0.value_at_quantile(quantile)).as_secs_f64() * 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_three_digits() {
        let mut latency = Latency::new();
        (1..=10_000).for_each(|micros| latency.record(Duration::from_micros(micros)));
        for (quantile, millis) in [(0.5, 5.0), (0.99, 9.9), (0.999, 9.99), (1.0, 10.0)] {
            let told = latency.millis(quantile);
            assert!((told / millis - 1.0).abs() < 0.001, "{quantile}: {told} ms");
        }
    }

    #[test]
    fn a_time_that_is_too_long_is_the_longest() {
        let mut latency = Latency::new();
        latency.record(Duration::MAX);
        assert!(latency.millis(1.0) >= 60_000.0 && latency.count() == 1);
    }
}
