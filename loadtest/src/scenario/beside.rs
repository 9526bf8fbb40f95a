//! Stoa and its peers at the same work, by turns in one run, before the same backend.
//!
//! CPU is the proxy's own, by the kernel's accounting. A figure is the median of its rounds; the spread tells how
//! far they lie apart, which is how noisy the machine was.

use tempfile::TempDir;

use crate::Effort;
use crate::cpu;
use crate::figure::{Report, median};
use crate::generator::Outcome;
use crate::machine;
use crate::peer::{Nginx, Pair, Peer, Plan};
use crate::stoa::Stoa;

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
    _backend: Nginx,
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
    micros: Vec<f64>,
    rates: Vec<f64>,
}

impl Runner {
    fn new(name: &'static str, pid: u32, port: u16) -> Self {
        Self { name, port, pid, micros: Vec::new(), rates: Vec::new() }
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
        let core = machine::cores().saturating_sub(1);
        let backend = Nginx::backend(folder.path(), core).await?;
        let stoa = Stoa::start(folder.path(), PROXY_CORE, more).await?;
        let tenant = stoa.tenant("bench").await?;
        stoa.app(&tenant, "bench", backend.port).await?;
        let pair = Pair::make(folder.path())?;
        let plan = Plan { folder: folder.path(), core: PROXY_CORE, backend: backend.port, pair: &pair };
        let peers = Peer::all(&plan, report).await?;
        let ours = Runner::new("stoa", stoa.process.id(), stoa.https);
        let theirs = peers.iter().map(|peer| Runner::new(peer.name, peer.process.id(), peer.port));
        let runners = std::iter::once(ours).chain(theirs).collect();
        Ok(Some(Self { core, runners, _stoa: stoa, _peers: peers, _backend: backend, _folder: folder }))
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
        let (rounds, seconds) = if effort.quick { (3, 3) } else { (5, 6) };
        for runner in &self.runners {
            drive(runner.port, 1).await?; // warm: connections, caches, branch predictors
        }
        for _ in 0..rounds {
            for runner in &mut self.runners {
                let before = cpu::family_micros(runner.pid)?;
                let outcome = drive(runner.port, seconds).await?;
                runner.micros.push((cpu::family_micros(runner.pid)? - before) / outcome.requests);
                runner.rates.push(outcome.requests_per_second);
            }
        }
        tell(&self.runners, report);
        Ok(())
    }
}

fn tell(runners: &[Runner], report: &mut Report) {
    let mut stoa = None;
    for runner in runners {
        let micros = median(runner.micros.clone());
        report.add(runner.name, "cpu_per_request", micros, "µs");
        report.add(runner.name, "cpu_spread", spread(&runner.micros), "%");
        report.add(runner.name, "requests_per_second", median(runner.rates.clone()), "1/s");
        match stoa {
            None => stoa = Some(micros),
            Some(stoa) => report.add("stoa", &format!("cpu_ratio_to_{}", runner.name), stoa / micros, "×"),
        }
    }
}

/// How far the greatest lies above the least, in percent of the median.
fn spread(values: &[f64]) -> f64 {
    let greatest = values.iter().copied().fold(f64::MIN, f64::max);
    let least = values.iter().copied().fold(f64::MAX, f64::min);
    let middle = median(values.to_vec());
    if middle > 0.0 { (greatest - least) / middle * 100.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_told_in_percent_of_the_median() {
        assert!((spread(&[90.0, 100.0, 120.0]) - 30.0).abs() < f64::EPSILON);
        assert!(spread(&[]).abs() < f64::EPSILON);
    }
}
