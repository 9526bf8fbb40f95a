//! Sums of usage rows: the same totals in fewer rows.

use std::collections::BTreeMap;
use std::time::Duration;

use model::usage::{Counters, UsageKey, UsageRow, WINDOW};

/// Windows to sum up in, narrowest first. A day is the widest: no month is ever mixed with another.
const WIDTHS: [Duration; 3] = [WINDOW, Duration::from_hours(1), Duration::from_hours(24)];

/// Counters by key.
#[derive(Debug, Default)]
pub(super) struct Sums(BTreeMap<UsageKey, Counters>);

impl Sums {
    pub(super) fn add(&mut self, rows: &[UsageRow]) {
        for row in rows {
            self.0.entry(row.key).or_default().add(row.counters);
        }
    }

    /// The rows in the narrowest windows whose JSON has at most `goal_bytes`, or else in the widest.
    pub(super) fn within(self, goal_bytes: usize) -> Result<Vec<UsageRow>, serde_json::Error> {
        let mut sums = self.0;
        for width in WIDTHS {
            sums = widen(sums, width);
            let row = |(key, counters): (&UsageKey, &Counters)| UsageRow { key: *key, counters: *counters };
            let bytes = sums
                .iter()
                .map(row)
                .try_fold(0, |sum, row| serde_json::to_vec(&row).map(|json| json.len() + 1 + sum))?;
            if bytes <= goal_bytes {
                break;
            }
        }
        Ok(sums.into_iter().map(|(key, counters)| UsageRow { key, counters }).collect())
    }
}

fn widen(sums: BTreeMap<UsageKey, Counters>, width: Duration) -> BTreeMap<UsageKey, Counters> {
    let mut wide: BTreeMap<UsageKey, Counters> = BTreeMap::new();
    for (key, counters) in sums {
        let key = UsageKey { window: key.window.floor_to(width), ..key };
        wide.entry(key).or_default().add(counters);
    }
    wide
}
