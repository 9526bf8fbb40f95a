//! Where, when and on what the figures were taken, and how noisy it was: without that they cannot be read.

use model::Clock as _;
use model::clock::SystemClock;
use serde_json::{Value, json};

use crate::Effort;
use crate::machine::{self, Ticks};
use crate::{peer, scenario};

/// What is known of a run beside its figures.
#[derive(Debug)]
pub(super) struct Circumstances {
    date: String,
    processor: String,
    kernel: String,
    cores: usize,
    /// Name and version of who runs.
    versions: Vec<(&'static str, String)>,
    rounds: u32,
    seconds: u32,
    load_before: f64,
    before: Option<Ticks>,
    stolen_percent: f64,
}

impl Circumstances {
    /// Those of a run that begins now.
    pub(super) fn now(effort: Effort) -> Self {
        let unknown = || "unknown".to_owned();
        let (rounds, seconds) = scenario::schedule(effort);
        Self {
            date: date(SystemClock.now().unix_millis() / 1000),
            processor: machine::processor().unwrap_or_else(unknown),
            kernel: machine::kernel().unwrap_or_else(unknown),
            cores: machine::cores(),
            versions: peer::versions(),
            rounds,
            seconds,
            load_before: machine::load_average().unwrap_or_default(),
            before: machine::ticks(),
            stolen_percent: 0.0,
        }
    }

    /// Looks again at what the run has seen of others.
    pub(super) fn end(&mut self) {
        let between = self.before.zip(machine::ticks()).map(|(before, now)| now.since(before));
        self.stolen_percent = between.map_or(0.0, Ticks::stolen_percent);
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "date": self.date,
            "processor": self.processor,
            "cores": self.cores,
            "kernel": self.kernel,
            "versions": self.versions.iter().map(|(name, version)| (*name, version.as_str())).collect::<std::collections::BTreeMap<_, _>>(),
            "rounds": self.rounds,
            "seconds_a_round": self.seconds,
            "load_average_before": self.load_before,
            "steal_percent": self.stolen_percent,
        })
    }

    /// For people: the machine; the versions; the method and its noise.
    pub(super) fn sentences(&self) -> Vec<String> {
        let Self { date, processor, kernel, cores, rounds, seconds, load_before, stolen_percent, .. } = self;
        let versions: Vec<_> =
            self.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        vec![
            format!("{date}, {processor}, {cores} cores, Linux {kernel}."),
            format!("{}.", versions.join(", ")),
            format!(
                "One core for each proxy in turn, another for generator and backend; medians of {rounds} rounds of \
                 {seconds} s. Load average before: {load_before:.1}; stolen by the host: {stolen_percent:.1} %."
            ),
        ]
    }
}

/// The day of a moment in seconds since the epoch, in UTC.
fn date(seconds: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(seconds)
        .map_or_else(|_| "unknown".to_owned(), |moment| moment.date().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_must_know_is_said() {
        let circumstances = Circumstances {
            date: date(1_795_400_000),
            processor: "A Processor".to_owned(),
            kernel: "6.1.0".to_owned(),
            cores: 2,
            versions: vec![("nginx", "1.22.1".to_owned()), ("bare", "pingora 0.9.1".to_owned())],
            rounds: 5,
            seconds: 6,
            load_before: 0.25,
            before: None,
            stolen_percent: 1.5,
        };
        let text = circumstances.sentences().join("\n");
        for part in
            ["2026-11-23", "A Processor, 2 cores", "nginx 1.22.1, bare pingora 0.9.1", "5 rounds of 6 s"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(circumstances.json()["versions"]["nginx"], "1.22.1");
    }
}
