//! How often breakers turned, for the metrics. Of all backends together: a label for each would be as many
//! series as there are backends.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Turns of all breakers.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Times that one opened, the first time or again after a trial.
    pub(super) opened: AtomicU64,
    /// Trials that began.
    pub(super) half_opened: AtomicU64,
    /// Times that one closed.
    pub(super) closed: AtomicU64,
}

impl Tally {
    /// How often one opened, began a trial, and closed.
    pub(crate) fn turns(&self) -> [u64; 3] {
        [&self.opened, &self.half_opened, &self.closed].map(|turns| turns.load(Relaxed))
    }
}
