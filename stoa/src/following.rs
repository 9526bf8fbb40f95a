//! How an edge comes to its state: from its own replica, or from a look at the one that its predecessor still
//! holds, which becomes its own when the predecessor stops following.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use feed::disk::DiskError;
use feed::replica::{Loaded, ReplicaError};
use feed::{EdgeInfo, Follower, FollowerState, Origin, Replica, Sink as _};
use model::change::{Lineage, Revision};
use model::seal::SealingKey;
use proxy::State;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Time between two looks whether the predecessor has let go of the replica.
const LOOK: Duration = Duration::from_millis(20);

/// What a follower is made of.
pub(crate) struct Parts {
    pub(crate) origin: Arc<dyn Origin>,
    pub(crate) state: Arc<State>,
    pub(crate) info: EdgeInfo,
    pub(crate) key: SealingKey,
    /// Keys that an older program wrote the replica with.
    pub(crate) older: Vec<SealingKey>,
    pub(crate) path: PathBuf,
}

/// An edge that has its first state, if there was one, and is about to follow the feed.
pub(crate) struct Following {
    parts: Parts,
    from: From,
    told: watch::Sender<FollowerState>,
}

enum From {
    Own(Box<Follower>),
    Seen(Lineage, Revision),
}

impl Following {
    /// Opens the replica and loads what it has. On an error an edge does not start.
    ///
    /// # Errors
    /// The replica cannot be used.
    pub(crate) async fn own(parts: Parts) -> anyhow::Result<Self> {
        let (replica, loaded) = Replica::open_with(&parts.path, &parts.key, &parts.older)?;
        let has_state = loaded.revision.0 > 0;
        let follower = parts.follower(replica);
        let loading = tokio::task::spawn_blocking(move || {
            follower.load(loaded);
            follower
        });
        let follower = loading.await.context("the replica could not be loaded")?;
        if has_state {
            parts.state.set_ready();
        }
        Ok(Self { parts, from: From::Own(Box::new(follower)), told: told() })
    }

    /// Loads what the predecessor's replica has.
    ///
    /// # Errors
    /// It cannot be read, or has no state to serve from.
    pub(crate) async fn beside(parts: Parts) -> anyhow::Result<Self> {
        let (path, key, older) = (parts.path.clone(), parts.key.clone(), parts.older.clone());
        let state = Arc::clone(&parts.state);
        let loading = tokio::task::spawn_blocking(move || {
            let Loaded { lineage, revision, objects, .. } = Replica::look_with(&path, &key, &older)?;
            for change in &objects {
                if let Err(error) = state.apply(change) {
                    tracing::error!(%error, "change was not taken");
                }
            }
            tracing::info!(objects = objects.len(), %revision, "replica was read");
            Ok::<_, ReplicaError>((lineage, revision))
        });
        let (lineage, revision) = loading.await.context("the replica could not be read")??;
        if revision == Revision::default() {
            bail!("`{}` has no whole state to take over: try again later", parts.path.display());
        }
        parts.state.set_ready();
        Ok(Self { parts, from: From::Seen(lineage, revision), told: told() })
    }

    /// How far it is, now and from now on.
    pub(crate) fn state(&self) -> watch::Receiver<FollowerState> {
        self.told.subscribe()
    }

    /// Follows until `stopped` says true or its sender is gone.
    pub(crate) async fn run(self, mut stopped: watch::Receiver<bool>) {
        let Self { parts, from, told } = self;
        let follower = match from {
            From::Own(follower) => *follower,
            From::Seen(lineage, revision) => {
                let Some((replica, loaded)) = parts.take_over(&mut stopped).await else { return };
                let follower = parts.follower(replica);
                let catching_up = tokio::task::spawn_blocking(move || {
                    follower.catch_up(loaded, (&lineage, revision));
                    follower
                });
                let Ok(follower) = catching_up.await else { return };
                follower
            }
        };
        let following = follower.state();
        tokio::select! {
            () = follower.run(stopped) => {}
            () = show(following, &told, &parts.state) => {}
        }
    }
}

/// Until a follower says otherwise.
fn told() -> watch::Sender<FollowerState> {
    watch::Sender::new(FollowerState { writable: true, ..FollowerState::default() })
}

/// Passes on how far the follower is, and shows in the metrics whether the control plane answers.
async fn show(
    mut following: watch::Receiver<FollowerState>,
    told: &watch::Sender<FollowerState>,
    state: &State,
) {
    loop {
        let now = following.borrow_and_update().clone();
        state.set_feed_connected(now.connected);
        told.send_replace(now);
        if following.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Parts {
    fn follower(&self, replica: Replica) -> Follower {
        let sink = Arc::<State>::clone(&self.state);
        Follower::new(Arc::clone(&self.origin), sink, replica, self.info.clone())
    }

    /// Waits until the predecessor, or its end, lets go of the replica; none if the process is to end before.
    async fn take_over(&self, stopped: &mut watch::Receiver<bool>) -> Option<(Replica, Loaded)> {
        let mut was_told = false;
        loop {
            let (path, key, older) = (self.path.clone(), self.key.clone(), self.older.clone());
            match tokio::task::spawn_blocking(move || Replica::open_with(&path, &key, &older)).await.ok()? {
                Ok(opened) => return Some(opened),
                Err(ReplicaError::Disk(DiskError::InUse { .. })) => {}
                Err(error) if !was_told => {
                    was_told = true;
                    tracing::error!(%error, "replica cannot be taken over: serving what was read, trying on");
                }
                Err(_) => sleep(LOOK * 50).await,
            }
            if timeout(LOOK, stopped.wait_for(|stop| *stop)).await.is_ok() {
                return None;
            }
        }
    }
}
