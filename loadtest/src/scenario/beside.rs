//! Stoa and its peers at the same work, by turns in one run, before the same backend.
//!
//! CPU is the proxy's own, by the kernel's accounting. A figure is the median of its rounds; the spread tells how
//! far they lie apart, which is how noisy the machine was.

mod meter;

use tempfile::TempDir;

use crate::Effort;
use crate::figure::{CPU_PER_REQUEST, CPU_SPREAD, Report, median};
use crate::generator::Outcome;
use crate::machine;
use crate::peer::{self, Nginx, Pair, Peer, Plan, Route};
use crate::stoa::Stoa;
pub(super) use meter::{Look, Round};

/// Which core the proxies have; backend and generator have the last one.
const PROXY_CORE: usize = 0;

/// Everything that runs.
pub(super) struct Field {
    /// Which core generators have.
    pub(super) core: usize,
    /// Those that are measured, Stoa first.
    pub(super) runners: Vec<Runner>,
    _stoa: Stoa,
    _peers: Vec<Peer>,
    /// The backend's process; none: it is this program.
    backend: Option<u32>,
    _nginx: Option<Nginx>,
    _folder: TempDir,
}

/// One that is measured.
#[derive(Debug)]
pub(super) struct Runner {
    /// What the report calls it.
    pub(super) name: &'static str,
    /// Where it speaks TLS, on 127.0.0.1.
    pub(super) port: u16,
    /// It, or its master process.
    pub(super) pid: u32,
    rounds: Vec<Round>,
}

impl Runner {
    fn new(name: &'static str, pid: u32, port: u16) -> Self {
        Self { name, port, pid, rounds: Vec::new() }
    }
}

impl Field {
    /// Starts all. None if what they all need is not there, which `report` then says.
    ///
    /// # Errors
    /// One of them does not start.
    pub(super) async fn open(report: &mut Report) -> anyhow::Result<Option<Self>> {
        Self::open_with("", report).await
    }

    /// The same with more in Stoa's configuration, as [`Stoa::start`] takes it.
    ///
    /// # Errors
    /// One of them does not start.
    pub(super) async fn open_with(more: &str, report: &mut Report) -> anyhow::Result<Option<Self>> {
        if machine::program("nginx").is_none() {
            report.skip("all", "nginx, which is the backend too, is not installed (Debian: nginx-light)");
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let nginx = Nginx::backend(folder.path(), generators_core()?).await?;
        let behind = (Some(nginx.process.id()), nginx.port);
        let field = Self::start(folder, behind, more, report).await?;
        Ok(Some(Self { _nginx: Some(nginx), ..field }))
    }

    /// Starts all before a backend of this program's own.
    ///
    /// # Errors
    /// One of them does not start.
    pub(super) async fn open_before(port: u16, report: &mut Report) -> anyhow::Result<Self> {
        Self::start(tempfile::tempdir()?, (None, port), "", report).await
    }

    async fn start(
        folder: TempDir,
        (backend, port): (Option<u32>, u16),
        more: &str,
        report: &mut Report,
    ) -> anyhow::Result<Self> {
        let core = generators_core()?;
        let stoa = Stoa::start(folder.path(), PROXY_CORE, more).await?;
        let tenant = stoa.tenant("bench").await?;
        stoa.app(&tenant, "bench", port).await?;
        let pair = Pair::make(folder.path())?;
        let routes = [Route::of_host()];
        let plan =
            Plan { folder: folder.path(), core: PROXY_CORE, backend: port, pair: &pair, routes: &routes };
        let peers = Peer::all(&plan, report).await?;
        let ours = Runner::new("stoa", stoa.process.id(), stoa.https);
        let theirs = peers.iter().map(|peer| Runner::new(peer.name, peer.process.id(), peer.port));
        let runners = std::iter::once(ours).chain(theirs).collect();
        Ok(Self { core, runners, _stoa: stoa, _peers: peers, backend, _nginx: None, _folder: folder })
    }

    /// A look at one of them, at the generator and at the backend.
    ///
    /// # Errors
    /// One of them is gone.
    pub(super) fn look(&self, runner: &Runner) -> anyhow::Result<Look> {
        Look::now(runner.pid, self.backend, self.core)
    }

    /// Lets `drive` load each of them, by port and for so many seconds, by turns, and tells what came out.
    ///
    /// # Errors
    /// An answer was wrong, or one of them is gone.
    pub(super) async fn compare(
        mut self,
        effort: Effort,
        report: &mut Report,
        drive: impl AsyncFn(u16, u32) -> anyhow::Result<Outcome>,
    ) -> anyhow::Result<()> {
        let (rounds, seconds) = schedule(effort);
        self.warm(report, &drive).await?;
        for _ in 0..rounds {
            for runner in &mut self.runners {
                let look = || Look::now(runner.pid, self.backend, self.core);
                let before = look()?;
                let outcome = drive(runner.port, seconds).await?;
                runner.rounds.push(Round::between(&before, &look()?, outcome));
            }
        }
        tell(&self.runners, report);
        Ok(())
    }
}

impl Field {
    /// Fills connections, caches, branch predictors. A peer that cannot do this work is left out.
    async fn warm(
        &mut self,
        report: &mut Report,
        drive: &impl AsyncFn(u16, u32) -> anyhow::Result<Outcome>,
    ) -> anyhow::Result<()> {
        let mut fit = Vec::new();
        for runner in std::mem::take(&mut self.runners) {
            match drive(runner.port, 1).await {
                Err(error) if !fit.is_empty() => report.skip(runner.name, &format!("{error:#}")),
                warmed => {
                    warmed?;
                    fit.push(runner);
                }
            }
        }
        self.runners = fit;
        Ok(())
    }
}

/// Keeps this program on the core that generators and backends have, and tells which one it is.
fn generators_core() -> anyhow::Result<usize> {
    let core = machine::cores().saturating_sub(1);
    machine::stay_on(core)?;
    Ok(core)
}

/// How many rounds each of them has, and seconds a round.
pub(crate) fn schedule(effort: Effort) -> (u32, u32) {
    if effort.quick { (3, 2) } else { (5, 6) }
}

fn tell(runners: &[Runner], report: &mut Report) {
    let medians: Vec<_> = runners.iter().map(|runner| (runner.name, Round::median(&runner.rounds))).collect();
    for (runner, (name, round)) in runners.iter().zip(&medians) {
        report.add(name, CPU_PER_REQUEST, round.micros, "µs");
        report.add(name, CPU_SPREAD, spread(runner.rounds.iter().map(|round| round.micros)), "%");
        report.add(name, "requests_per_second", round.rate, "1/s");
        report.add(name, "cpu_of_proxy", round.proxy, "% of a core");
        report.add(name, "cpu_of_generator", round.generator, "% of a core");
        report.add(name, "cpu_of_backend", round.backend, "% of a core");
        report.add(name, "generators_core", round.core, "% busy");
        if let Some(doubt) = round.doubt() {
            report.note(name, &doubt);
        }
    }
    let Some(((_, stoa), peers)) = medians.split_first() else { return };
    for (name, theirs) in peers {
        report.add("stoa", &format!("cpu_ratio_to_{name}"), stoa.micros / theirs.micros, "×");
        if *name == peer::BARE {
            report.add("stoa", "cpu_added_to_bare", stoa.micros - theirs.micros, "µs");
        }
    }
}

/// How far the greatest lies above the least, in percent of the median.
fn spread(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let greatest = values.clone().fold(f64::MIN, f64::max);
    let least = values.clone().fold(f64::MAX, f64::min);
    let middle = median(values.collect());
    if middle > 0.0 { (greatest - least) / middle * 100.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_told_in_percent_of_the_median() {
        assert!((spread([90.0, 100.0, 120.0].into_iter()) - 30.0).abs() < f64::EPSILON);
        assert!(spread(std::iter::empty()).abs() < f64::EPSILON);
    }
}
