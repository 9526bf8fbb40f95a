//! Good traffic at a fixed rate, to see what something beside it costs: visitors who stay and visitors who come
//! anew.
//!
//! The rate is far below what the edge can do: answer times then show what visitors feel, and the CPU of the edge
//! is told apart. The generators have a core that is not the edge's, and share it with whatever is beside them.
//! A fixed rate hides a slowdown of the rate itself, unless the edge cannot keep it; so all three are told.

use std::path::{Path, PathBuf};

use crate::cpu;
use crate::figure::{Report, number, percentile};
use crate::generator::{self, Load};
use crate::machine;
use crate::peer::HOST;
use crate::stoa::Stoa;
use crate::visitors::{Crowd, Habit, Place};

/// Kept connections, and how many requests a second each of them has: a tenth of what a core of the edge can do.
const KEPT: (u32, u32) = (20, 40);
/// Visitors who connect for each request, and how often each of them does in a second.
const FRESH: (usize, u32) = (10, 2);
/// Texts of failures that are told.
const SAMPLES: usize = 5;

/// Good traffic through an edge.
pub(crate) struct Good {
    /// Where it goes.
    place: Place,
    port: u16,
    edge: u32,
    core: usize,
    log: PathBuf,
}

/// What it saw, over one stretch of time or several.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    seconds: f64,
    /// Milliseconds of each request on a kept connection.
    kept: Vec<f64>,
    /// The same, with the connection and its handshake.
    fresh: Vec<f64>,
    failed: usize,
    failures: Vec<String>,
    cpu_micros: f64,
}

impl Good {
    /// Whether its programs are installed; `report` names one that is not.
    pub(crate) fn is_possible(report: &mut Report) -> bool {
        let needed = [("nginx", "nginx-light"), ("h2load", "nghttp2-client")];
        let missing = needed.into_iter().find(|(program, _)| machine::program(program).is_none());
        if let Some((program, package)) = missing {
            report
                .skip(program, &format!("not installed (Debian: {package}); nothing is measured without it"));
        }
        missing.is_none()
    }

    /// Traffic for [`HOST`].
    ///
    /// # Errors
    /// The local authority cannot be read.
    pub(crate) fn new(stoa: &Stoa, folder: &Path, core: usize) -> anyhow::Result<Self> {
        Ok(Self::at(stoa.place(HOST)?, stoa.process.id(), folder, core))
    }

    /// The same through the process `edge`, which serves the place.
    pub(crate) fn at(place: Place, edge: u32, folder: &Path, core: usize) -> Self {
        let port = place.port();
        Self { place, port, edge, core, log: folder.join("requests.log") }
    }

    /// Adds so many seconds of it to what was seen.
    ///
    /// # Errors
    /// A generator is missing, or nothing was answered.
    pub(crate) async fn measure(&self, seconds: u32, seen: &mut Seen) -> anyhow::Result<()> {
        let before = cpu::micros(self.edge)?;
        let crowd = Crowd::gather(&self.place, &[(Habit::New, FRESH.0, FRESH.1)]);
        let load = Load { host: HOST, port: self.port, seconds, core: self.core, path: "/" };
        let steady = tokio::task::block_in_place(|| generator::steady(&load, KEPT.0, KEPT.1, &self.log))?;
        seen.cpu_micros += cpu::micros(self.edge)? - before;
        let crowd = crowd.go_home().await;
        seen.seconds += f64::from(seconds);
        seen.failed += steady.failed + usize::try_from(crowd.failed).unwrap_or(usize::MAX);
        seen.kept.extend(steady.millis);
        seen.fresh.extend(crowd.millis);
        seen.failures.extend(crowd.failures);
        seen.failures.truncate(SAMPLES);
        Ok(())
    }
}

impl Seen {
    /// Requests that had no good answer.
    pub(crate) fn failed(&self) -> usize {
        self.failed
    }

    /// Another stretch of time.
    pub(crate) fn add(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.failed += other.failed;
        self.cpu_micros += other.cpu_micros;
        self.kept.extend(other.kept);
        self.fresh.extend(other.fresh);
        self.failures.extend(other.failures);
        self.failures.truncate(SAMPLES);
    }

    /// CPU of the edge, for this and for what was beside it, in percent of a core.
    pub(crate) fn percent_of_core(&self) -> f64 {
        self.cpu_micros / self.seconds / 1e4
    }

    /// Tells its figures of `peer`, each with `suffix` in its name.
    pub(crate) fn tell(&mut self, peer: &str, suffix: &str, report: &mut Report) {
        for (name, value, unit) in self.figures() {
            report.add(peer, &format!("{name}_{suffix}"), value, unit);
        }
        for failure in &self.failures {
            report.note(peer, &format!("failed: {failure}"));
        }
    }

    /// By how many percent visitors were served more slowly than in `calm`: the name of the figure and the loss.
    pub(crate) fn slowdown(&mut self, calm: &mut Self) -> Vec<(&'static str, f64)> {
        let pairs = self.figures().into_iter().zip(calm.figures());
        let losses = pairs.filter_map(|((name, now, unit), (_, before, _))| match unit {
            "1/s" => Some((name, (before / now - 1.0) * 100.0)),
            "ms" => Some((name, (now / before - 1.0) * 100.0)),
            _ => None,
        });
        losses.collect()
    }

    fn figures(&mut self) -> [(&'static str, f64, &'static str); 7] {
        let served = number(self.kept.len() + self.fresh.len());
        [
            ("requests", served / self.seconds, "1/s"),
            ("kept_p50", percentile(&mut self.kept, 50), "ms"),
            ("kept_p99", percentile(&mut self.kept, 99), "ms"),
            ("fresh_p50", percentile(&mut self.fresh, 50), "ms"),
            ("fresh_p99", percentile(&mut self.fresh, 99), "ms"),
            ("cpu_of_edge", self.percent_of_core(), "% of a core"),
            ("failed", number(self.failed), "requests"),
        ]
    }
}
