//! Whether one backend is fit for traffic, from two independent witnesses.
//!
//! Active checks say up or down. Requests that fail eject it for a while, longer each time. Both are counted
//! in atomics, so that a request in good health reads three numbers and writes none. Moments are
//! milliseconds of [`super::uptime::Uptime`].

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Bad checks in a row until a backend is down: one may be a lost packet or a garbage collection. The second
/// follows the first after a quarter of the interval (see [`Health::is_suspected`]).
const BAD_CHECKS: u32 = 2;
/// Failed requests in a row until a backend is ejected: with one or two, a single restart or a lost packet would
/// move its whole load to the others.
pub(super) const FAILURES: u32 = 3;
/// Longest ejection in milliseconds: what a backend that came back may have to wait for traffic.
const LONGEST_EJECTION_MS: u64 = 30_000;

/// What the witnesses have said.
#[derive(Debug, Default)]
pub(super) struct Health {
    down: AtomicBool,
    bad_checks: AtomicU32,
    failures: AtomicU32,
    ejections: AtomicU32,
    ejected_until: AtomicU64,
    last_failure: AtomicU64,
}

/// How far a backend can be trusted with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fitness {
    /// Take it.
    Fit,
    /// Its checks fail, but no request has failed since one succeeded: perhaps the check is wrong.
    Doubtful,
    /// Requests fail, or did before it was ejected.
    Failing,
}

/// A change that is worth a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Good again.
    Up,
    /// Bad since now.
    Down,
}

impl Health {
    /// How fit it is at `now`.
    pub(super) fn fitness(&self, now: u64) -> Fitness {
        let is_ejected = now < self.ejected_until.load(Relaxed);
        match (is_ejected || self.down.load(Relaxed), self.failures.load(Relaxed)) {
            (false, _) => Fitness::Fit,
            (true, 0) => Fitness::Doubtful,
            (true, _) => Fitness::Failing,
        }
    }

    /// When a request failed last; 0 if none ever did.
    pub(super) fn last_failure(&self) -> u64 {
        self.last_failure.load(Relaxed)
    }

    /// Whether so many requests in a row failed that more are only sent to try.
    pub(super) fn is_on_trial(&self) -> bool {
        self.failures.load(Relaxed) >= FAILURES
    }

    /// Whether its last check was bad and it is not down yet: to be checked again soon.
    pub(super) fn is_suspected(&self) -> bool {
        self.bad_checks.load(Relaxed) > 0 && !self.down.load(Relaxed)
    }

    /// Takes the result of an active check. Called by one task at a time.
    pub(super) fn note_check(&self, is_good: bool) -> Option<Turn> {
        if is_good {
            self.bad_checks.store(0, Relaxed);
            return self.down.swap(false, Relaxed).then_some(Turn::Up);
        }
        let bad_checks = self.bad_checks.fetch_add(1, Relaxed).saturating_add(1);
        (bad_checks >= BAD_CHECKS && !self.down.swap(true, Relaxed)).then_some(Turn::Down)
    }

    /// Takes a request that got an answer.
    pub(super) fn note_success(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
            self.ejections.store(0, Relaxed);
        }
    }

    /// Takes a request that got none, at `now`; `base_ms` is the length of a first ejection. Returns the length
    /// of the ejection that this failure caused. A failure during an ejection makes it no longer.
    pub(super) fn note_failure(&self, now: u64, base_ms: u64) -> Option<u64> {
        self.last_failure.store(now, Relaxed);
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        let until = self.ejected_until.load(Relaxed);
        if failures < FAILURES || now < until {
            return None;
        }
        let doublings = self.ejections.load(Relaxed).min(16);
        let length = base_ms.saturating_mul(1 << doublings).min(LONGEST_EJECTION_MS);
        let is_first =
            self.ejected_until.compare_exchange(until, now.saturating_add(length), Relaxed, Relaxed).is_ok();
        is_first.then(|| {
            self.ejections.fetch_add(1, Relaxed);
            length
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(health: &Health, times: usize, now: u64) -> Vec<u64> {
        (0..times).filter_map(|_| health.note_failure(now, 2_000)).collect()
    }

    #[test]
    fn two_bad_checks_take_it_down_and_one_good_brings_it_up() {
        let health = Health::default();
        assert_eq!(health.note_check(false), None);
        assert!(health.fitness(1) == Fitness::Fit && health.is_suspected());
        assert_eq!(health.note_check(false), Some(Turn::Down));
        assert!(!health.is_suspected());
        assert_eq!(health.note_check(false), None);
        assert_eq!(health.fitness(1), Fitness::Doubtful);
        assert_eq!(health.note_check(true), Some(Turn::Up));
        assert_eq!(health.fitness(1), Fitness::Fit);
    }

    #[test]
    fn a_good_check_between_two_bad_ones_keeps_it_up() {
        let health = Health::default();
        for is_good in [false, true, false, true, false] {
            assert_eq!(health.note_check(is_good), None);
        }
    }

    #[test]
    fn three_failures_in_a_row_eject_it_for_the_interval() {
        let health = Health::default();
        assert_eq!(fail(&health, 2, 100), [0_u64; 0]);
        assert_eq!(health.fitness(100), Fitness::Fit);
        assert_eq!(fail(&health, 1, 100), [2_000]);
        assert_eq!(health.fitness(2_099), Fitness::Failing);
        assert_eq!(health.fitness(2_100), Fitness::Fit);
    }

    #[test]
    fn a_success_in_between_forgets_the_failures() {
        let health = Health::default();
        for _ in 0..10 {
            assert_eq!(fail(&health, 2, 100), [0_u64; 0]);
            health.note_success();
        }
        assert!(!health.is_on_trial());
    }

    #[test]
    fn ejections_double_up_to_thirty_seconds() {
        let health = Health::default();
        let mut now = 1;
        fail(&health, 2, now);
        let mut lengths = Vec::new();
        for _ in 0..7 {
            let length = health.note_failure(now, 2_000).unwrap();
            lengths.push(length);
            now += length;
        }
        assert_eq!(lengths, [2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn a_hundred_requests_that_die_together_are_one_ejection() {
        let health = Health::default();
        assert_eq!(fail(&health, 100, 50), [2_000]);
        assert_eq!(fail(&health, 100, 1_000), [0_u64; 0]);
        assert_eq!(health.fitness(2_050), Fitness::Fit);
    }

    #[test]
    fn a_long_interval_ejects_for_thirty_seconds_at_most() {
        let health = Health::default();
        fail(&health, 2, 1);
        assert_eq!(health.note_failure(1, 600_000), Some(30_000));
    }
}
