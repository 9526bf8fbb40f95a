//! What an app is asked: whether it is in use, how many retries it has left, and how many requests it works on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::budget::Budget;
use super::gate::Gate;

/// An app that nobody asked for so long is idle: its backends are checked seldom. A hundred thousand apps,
/// most of them asleep, would else cost a hundred thousand checks every two seconds.
const IDLE_AFTER_MS: u64 = 60_000;
/// How stale the moment of the last request may be, so that a busy app does not write it a thousand times a
/// second.
const GRAIN_MS: u64 = 1_000;

/// The traffic of one app. Kept when its backends are replaced.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    last_used: AtomicU64,
    /// Its retries.
    pub(super) budget: Budget,
    /// Its requests that are under way.
    pub(super) gate: Arc<Gate>,
}

impl Traffic {
    /// Notes a request at `now`; true if the app was idle until then.
    pub(super) fn touch(&self, now: u64) -> bool {
        let last = self.last_used.load(Relaxed);
        if last != 0 && now < last.saturating_add(GRAIN_MS) {
            return false;
        }
        self.last_used.store(now, Relaxed);
        is_idle(last, now)
    }

    /// Whether nobody asked for it of late.
    pub(super) fn is_idle(&self, now: u64) -> bool {
        is_idle(self.last_used.load(Relaxed), now)
    }
}

fn is_idle(last: u64, now: u64) -> bool {
    last == 0 || now > last.saturating_add(IDLE_AFTER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_after_a_quiet_minute_wakes_an_app_and_no_other_does() {
        let traffic = Traffic::default();
        assert!(traffic.is_idle(1) && traffic.touch(1));
        assert!(!traffic.touch(2) && !traffic.touch(30_000) && !traffic.touch(90_000));
        assert!(!traffic.is_idle(150_000) && traffic.is_idle(150_001));
        assert!(traffic.touch(150_001));
    }
}
