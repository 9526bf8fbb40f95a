//! Latency of a 1 KB GET at half load, through Stoa and its peers.
//!
//! Half load is half of what nginx can do on its core in this run, whatever the others can: everybody is given that
//! rate, by the same schedule (a Poisson process). If Stoa needs more of its core for it than nginx, that is part of
//! the comparison; half of what Stoa can do would be the easier rate whenever Stoa is the slower one, and a rate
//! that nginx was never measured for whenever it is the faster. Each one's maximum and its use of its core at half
//! load are told beside the latencies. A peer that can hardly do the rate at all is left out by name: there,
//! latency only says how long the run was.
//!
//! A figure is the median of its rounds. Latency counts from when a request was due (see [`crate::open_loop`]); the
//! generator shares its core with the backend, and how late it was itself is told.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::beside::{Field, Round, Runner, schedule};
use crate::Effort;
use crate::cpu;
use crate::figure::{Report, median};
use crate::generator::{self, Protocol};
use crate::open_loop::{Arrivals, Ask, Destination, Dial, Http, Lines, Load, On, Same, Tally, Wanted};
use crate::peer::HOST;

/// Who sets the rate, and whom the others are compared with.
const MEASURE: &str = "nginx";
/// What one must be able to do to take part, in parts of the rate.
const ENOUGH: f64 = 1.2;
/// Less of its core at its maximum, in percent, and something else was the limit.
const BUSY: f64 = 90.0;
/// What is told of the latencies.
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// Runs the scenario, over HTTP/1.1 and over HTTP/2.
pub(super) async fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let Some(field) = Field::open(report).await? else { return Ok(()) };
    let mut unwanted = 0;
    for way in [Way::HTTP1, Way::HTTP2] {
        let (rate, mut runners) = way.maxima(&field, effort, report)?;
        let (rounds, seconds) = schedule(effort);
        report.add("all", &way.named("rate"), rate, "1/s");
        for round in 0..rounds {
            for half in &mut runners {
                half.measure(&field, way, (rate, round), seconds).await?;
            }
        }
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

    /// The rate that is half load, and who takes part: Stoa in any case.
    fn maxima<'a>(
        self,
        field: &'a Field,
        effort: Effort,
        report: &mut Report,
    ) -> anyhow::Result<(f64, Vec<Half<'a>>)> {
        let (rounds, seconds) = if effort.quick { (1, 2) } else { (3, 3) };
        let mut found: Vec<Maximum<'_>> = field.runners.iter().map(Maximum::of).collect();
        for _ in 0..rounds {
            for maximum in &mut found {
                maximum.measure(self.closed_loop, field.core, seconds)?;
            }
        }
        found.iter().for_each(|maximum| maximum.tell(self, report));
        let measure = found.iter().find(|maximum| maximum.runner.name == MEASURE);
        let rate = measure.context("nginx is not there")?.rate() / 2.0;
        let takes_part =
            |maximum: &Maximum<'_>| maximum.runner.name == "stoa" || maximum.rate() >= rate * ENOUGH;
        let (able, unable): (Vec<_>, Vec<_>) = found.into_iter().partition(takes_part);
        for maximum in unable {
            let reason = format!("{:.0} requests a second are its most over {}", maximum.rate(), self.name);
            report.skip(maximum.runner.name, &reason);
        }
        Ok((rate, able.into_iter().map(|maximum| Half::of(maximum.runner)).collect()))
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
        let load = Load {
            dial: Dial::to(([127, 0, 0, 1], self.runner.port).into()),
            lines: vec![way.lines],
            arrivals: Arrivals::Poisson { seed: seed.into() },
            rate,
            time: Duration::from_secs(seconds.into()),
            script: Box::new(script()),
        };
        let before = field.look(self.runner)?;
        let tally = load.run().await?;
        self.rounds.push(Round::between(&before, &field.look(self.runner)?, tally.outcome(seconds)));
        self.tallies.push(tally);
        Ok(())
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
