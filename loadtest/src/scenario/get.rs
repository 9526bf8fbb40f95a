//! Small GET requests through Stoa and nginx, alternating in one run, the same backend behind both.

use std::path::Path;

use crate::Effort;
use crate::cpu;
use crate::figure::{Report, median};
use crate::generator::{self, Load, Protocol};
use crate::machine;
use crate::peer::{HOST, Nginx, Pair};
use crate::stoa::Stoa;

/// Which core the proxies have; backend and generator have the last one.
const PROXY_CORE: usize = 0;

/// One proxy under load.
struct Candidate {
    name: &'static str,
    pid: u32,
    port: u16,
    micros: Vec<f64>,
    rates: Vec<f64>,
}

/// Runs the scenario.
pub(super) async fn run(protocol: Protocol, effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let other = machine::cores().saturating_sub(1);
    if machine::program("nginx").is_none() {
        report.skip("nginx", "not installed (Debian: nginx-light); it is the backend too");
        return Ok(());
    }
    let backend = Nginx::backend(folder.path(), other).await?;
    let stoa = Stoa::start(folder.path(), PROXY_CORE, "").await?;
    let tenant = stoa.tenant("bench").await?;
    stoa.app(&tenant, "bench", backend.port).await?;
    let nginx = nginx(folder.path(), backend.port).await?;
    let mut candidates = [
        Candidate {
            name: "stoa",
            pid: stoa.process.id(),
            port: stoa.https,
            micros: Vec::new(),
            rates: Vec::new(),
        },
        Candidate {
            name: "nginx",
            pid: nginx.process.id(),
            port: nginx.port,
            micros: Vec::new(),
            rates: Vec::new(),
        },
    ];
    let (rounds, seconds) = if effort.quick { (3, 3) } else { (5, 6) };
    for candidate in &candidates {
        generator::get(&load(candidate.port, 1, other), protocol)?; // warm: connections, caches, branch predictors
    }
    for _ in 0..rounds {
        for candidate in &mut candidates {
            measure(candidate, &load(candidate.port, seconds, other), protocol)?;
        }
    }
    tell(candidates, report);
    Ok(())
}

async fn nginx(folder: &Path, backend: u16) -> anyhow::Result<Nginx> {
    Nginx::proxy(folder, PROXY_CORE, &Pair::make(folder)?, backend).await
}

fn load(port: u16, seconds: u32, core: usize) -> Load<'static> {
    Load { host: HOST, port, seconds, core }
}

fn measure(candidate: &mut Candidate, load: &Load<'_>, protocol: Protocol) -> anyhow::Result<()> {
    let before = cpu::family_micros(candidate.pid)?;
    let outcome = generator::get(load, protocol)?;
    let used = cpu::family_micros(candidate.pid)? - before;
    candidate.micros.push(used / outcome.requests);
    candidate.rates.push(outcome.requests_per_second);
    Ok(())
}

fn tell(candidates: [Candidate; 2], report: &mut Report) {
    let mut medians = Vec::new();
    for candidate in candidates {
        let micros = median(candidate.micros);
        report.add(candidate.name, "cpu_per_request", micros, "µs");
        report.add(candidate.name, "requests_per_second", median(candidate.rates), "1/s");
        medians.push(micros);
    }
    if let [stoa, nginx] = medians.as_slice() {
        report.add("stoa", "cpu_ratio_to_nginx", stoa / nginx, "×");
    }
}
