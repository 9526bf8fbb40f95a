use std::num::NonZeroU32;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use governor::{Quota, RateLimiter};
use proptest::prelude::*;

use super::*;

/// Fifty a second, two hundred at once: the default of a visitor.
const RATE: Rate = Rate { requests_per_minute: 3_000, burst: 200 };
/// One a second, three at once.
const SLOW: Rate = Rate { requests_per_minute: 60, burst: 3 };
/// The clock of a word comes round.
const ROUND_MICROS: u64 = 1 << 40;

fn at_micros(micros: u64) -> Moment {
    Moment::from_nanos(micros * 1_000)
}

fn exhaust(bucket: VisitorBucket<'_>, now: Moment, rate: Rate) -> u32 {
    let mut taken = 0;
    while bucket.take(now, rate, 1).is_allowed() {
        taken += 1;
    }
    taken
}

#[test]
fn each_key_has_its_own_burst() {
    let table = VisitorTable::with_bytes(64 << 10);
    let now = at_micros(1);
    for key in 0..20_u32 {
        assert_eq!(exhaust(table.bucket(&key), now, SLOW), 3);
    }
    for key in 0..20_u32 {
        assert!(!table.bucket(&key).take(now, SLOW, 1).is_allowed());
    }
}

#[test]
fn the_smallest_table_is_one_line() {
    let table = VisitorTable::with_bytes(0);
    assert_eq!(table.bytes(), 64);
    assert_eq!(exhaust(table.bucket(&"a"), at_micros(0), SLOW), 3);
}

#[test]
fn a_debt_outlives_the_wrap_of_the_clock() {
    let table = VisitorTable::with_bytes(64);
    let before = at_micros(ROUND_MICROS - 500_000);
    assert_eq!(exhaust(table.bucket(&"a"), before, SLOW), 3);
    assert!(!table.bucket(&"a").take(before.plus(Duration::from_millis(999)), SLOW, 1).is_allowed());
    assert!(table.bucket(&"a").take(before.plus(Duration::from_secs(1)), SLOW, 1).is_allowed());
}

#[test]
fn who_comes_back_after_a_whole_round_owes_nothing() {
    let table = VisitorTable::with_bytes(1 << 20);
    let start = at_micros(10);
    for key in 0..1_000_u32 {
        exhaust(table.bucket(&key), start, SLOW);
    }
    let round = at_micros(10 + ROUND_MICROS);
    for key in 0..1_000_u32 {
        assert_eq!(exhaust(table.bucket(&key), round, SLOW), 3);
    }
}

#[test]
fn a_table_in_use_is_swept_little_by_little() {
    let table = VisitorTable::with_bytes(1 << 20);
    exhaust(table.bucket(&"old"), at_micros(0), SLOW);
    let steps = 4_000;
    for step in 1..=steps {
        let now = at_micros(word::HORIZON / steps * step);
        let _ = table.bucket(&"other").take(now, SLOW, 1);
    }
    let now = at_micros(word::HORIZON + word::HORIZON / 2);
    for _ in 0..200 {
        let _ = table.bucket(&"other").take(now, SLOW, 1);
    }
    assert!(table.bucket(&"old").line.find(table.bucket(&"old").tag).is_none());
}

#[test]
fn the_slowest_rate_with_the_highest_burst_is_cut_not_broken() {
    let table = VisitorTable::with_bytes(64);
    let rate = Rate { requests_per_minute: 1, burst: model::limits::MAX };
    let now = at_micros(ROUND_MICROS / 2);
    assert!(table.bucket(&"a").take(now, rate, 2_000).is_allowed());
    assert!(!table.bucket(&"a").take(now, rate, 2_000).is_allowed());
}

#[test]
fn a_spray_of_a_million_keys_neither_frees_a_heavy_hitter_nor_costs_memory() {
    // 1,000,000 fresh keys a second for a second, 100 heavy keys at 10 times their limit.
    let table = VisitorTable::with_bytes(128 << 10);
    let bytes = table.bytes();
    let heavy = 100_u32;
    let mut admitted = 0_u32;
    for micro in 0..1_000_000_u64 {
        let now = at_micros(micro);
        let _ = table.bucket(&("spray", micro)).take(now, RATE, 1);
        if micro % 20 == 0 {
            let key = u32::try_from(micro / 20).unwrap() % heavy;
            admitted += u32::from(table.bucket(&("heavy", key)).take(now, RATE, 1).is_allowed());
        }
    }
    let allowed = heavy * (RATE.burst + 50);
    assert!(admitted.abs_diff(allowed) * 100 <= allowed, "{admitted} of {allowed}");
    assert_eq!(table.bytes(), bytes);
    assert!(table.forgotten() > 0, "the table was meant to be too small for the spray");
}

#[test]
fn threads_together_are_admitted_no_more_than_one_would_be() {
    let table = VisitorTable::with_bytes(64);
    let admitted = AtomicU32::new(0);
    let rate = Rate { requests_per_minute: 60_000, burst: 500 };
    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (table, admitted) = (&table, &admitted);
            scope.spawn(move || {
                for step in 0..20_000_u64 {
                    let now = at_micros(step * 5);
                    let _ = table.bucket(&("mine", thread)).take(now, SLOW, 1);
                    if table.bucket(&"shared").take(now, rate, 1).is_allowed() {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    // 100 ms at one a millisecond and the burst; three more if all four threads met the new key at once.
    let admitted = admitted.into_inner();
    assert!((500..=603).contains(&admitted), "{admitted}");
}

#[test]
fn threads_that_meet_a_new_key_at_once_leave_one_word() {
    for round in 0..2_000_u64 {
        let table = VisitorTable::with_bytes(64);
        let now = at_micros(round);
        thread::scope(|scope| {
            for _ in 0..2 {
                let table = &table;
                scope.spawn(move || table.bucket(&"new").take(now, RATE, 1));
            }
        });
        let bucket = table.bucket(&"new");
        assert_eq!(bucket.take(now, RATE, 1).remaining(), RATE.burst - 3);
    }
}

proptest! {
    #[test]
    fn decisions_are_those_of_governor(
        rpm in 1..2_000_000_u32,
        burst in 1..200_u32,
        start in 0..ROUND_MICROS * 3,
        steps in prop::collection::vec((0..3_000_u64, 1..12_u32), 1..300),
    ) {
        let rate = Rate { requests_per_minute: rpm, burst };
        let interval = u64::try_from(rate.interval().as_nanos()).unwrap().div_ceil(1_000);
        let quota = Quota::with_period(Duration::from_micros(interval)).unwrap()
            .allow_burst(NonZeroU32::new(burst).unwrap());
        let clock = FakeRelativeClock::default();
        let oracle = RateLimiter::direct_with_clock(quota, clock.clone());
        let table = VisitorTable::with_bytes(4_096);
        let mut now = start;
        for (permille, n) in steps {
            let pause = interval * permille / 1_000;
            clock.advance(Duration::from_micros(pause));
            now += pause;
            let expected = matches!(oracle.check_n(NonZeroU32::new(n).unwrap()), Ok(Ok(())));
            prop_assert_eq!(table.bucket(&"key").take(at_micros(now), rate, n).is_allowed(), expected);
        }
    }

    #[test]
    fn what_is_refunded_was_never_taken(
        burst in 1..50_u32,
        steps in prop::collection::vec((0..3_000_000_u64, 1..5_u32, any::<bool>()), 1..100),
    ) {
        let rate = Rate { requests_per_minute: 60, burst };
        let (kept, control) = (VisitorTable::with_bytes(64), VisitorTable::with_bytes(64));
        let mut now = 0;
        for (pause, n, refunded) in steps {
            now += pause;
            let (bucket, moment) = (kept.bucket(&1), at_micros(now));
            if refunded {
                if bucket.take(moment, rate, n).is_allowed() {
                    bucket.refund(moment, rate, n);
                }
            } else {
                prop_assert_eq!(bucket.take(moment, rate, n), control.bucket(&1).take(moment, rate, n));
            }
        }
    }
}
