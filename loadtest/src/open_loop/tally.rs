//! What a generator saw, of the answers and of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Latency, On};
use crate::figure::{Report, events};
use crate::generator::Outcome;

/// Texts of what went wrong that are kept.
const SAMPLES: usize = 5;
/// Which part of the answers' p99 the p99 of the generator's own lateness may be, for the figure to be theirs.
const MOST_LAG: f64 = 0.25;
/// More of its core in use, by whomever, and the generator had to wait for it.
const BUSY_PERCENT: f64 = 90.0;

/// What a generator saw.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    /// From when a request was due to the end of its answer, on connections that were there.
    pub(crate) kept: Latency,
    /// The same on new connections, whose making counts.
    pub(crate) fresh: Latency,
    /// From when a request could have been sent (it was due, and a connection was free) to when it was.
    pub(crate) lag: Latency,
    /// How often each status came.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Requests that were not answered as they should have been, or not at all.
    pub(crate) unwanted: u64,
    /// Texts of the first of these.
    pub(crate) failures: Vec<String>,
    /// Connections that were made since the first request was due.
    pub(crate) dialled: u64,
    /// Share of a core that the generator used; of several loads, the greatest.
    pub(crate) utilisation: f64,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            kept: Latency::new(),
            fresh: Latency::new(),
            lag: Latency::new(),
            statuses: BTreeMap::new(),
            unwanted: 0,
            failures: Vec::new(),
            dialled: 0,
            utilisation: 0.0,
        }
    }

    /// Requests that were answered or given up.
    pub(crate) fn requests(&self) -> u64 {
        self.kept.count() + self.fresh.count()
    }

    /// What another one saw at the same kind of load, too.
    pub(crate) fn add(&mut self, other: &Self) {
        self.kept.add(&other.kept);
        self.fresh.add(&other.fresh);
        self.lag.add(&other.lag);
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.unwanted += other.unwanted;
        self.failures.extend(other.failures.iter().cloned());
        self.failures.truncate(SAMPLES);
        self.dialled += other.dialled;
        self.utilisation = self.utilisation.max(other.utilisation);
    }

    /// As CPU is divided by it, for a load that lasted so long.
    pub(crate) fn outcome(&self, seconds: u32) -> Outcome {
        let requests = events(self.requests());
        Outcome { requests, requests_per_second: requests / f64::from(seconds) }
    }

    /// Tells what it saw of itself, each figure with `prefix` in its name.
    pub(crate) fn tell_generator(&self, prefix: &str, report: &mut Report) {
        for (figure, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            report.add("generator", &format!("{prefix}_lag_{figure}"), self.lag.millis(quantile), "ms");
        }
        report.add("generator", &format!("{prefix}_cpu"), self.utilisation * 100.0, "% of a core");
    }

    /// Why the latencies are the generator's own and no figures of what was asked, if they are. Its core, which it
    /// shares, was busy for so many percent of the time.
    pub(crate) fn excuse(&self, core: f64) -> Option<String> {
        let mut all = self.kept.clone();
        all.add(&self.fresh);
        let (lag, latency) = (self.lag.millis(0.99), all.millis(0.99));
        let why = if lag > MOST_LAG * latency {
            format!("the generator sent late: p99 of its lag is {lag:.3} ms, of the latency {latency:.3} ms")
        } else if core > BUSY_PERCENT {
            format!("the generator's core was {core:.0} % busy: it read answers late")
        } else {
            return None;
        };
        let used = self.utilisation * 100.0;
        Some(format!("{why} (it used {used:.0} % of a core); the latencies are its own too"))
    }

    pub(super) fn note(&mut self, on: On, latency: Duration) {
        match on {
            On::Kept => self.kept.record(latency),
            On::New => self.fresh.record(latency),
        }
    }

    pub(super) fn note_failure(&mut self, text: impl FnOnce() -> String) {
        self.unwanted += 1;
        if self.failures.len() < SAMPLES {
            self.failures.push(text());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_that_sends_late_excuses_the_figure() {
        let mut tally = Tally::new();
        for _ in 0..100 {
            tally.note(On::Kept, Duration::from_millis(10));
            tally.lag.record(Duration::from_millis(1));
        }
        assert_eq!(tally.excuse(60.0), None);
        (0..10).for_each(|_| tally.lag.record(Duration::from_millis(5)));
        assert!(tally.excuse(60.0).unwrap().contains("p99 of its lag is 5.0"), "{:?}", tally.excuse(60.0));
    }

    #[test]
    fn a_generator_without_time_of_its_core_excuses_the_figure() {
        let mut tally = Tally::new();
        tally.note(On::Kept, Duration::from_millis(10));
        assert!(tally.excuse(95.0).unwrap().contains("95 % busy"), "{:?}", tally.excuse(95.0));
    }
}
