//! How long a backend may keep a request waiting.
//!
//! The time runs beside pingora, whose own read timeout would have to be chosen before it is known whether the
//! answer is a stream. When it is over, the connection to the backend is cut and nothing else: the visitor's
//! connection and its other requests go on. Without a [`Line`] only pingora's long timeout holds. One task
//! looks after all waits, [`STEP`] by [`STEP`]: a timer and a task for each request would cost more than
//! everything else that the edge adds to it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::backends::Line;

/// How much later than its time a line may be cut.
const STEP: Duration = Duration::from_millis(50);

/// The wait for one attempt at one backend. Dropped, it is over, and nothing is cut any more.
pub(crate) struct Patience(Arc<Wait>);

struct Wait {
    line: Line,
    until: Mutex<Option<Instant>>,
    was_lost: AtomicBool,
}

/// All waits of an edge. Those that are over stay in it for one [`STEP`] at most.
#[derive(Default)]
pub(crate) struct Waits(Mutex<Vec<Weak<Wait>>>);

/// A panic elsewhere leaves each value whole: it is replaced in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waits {
    /// Has the line cut at `until` unless told otherwise before; none: never.
    pub(crate) fn begin(&self, line: Line, until: Option<Instant>) -> Patience {
        let wait = Arc::new(Wait { line, until: Mutex::new(until), was_lost: AtomicBool::new(false) });
        lock(&self.0).push(Arc::downgrade(&wait));
        Patience(wait)
    }

    /// Cuts what is due, until dropped.
    pub(crate) async fn run(&self) {
        let mut steps = interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = steps.tick().await;
            lock(&self.0).retain(|wait| wait.upgrade().is_some_and(|wait| wait.goes_on(now)));
        }
    }
}

impl Wait {
    /// Cuts the line if it is due. The lock is held meanwhile: a wait that has ended cannot cut a connection
    /// that another request has by then.
    fn goes_on(&self, now: Instant) -> bool {
        let until = lock(&self.until);
        let is_due = until.is_some_and(|until| until <= now);
        if is_due {
            self.was_lost.store(true, Relaxed);
            self.line.cut();
        }
        !is_due
    }
}

impl Patience {
    /// From now on it is `until` then; none: for ever.
    pub(crate) fn set(&self, until: Option<Instant>) {
        *lock(&self.0.until) = until;
    }

    /// The connection that it watches.
    pub(crate) fn line(&self) -> Line {
        self.0.line.clone()
    }

    /// Whether it came to a cut.
    pub(crate) fn was_lost(&self) -> bool {
        self.0.was_lost.load(Relaxed)
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        self.set(None);
    }
}
