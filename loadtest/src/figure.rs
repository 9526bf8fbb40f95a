//! What came out: one figure a line, for people or as JSON, as it comes; kept, so that runs can be compared.

use serde_json::{Value, json};

use crate::machine::{self, Ticks};

/// Name of the figure that proxies are compared by.
pub(crate) const CPU_PER_REQUEST: &str = "cpu_per_request";
/// Name of the figure that tells how far the rounds of one proxy lie apart.
pub(crate) const CPU_SPREAD: &str = "cpu_spread";

/// What is said of one scenario, printed as it comes.
#[derive(Debug)]
pub(crate) struct Report {
    scenario: &'static str,
    json: bool,
    lines: Vec<Line>,
    load_before: Option<f64>,
    ticks_before: Option<Ticks>,
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    scenario: &'static str,
    peer: String,
    said: Said,
}

#[derive(Debug, Clone, PartialEq)]
enum Said {
    Figure { name: String, value: f64, unit: String },
    Skipped(String),
    Note(String),
}

impl Report {
    /// An empty report of a scenario that begins now.
    pub(crate) fn new(scenario: &'static str, json: bool) -> Self {
        let (load_before, ticks_before) = (machine::load_average(), machine::ticks());
        Self { scenario, json, lines: Vec::new(), load_before, ticks_before }
    }

    /// A figure of `peer`, in `unit`.
    pub(crate) fn add(&mut self, peer: &str, figure: &str, value: f64, unit: &str) {
        self.say(peer, Said::Figure { name: figure.to_owned(), value, unit: unit.to_owned() });
    }

    /// A peer that could not run here, with the reason.
    pub(crate) fn skip(&mut self, peer: &str, reason: &str) {
        self.say(peer, Said::Skipped(reason.to_owned()));
    }

    /// Something that is no figure but must be known to read them.
    pub(crate) fn note(&mut self, peer: &str, text: &str) {
        self.say(peer, Said::Note(text.to_owned()));
    }

    /// How busy the machine was, with others and with itself: a figure without it cannot be read.
    pub(crate) fn close(&mut self) {
        if let Some(load) = self.load_before {
            self.add("machine", "load_average_before", load, "processes");
        }
        if let Some(load) = machine::load_average() {
            self.add("machine", "load_average_1m", load, "processes");
        }
        if let (Some(before), Some(now)) = (self.ticks_before, machine::ticks()) {
            self.add("machine", "steal", now.since(before).stolen_percent(), "%");
        }
    }

    /// Its scenario.
    pub(crate) fn scenario(&self) -> &'static str {
        self.scenario
    }

    /// What was said so far.
    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    fn say(&mut self, peer: &str, said: Said) {
        let line = Line { scenario: self.scenario, peer: peer.to_owned(), said };
        println!("{}", if self.json { line.json().to_string() } else { line.text() });
        self.lines.push(line);
    }
}

impl Line {
    /// The peer and the value, if this is the figure of that name.
    pub(crate) fn figure(&self, wanted: &str) -> Option<(&str, f64)> {
        match &self.said {
            Said::Figure { name, value, .. } if name == wanted => Some((&self.peer, *value)),
            _ => None,
        }
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let Self { scenario, peer, said } = self;
        match said {
            Said::Figure { name, value, unit } => {
                json!({"scenario": scenario, "figure": name, "value": value, "unit": unit, "peer": peer})
            }
            Said::Skipped(reason) => json!({"scenario": scenario, "peer": peer, "skipped": reason}),
            Said::Note(text) => json!({"scenario": scenario, "peer": peer, "note": text}),
        }
    }

    fn text(&self) -> String {
        let Self { scenario, peer, said } = self;
        match said {
            Said::Figure { name, value, unit } => {
                format!("{scenario:<20} {peer:<10} {name:<32} {value:>12.2} {unit}")
            }
            Said::Skipped(reason) => format!("{scenario:<20} {peer:<10} skipped: {reason}"),
            Said::Note(text) => format!("{scenario:<20} {peer:<10} note: {text}"),
        }
    }
}

/// The median of some figures; 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2, values.get(middle.wrapping_sub(1))) {
        (Some(upper), 0, Some(lower)) => f64::midpoint(*lower, *upper),
        (Some(value), _, _) => *value,
        (None, _, _) => 0.0,
    }
}

/// The value that `percent` of the figures do not exceed (nearest rank); 0 of none.
pub(crate) fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * percent).div_ceil(100).max(1);
    values.get(rank - 1).copied().unwrap_or(0.0)
}

/// A count of events as a figure; exact up to 2^53.
pub(crate) fn events(count: u64) -> f64 {
    count as f64
}

/// A count as a figure.
pub(crate) fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_the_name_of_its_figure() {
        let mut report = Report::new("some", true);
        report.skip("caddy", "not there");
        report.add("nginx", CPU_PER_REQUEST, 12.5, "µs");
        let found: Vec<_> = report.lines().iter().filter_map(|line| line.figure(CPU_PER_REQUEST)).collect();
        assert_eq!(found, [("nginx", 12.5)]);
        assert_eq!(report.lines()[0].json()["skipped"], "not there");
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert!((median(vec![4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < f64::EPSILON);
        assert!((median(vec![5.0, 1.0, 3.0]) - 3.0).abs() < f64::EPSILON);
        assert!(median(Vec::new()).abs() < f64::EPSILON);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let mut values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert!((percentile(&mut values, 99) - 198.0).abs() < f64::EPSILON);
        assert!((percentile(&mut values, 50) - 100.0).abs() < f64::EPSILON);
    }
}
