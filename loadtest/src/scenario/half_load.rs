//! Latency of a 1 KB GET at half load, through Stoa and its peers.
//!
//! Half load is the rate at which nginx uses half of its core, whatever the others need: in a round everybody is
//! given the same rate, by the same schedule (a Poisson process). The search for it begins at half of what nginx can
//! do when it is asked as fast as it answers, under the very load that is measured (requests that come one by one
//! cost more each than those that come in heaps), and goes on from round to round, because a shared machine changes
//! its speed. If Stoa needs more of its core than nginx, that is part of the comparison; half of what Stoa can do
//! would be the easier rate whenever Stoa is the slower one, and a rate that nginx was never measured for whenever
//! it is the faster. Each one's maximum and its use of its core at half load are told beside the latencies. A peer
//! that can hardly do the rate at all is left out by name: there, latency only says how long the run was.
//!
//! A figure is the median of its rounds, of which there are many short ones: a shared machine stands still for
//! moments, and the p99 of a few long rounds tells of those. Before a round the same load goes through unmeasured:
//! while the others had their rounds this one's memory and caches went cold, and the milliseconds after a break are
//! not what is compared. Latency counts from when a request was due (see [`crate::open_loop`]); the generator shares
//! its core with the backend, and how late it was itself is told.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::beside::{Field, Round, Runner};
use crate::Effort;
use crate::cpu;
use crate::figure::{Report, median};
use crate::generator::{self, Protocol};
use crate::open_loop::{Arrivals, Ask, Destination, Dial, Http, Lines, Load, On, Same, Tally, Wanted};
use crate::peer::HOST;

/// Who sets the rate, and whom the others are compared with.
const MEASURE: &str = "nginx";
/// Half of a core, in percent.
const HALF_PERCENT: f64 = 50.0;
/// Steps in which its rate is looked for before the first round.
const STEPS: u32 = 5;
/// How much the rate of a round may differ from that of the one before: one bad second is not the next one's rate.
const STRIDE: std::ops::RangeInclusive<f64> = 0.8..=1.25;
/// What one must be able to do to take part, in parts of the rate.
const ENOUGH: f64 = 1.2;
/// Less of its core at its maximum, in percent, and something else was the limit.
const BUSY: f64 = 90.0;
/// How long a load goes through unmeasured before a round.
const WARM: Duration = Duration::from_secs(1);
/// What is told of the latencies.
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// Runs the scenario, over HTTP/1.1 and over HTTP/2.
pub(super) async fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let Some(field) = Field::open(report).await? else { return Ok(()) };
    let mut unwanted = 0;
    for way in [Way::HTTP1, Way::HTTP2] {
        let (most, found) = way.maxima(&field, effort, report)?;
        let mut rate = way.half_load(&field, most).await?;
        let mut runners = way.able(found, rate, report);
        let (rounds, seconds) = if effort.quick { (9, 1) } else { (25, 2) };
        let mut rates = Vec::new();
        for round in 0..rounds {
            rates.push(rate);
            for half in &mut runners {
                half.measure(&field, way, (rate, round), seconds).await?;
            }
            let measure = runners.iter().find(|half| half.runner.name == MEASURE);
            rate = measure.and_then(Half::to_half).map_or(rate, |factor| most.min(rate * factor));
        }
        report.add("all", &way.named("rate"), median(rates), "1/s");
        unwanted += tell(way, &runners, report);
    }
    ensure!(unwanted == 0, "{unwanted} requests were not answered as they should be");
    Ok(())
}

/// A protocol, and the connections that it is spoken on.
#[derive(Debug, Clone, Copy)]
struct Way {
    name: &'static str,
    lines: Lines,
    closed_loop: Protocol,
}

impl Way {
    const HTTP1: Self = Self {
        name: "http1",
        lines: Lines { http: Http::One, count: 64, at_a_time: 1 },
        closed_loop: Protocol::Http1,
    };
    const HTTP2: Self = Self {
        name: "http2",
        lines: Lines { http: Http::Two, count: 8, at_a_time: 16 },
        closed_loop: Protocol::Http2,
    };

    fn named(self, figure: &str) -> String {
        format!("{}_{figure}", self.name)
    }

    /// What each can do, and what nginx can, in requests a second.
    fn maxima<'a>(
        self,
        field: &'a Field,
        effort: Effort,
        report: &mut Report,
    ) -> anyhow::Result<(f64, Vec<Maximum<'a>>)> {
        let (rounds, seconds) = if effort.quick { (3, 1) } else { (5, 2) };
        let mut found: Vec<Maximum<'_>> = field.runners.iter().map(Maximum::of).collect();
        for _ in 0..rounds {
            for maximum in &mut found {
                maximum.measure(self.closed_loop, field.core, seconds)?;
            }
        }
        found.iter().for_each(|maximum| maximum.tell(self, report));
        let measure = found.iter().find(|maximum| maximum.runner.name == MEASURE);
        Ok((measure.context("nginx is not there")?.rate(), found))
    }

    /// The rate at which nginx uses half of its core, if it can do `most`.
    async fn half_load(self, field: &Field, most: f64) -> anyhow::Result<f64> {
        let nginx = field.runners.iter().find(|runner| runner.name == MEASURE);
        let mut nginx = Half::of(nginx.context("nginx is not there")?);
        let mut rate = most / 2.0;
        for step in 0..STEPS {
            nginx.measure(field, self, (rate, step), 1).await?;
            rate = most.min(rate * nginx.to_half().unwrap_or(1.0));
        }
        Ok(rate)
    }

    /// Who takes part at that rate: Stoa in any case.
    fn able<'a>(self, found: Vec<Maximum<'a>>, rate: f64, report: &mut Report) -> Vec<Half<'a>> {
        let takes_part =
            |maximum: &Maximum<'_>| maximum.runner.name == "stoa" || maximum.rate() >= rate * ENOUGH;
        let (able, unable): (Vec<_>, Vec<_>) = found.into_iter().partition(takes_part);
        for maximum in unable {
            let reason = format!("{:.0} requests a second are its most over {}", maximum.rate(), self.name);
            report.skip(maximum.runner.name, &reason);
        }
        able.into_iter().map(|maximum| Half::of(maximum.runner)).collect()
    }
}

/// What one can do with a generator that asks as fast as it is answered.
struct Maximum<'a> {
    runner: &'a Runner,
    rates: Vec<f64>,
    /// Percent of a core.
    cpu: Vec<f64>,
}

impl<'a> Maximum<'a> {
    fn of(runner: &'a Runner) -> Self {
        Self { runner, rates: Vec::new(), cpu: Vec::new() }
    }

    fn measure(&mut self, protocol: Protocol, core: usize, seconds: u32) -> anyhow::Result<()> {
        let load = generator::Load { host: HOST, port: self.runner.port, seconds: 1, core, path: "/" };
        generator::get(&load, protocol)?; // warm: connections, caches, branch predictors
        let before = cpu::family_micros(self.runner.pid)?;
        let outcome = generator::get(&generator::Load { seconds, ..load }, protocol)?;
        let used = cpu::family_micros(self.runner.pid)? - before;
        self.rates.push(outcome.requests_per_second);
        self.cpu.push(used / f64::from(seconds) / 1e4);
        Ok(())
    }

    fn rate(&self) -> f64 {
        median(self.rates.clone())
    }

    fn tell(&self, way: Way, report: &mut Report) {
        let percent = median(self.cpu.clone());
        report.add(self.runner.name, &way.named("maximum"), self.rate(), "1/s");
        report.add(self.runner.name, &way.named("cpu_at_maximum"), percent, "% of a core");
        if percent < BUSY {
            report
                .note(self.runner.name, "its core was not busy at its maximum: something else was the limit");
        }
    }
}

/// One at half load.
struct Half<'a> {
    runner: &'a Runner,
    tallies: Vec<Tally>,
    rounds: Vec<Round>,
}

impl<'a> Half<'a> {
    fn of(runner: &'a Runner) -> Self {
        Self { runner, tallies: Vec::new(), rounds: Vec::new() }
    }

    /// Adds a round of so many seconds. The schedule is the round's, the same for all.
    async fn measure(
        &mut self,
        field: &Field,
        way: Way,
        (rate, seed): (f64, u32),
        seconds: u32,
    ) -> anyhow::Result<()> {
        let load = |time| Load {
            dial: Dial::to(([127, 0, 0, 1], self.runner.port).into()),
            lines: vec![way.lines],
            arrivals: Arrivals::Poisson { seed: seed.into() },
            rate,
            time,
            script: Box::new(script()),
        };
        let warm = load(WARM).run().await?;
        let before = field.look(self.runner)?;
        let mut tally = load(Duration::from_secs(seconds.into())).run().await?;
        tally.unwanted += warm.unwanted;
        self.rounds.push(Round::between(&before, &field.look(self.runner)?, tally.outcome(seconds)));
        self.tallies.push(tally);
        Ok(())
    }

    /// What the rate of its last round has to be multiplied by for half of its core.
    fn to_half(&self) -> Option<f64> {
        let used = self.rounds.last()?.proxy;
        Some((HALF_PERCENT / used.max(1.0)).clamp(*STRIDE.start(), *STRIDE.end()))
    }

    fn median(&self, of: impl Fn(&Tally) -> f64) -> f64 {
        median(self.tallies.iter().map(of).collect())
    }

    fn sum(&self) -> Tally {
        let mut sum = Tally::new();
        self.tallies.iter().for_each(|tally| sum.add(tally));
        sum
    }

    fn tell(&self, way: Way, report: &mut Report) {
        let name = self.runner.name;
        for (figure, quantile) in QUANTILES {
            report.add(name, &way.named(figure), self.median(|tally| tally.kept.millis(quantile)), "ms");
        }
        let round = Round::median(&self.rounds);
        for (figure, percent) in [("proxy", round.proxy), ("backend", round.backend)] {
            report.add(name, &way.named(&format!("cpu_of_{figure}")), percent, "% of a core");
        }
        report.add(name, &way.named("generators_core"), round.core, "% busy");
        let sum = self.sum();
        for note in sum.excuse(round.core).iter().chain(&sum.failures) {
            report.note(name, note);
        }
    }
}

fn script() -> Same {
    let wanted = Wanted { statuses: &[200], bytes: Some(1024) };
    Same {
        ask: Ask { path: "/", wanted, on: On::Kept },
        destination: Destination { host: HOST.into(), wanted: None },
    }
}

/// Tells the figures, and counts the requests that were not answered as they should be.
fn tell(way: Way, runners: &[Half<'_>], report: &mut Report) -> u64 {
    let mut all = Tally::new();
    for half in runners {
        half.tell(way, report);
        all.add(&half.sum());
    }
    let stoa = runners.iter().find(|half| half.runner.name == "stoa");
    for peer in runners.iter().filter(|half| half.runner.name != "stoa") {
        for (figure, quantile) in [("p99", 0.99), ("p99.9", 0.999)] {
            let of = |half: &Half<'_>| half.median(|tally| tally.kept.millis(quantile));
            let figure = way.named(&format!("{figure}_ratio_to_{}", peer.runner.name));
            report.add("stoa", &figure, stoa.map_or(0.0, of) / of(peer), "×");
        }
    }
    all.tell_generator(way.name, report);
    all.unwanted
}
