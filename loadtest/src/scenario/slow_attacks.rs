//! Slow visitors of eight kinds at once, beside good traffic at a fixed rate: with and without them by turns.
//!
//! An attack is a number of connections that each hold something without ending it; what the edge closes is
//! opened again until the attack's time is over. Each kind has a deadline of the edge, and one connection that
//! is open for longer fails the run. So does good traffic to the same app that is slowed by more than 10 %: in
//! its rate, in what an edge at its limit would lose (the CPU that the attack takes of a core), and, where the
//! attackers have a core of their own, in the median answer time. What is slow lives on the edge's own deadlines
//! and caps; only the cap for one address is wider, because everybody here has one.

mod clients;
mod slowhttptest;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use testkit::edge::Edge;
use tokio::time::Instant;

use crate::Effort;
use crate::figure::{Report, number};
use crate::good::{Good, Seen};
use crate::machine;
use crate::peer::Nginx;
use crate::stoa::Stoa;
use crate::visitors::Place;

/// Which core the edge has; everything else has the last one.
const EDGE_CORE: usize = 0;
/// More than an attack opens from its one address.
const WIDE: &str = "max_connections_per_address = 5000";
/// What a deadline may be late by here: the edge counts a minute of slowness second by second and never too many,
/// and everything else shares one core.
const LATE: Duration = Duration::from_secs(10);
/// How much good traffic may be slowed.
const MOST_PERCENT: f64 = 10.0;
/// Edge, generators and attackers have a core each if there are so many. With fewer the answer times are told but
/// not judged: the attackers then take what they do from the generators and the backend, not only from the edge.
const CORES_APART: usize = 3;

/// How the connections of one kind ended.
#[derive(Debug)]
struct Ended {
    kind: &'static str,
    /// The edge's deadline for it.
    deadline: Duration,
    opened: usize,
    /// Those that the edge closed.
    closed: usize,
    /// The longest that one of them was open.
    longest: Duration,
}

impl Ended {
    fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.closed += other.closed;
        self.longest = self.longest.max(other.longest);
    }

    fn is_in_time(&self) -> bool {
        self.opened > 0 && self.closed == self.opened && self.longest <= self.deadline + LATE
    }
}

/// An attack: against whom, for how long, and which deadlines there is time for.
#[derive(Clone)]
struct Attack {
    edge: Edge,
    place: Place,
    folder: PathBuf,
    core: usize,
    until: Instant,
}

impl Attack {
    /// Whether a connection that is opened now will have met its deadline in time.
    fn has_time_for(&self, deadline: Duration) -> bool {
        Instant::now() + deadline + LATE <= self.until
    }

    /// All kinds at once.
    async fn run(self) -> anyhow::Result<Vec<Ended>> {
        let (own, tool) = tokio::join!(clients::run(&self), slowhttptest::run(&self));
        Ok([own?, tool?].into_iter().flatten().collect())
    }
}

/// Runs the scenario.
pub(super) async fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    if let Some((program, package)) = Good::missing() {
        report.skip(program, &format!("not installed (Debian: {package}); nothing is measured without it"));
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let core = machine::cores().saturating_sub(1);
    let backend = Nginx::backend(folder.path(), core).await?;
    let stoa = Stoa::start(folder.path(), EDGE_CORE, WIDE).await?;
    let tenant = stoa.tenant("bench").await?;
    stoa.app(&tenant, "bench", backend.port).await?;
    let attackers = if machine::cores() < CORES_APART { core } else { core.saturating_sub(1) };
    machine::stay_on(attackers)?;
    let good = Good::new(&stoa, folder.path(), core)?;
    // The second is longer than the longest deadline.
    let (rounds, calm_seconds, attack_seconds) = if effort.quick { (1, 8, 27) } else { (2, 15, 80) };
    good.measure(2, &mut Seen::default()).await?; // warm: connections, caches, branch predictors
    let (mut calm, mut attacked, mut ended) = (Seen::default(), Seen::default(), Vec::new());
    for _ in 0..rounds {
        good.measure(calm_seconds, &mut calm).await?;
        let until = Instant::now() + Duration::from_secs(attack_seconds.into());
        let (edge, place, folder) = (stoa.edge(), good.place.clone(), folder.path().to_owned());
        let attack = Attack { edge, place, folder, core: attackers, until };
        let attack = tokio::spawn(attack.run());
        good.measure(attack_seconds, &mut attacked).await?;
        ended.extend(attack.await??);
    }
    good.measure(calm_seconds, &mut calm).await?;
    let ended = merged(ended);
    tell_ended(&ended, effort, report);
    calm.tell("good", "calm", report);
    attacked.tell("good", "attacked", report);
    judge(&ended, &mut calm, &mut attacked, report)
}

/// One of each kind.
fn merged(all: Vec<Ended>) -> Vec<Ended> {
    let mut merged: Vec<Ended> = Vec::new();
    for ended in all {
        match merged.iter_mut().find(|known| known.kind == ended.kind) {
            Some(known) => known.add(&ended),
            None => merged.push(ended),
        }
    }
    merged
}

fn tell_ended(ended: &[Ended], effort: Effort, report: &mut Report) {
    if !ended.iter().any(|ended| ended.kind.starts_with("slowhttptest")) {
        report.skip("slowhttptest", slowhttptest::MISSING);
    }
    if effort.quick {
        report.note("slow", "--quick leaves out the kinds that have a minute");
    }
    for Ended { kind, deadline, opened, closed, longest } in ended {
        report.add(kind, "opened", number(*opened), "connections");
        report.add(kind, "closed_by_the_edge", number(*closed), "connections");
        report.add(kind, "open_at_most", longest.as_secs_f64(), "s");
        report.add(kind, "deadline", deadline.as_secs_f64(), "s");
    }
}

fn judge(ended: &[Ended], calm: &mut Seen, attacked: &mut Seen, report: &mut Report) -> anyhow::Result<()> {
    let mut losses = attacked.slowdown(calm);
    losses.push(("capacity", attacked.percent_of_core() - calm.percent_of_core()));
    for (name, percent) in &losses {
        report.add("good", &format!("{name}_loss"), *percent, "%");
    }
    let judged: &[&str] = match machine::cores() {
        CORES_APART.. => &["requests", "capacity", "kept_p50"],
        _ => &["requests", "capacity"],
    };
    report.note("good", &format!("judged: {}, at most {MOST_PERCENT} %", judged.join(", ")));
    let late: Vec<_> = ended.iter().filter(|ended| !ended.is_in_time()).map(|ended| ended.kind).collect();
    ensure!(late.is_empty(), "not closed by their deadline: {}", late.join(", "));
    ensure!(attacked.failed() == 0, "{} good requests failed under attack", attacked.failed());
    for (name, percent) in losses.iter().filter(|(name, _)| judged.contains(name)) {
        ensure!(*percent <= MOST_PERCENT, "good traffic was slowed by {percent:.1} % ({name})");
    }
    Ok(())
}
