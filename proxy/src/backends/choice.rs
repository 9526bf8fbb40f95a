//! Power of two choices, weighted: draw two, take the one with less to do for its weight.
//!
//! A backend counts as so many equal servers as its weight is multiples of the smallest one, and two of these
//! servers are drawn without putting the first one back. All of them are alike, so the load follows the
//! weights however much or little is in flight; comparing the two keeps away from a backend that has become
//! slow (Mitzenmacher 2001). To draw two different backends and compare requests per weight would be
//! simpler and wrong: with weights 41 and 17 and one request in flight, it takes turns. Nothing is allocated.

use rand::{Rng, RngExt};

/// Indices below 64 of an app's backends; an app has at most 32 ([`model::backend::MAX_PER_APP`]).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Set(u64);

impl Set {
    /// Adds an index; one beyond 63 is left out.
    pub(super) fn insert(&mut self, index: usize) {
        self.0 |= bit(index);
    }

    /// Takes an index out.
    pub(super) fn remove(&mut self, index: usize) {
        self.0 &= !bit(index);
    }

    /// Whether it has none.
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many it has.
    pub(super) fn len(self) -> usize {
        self.iter().count()
    }

    /// The indices of both.
    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The indices, ascending.
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let lowest = (rest != 0).then(|| rest.trailing_zeros())?;
            rest &= rest - 1;
            usize::try_from(lowest).ok()
        })
    }
}

fn bit(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1_u64.checked_shl(index)).unwrap_or(0)
}

/// What a choice depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Its share.
    pub(super) weight: u32,
    /// Requests that it works on.
    pub(super) in_flight: u32,
}

/// Chooses one of `candidates`; none if there is none with a weight.
pub(super) fn choose(candidates: Set, load: &impl Fn(usize) -> Load, random: &mut impl Rng) -> Option<usize> {
    let weight = |index: usize| load(index).weight;
    let unit = candidates.iter().map(weight).filter(|weight| *weight > 0).min()?;
    let first = draw(candidates, weight, random)?;
    let rest =
        |index: usize| if index == first { weight(index) - unit.min(weight(index)) } else { weight(index) };
    let second = draw(candidates, rest, random).unwrap_or(first);
    if first == second {
        return Some(first);
    }
    let (one, other) = (load(first), load(second));
    let unit = one.weight.min(other.weight);
    let is_busier = one.per_server(unit, random) > other.per_server(unit, random);
    Some(if is_busier { second } else { first })
}

impl Load {
    /// Requests at one of the servers that this backend counts as, each of weight `unit`: the average, rounded
    /// up as often as its fraction says.
    fn per_server(self, unit: u32, random: &mut impl Rng) -> u64 {
        let (share, weight) = (u64::from(self.in_flight) * u64::from(unit), u64::from(self.weight.max(1)));
        let fraction = share % weight;
        let is_up = fraction > 0 && random.random_range(0..weight) < fraction;
        share / weight + u64::from(is_up)
    }
}

fn draw(candidates: Set, weight: impl Fn(usize) -> u32, random: &mut impl Rng) -> Option<usize> {
    let total: u64 = candidates.iter().map(|index| u64::from(weight(index))).sum();
    if total == 0 {
        return None;
    }
    let mut mark = random.random_range(0..total);
    candidates.iter().find(|index| {
        let weight = u64::from(weight(*index));
        let is_hit = mark < weight;
        mark = mark.saturating_sub(weight);
        is_hit
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    /// Chooses `times` among `weights`; a chosen one is busy until `busy` more have been chosen.
    fn chosen(weights: &[u32], times: usize, busy: usize, seed: u64) -> Vec<u32> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut set = Set::default();
        (0..weights.len()).for_each(|index| set.insert(index));
        let (mut in_flight, mut counts) = (vec![0; weights.len()], vec![0; weights.len()]);
        let mut running = std::collections::VecDeque::new();
        for _ in 0..times {
            let load = |index: usize| Load { weight: weights[index], in_flight: in_flight[index] };
            let index = choose(set, &load, &mut random).unwrap();
            in_flight[index] += 1;
            counts[index] += 1;
            running.push_back(index);
            if running.len() > busy {
                in_flight[running.pop_front().unwrap()] -= 1;
            }
        }
        counts
    }

    #[test]
    fn the_same_seed_makes_the_same_choices() {
        assert_eq!(chosen(&[1, 2, 3], 1_000, 5, 7), chosen(&[1, 2, 3], 1_000, 5, 7));
    }

    #[test]
    fn nothing_is_chosen_from_nothing_or_from_what_is_drained() {
        let mut random = StdRng::seed_from_u64(1);
        let drained = |_| Load { weight: 0, in_flight: 0 };
        let mut set = Set::default();
        assert_eq!(choose(set, &drained, &mut random), None);
        set.insert(3);
        assert_eq!(choose(set, &drained, &mut random), None);
    }

    #[test]
    fn of_two_the_less_busy_is_taken() {
        let mut random = StdRng::seed_from_u64(1);
        let mut set = Set::default();
        set.insert(0);
        set.insert(1);
        let load = |index: usize| [Load { weight: 1, in_flight: 9 }, Load { weight: 1, in_flight: 0 }][index];
        assert!((0..100).all(|_| choose(set, &load, &mut random) == Some(1)));
    }

    #[test]
    fn a_set_holds_64_indices_and_forgets_the_rest() {
        let mut set = Set::default();
        [0, 31, 63, 64, 1_000].into_iter().for_each(|index| set.insert(index));
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 31, 63]);
    }

    /// The largest difference between a backend's share of the load and of the weights.
    fn deviation(weights: &[u32], counts: &[u32]) -> f64 {
        let share = |all: &[u32], one: u32| f64::from(one) / f64::from(all.iter().sum::<u32>());
        let differences =
            weights.iter().zip(counts).map(|(w, c)| (share(weights, *w) - share(counts, *c)).abs());
        differences.fold(0.0, f64::max)
    }

    #[test]
    fn a_quiet_app_follows_its_weights_too() {
        for weights in [[41, 17], [1, 1], [3, 1], [1000, 1], [1, 1000]] {
            for busy in [0, 1, 2, 3, 10] {
                let counts = chosen(&weights, 20_000, busy, 1);
                assert!(deviation(&weights, &counts) < 0.02, "{weights:?} {busy} {counts:?}");
            }
        }
    }

    #[test]
    fn equal_backends_are_never_both_drawn_from_one() {
        let mut random = StdRng::seed_from_u64(1);
        let mut set = Set::default();
        [0, 1].into_iter().for_each(|index| set.insert(index));
        let load =
            |index: usize| [Load { weight: 1000, in_flight: 1 }, Load { weight: 1000, in_flight: 0 }][index];
        assert!((0..100).all(|_| choose(set, &load, &mut random) == Some(1)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

        #[test]
        fn the_load_converges_to_the_weights(
            weights in prop::collection::vec(0_u32..=100, 1..=8),
            busy in prop_oneof![0_usize..4, 1_usize..200, Just(usize::MAX)],
            seed: u64,
        ) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let counts = chosen(&weights, 20_000, busy, seed);
            prop_assert!(deviation(&weights, &counts) < 0.02, "{weights:?} {counts:?}");
            prop_assert!(weights.iter().zip(&counts).all(|(weight, count)| *weight > 0 || *count == 0));
        }
    }
}
