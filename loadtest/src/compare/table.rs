//! The figures that are compared: a row a scenario, a column a peer.

use std::fmt::Write as _;

use crate::figure::{CPU_PER_REQUEST, CPU_SPREAD, Line, Report};

/// The peer that ratios are to.
pub(super) const MEASURE: &str = "nginx";

/// CPU a request of everybody in every scenario.
#[derive(Debug, PartialEq)]
pub(super) struct Table {
    /// Whom there is a column of, in the order of their first figure.
    pub(super) peers: Vec<String>,
    /// The scenarios, in the order in which they ran.
    pub(super) rows: Vec<Row>,
    /// How far the rounds of one proxy lay apart where that was farthest, in percent of their median.
    pub(super) spread_percent: f64,
}

/// What came out of one scenario.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    /// Its name.
    pub(super) scenario: &'static str,
    /// By peer, as the columns stand; none of who did not run.
    pub(super) cells: Vec<Option<Cell>>,
}

/// What a request cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cell {
    /// CPU in microseconds.
    pub(super) micros: f64,
    /// The same as a multiple of what it cost [`MEASURE`] in the same run; none if that did not run.
    pub(super) ratio: Option<f64>,
}

impl Table {
    /// Out of what was said.
    pub(super) fn of(reports: &[Report]) -> Self {
        let mut peers: Vec<String> = Vec::new();
        for (peer, _) in reports.iter().flat_map(|report| figures(report, CPU_PER_REQUEST)) {
            if !peers.iter().any(|known| known == peer) {
                peers.push(peer.to_owned());
            }
        }
        let rows = reports.iter().map(|report| Row::of(report, &peers)).collect();
        let spreads = reports.iter().flat_map(|report| figures(report, CPU_SPREAD));
        let spread_percent = spreads.map(|(_, percent)| percent).fold(0.0, f64::max);
        Self { peers, rows, spread_percent }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{:<18}", "CPU µs (× nginx)");
        for peer in &self.peers {
            // Writing to a string does not fail.
            let _written = write!(text, " {peer:>16}");
        }
        for row in &self.rows {
            let _written = write!(text, "\n{:<18}", row.scenario);
            for cell in &row.cells {
                let _written = write!(text, " {:>16}", cell.map_or_else(|| "-".to_owned(), Cell::text));
            }
        }
        text
    }
}

fn figures<'a>(report: &'a Report, wanted: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    report.lines().iter().filter_map(move |line: &Line| line.figure(wanted))
}

impl Row {
    fn of(report: &Report, peers: &[String]) -> Self {
        let micros = |peer: &str| {
            figures(report, CPU_PER_REQUEST).find(|(name, _)| *name == peer).map(|(_, micros)| micros)
        };
        let measure = micros(MEASURE).filter(|micros| *micros > 0.0);
        let cell = |micros: f64| Cell { micros, ratio: measure.map(|measure| micros / measure) };
        let cells = peers.iter().map(|peer| micros(peer).map(cell)).collect();
        Self { scenario: report.scenario(), cells }
    }
}

impl Cell {
    /// E.g. `81.0 (2.37)`.
    pub(super) fn text(self) -> String {
        match self.ratio {
            Some(ratio) => format!("{:.1} ({ratio:.2})", self.micros),
            None => format!("{:.1}", self.micros),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(scenario: &'static str, figures: &[(&str, f64)]) -> Report {
        let mut report = Report::new(scenario, true);
        figures.iter().for_each(|(peer, micros)| report.add(peer, CPU_PER_REQUEST, *micros, "µs"));
        report.add("nginx", "requests_per_second", 1.0, "1/s");
        report.add("nginx", CPU_SPREAD, figures.iter().map(|(_, micros)| micros).sum(), "%");
        report
    }

    #[test]
    fn ratios_are_to_nginx_of_the_same_scenario() {
        let reports = [
            report("one", &[("stoa", 40.0), ("nginx", 20.0)]),
            report("two", &[("stoa", 30.0), ("nginx", 60.0)]),
        ];
        let ratios: Vec<_> = Table::of(&reports).rows.iter().map(|row| row.cells[0].unwrap().ratio).collect();
        assert_eq!(ratios, [Some(2.0), Some(0.5)]);
        assert!((Table::of(&reports).spread_percent - 90.0).abs() < f64::EPSILON);
    }

    #[test]
    fn who_did_not_run_has_an_empty_cell() {
        let reports = [report("one", &[("stoa", 40.0)]), report("two", &[("stoa", 30.0), ("nginx", 60.0)])];
        let table = Table::of(&reports);
        assert_eq!(table.peers, ["stoa", "nginx"]);
        assert_eq!(table.rows[0].cells, [Some(Cell { micros: 40.0, ratio: None }), None]);
        let text = table.text();
        assert!(text.lines().nth(1).unwrap().split_whitespace().eq(["one", "40.0", "-"]), "{text}");
        assert!(text.contains("60.0 (1.00)"), "{text}");
    }
}
