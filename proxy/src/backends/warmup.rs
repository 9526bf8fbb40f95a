//! Slow start: a backend that comes into a running pool, or becomes fit again, gets its share little by little.
//!
//! Caches are cold and connections are to be made, so the whole share at once may take it down again. A choice
//! that falls on a backend which is warming up holds with the probability that it is as warm as the warmest of
//! its pool; else the others are chosen from. So its share grows from a tenth to the whole, the others are
//! balanced as ever, and a pool whose backends are all alike in this is not affected at all.

use rand::{Rng, RngExt};

use super::choice::{Load, Set, choose};

/// As warm as can be, in thousandths.
pub(super) const WARM: u32 = 1_000;
/// Least warmth, so that even the first seconds tell something of a backend; what Envoy has by default
/// (`min_weight_percent`).
const COLD: u32 = 100;

/// How warm a backend is that has been fit for `fit_ms`, if that takes `slow_start_ms`: a line from a tenth up.
pub(super) fn warmth(fit_ms: Option<u64>, slow_start_ms: u32) -> u32 {
    let Some(fit_ms) = fit_ms else { return WARM };
    let thousandths = (fit_ms.saturating_mul(u64::from(WARM))).checked_div(u64::from(slow_start_ms));
    thousandths.and_then(|warmth| u32::try_from(warmth).ok()).map_or(WARM, |warmth| warmth.clamp(COLD, WARM))
}

/// Chooses one of `candidates` by `load`, with regard to their `warmth` in thousandths.
pub(super) fn choose_warm(
    mut candidates: Set,
    load: &impl Fn(usize) -> Load,
    warmth: &impl Fn(usize) -> u32,
    random: &mut impl Rng,
) -> Option<usize> {
    let mut warmest = None;
    loop {
        let index = choose(candidates, load, random)?;
        let own = warmth(index);
        if own >= WARM {
            return Some(index);
        }
        let most = *warmest.get_or_insert_with(|| candidates.iter().map(warmth).max().unwrap_or(own));
        candidates.remove(index);
        if candidates.is_empty() || random.random_range(0..most.max(1)) < own {
            return Some(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn shares(weights: &[u32], warmths: &[u32], times: u32) -> Vec<f64> {
        let mut random = StdRng::seed_from_u64(1);
        let mut set = Set::default();
        (0..weights.len()).for_each(|index| set.insert(index));
        let mut counts = vec![0_u32; weights.len()];
        for _ in 0..times {
            let load = |index: usize| Load { weight: weights[index], in_flight: 0 };
            counts[choose_warm(set, &load, &|index| warmths[index], &mut random).unwrap()] += 1;
        }
        counts.iter().map(|count| f64::from(*count) / f64::from(times)).collect()
    }

    #[test]
    fn warmth_is_a_line_from_a_tenth_to_the_whole() {
        let after = |millis| warmth(Some(millis), 10_000);
        assert_eq!(
            [0, 500, 1_000, 5_000, 9_999, 10_000, u64::MAX].map(after),
            [100, 100, 100, 500, 999, 1_000, 1_000]
        );
        assert_eq!((warmth(None, 10_000), warmth(Some(0), 0)), (WARM, WARM));
    }

    #[test]
    fn a_share_grows_with_the_warmth() {
        for (warmth, wanted) in [(100, 0.05), (200, 0.1), (500, 0.25), (900, 0.45), (1_000, 0.5)] {
            let share = shares(&[1, 1], &[1_000, warmth], 20_000)[1];
            assert!((share - wanted).abs() < 0.02, "{warmth}: {share}");
        }
    }

    #[test]
    fn the_last_candidate_is_taken_however_cold() {
        assert_eq!(shares(&[7], &[100], 100), [1.0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(10) })]

        #[test]
        fn a_pool_in_which_all_are_new_follows_its_weights(
            weights in prop::collection::vec(1_u32..=100, 1..=6),
            warmth in COLD..=WARM,
        ) {
            let all: u32 = weights.iter().sum();
            let alike = vec![warmth; weights.len()];
            for (weight, share) in weights.iter().zip(shares(&weights, &alike, 8_000)) {
                prop_assert!((f64::from(*weight) / f64::from(all) - share).abs() < 0.03);
            }
        }

        #[test]
        fn what_warms_up_never_has_more_than_its_share_and_never_nothing(
            weights in prop::collection::vec(10_u32..=30, 2..=6),
            warmth in COLD..WARM,
        ) {
            let mut warmths = vec![WARM; weights.len()];
            warmths[0] = warmth;
            let share = shares(&weights, &warmths, 8_000)[0];
            let whole = f64::from(weights[0]) / f64::from(weights.iter().sum::<u32>());
            prop_assert!(share > 0.0 && share < whole + 0.03, "{share} of {whole}");
        }
    }
}
