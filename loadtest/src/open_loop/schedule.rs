//! When requests are due, set before the first is sent.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// How requests are spread over time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arrivals {
    /// One like the other.
    Constant,
    /// As those of many visitors who know nothing of each other (a Poisson process): several at once, then none.
    /// The same seed gives the same schedule.
    Poisson {
        /// Any number.
        seed: u64,
    },
}

/// When each is due, counted from the first moment: `per_second` of them, for `time`.
pub(super) fn times(arrivals: Arrivals, per_second: f64, time: Duration) -> Vec<Duration> {
    let mean = 1.0 / per_second.max(f64::MIN_POSITIVE);
    let end = time.as_secs_f64();
    let moment = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    match arrivals {
        // Multiplied, not added up: rounding does not pile up.
        Arrivals::Constant => {
            (0_u32..).map(|number| f64::from(number) * mean).take_while(|at| *at < end).map(moment).collect()
        }
        Arrivals::Poisson { seed } => {
            let mut chance = StdRng::seed_from_u64(seed);
            // The time between two is distributed exponentially.
            let gap = move || -mean * (1.0 - chance.random::<f64>()).ln();
            let sums = std::iter::repeat_with(gap).scan(0.0, |sum, gap| {
                *sum += gap;
                Some(*sum)
            });
            sums.take_while(|at| *at < end).map(moment).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_constant_rate_is_evenly_spread() {
        let times = times(Arrivals::Constant, 4.0, SECOND);
        assert_eq!(times, [0, 250, 500, 750].map(Duration::from_millis));
    }

    #[test]
    fn a_poisson_process_keeps_the_rate_and_varies() {
        let times = times(Arrivals::Poisson { seed: 7 }, 1_000.0, SECOND * 20);
        // Its standard deviation is 141.
        assert!((19_000..21_000).contains(&times.len()), "{}", times.len());
        assert!(times.is_sorted());
        let gaps = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64());
        let (short, long) = gaps.partition::<Vec<_>, _>(|gap| *gap < 0.001);
        // 1 − 1/e of the gaps are shorter than the mean one.
        let share = short.len() as f64 / (short.len() + long.len()) as f64;
        assert!((0.6..0.66).contains(&share), "{share}");
    }

    #[test]
    fn a_seed_gives_one_schedule() {
        let of = |seed| times(Arrivals::Poisson { seed }, 100.0, SECOND);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
