//! Connections to backends that wait for their next request: one store a worker, which is one thread.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::head::Stay;
use super::line::Line;
use crate::backends::LineKey;

/// Most that one worker keeps. Beyond that the one that has waited longest goes.
const MOST_KEPT: usize = 256;
/// Time between two looks for those that have waited long enough.
const SWEEP: Duration = Duration::from_secs(5);

/// The kept connections. The lock is for the type's sake: no other thread takes it.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<Vec<Kept>>);

#[derive(Debug)]
struct Kept {
    key: LineKey,
    /// Boxed, because places in the store are moved.
    line: Box<Line>,
    since: Instant,
    until: Instant,
}

impl Lines {
    /// A panic elsewhere leaves the store whole: each change is one step.
    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection with this key that can carry a request: one that was used lately, which leaves the others time
    /// to be given up.
    pub(super) fn take(&self, key: LineKey) -> Option<Line> {
        let mut kept = self.kept();
        let now = Instant::now();
        loop {
            let at = kept.iter().rposition(|kept| kept.key == key)?;
            let found = kept.swap_remove(at);
            if found.until > now && found.line.is_quiet() {
                return Some(*found.line);
            }
        }
    }

    /// Keeps `line` for another request.
    pub(super) fn keep(&self, mut line: Line, stay: Stay) {
        line.rest();
        let mut kept = self.kept();
        if kept.len() >= MOST_KEPT {
            let oldest = kept.iter().enumerate().min_by_key(|(_, kept)| kept.since);
            if let Some((at, _)) = oldest {
                kept.swap_remove(at);
            }
        }
        let now = Instant::now();
        kept.push(Kept { key: line.key(), line: Box::new(line), since: now, until: now + stay.time() });
    }

    /// Drops those that have waited long enough or have ended, until dropped itself.
    pub(crate) async fn run(&self) {
        let mut sweeps = interval(SWEEP);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = sweeps.tick().await;
            self.kept().retain(|kept| kept.until > now && kept.line.is_quiet());
        }
    }
}
