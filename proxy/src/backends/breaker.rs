//! The circuit breaker of one backend: what its requests say of it.
//!
//! Closed while requests succeed. Three failures in a row open it for a while. After that it is half open: one
//! request tries the backend, and what becomes of that request closes it or opens it for twice as long. Only
//! requests that began after it had opened have a say, because those that were under way tell of the time
//! before. What an open breaker means for the choice of a backend is [`super::pool`]'s matter. All in atomics;
//! a request to a backend in good health reads three of them and writes none. Moments are milliseconds of
//! [`super::uptime::Uptime`].

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Failed requests in a row until it opens: with one or two, a single restart or a lost packet would move the
/// backend's whole load to the others.
pub(super) const FAILURES: u32 = 3;
/// Longest time open in milliseconds: what a backend that came back may have to wait for its trial.
const LONGEST_OPEN_MS: u64 = 30_000;

/// The breaker of one backend.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// Failed requests in a row.
    failures: AtomicU32,
    /// Times that it opened in a row, without having been closed.
    openings: AtomicU32,
    opened_at: AtomicU64,
    /// When the trial may begin; 0: it is closed.
    open_until: AtomicU64,
    last_failure: AtomicU64,
    /// The trial that is under way; 0: none.
    trial: AtomicU64,
    trials: AtomicU64,
}

/// Whether requests go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// They do.
    Closed,
    /// They do not, or one does at the moment, to try.
    Open,
    /// One may, to try.
    HalfOpen,
}

/// The right to try a backend whose breaker is half open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trial(u64);

impl Breaker {
    /// What it lets through at `now`.
    pub(super) fn state(&self, now: u64) -> State {
        match self.open_until.load(Relaxed) {
            0 => State::Closed,
            until if now < until || self.trial.load(Relaxed) != 0 => State::Open,
            _ => State::HalfOpen,
        }
    }

    /// Whether requests go through without a trial.
    pub(super) fn is_closed(&self) -> bool {
        self.open_until.load(Relaxed) == 0
    }

    /// Whether the last request failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failures.load(Relaxed) > 0
    }

    /// When a request failed last; 0 if none ever did.
    pub(super) fn last_failure(&self) -> u64 {
        self.last_failure.load(Relaxed)
    }

    /// Takes the trial, if nobody else does. It ends with the first verdict, or with [`Self::end_trial`].
    pub(super) fn begin_trial(&self) -> Option<Trial> {
        let trial = self.trials.fetch_add(1, Relaxed).saturating_add(1);
        self.trial.compare_exchange(0, trial, Relaxed, Relaxed).is_ok().then_some(Trial(trial))
    }

    /// The trial is over, perhaps without a verdict: a visitor may have left.
    pub(super) fn end_trial(&self, trial: Trial) {
        // An error means that its verdict has ended it.
        let _ended = self.trial.compare_exchange(trial.0, 0, Relaxed, Relaxed);
    }

    /// Takes a request that began at `began` and got an answer; true if that closed it.
    pub(super) fn note_success(&self, began: u64) -> bool {
        let until = self.open_until.load(Relaxed);
        if until == 0 {
            if self.failures.load(Relaxed) != 0 {
                self.failures.store(0, Relaxed);
            }
            return false;
        }
        if began < self.opened_at.load(Relaxed) {
            return false;
        }
        self.failures.store(0, Relaxed);
        self.openings.store(0, Relaxed);
        self.trial.store(0, Relaxed);
        self.open_until.compare_exchange(until, 0, Relaxed, Relaxed).is_ok()
    }

    /// Takes a request that began at `began` and got no answer until `now`; `base_ms` is how long it opens the first
    /// time. Returns for how long this failure opened it. A failure while it is open makes that no longer.
    pub(super) fn note_failure(&self, began: u64, now: u64, base_ms: u64) -> Option<u64> {
        self.last_failure.store(now, Relaxed);
        let until = self.open_until.load(Relaxed);
        if until != 0 && (now < until || began < self.opened_at.load(Relaxed)) {
            return None;
        }
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        if failures < FAILURES {
            return None;
        }
        let doublings = self.openings.load(Relaxed).min(16);
        let length = base_ms.saturating_mul(1 << doublings).clamp(1, LONGEST_OPEN_MS);
        let is_first =
            self.open_until.compare_exchange(until, now.saturating_add(length), Relaxed, Relaxed).is_ok();
        is_first.then(|| {
            self.opened_at.store(now, Relaxed);
            self.openings.fetch_add(1, Relaxed);
            self.trial.store(0, Relaxed);
            length
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fail(breaker: &Breaker, times: usize, now: u64) -> Vec<u64> {
        (0..times).filter_map(|_| breaker.note_failure(now, now, 2_000)).collect()
    }

    #[test]
    fn three_failures_in_a_row_open_it_for_the_interval() {
        let breaker = Breaker::default();
        assert_eq!(fail(&breaker, 2, 100), [0_u64; 0]);
        assert_eq!(breaker.state(100), State::Closed);
        assert_eq!(fail(&breaker, 1, 100), [2_000]);
        assert_eq!(breaker.state(2_099), State::Open);
        assert_eq!(breaker.state(2_100), State::HalfOpen);
    }

    #[test]
    fn a_success_in_between_forgets_the_failures() {
        let breaker = Breaker::default();
        for _ in 0..10 {
            assert_eq!(fail(&breaker, 2, 100), [0_u64; 0]);
            assert!(!breaker.note_success(100));
        }
        assert!(breaker.is_closed() && !breaker.has_failed());
    }

    #[test]
    fn half_open_lets_one_request_through_and_its_success_closes_it() {
        let breaker = Breaker::default();
        fail(&breaker, 3, 100);
        assert!(breaker.begin_trial().is_some());
        assert_eq!((breaker.state(2_100), breaker.begin_trial()), (State::Open, None));
        assert!(breaker.note_success(2_100));
        assert_eq!(breaker.state(2_101), State::Closed);
        assert_eq!(fail(&breaker, 3, 2_200), [2_000], "it began anew");
    }

    #[test]
    fn a_trial_that_fails_opens_it_for_twice_as_long_up_to_thirty_seconds() {
        let breaker = Breaker::default();
        let mut lengths = fail(&breaker, 3, 1);
        let mut now = 1 + 2_000;
        for _ in 0..6 {
            assert_eq!(breaker.state(now), State::HalfOpen);
            breaker.begin_trial().unwrap();
            lengths.extend(fail(&breaker, 1, now));
            assert_eq!(breaker.state(now), State::Open);
            now += lengths.last().unwrap();
        }
        assert_eq!(lengths, [2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn a_trial_without_a_verdict_makes_room_for_the_next() {
        let breaker = Breaker::default();
        fail(&breaker, 3, 100);
        let trial = breaker.begin_trial().unwrap();
        breaker.end_trial(trial);
        assert_eq!(breaker.state(2_100), State::HalfOpen);
        assert!(breaker.begin_trial().is_some_and(|other| other != trial));
        breaker.end_trial(trial);
        assert_eq!(breaker.state(2_100), State::Open, "an old trial does not end a new one");
    }

    #[test]
    fn requests_from_before_it_opened_have_no_say() {
        let breaker = Breaker::default();
        fail(&breaker, 3, 100);
        assert!(!breaker.note_success(99));
        assert_eq!(breaker.state(100), State::Open);
        assert_eq!(breaker.note_failure(99, 5_000, 2_000), None);
        assert_eq!(breaker.state(5_000), State::HalfOpen);
    }

    #[test]
    fn a_hundred_requests_that_die_together_open_it_once() {
        let breaker = Breaker::default();
        assert_eq!(fail(&breaker, 100, 50), [2_000]);
        assert_eq!(fail(&breaker, 100, 1_000), [0_u64; 0]);
        assert_eq!(breaker.state(2_050), State::HalfOpen);
    }

    #[test]
    fn a_long_interval_opens_it_for_thirty_seconds_at_most() {
        let breaker = Breaker::default();
        fail(&breaker, 2, 1);
        assert_eq!(breaker.note_failure(1, 1, 600_000), Some(30_000));
    }

    proptest! {
        #[test]
        fn whatever_happened_it_recovers_by_one_good_request(
            steps in prop::collection::vec((0_u8..4, 0_u64..5_000), 0..200),
        ) {
            let (breaker, mut now) = (Breaker::default(), 1_u64);
            for (step, time) in steps {
                now += time;
                match (step, breaker.state(now)) {
                    (0, _) => _ = breaker.note_failure(now.saturating_sub(time), now, 500),
                    (1, _) => _ = breaker.note_success(now.saturating_sub(time)),
                    (2, State::HalfOpen) => _ = breaker.begin_trial(),
                    (3, State::HalfOpen) => breaker.end_trial(breaker.begin_trial().unwrap()),
                    _ => {}
                }
            }
            now += LONGEST_OPEN_MS;
            prop_assert!(breaker.note_success(now) || breaker.is_closed());
            prop_assert_eq!(breaker.state(now), State::Closed);
        }
    }
}
