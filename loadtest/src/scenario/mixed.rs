//! A marketplace's day in small: 10,000 tenants by a Zipf law, visitors who stay and visitors who come anew, over
//! HTTP/1.1 and HTTP/2, errors of every origin, slow clients beside them; through Stoa, nginx and HAProxy.
//!
//! 2,000 requests a second by one schedule for all (a Poisson process); four of five go on a connection that is
//! there, the fifth makes one, with a full handshake, for a tenant that is drawn anew. Every answer is checked
//! against what it should be: pages, the errors that an app answers itself, 404 for hosts that nobody has, 502 or
//! 503 for apps whose backend refuses. What is answered otherwise is told as unwanted, and fails the run.
//! CPU a request counts the slow clients' CPU and not their requests, which are under one in a hundred.
//!
//! Everybody shows the same wildcard certificate and knows the same hosts, nginx and HAProxy in a map. It is the
//! easier part that they have: they share one pool of backend connections among all tenants, whose apps Stoa keeps
//! apart, and they check no backend's health. Caddy has no such map.

mod slow;
mod traffic;
mod world;

use std::time::Duration;

use anyhow::ensure;

use super::beside::{Look, Round, schedule};
use crate::Effort;
use crate::figure::{CPU_PER_REQUEST, Report, events};
use crate::open_loop::{Arrivals, Dial, Http, Lines, Load, Tally};
use slow::{Patient, Slow};
use traffic::{Tenants, Traffic};
use world::{Contender, World};

/// Tenants, each with one app.
const TENANTS: usize = 10_000;
/// Requests a second.
const RATE: f64 = 2_000.0;
/// Connections that are there at any time.
const LINES: [Lines; 2] =
    [Lines { http: Http::One, count: 40, at_a_time: 1 }, Lines { http: Http::Two, count: 10, at_a_time: 4 }];
/// Seed of the round that is not measured.
const WARM: u32 = 1_000;

/// Runs the scenario.
pub(super) async fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let tenants = Tenants::new(TENANTS);
    let Some(mut world) = World::open(&tenants, report).await? else { return Ok(()) };
    let (rounds, seconds) = schedule(effort);
    let mut seen: Vec<Seen> = world.contenders.iter().map(|_| Seen::new()).collect();
    for contender in &world.contenders {
        drive(contender, &tenants, (WARM, 2)).await?; // connections, caches, breakers of what refuses
    }
    for round in 0..rounds {
        for (contender, seen) in world.contenders.iter_mut().zip(&mut seen) {
            let look = || Look::now(contender.pid, Some(world.backend.process.id()), world.core);
            let before = look()?;
            let (tally, slow) = drive(contender, &tenants, (round, seconds)).await?;
            seen.rounds.push(Round::between(&before, &look()?, tally.outcome(seconds)));
            seen.tally.add(&tally);
            seen.slow.add(slow);
        }
    }
    let all: Vec<_> = world.contenders.iter().map(|contender| contender.name).zip(&seen).collect();
    tell(&all, report);
    let unwanted: u64 = seen.iter().map(Seen::unwanted).sum();
    ensure!(unwanted == 0, "{unwanted} requests were not answered as they should be");
    Ok(())
}

/// A round with that seed, for so many seconds.
async fn drive(
    contender: &Contender,
    tenants: &Tenants,
    (seed, seconds): (u32, u32),
) -> anyhow::Result<(Tally, Slow)> {
    let address = ([127, 0, 0, 1], contender.port).into();
    let load = Load {
        dial: Dial::to(address),
        lines: LINES.to_vec(),
        arrivals: Arrivals::Poisson { seed: seed.into() },
        rate: RATE,
        time: Duration::from_secs(seconds.into()),
        script: Box::new(Traffic::new(tenants.clone(), seed.into())),
    };
    let patient = Patient::gather(address, tenants, seed.into());
    let tally = load.run().await?;
    Ok((tally, patient.go_home().await))
}

/// What was seen of one of them, over all rounds.
struct Seen {
    tally: Tally,
    rounds: Vec<Round>,
    slow: Slow,
}

impl Seen {
    fn new() -> Self {
        Self { tally: Tally::new(), rounds: Vec::new(), slow: Slow::default() }
    }

    fn unwanted(&self) -> u64 {
        self.tally.unwanted + self.slow.unwanted
    }

    fn tell(&self, name: &str, report: &mut Report) {
        let round = Round::median(&self.rounds);
        report.add(name, CPU_PER_REQUEST, round.micros, "µs");
        report.add(name, "requests_per_second", round.rate, "1/s");
        report.add(name, "cpu_of_proxy", round.proxy, "% of a core");
        report.add(name, "cpu_of_backend", round.backend, "% of a core");
        report.add(name, "generators_core", round.core, "% busy");
        for (kind, latency) in [("kept", &self.tally.kept), ("new", &self.tally.fresh)] {
            for (figure, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
                report.add(name, &format!("{kind}_{figure}"), latency.millis(quantile), "ms");
            }
        }
        for (status, count) in &self.tally.statuses {
            report.add(name, &format!("status_{status}"), events(*count), "requests");
        }
        report.add(name, "slow_served", events(self.slow.served), "requests");
        report.add(name, "unwanted", events(self.unwanted()), "requests");
        let notes = self.tally.excuse(round.core).into_iter();
        for note in notes.chain(self.tally.failures.iter().chain(&self.slow.failures).cloned()) {
            report.note(name, &note);
        }
    }
}

fn tell(all: &[(&'static str, &Seen)], report: &mut Report) {
    let mut generator = Tally::new();
    for (name, seen) in all {
        seen.tell(name, report);
        generator.add(&seen.tally);
    }
    let Some(((_, stoa), peers)) = all.split_first() else { return };
    for (name, peer) in peers {
        let micros = |seen: &Seen| Round::median(&seen.rounds).micros;
        report.add("stoa", &format!("cpu_ratio_to_{name}"), micros(stoa) / micros(peer), "×");
        let p99 = |seen: &Seen| seen.tally.kept.millis(0.99);
        report.add("stoa", &format!("kept_p99_ratio_to_{name}"), p99(stoa) / p99(peer), "×");
    }
    generator.tell_generator("mixed", report);
}
