//! Slow visitors of eight kinds at once, beside good traffic at a fixed rate: with and without them by turns.
//!
//! An attack is a number of connections that each hold something without ending it; what the edge closes is
//! opened again until the attack's time is over. Each kind has a deadline of the edge, and one connection that
//! is open for longer fails the run. So does good traffic to the same app that is slowed by more than 10 %: in
//! its rate, in what an edge at its limit would lose (the CPU that the attack takes of a core), and in the median
//! answer times. What is slow lives on the edge's own deadlines and caps; only the cap for one address is wider,
//! because everybody here has one.
//!
//! Attackers take their CPU from the generators and the backend, with which they share a core. So answer times are
//! compared with a control: the same attack at the same time on a decoy, another edge, on the attackers' core.

mod clients;
mod slowhttptest;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use testkit::edge::Edge;
use tokio::time::Instant;

use crate::Effort;
use crate::figure::{Report, number};
use crate::good::{Good, Seen};
use crate::machine;
use crate::peer::{HOST, Nginx};
use crate::stoa::Stoa;
use crate::visitors::Place;

/// Which core the edge has; everything else has the last one.
const EDGE_CORE: usize = 0;
/// More than an attack opens from its one address.
const WIDE: &str = "max_connections_per_address = 5000";
/// What a deadline may be late by here, where everything else shares one core.
const LATE: Duration = Duration::from_secs(5);
/// How much good traffic may be slowed.
const MOST_PERCENT: f64 = 10.0;
/// The answer times that are judged; the rest is told.
const JUDGED_TIMES: [&str; 2] = ["kept_p50", "fresh_p50"];

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

    /// For so many seconds from now, beside good traffic.
    async fn beside(&self, good: &Good, seconds: u32, seen: &mut Seen) -> anyhow::Result<Vec<Ended>> {
        let until = Instant::now() + Duration::from_secs(seconds.into());
        let attack = tokio::spawn(Self { until, ..self.clone() }.run());
        good.measure(seconds, seen).await?;
        attack.await?
    }

    /// All kinds at once.
    async fn run(self) -> anyhow::Result<Vec<Ended>> {
        let (own, tool) = tokio::join!(clients::run(&self), slowhttptest::run(&self));
        Ok([own?, tool?].into_iter().flatten().collect())
    }
}

/// Runs the scenario.
pub(super) async fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    if !Good::is_possible(report) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let core = machine::cores().saturating_sub(1);
    let backend = Nginx::backend(folder.path(), core).await?;
    let stoa = edge(folder.path(), "edge", EDGE_CORE, backend.port).await?;
    let decoy = edge(folder.path(), "decoy", core, backend.port).await?;
    machine::stay_on(core)?;
    let good = Good::new(&stoa, folder.path(), core)?;
    let attack = |stoa: &Stoa| {
        Ok::<_, anyhow::Error>(Attack {
            edge: stoa.edge(),
            place: stoa.place(HOST)?,
            folder: folder.path().to_owned(),
            core,
            until: Instant::now(),
        })
    };
    let (on_edge, on_decoy) = (attack(&stoa)?, attack(&decoy)?);
    // The second is longer than the longest deadline.
    let (rounds, calm_seconds, attack_seconds) = if effort.quick { (1, 8, 27) } else { (2, 15, 80) };
    good.measure(2, &mut Seen::default()).await?; // warm: connections, caches, branch predictors
    let [mut calm, mut control, mut attacked] = [(); 3].map(|()| Seen::default());
    let mut ended = Vec::new();
    for _ in 0..rounds {
        good.measure(calm_seconds, &mut calm).await?;
        on_decoy.beside(&good, attack_seconds, &mut control).await?;
        ended.extend(on_edge.beside(&good, attack_seconds, &mut attacked).await?);
    }
    let ended = merged(ended);
    tell_ended(&ended, effort, report);
    for (seen, when) in [(&mut calm, "calm"), (&mut control, "control"), (&mut attacked, "attacked")] {
        seen.tell("good", when, report);
    }
    judge(&ended, [calm, control, attacked], report)
}

/// An edge with the app that good traffic goes to.
async fn edge(folder: &Path, name: &str, core: usize, backend: u16) -> anyhow::Result<Stoa> {
    let folder = folder.join(name);
    std::fs::create_dir(&folder)?;
    let stoa = Stoa::start(&folder, core, WIDE).await?;
    let tenant = stoa.tenant("bench").await?;
    stoa.app(&tenant, "bench", backend).await?;
    Ok(stoa)
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

fn judge(ended: &[Ended], seen: [Seen; 3], report: &mut Report) -> anyhow::Result<()> {
    let [mut calm, mut control, mut attacked] = seen;
    let rate = attacked.slowdown(&mut calm).into_iter().filter(|(name, _)| *name == "requests");
    let times = attacked.slowdown(&mut control).into_iter().filter(|(name, _)| *name != "requests");
    let capacity = ("capacity", attacked.percent_of_core() - calm.percent_of_core());
    let losses: Vec<_> = rate.chain(times).chain([capacity]).collect();
    for (name, percent) in &losses {
        report.add("good", &format!("{name}_loss"), *percent, "%");
    }
    let is_judged = |name: &str| ["requests", "capacity"].contains(&name) || JUDGED_TIMES.contains(&name);
    let late: Vec<_> = ended.iter().filter(|ended| !ended.is_in_time()).map(|ended| ended.kind).collect();
    ensure!(late.is_empty(), "not closed by their deadline: {}", late.join(", "));
    ensure!(attacked.failed() == 0, "{} good requests failed under attack", attacked.failed());
    for (name, percent) in losses.iter().filter(|(name, _)| is_judged(name)) {
        ensure!(*percent <= MOST_PERCENT, "good traffic was slowed by {percent:.1} % ({name})");
    }
    Ok(())
}
