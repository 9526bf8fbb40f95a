//! The arithmetic of GCRA, in ticks of any length: what is owed, what may be owed, what one more costs.
//!
//! A key owes time. One request costs [`Terms::interval`]; owing up to [`Terms::tolerance`] is allowed; time
//! that passes pays. This is a token bucket of `burst` tokens told in one number.

use std::time::Duration;

use model::limits::Rate;

use crate::Decision;

/// How much later a debt may end than the tolerance allows before it is taken for one of another rate: threads
/// read their clocks at different times, and a late one must not shorten what the others ran up.
const SKEW: Duration = Duration::from_secs(1);

/// A rate in ticks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    interval: u64,
    tolerance: u64,
    tick_nanos: u64,
}

impl Terms {
    /// One tick is a nanosecond.
    pub(crate) fn in_nanos(rate: Rate) -> Self {
        let interval = u64::try_from(rate.interval().as_nanos()).unwrap_or(u64::MAX).max(1);
        Self { interval, tolerance: interval.saturating_mul(rate.burst.max(1).into()), tick_nanos: 1 }
    }

    /// One tick is a microsecond. The interval is rounded up, so never more is allowed than asked for
    /// (exact below 1,000 requests a minute to 0.002 %); nobody may owe more than `most`.
    pub(crate) fn in_micros(rate: Rate, most: u64) -> Self {
        let nanos = Self::in_nanos(rate);
        let interval = nanos.interval.div_ceil(1_000);
        let tolerance = interval.saturating_mul(rate.burst.max(1).into());
        Self { interval, tolerance: tolerance.min(most), tick_nanos: 1_000 }
    }

    /// What `n` requests cost.
    pub(crate) fn cost(&self, n: u32) -> u64 {
        self.interval.saturating_mul(n.into())
    }

    /// Decides on `n` more for a key that owes `debt`; the number is what the key owes from now on. A debt
    /// far beyond the tolerance was run up at another rate and is cut to the tolerance.
    pub(crate) fn decide(&self, debt: u64, n: u32) -> (Decision, u64) {
        let foreign = self.time(debt.saturating_sub(self.tolerance)) > SKEW;
        let debt = if foreign { self.tolerance } else { debt };
        let wanted = debt.saturating_add(self.cost(n));
        match wanted.checked_sub(self.tolerance) {
            None | Some(0) => (self.allowed(wanted), wanted),
            Some(excess) => {
                let refused =
                    Decision::Refused { retry_after: self.time(excess), reset_after: self.time(debt) };
                (refused, debt)
            }
        }
    }

    fn allowed(&self, debt: u64) -> Decision {
        let left = self.tolerance.saturating_sub(debt) / self.interval;
        Decision::Allowed { remaining: u32::try_from(left).unwrap_or(u32::MAX), reset_after: self.time(debt) }
    }

    fn time(&self, ticks: u64) -> Duration {
        Duration::from_nanos(ticks.saturating_mul(self.tick_nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_numbers_a_limit_can_have_do_not_overflow() {
        let slow = Rate { requests_per_minute: 1, burst: model::limits::MAX };
        let fast = Rate { requests_per_minute: model::limits::MAX, burst: u32::MAX };
        for rate in [slow, fast, Rate { requests_per_minute: 0, burst: 0 }] {
            for terms in [Terms::in_nanos(rate), Terms::in_micros(rate, 1 << 37)] {
                for debt in [0, 1, u64::MAX] {
                    let (_, owed) = terms.decide(debt, u32::MAX);
                    assert!(owed <= terms.tolerance || owed == debt);
                }
            }
        }
    }

    #[test]
    fn an_interval_in_microseconds_is_never_shorter_than_asked_for() {
        let odd = Rate { requests_per_minute: 40_000_000, burst: 10 };
        assert_eq!(Terms::in_nanos(odd).interval, 1_500);
        assert_eq!(Terms::in_micros(odd, u64::MAX).interval, 2);
    }
}
