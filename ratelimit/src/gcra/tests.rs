use std::num::NonZeroU32;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use governor::{Quota, RateLimiter};
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// One a second, three at once.
const SLOW: Rate = Rate { requests_per_minute: 60, burst: 3 };

fn at(nanos: u64) -> Moment {
    Moment::from_nanos(nanos)
}

#[test]
fn a_quiet_key_has_its_whole_burst() {
    let cell = Gcra::new();
    let now = at(5_000_000_000);
    assert_eq!(cell.take(now, SLOW, 1), Decision::Allowed { remaining: 2, reset_after: SECOND });
    assert_eq!(cell.take(now, SLOW, 2), Decision::Allowed { remaining: 0, reset_after: SECOND * 3 });
    let refused = Decision::Refused { retry_after: SECOND, reset_after: SECOND * 3 };
    assert_eq!(cell.take(now, SLOW, 1), refused);
}

#[test]
fn more_than_the_burst_at_once_is_always_refused() {
    let cell = Gcra::new();
    assert!(!cell.take(at(0), SLOW, 4).is_allowed());
    assert!(cell.take(at(0), SLOW, 3).is_allowed());
}

#[test]
fn a_raised_limit_does_not_lock_out_who_owed_at_the_old_one() {
    let hourly = Rate { requests_per_minute: 1, burst: 60 };
    let cell = Gcra::new();
    assert!(cell.take(at(0), hourly, 60).is_allowed());
    let fast = Rate { requests_per_minute: 60_000, burst: 10 };
    assert!(!cell.take(at(0), fast, 1).is_allowed());
    assert!(cell.take(at(1_000_000), fast, 1).is_allowed());
}

#[test]
fn a_lowered_limit_gives_no_new_burst() {
    let fast = Rate { requests_per_minute: 60_000, burst: 3_000 };
    let cell = Gcra::new();
    assert!(cell.take(at(0), fast, 3_000).is_allowed());
    assert!(!cell.take(at(0), SLOW, 1).is_allowed());
}

#[test]
fn threads_together_are_admitted_no_more_than_one_would_be() {
    let cell = Gcra::new();
    let admitted = AtomicU32::new(0);
    let rate = Rate { requests_per_minute: 60_000, burst: 500 };
    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (cell, admitted) = (&cell, &admitted);
            scope.spawn(move || {
                for step in 0..20_000_u64 {
                    if cell.take(at(step * 5_000 + thread), rate, 1).is_allowed() {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    // 20,000 steps of 5 µs are 100 ms: 100 requests at one a millisecond, and the burst.
    assert!((500..=600).contains(&admitted.into_inner()));
}

proptest! {
    #[test]
    fn decisions_are_those_of_governor(
        rpm in 1..2_000_000_u32,
        burst in 1..200_u32,
        steps in prop::collection::vec((0..3_000_u64, 1..12_u32), 1..300),
    ) {
        let rate = Rate { requests_per_minute: rpm, burst };
        let quota = Quota::with_period(rate.interval()).unwrap()
            .allow_burst(NonZeroU32::new(burst).unwrap());
        let clock = FakeRelativeClock::default();
        let oracle = RateLimiter::direct_with_clock(quota, clock.clone());
        let cell = Gcra::new();
        let mut now = 0;
        for (permille, n) in steps {
            let pause = rate.interval().mul_f64(f64::from(u32::try_from(permille).unwrap()) / 1_000.0);
            clock.advance(pause);
            now += u64::try_from(pause.as_nanos()).unwrap();
            let expected = matches!(oracle.check_n(NonZeroU32::new(n).unwrap()), Ok(Ok(())));
            prop_assert_eq!(cell.take(at(now), rate, n).is_allowed(), expected);
        }
    }

    #[test]
    fn retry_after_is_the_first_moment_that_is_allowed(
        rpm in 1..6_000_000_u32,
        burst in 1..100_u32,
        n in 1..100_u32,
        start in 0..u64::MAX / 4,
    ) {
        prop_assume!(n <= burst);
        let rate = Rate { requests_per_minute: rpm, burst };
        let cell = Gcra::new();
        while cell.take(at(start), rate, 1).is_allowed() {}
        let Decision::Refused { retry_after, .. } = cell.take(at(start), rate, n) else {
            return Err(TestCaseError::fail("an empty bucket gave"));
        };
        let just_before = at(start).plus(retry_after - Duration::from_nanos(1));
        prop_assert!(!cell.take(just_before, rate, n).is_allowed());
        prop_assert!(cell.take(at(start).plus(retry_after), rate, n).is_allowed());
    }

    #[test]
    fn what_is_refunded_was_never_taken(
        burst in 1..50_u32,
        steps in prop::collection::vec((0..3_000_000_000_u64, 1..5_u32, any::<bool>()), 1..100),
    ) {
        let rate = Rate { requests_per_minute: 60, burst };
        let (kept, control) = (Gcra::new(), Gcra::new());
        let mut now = at(0);
        for (pause, n, refunded) in steps {
            now = now.plus(Duration::from_nanos(pause));
            if refunded {
                if kept.take(now, rate, n).is_allowed() {
                    kept.refund(now, rate, n);
                }
            } else {
                prop_assert_eq!(kept.take(now, rate, n), control.take(now, rate, n));
            }
        }
    }
}
