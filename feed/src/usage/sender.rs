//! Sends the batches of an outbox, oldest first, one at a time, until the control plane has them.

use std::sync::Arc;
use std::time::Duration;

use model::usage::UsageBatch;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::backoff::Backoff;
use crate::disk::{self, DiskError};
use crate::usage::{OutboxError, Shared};
use crate::{Origin, OriginError};

/// How long the control plane may take for one batch.
const ANSWER: Duration = Duration::from_secs(15);
/// What a power cut may cost.
const SYNC: Duration = Duration::from_secs(1);
/// How long sending may go on after the shutdown.
const FAREWELL: Duration = Duration::from_secs(2);

/// What became of one try.
enum Tried {
    /// One batch less.
    Sent,
    /// Nothing to send.
    Empty,
    /// Try again later, and why.
    Failed(String),
}

pub(super) async fn run(shared: &Arc<Shared>, origin: &dyn Origin, mut shutdown: watch::Receiver<bool>) {
    tokio::select! {
        () = send_all(shared, origin) => {}
        () = sync(shared) => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
    let farewell = async { while let Tried::Sent = send_one(shared, origin).await {} };
    let _ = timeout(FAREWELL, farewell).await;
    sync_once(shared).await;
}

/// Sends until nothing is left; false if `shutdown` came before.
pub(super) async fn empty(
    shared: &Arc<Shared>,
    origin: &dyn Origin,
    shutdown: &mut watch::Receiver<bool>,
) -> bool {
    let mut backoff = Backoff::new();
    loop {
        let pause = match send_one(shared, origin).await {
            Tried::Sent => continue,
            Tried::Empty => return true,
            Tried::Failed(_) => backoff.next(),
        };
        tokio::select! {
            () = sleep(pause) => {}
            _ = shutdown.wait_for(|stop| *stop) => return false,
        }
    }
}

async fn send_all(shared: &Arc<Shared>, origin: &dyn Origin) {
    let mut backoff = Backoff::new();
    let mut stuck = false;
    loop {
        match send_one(shared, origin).await {
            Tried::Sent => {
                backoff.reset();
                if std::mem::take(&mut stuck) {
                    tracing::info!(pending = shared.queue().pending(), "usage is sent again");
                }
            }
            Tried::Empty => shared.pushed.notified().await,
            Tried::Failed(reason) => {
                if !std::mem::replace(&mut stuck, true) {
                    let pending = shared.queue().pending();
                    tracing::warn!(reason, pending, "usage is not sent: keeping it, trying again");
                }
                sleep(backoff.next()).await;
            }
        }
    }
}

async fn send_one(shared: &Arc<Shared>, origin: &dyn Origin) -> Tried {
    let batch = match blocking(shared, oldest).await {
        Ok(Some(batch)) => batch,
        Ok(None) => return Tried::Empty,
        Err(reason) => return Tried::Failed(reason),
    };
    let sequence = batch.sequence;
    let set_aside = match timeout(ANSWER, origin.usage(&batch)).await {
        Ok(Ok(())) => None,
        Ok(Err(OriginError::Refused(reason))) => Some(reason),
        Ok(Err(OriginError::Unavailable(reason))) => return Tried::Failed(reason),
        Err(_) => return Tried::Failed(format!("no answer in {} s", ANSWER.as_secs())),
    };
    let noted = blocking(shared, move |shared| {
        if let Some(reason) = set_aside {
            keep_refused(shared, &batch, &reason)?;
        }
        shared.queue().done(sequence)
    });
    noted.await.map_or_else(Tried::Failed, |()| Tried::Sent)
}

/// The oldest batch; the disk knows that it may be sent.
fn oldest(shared: &Shared) -> Result<Option<UsageBatch>, OutboxError> {
    let Some((batch, fence)) = shared.queue().oldest()? else { return Ok(None) };
    if let Some(fence) = fence {
        // The queue is not held while the disk is waited for.
        fence.wait().map_err(DiskError::io("sync", &shared.path))?;
        shared.queue().passed(&fence);
    }
    Ok(Some(batch))
}

/// A refused batch and the reason, as one line of JSON.
#[derive(Serialize)]
struct Refused<'a> {
    reason: &'a str,
    batch: &'a UsageBatch,
}

/// Puts a batch that the control plane will never take where an operator finds it. If that file has grown to
/// the cap, the batch stays in the queue instead.
fn keep_refused(shared: &Shared, batch: &UsageBatch, reason: &str) -> Result<(), OutboxError> {
    let path = &shared.refused;
    let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
    if bytes >= shared.cap_bytes {
        return Err(DiskError::io("write", path)(std::io::ErrorKind::FileTooLarge.into()).into());
    }
    disk::append_line(path, &serde_json::to_string(&Refused { reason, batch })?)?;
    tracing::error!(
        reason, sequence = batch.sequence, rows = batch.rows.len(), kept_in = %path.display(),
        "control plane refuses a batch of usage: it was set aside"
    );
    Ok(())
}

async fn sync(shared: &Arc<Shared>) {
    loop {
        sleep(SYNC).await;
        sync_once(shared).await;
    }
}

async fn sync_once(shared: &Arc<Shared>) {
    let synced = blocking(shared, |shared| {
        // The lock is given back before the disk is waited for.
        let unsynced = shared.queue().unsynced();
        unsynced.map_or(Ok(()), |unsynced| Ok(unsynced.sync()?))
    });
    if let Err(reason) = synced.await {
        tracing::warn!(reason, "usage journal was not synced to the disk");
    }
}

/// Runs `work` on a thread that may wait for the disk and for the queue; a failure comes back as text.
async fn blocking<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> Result<T, OutboxError> + Send + 'static,
) -> Result<T, String> {
    let shared = Arc::clone(shared);
    match tokio::task::spawn_blocking(move || work(&shared)).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(stopped) => Err(stopped.to_string()),
    }
}
