//! What came out: one figure a line, for people or as JSON.

use serde_json::json;

/// The figures of one scenario, printed as they come.
#[derive(Debug)]
pub(crate) struct Report {
    scenario: &'static str,
    json: bool,
}

impl Report {
    /// An empty report.
    pub(crate) fn new(scenario: &'static str, json: bool) -> Self {
        Self { scenario, json }
    }

    /// A figure of `peer`, in `unit`.
    pub(crate) fn add(&mut self, peer: &str, figure: &str, value: f64, unit: &str) {
        if self.json {
            let scenario = self.scenario;
            println!(
                "{}",
                json!({"scenario": scenario, "figure": figure, "value": value, "unit": unit, "peer": peer})
            );
        } else {
            println!("{:<18} {:<10} {:<32} {:>12.2} {}", self.scenario, peer, figure, value, unit);
        }
    }

    /// A peer that could not run here, with the reason.
    pub(crate) fn skip(&mut self, peer: &str, reason: &str) {
        if self.json {
            println!("{}", json!({"scenario": self.scenario, "peer": peer, "skipped": reason}));
        } else {
            println!("{:<18} {:<10} skipped: {reason}", self.scenario, peer);
        }
    }

    /// Something that is no figure but must be known to read them.
    pub(crate) fn note(&mut self, peer: &str, text: &str) {
        if self.json {
            println!("{}", json!({"scenario": self.scenario, "peer": peer, "note": text}));
        } else {
            println!("{:<18} {:<10} note: {text}", self.scenario, peer);
        }
    }

    /// How busy the machine was: a figure without it cannot be read.
    pub(crate) fn close(&mut self) {
        if let Some(load) = crate::machine::load_average() {
            self.add("machine", "load_average_1m", load, "processes");
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

/// A count as a figure.
pub(crate) fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

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
