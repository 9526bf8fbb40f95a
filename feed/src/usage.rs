//! Usage on its way up: written to a journal first, then sent until the control plane has it.
//!
//! Each batch has a number that is never used again, so that sending it twice changes no total. Batches are
//! sent in order, one at a time, and the journal tells which may have been sent. With the control plane away
//! it grows to a cap; then the batches that were never sent are summed up, at first in the windows they have,
//! then in wider ones. Totals never change.
//!
//! A process that takes over from another cannot have its journal, which the other needs until its last
//! request has ended. So there are [`JOURNALS`] at most, each with an edge's id and numbers of its own; whoever
//! runs sends what is left in those that nobody holds any more.
//!
//! Numbers begin at the present's Unix milliseconds or after the last one used, whichever is more. So they
//! are not used again even if the journal was lost or came back from a backup.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::clock::SystemClock;
use model::id::EdgeId;
use model::usage::UsageRow;
use model::{Clock as _, Timestamp};
use tokio::sync::{Notify, watch};

use crate::Origin;
use crate::disk::DiskError;

mod adopt;
mod merge;
mod queue;
mod record;
mod sender;

pub use adopt::{ClaimError, JOURNALS, adopt, claim};
use queue::Queue;
pub(crate) use record::check_decode;

/// The journal may grow to this many bytes: some 600,000 rows.
pub const CAP_BYTES: u64 = 128 << 20;
/// Rows of one batch at most: some 400 KB of JSON, far below what an API takes.
const BATCH_ROWS: usize = 2_000;

/// The usage that the control plane does not have yet. Cheap to clone; one process at a time holds a journal.
#[derive(Debug, Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    pushed: Notify,
    path: PathBuf,
    /// Where batches go that the control plane refuses.
    refused: PathBuf,
    cap_bytes: u64,
}

/// Why usage is not written down.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The journal cannot be used.
    #[error("the usage journal: {0}")]
    Disk(#[from] DiskError),
    /// A row has no JSON form.
    #[error("the usage journal cannot hold a row: {0}")]
    Encode(#[from] serde_json::Error),
    /// The cap is reached and summing up does not help.
    #[error("the usage journal is full at {cap_bytes} bytes: bring the control plane back")]
    Full {
        /// The cap.
        cap_bytes: u64,
    },
}

/// What may be chosen for an outbox; tests choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxSettings {
    /// The present: batch numbers begin here.
    pub now: Timestamp,
    /// How many bytes the journal may have.
    pub cap_bytes: u64,
}

impl Outbox {
    /// Opens the journal at `path`, or begins one; folders that are missing are made. A damaged journal is
    /// renamed to `<path>.damaged-<unix ms>`, and what was read before the damage is sent.
    ///
    /// # Errors
    /// [`OutboxError::Disk`] if the path cannot be used, or another process holds the file.
    pub fn open(path: &Path, edge: EdgeId) -> Result<Self, OutboxError> {
        Self::open_with(path, edge, OutboxSettings { now: SystemClock.now(), cap_bytes: CAP_BYTES })
    }

    /// [`Self::open`] with another clock or cap.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(path: &Path, edge: EdgeId, settings: OutboxSettings) -> Result<Self, OutboxError> {
        let (queue, note) = Queue::open(path, edge, settings.now)?;
        if let Some(note) = note {
            tracing::warn!(note, "usage journal was repaired");
        }
        let shared = Shared {
            queue: Mutex::new(queue),
            pushed: Notify::new(),
            path: path.to_owned(),
            refused: crate::disk::with_suffix(path, ".refused"),
            cap_bytes: settings.cap_bytes,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Writes rows down and has them sent. After it returns, a kill of the process loses nothing; a power cut
    /// loses at most the last second. Takes microseconds, or a second when the cap is reached and batches are
    /// summed up; never waits for the control plane.
    ///
    /// # Errors
    /// On an error none of the rows was taken: keep them and push them again later.
    pub fn push(&self, rows: Vec<UsageRow>) -> Result<(), OutboxError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.shared.queue().push(&rows, self.shared.cap_bytes)?;
        self.shared.pushed.notify_one();
        Ok(())
    }

    /// How many batches the control plane does not have yet.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.shared.queue().pending()
    }

    /// Sends until `shutdown` says true (or its sender is gone); then once more what is there, for at most two
    /// seconds. What is left then is sent after the next start. Call it once.
    pub async fn run(&self, origin: Arc<dyn Origin>, shutdown: watch::Receiver<bool>) {
        sender::run(&self.shared, origin.as_ref(), shutdown).await;
    }
}

impl Outbox {
    /// Sends what is there until nothing is left; false if `shutdown` came before.
    async fn empty(&self, origin: &dyn Origin, shutdown: &mut watch::Receiver<bool>) -> bool {
        sender::empty(&self.shared, origin, shutdown).await
    }
}

impl Shared {
    /// A panic elsewhere leaves the queue whole: each of its steps is.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
