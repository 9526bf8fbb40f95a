//! What a control plane does once a day: forgets old tombstones of the feed, and reads the audit chain.

use std::time::Duration;

use store::{AuditVerdict, Store, StoreError};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// Time between two rounds; the first is at the start.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long an edge may be away and still be told only what changed; after that it is told everything.
const TOMBSTONE_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Works until `shutdown` says true or its sender is gone.
pub(crate) async fn run(store: Store, mut shutdown: watch::Receiver<bool>) {
    let mut days = interval(DAY);
    days.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = days.tick() => {}
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
        if let Err(error) = tend(&store).await {
            tracing::warn!(%error, "the daily upkeep of the store failed; it is tried again tomorrow");
        }
    }
}

async fn tend(store: &Store) -> Result<(), StoreError> {
    let purged = store.purge_tombstones(store.now().minus(TOMBSTONE_LIFE)).await?;
    match store.verify_audit().await? {
        AuditVerdict::Intact { events } => tracing::debug!(purged, events, "the store was tended"),
        AuditVerdict::Broken { sequence, reason } => {
            tracing::error!(sequence, reason, "the audit log was tampered with: compare it with a backup");
        }
    }
    Ok(())
}
