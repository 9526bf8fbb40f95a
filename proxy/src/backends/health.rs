//! Whether one backend is fit for traffic, from two independent witnesses.
//!
//! Active checks say up or down. Requests open and close its [`Breaker`]. What they say is kept in atomics.
//! Moments are milliseconds of [`super::uptime::Uptime`].

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::breaker::{Breaker, State};

/// Bad checks in a row until a backend is down: one may be a lost packet or a garbage collection. The second
/// follows the first after a quarter of the interval (see [`Health::is_suspected`]).
const BAD_CHECKS: u32 = 2;

/// What the witnesses have said.
#[derive(Debug, Default)]
pub(super) struct Health {
    down: AtomicBool,
    bad_checks: AtomicU32,
    /// What requests say.
    pub(super) breaker: Breaker,
    /// When it began to be fit; 0: it always was.
    fit_since: AtomicU64,
}

/// How far a backend can be trusted with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fitness {
    /// Take it.
    Fit,
    /// Its breaker is half open: one request may try it.
    OnTrial,
    /// Its checks fail, but no request has failed since one succeeded: perhaps the check is wrong.
    Doubtful,
    /// Its checks are good, but its breaker is open.
    Ejected,
    /// Checks and requests fail.
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
        match (self.down.load(Relaxed), self.breaker.state(now)) {
            (false, State::Closed) => Fitness::Fit,
            (false, State::HalfOpen) => Fitness::OnTrial,
            (false, State::Open) => Fitness::Ejected,
            (true, State::Closed) if !self.breaker.has_failed() => Fitness::Doubtful,
            (true, _) => Fitness::Failing,
        }
    }

    /// Whether its last check was bad and it is not down yet: to be checked again soon.
    pub(super) fn is_suspected(&self) -> bool {
        self.bad_checks.load(Relaxed) > 0 && !self.down.load(Relaxed)
    }

    /// How long it has been fit at `now`, in milliseconds; none if it always was.
    pub(super) fn fit_for(&self, now: u64) -> Option<u64> {
        let since = self.fit_since.load(Relaxed);
        (since != 0).then(|| now.saturating_sub(since))
    }

    /// It begins to be fit at `now`: its share of the traffic is to grow slowly.
    pub(super) fn warm_up(&self, now: u64) {
        self.fit_since.store(now, Relaxed);
    }

    /// Takes the result of an active check. Called by one task at a time.
    pub(super) fn note_check(&self, is_good: bool, now: u64) -> Option<Turn> {
        if is_good {
            self.bad_checks.store(0, Relaxed);
            return self.down.swap(false, Relaxed).then(|| {
                self.warm_up(now);
                Turn::Up
            });
        }
        let bad_checks = self.bad_checks.fetch_add(1, Relaxed).saturating_add(1);
        (bad_checks >= BAD_CHECKS && !self.down.swap(true, Relaxed)).then_some(Turn::Down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_bad_checks_take_it_down_and_one_good_brings_it_up() {
        let health = Health::default();
        assert_eq!(health.note_check(false, 1), None);
        assert!(health.fitness(1) == Fitness::Fit && health.is_suspected());
        assert_eq!(health.note_check(false, 1), Some(Turn::Down));
        assert!(!health.is_suspected());
        assert_eq!(health.note_check(false, 1), None);
        assert_eq!((health.fitness(1), health.fit_for(1)), (Fitness::Doubtful, None));
        assert_eq!(health.note_check(true, 5), Some(Turn::Up));
        assert_eq!((health.fitness(7), health.fit_for(7)), (Fitness::Fit, Some(2)));
    }

    #[test]
    fn a_good_check_between_two_bad_ones_keeps_it_up() {
        let health = Health::default();
        for is_good in [false, true, false, true, false] {
            assert_eq!(health.note_check(is_good, 1), None);
        }
    }

    #[test]
    fn a_good_check_does_not_close_what_requests_have_opened() {
        let health = Health::default();
        let opened = (0..3).filter_map(|_| health.breaker.note_failure(1, 1, 2_000));
        assert_eq!(opened.count(), 1);
        assert_eq!(health.note_check(true, 2), None);
        assert_eq!((health.fitness(2), health.fitness(2_001)), (Fitness::Ejected, Fitness::OnTrial));
    }
}
