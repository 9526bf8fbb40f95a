//! The journals of one data directory: which one a process has, and what becomes of those that were left.
//!
//! The first is `<path>`, the others `<path>.1`, `<path>.2` …; their ids are kept likewise. A file is never
//! removed, only emptied: a lock on a removed file would keep nobody out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::Clock as _;
use model::clock::SystemClock;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::Origin;
use crate::disk::{self, DiskError};
use crate::edge_id::{self, EdgeIdError};
use crate::usage::{Outbox, OutboxError};

/// Most processes of one data directory that count at a time: one that serves, the others ending.
pub const JOURNALS: usize = 16;
/// Time between two looks for what was left.
const LOOK: Duration = Duration::from_secs(2);

/// Why a process has no journal.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The journal cannot be used.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// Its id cannot be used.
    #[error(transparent)]
    Id(#[from] EdgeIdError),
}

/// Opens the first journal that no other process holds. `path` and `id` are those of the first.
///
/// # Errors
/// [`ClaimError`] if a file cannot be used, or all are held.
pub fn claim(path: &Path, id: &Path) -> Result<Outbox, ClaimError> {
    let mut number = 0;
    loop {
        match open(path, id, number) {
            Err(error) if is_held(&error) && number + 1 < JOURNALS => number += 1,
            opened => return opened,
        }
    }
}

/// Sends, until `shutdown` says true or its sender is gone, what processes that are gone left in their journals.
pub async fn adopt(path: PathBuf, id: PathBuf, origin: Arc<dyn Origin>, mut shutdown: watch::Receiver<bool>) {
    // How long each was when nothing was left in it.
    let mut emptied = [0; JOURNALS];
    loop {
        for (number, known) in emptied.iter_mut().enumerate() {
            let file = numbered(&path, number);
            let length = std::fs::metadata(&file).map_or(0, |file| file.len());
            if length == *known {
                continue;
            }
            match open_beside(&path, &id, number).await {
                Ok(outbox) => {
                    if !send(&outbox, &file, &*origin, &mut shutdown).await {
                        return;
                    }
                    *known = std::fs::metadata(&file).map_or(0, |file| file.len());
                }
                Err(error) if is_held(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "usage that another process left cannot be read");
                    *known = length;
                }
            }
        }
        if timeout(LOOK, shutdown.wait_for(|stop| *stop)).await.is_ok() {
            return;
        }
    }
}

async fn send(
    outbox: &Outbox,
    file: &Path,
    origin: &dyn Origin,
    shutdown: &mut watch::Receiver<bool>,
) -> bool {
    let batches = outbox.pending();
    if batches > 0 {
        tracing::info!(batches, file = %file.display(), "sending the usage that another process left");
    }
    outbox.empty(origin, shutdown).await
}

fn open(path: &Path, id: &Path, number: usize) -> Result<Outbox, ClaimError> {
    let edge = edge_id::load_or_create(&numbered(id, number), SystemClock.now())?;
    Ok(Outbox::open(&numbered(path, number), edge)?)
}

/// As [`open`], on a thread that may wait for the disk.
async fn open_beside(path: &Path, id: &Path, number: usize) -> Result<Outbox, ClaimError> {
    let (path, id) = (path.to_owned(), id.to_owned());
    let opening = tokio::task::spawn_blocking(move || open(&path, &id, number)).await;
    opening.unwrap_or_else(|failed| {
        let failed = std::io::Error::other(failed);
        Err(OutboxError::Disk(DiskError::io("open", &numbered(&PathBuf::new(), number))(failed)).into())
    })
}

fn is_held(error: &ClaimError) -> bool {
    matches!(error, ClaimError::Outbox(OutboxError::Disk(DiskError::InUse { .. })))
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    if number == 0 { path.to_owned() } else { disk::with_suffix(path, &format!(".{number}")) }
}
