//! How many requests of an app may be sent a second time.
//!
//! Retries help while few requests fail; when all fail, they only double the load on what is left. So at
//! most a fifth of the requests of the last ten seconds is retried, and a few more, so that a quiet app has
//! retries too. The counters are atomics; two threads at the very edge of the budget may overdraw it by one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Length of the window in seconds: long enough to smooth a burst, short enough to forget an outage.
const WINDOW_SECONDS: u64 = 10;
/// Slots of one second.
const SLOTS: usize = 10;
/// Retries per hundred requests; what linkerd and finagle ship with.
const PERCENT: u64 = 20;
/// Retries a second that every app has.
const FLOOR_PER_SECOND: u64 = 3;

/// The budget of one app.
#[derive(Debug, Default)]
pub(super) struct Budget {
    requests: Window,
    retries: Window,
}

impl Budget {
    /// Counts a request that came in during `second`.
    pub(super) fn note_request(&self, second: u64) {
        self.requests.add(second);
    }

    /// Takes one retry out of the budget; false if there is none left.
    pub(super) fn take_retry(&self, second: u64) -> bool {
        let earned = self.requests.sum(second) * PERCENT / 100;
        let is_left = self.retries.sum(second) < earned + FLOOR_PER_SECOND * WINDOW_SECONDS;
        if is_left {
            self.retries.add(second);
        }
        is_left
    }
}

/// Counts per second of the last ten. A slot holds its second in the upper and its count in the lower half.
#[derive(Debug, Default)]
struct Window([AtomicU64; SLOTS]);

impl Window {
    fn add(&self, second: u64) {
        let slot = usize::try_from(second % WINDOW_SECONDS).ok().and_then(|index| self.0.get(index));
        let Some(slot) = slot else { return };
        let more = |held: u64| if held >> 32 == second { held + 1 } else { (second << 32) | 1 };
        let _ = slot.fetch_update(Relaxed, Relaxed, |held| (held >> 32 <= second).then(|| more(held)));
    }

    fn sum(&self, second: u64) -> u64 {
        let is_recent = |held: &u64| (held >> 32) + WINDOW_SECONDS > second;
        self.0
            .iter()
            .map(|slot| slot.load(Relaxed))
            .filter(is_recent)
            .map(|held| held & u64::from(u32::MAX))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &Budget, second: u64) -> usize {
        (0..100_000).take_while(|_| budget.take_retry(second)).count()
    }

    #[test]
    fn a_quiet_app_has_three_retries_a_second() {
        assert_eq!(taken(&Budget::default(), 100), 30);
    }

    #[test]
    fn a_busy_app_retries_a_fifth_of_its_requests() {
        let budget = Budget::default();
        for request in 0..10_000 {
            budget.note_request(100 + request % 10);
        }
        assert_eq!(taken(&budget, 109), 2_030);
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let budget = Budget::default();
        (0..10_000).for_each(|_| budget.note_request(100));
        assert_eq!(taken(&budget, 109), 2_030);
        assert_eq!(taken(&budget, 110), 0, "the requests are forgotten, the retries not yet");
        assert_eq!(taken(&budget, 119), 30);
    }

    #[test]
    fn a_slot_is_used_again_after_ten_seconds() {
        let window = Window::default();
        [5, 5, 15, 15, 15].into_iter().for_each(|second| window.add(second));
        assert_eq!(window.sum(15), 3);
    }
}
