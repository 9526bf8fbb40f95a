//! The edge as a part of a process: replica and journal opened, the feed followed, visitors served.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use feed::{EdgeInfo, Follower, FollowerState, Origin, Outbox, Replica};
use model::Clock;
use model::seal::SealingKey;
use proxy::{Running, State};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::data::DataDirectory;
use crate::settings::EdgeFiles;
use crate::shutdown::Shutdown;

/// Longest wait for a first state; after that an empty edge says that it is not ready.
const FIRST_STATE: Duration = Duration::from_secs(10);

/// What an edge is made of.
pub(crate) struct Plan {
    /// The proxy's settings.
    pub(crate) settings: proxy::Settings,
    /// Opens the keys of the feed, and the replica.
    pub(crate) key: SealingKey,
    /// The control plane.
    pub(crate) origin: Arc<dyn Origin>,
    /// The present.
    pub(crate) clock: Arc<dyn Clock>,
}

/// A serving edge.
pub(crate) struct ServingEdge {
    running: Running,
    follower: watch::Receiver<FollowerState>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts an edge: what the replica has is served at once, then the feed is followed.
///
/// # Errors
/// A file of the data directory cannot be used, or an address cannot be listened on.
pub(crate) async fn start(plan: Plan, data: &DataDirectory) -> anyhow::Result<ServingEdge> {
    let files = files(data);
    let now = plan.clock.now();
    let edge = feed::edge_id::load_or_create(&files.id, now)?;
    let outbox = Outbox::open(&files.usage, edge)?;
    let state = State::new(&plan.settings, plan.key.clone(), Arc::clone(&plan.clock))?;
    let (replica, loaded) = Replica::open(&files.replica, &plan.key)?;
    let has_state = loaded.revision.0 > 0;
    let info = EdgeInfo { edge, version: env!("CARGO_PKG_VERSION").to_owned(), started_at: now };
    let follower = Follower::new(Arc::clone(&plan.origin), Arc::<State>::clone(&state), replica, info);
    let follower = tokio::task::spawn_blocking(move || {
        follower.load(loaded);
        follower
    });
    let follower = follower.await.context("the replica could not be loaded")?;
    if has_state {
        state.set_ready();
    }
    let following = follower.state();
    let parts = proxy::Parts {
        state: Arc::clone(&state),
        usage: Arc::new(outbox.clone()),
        firewall: Arc::new(waf::NoRules),
    };
    let running = proxy::Edge::start(&plan.settings, parts)?;
    let (stop, stopped) = watch::channel(false);
    let (origin, sending) = (plan.origin, stopped.clone());
    let tasks = vec![
        tokio::spawn(follower.run(stopped)),
        tokio::spawn(async move { outbox.run(origin, sending).await }),
        tokio::spawn(show_connection(following.clone(), state)),
    ];
    Ok(ServingEdge { running, follower: following, stop, tasks })
}

impl ServingEdge {
    /// Waits until everything that the control plane has is served, with a bound, or until the end.
    pub(crate) async fn synced(&self, shutdown: &Shutdown) {
        let mut follower = self.follower.clone();
        let synced = follower.wait_for(|state| state.synced_once);
        tokio::select! {
            _ = tokio::time::timeout(FIRST_STATE, synced) => {}
            () = crate::shutdown::wait(shutdown) => {}
        }
    }

    /// Lets requests in flight end, sends what they used, and stops.
    pub(crate) async fn drain(self) {
        self.running.drain().await;
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a part of the edge ended by itself");
            }
        }
    }
}

/// Shows in the metrics whether the control plane answers, until the follower ends.
async fn show_connection(mut follower: watch::Receiver<FollowerState>, state: Arc<State>) {
    loop {
        let is_connected = follower.borrow_and_update().connected;
        state.set_feed_connected(is_connected);
        if follower.changed().await.is_err() {
            return;
        }
    }
}

fn files(data: &DataDirectory) -> EdgeFiles {
    EdgeFiles { replica: data.file("edge.replica"), usage: data.file("edge.usage"), id: data.file("edge.id") }
}
