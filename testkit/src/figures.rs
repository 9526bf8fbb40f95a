//! Figures that a story measured: one JSON object a line on standard error, past the test runner's capture,
//! in the form that `loadtest --json` prints.

use std::io::Write as _;
use std::time::Duration;

use serde_json::json;

/// Prints a figure.
pub fn print(scenario: &str, figure: &str, value: f64, unit: &str) {
    let line = json!({ "scenario": scenario, "figure": figure, "value": value, "unit": unit });
    // Standard error that is gone takes the figure with it; the story goes on.
    let _written = writeln!(std::io::stderr(), "{line}");
}

/// Prints a time in milliseconds.
pub fn print_time(scenario: &str, figure: &str, time: Duration) {
    print(scenario, figure, (time.as_secs_f64() * 1e4).round() / 10.0, "ms");
}

/// The `percent`-th percentile by the nearest rank; zero without times.
#[must_use]
pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(100));
        assert_eq!(percentile(&times, 99), Duration::from_millis(198));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }
}
