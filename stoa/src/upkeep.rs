//! What a control plane does by the clock: once a day it forgets old tombstones of the feed and reads the
//! audit chain; every eight hours it makes a new key for TLS session tickets. Of several nodes the first does.

use std::time::Duration;

use model::seal::KeyRing;
use model::ticket::TicketKey;
use store::{Actor, AuditVerdict, Store, StoreError};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Time between two rounds; the first is at the start.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long an edge may be away and still be told only what changed; after that it is told everything.
const TOMBSTONE_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Time between two looks whether a ticket key is due: one query.
const TICKET_LOOK: Duration = Duration::from_secs(300);

/// Works until `shutdown` says true or its sender is gone.
pub(crate) async fn run(store: Store, master: KeyRing, shutdown: watch::Receiver<bool>) {
    let (mut looks, mut days) = (every(TICKET_LOOK), every(DAY));
    loop {
        tokio::select! {
            biased;
            () = crate::shutdown::wait(&shutdown) => return,
            _ = looks.tick() => {
                if let Err(error) = rotate(&store, &master).await {
                    tracing::warn!(error = %format!("{error:#}"), "no new ticket key was made; it is tried again in minutes");
                }
            }
            _ = days.tick() => {
                if let Err(error) = tend(&store).await {
                    tracing::warn!(%error, "the daily upkeep of the store failed; it is tried again tomorrow");
                }
            }
        }
    }
}

/// Ticks at once, then after each `period`.
fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Makes a ticket key if one is due.
async fn rotate(store: &Store, master: &KeyRing) -> anyhow::Result<()> {
    if !store.ticket_key_due().await? {
        return Ok(());
    }
    let key = TicketKey::generate(store.now(), master)?;
    if store.put_ticket_key(&Actor::system("stoa"), &key).await? {
        tracing::info!(key = %key.id, "a new ticket key was made");
    }
    Ok(())
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
