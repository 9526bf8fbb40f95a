//! How long a backend may keep a request waiting.
//!
//! The time runs beside pingora, whose own read timeout would have to be chosen before it is known whether the
//! answer is a stream. When it is over, the connection to the backend is cut and nothing else: the visitor's
//! connection and its other requests go on. Without a [`Line`] only pingora's long timeout holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::backends::Line;

/// The wait for one attempt at one backend. Dropped, it is over.
pub(crate) struct Patience {
    until: watch::Sender<Option<Instant>>,
    was_lost: Arc<AtomicBool>,
}

impl Patience {
    /// Cuts the line at `until` unless told otherwise before; none: never. Needs a runtime.
    pub(crate) fn begin(line: Line, until: Option<Instant>) -> Self {
        let (until, told) = watch::channel(until);
        let was_lost = Arc::new(AtomicBool::new(false));
        tokio::spawn(wait(line, told, Arc::clone(&was_lost)));
        Self { until, was_lost }
    }

    /// From now on it is `until` then; none: for ever.
    pub(crate) fn set(&self, until: Option<Instant>) {
        self.until.send_if_modified(|held| std::mem::replace(held, until) != until);
    }

    /// Whether it came to a cut.
    pub(crate) fn was_lost(&self) -> bool {
        self.was_lost.load(Relaxed)
    }
}

/// Ends when the line is cut or nobody waits any more.
async fn wait(line: Line, mut told: watch::Receiver<Option<Instant>>, was_lost: Arc<AtomicBool>) {
    loop {
        let until = *told.borrow_and_update();
        let over = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = told.changed() => if changed.is_err() { return },
            () = over => break,
        }
    }
    was_lost.store(true, Relaxed);
    line.cut();
}
