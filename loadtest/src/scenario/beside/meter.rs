//! What a round cost, and whom: the proxy, the generator, the backend, and the core that these two share.
//!
//! A rate is the proxy's only if neither the generator nor its core was the narrow place. CPU a request does not
//! depend on that.

use tokio::time::Instant;

use crate::cpu;
use crate::figure::median;
use crate::generator::Outcome;
use crate::machine::{self, Ticks};

/// From which part of a core on something counts as saturated, in percent: accounting by ticks and the begin and
/// the end of a round take the rest.
const SATURATED_PERCENT: f64 = 95.0;

/// A look at all of them.
#[derive(Debug)]
pub(in crate::scenario) struct Look {
    at: Instant,
    proxy: f64,
    generator: f64,
    backend: f64,
    core: Option<Ticks>,
}

impl Look {
    /// At the processes of that proxy and of that backend (none: it is this program), at this program with what it
    /// has run, and at the core of generator and backend.
    ///
    /// # Errors
    /// One of them is gone.
    pub(in crate::scenario) fn now(proxy: u32, backend: Option<u32>, core: usize) -> anyhow::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            proxy: cpu::family_micros(proxy)?,
            generator: cpu::own_micros()?,
            backend: backend.map_or(Ok(0.0), cpu::family_micros)?,
            core: machine::ticks_of(core),
        })
    }
}

/// What one round told. Parts of a core are in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::scenario) struct Round {
    /// CPU of the proxy for each request, in microseconds.
    pub(in crate::scenario) micros: f64,
    /// Requests a second.
    pub(in crate::scenario) rate: f64,
    /// Part of a core that the proxy used.
    pub(in crate::scenario) proxy: f64,
    /// Part of a core that the generator used.
    pub(in crate::scenario) generator: f64,
    /// Part of a core that the backend used.
    pub(in crate::scenario) backend: f64,
    /// How busy the core of generator and backend was, whoever used it.
    pub(in crate::scenario) core: f64,
}

impl Round {
    /// Between two looks.
    pub(in crate::scenario) fn between(before: &Look, after: &Look, outcome: Outcome) -> Self {
        let micros = (after.at - before.at).as_secs_f64() * 1e6;
        let percent = |before: f64, after: f64| (after - before) / micros * 100.0;
        let core = before.core.zip(after.core).map(|(before, after)| after.since(before).busy_percent());
        Self {
            micros: (after.proxy - before.proxy) / outcome.requests,
            rate: outcome.requests_per_second,
            proxy: percent(before.proxy, after.proxy),
            generator: percent(before.generator, after.generator),
            backend: percent(before.backend, after.backend),
            core: core.unwrap_or(0.0),
        }
    }

    /// The medians of some rounds, each figure for itself.
    pub(in crate::scenario) fn median(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure).collect());
        Self {
            micros: of(|round| round.micros),
            rate: of(|round| round.rate),
            proxy: of(|round| round.proxy),
            generator: of(|round| round.generator),
            backend: of(|round| round.backend),
            core: of(|round| round.core),
        }
    }

    /// Why the rate is not the proxy's, if it is not.
    pub(super) fn doubt(&self) -> Option<String> {
        let narrow = if self.generator >= SATURATED_PERCENT {
            "the generator"
        } else if self.core >= SATURATED_PERCENT {
            "the core of generator and backend"
        } else {
            return None;
        };
        (self.proxy < SATURATED_PERCENT).then(|| {
            format!("{narrow} was saturated and the proxy was not: CPU a request holds, the rate does not")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Round =
        Round { micros: 50.0, rate: 9_000.0, proxy: 45.0, generator: 30.0, backend: 20.0, core: 60.0 };

    #[test]
    fn a_rate_is_doubted_when_something_else_was_the_narrow_place() {
        assert_eq!(CALM.doubt(), None);
        let generator = Round { generator: 97.0, core: 100.0, ..CALM };
        assert!(generator.doubt().unwrap().starts_with("the generator was"));
        let core = Round { core: 99.0, ..CALM };
        assert!(core.doubt().unwrap().starts_with("the core of"));
    }

    #[test]
    fn a_saturated_proxy_has_its_own_rate() {
        assert_eq!(Round { proxy: 98.0, generator: 97.0, core: 100.0, ..CALM }.doubt(), None);
    }

    #[test]
    fn parts_are_of_the_time_between_the_looks() {
        let look = |at, proxy, generator| Look { at, proxy, generator, backend: 7.0, core: None };
        let begin = Instant::now();
        let before = look(begin, 1e6, 5e6);
        let after = look(begin + std::time::Duration::from_secs(2), 2e6, 5.5e6);
        let outcome = Outcome { requests: 10_000.0, requests_per_second: 5_000.0 };
        let expected =
            Round { micros: 100.0, rate: 5_000.0, proxy: 50.0, generator: 25.0, backend: 0.0, core: 0.0 };
        assert_eq!(Round::between(&before, &after, outcome), expected);
    }

    #[test]
    fn each_figure_has_a_median_of_its_own() {
        let rounds = [CALM, Round { micros: 60.0, ..CALM }, Round { micros: 70.0, rate: 8_000.0, ..CALM }];
        assert_eq!(Round::median(&rounds), Round { micros: 60.0, ..CALM });
    }
}
