//! How long to wait before asking again: from 0.2 s, doubling to 5 s, with jitter so that edges that lost
//! the control plane together do not come back together.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);

/// The waits after failures in a row.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(FIRST)
    }

    /// After a success: the next failure is the first again.
    pub(crate) fn reset(&mut self) {
        self.0 = FIRST;
    }

    /// The next wait: between half of the full time and all of it.
    pub(crate) fn next(&mut self) -> Duration {
        let full = self.0;
        self.0 = (full * 2).min(LONGEST);
        full.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_five_seconds_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new();
        for full_ms in [200, 400, 800, 1600, 3200, 5000, 5000] {
            let wait = backoff.next().as_millis();
            assert!((full_ms / 2..=full_ms).contains(&wait), "{wait} of {full_ms}");
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
