//! The edge as a part of a process: replica and journal opened, the feed followed, visitors served.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use feed::{EdgeInfo, FollowerState, Origin};
use model::Clock;
use model::seal::SealingKey;
use proxy::{Running, State};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::data::DataDirectory;
use crate::following::{self, Following};
use crate::settings::EdgeFiles;
use crate::shutdown::{self, Shutdown};
use crate::succession::{Gift, Heritage};

/// Longest wait for a first state; after that an empty edge says that it is not ready.
const FIRST_STATE: Duration = Duration::from_secs(10);

/// What an edge is made of.
pub(crate) struct Plan {
    /// The proxy's settings.
    pub(crate) settings: proxy::Settings,
    /// Opens the keys of the feed, and the replica.
    pub(crate) key: SealingKey,
    /// Keys that an older program wrote the replica with.
    pub(crate) older: Vec<SealingKey>,
    /// The control plane.
    pub(crate) origin: Arc<dyn Origin>,
    /// Where the names of backends lead.
    pub(crate) resolver: Arc<dyn proxy::Resolver>,
    /// The present.
    pub(crate) clock: Arc<dyn Clock>,
}

/// A serving edge.
pub(crate) struct ServingEdge {
    running: Running,
    state: Arc<State>,
    follower: watch::Receiver<FollowerState>,
    following: Task,
    /// What sends usage.
    senders: [Task; 2],
}

/// A task and how it is told to end.
struct Task {
    stop: watch::Sender<bool>,
    handle: JoinHandle<()>,
}

impl Task {
    fn spawn<F: Future<Output = ()> + Send + 'static>(run: impl FnOnce(watch::Receiver<bool>) -> F) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { stop, handle: tokio::spawn(run(stopped)) }
    }

    async fn end(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.handle.await {
            tracing::error!(%error, "a part of the edge ended by itself");
        }
    }
}

/// Starts an edge: what the replica has is served at once, then the feed is followed.
///
/// # Errors
/// A file of the data directory cannot be used, or an address cannot be listened on.
pub(crate) async fn start(
    plan: Plan,
    data: &DataDirectory,
    heritage: &mut Heritage,
) -> anyhow::Result<ServingEdge> {
    let files = files(data);
    let now = plan.clock.now();
    let edge = feed::edge_id::load_or_create(&files.id, now)?;
    let outbox = feed::usage::claim(&files.usage, &files.id)?;
    let state = State::new(&plan.settings, plan.key.clone(), Arc::clone(&plan.clock))?;
    let parts = following::Parts {
        origin: Arc::clone(&plan.origin),
        state: Arc::clone(&state),
        info: EdgeInfo { edge, version: env!("CARGO_PKG_VERSION").to_owned(), started_at: now },
        key: plan.key,
        older: plan.older,
        path: files.replica,
    };
    let following = match heritage.is_succession() {
        true => Following::beside(parts).await?,
        false => Following::own(parts).await?,
    };
    let parts = proxy::Parts {
        state: Arc::clone(&state),
        usage: Arc::new(outbox.clone()),
        resolver: plan.resolver,
        firewall: Arc::new(waf::NoRules),
    };
    let running = proxy::Edge::start_on(&plan.settings, parts, &mut heritage.sockets)?;
    let (origin, left) = (Arc::clone(&plan.origin), plan.origin);
    Ok(ServingEdge {
        running,
        state,
        follower: following.state(),
        following: Task::spawn(|stopped| following.run(stopped)),
        senders: [
            Task::spawn(|stopped| async move { outbox.run(origin, stopped).await }),
            Task::spawn(|stopped| feed::usage::adopt(files.usage, files.id, left, stopped)),
        ],
    })
}

impl ServingEdge {
    /// Waits until everything that the control plane has is served, with a bound, or until the end.
    pub(crate) async fn synced(&self, shutdown: &Shutdown) {
        let mut follower = self.follower.clone();
        let synced = follower.wait_for(|state| state.synced_once);
        tokio::select! {
            _ = tokio::time::timeout(FIRST_STATE, synced) => {}
            () = shutdown::wait(shutdown) => {}
        }
    }

    /// What a process needs that is to take over.
    ///
    /// # Errors
    /// Nobody could take over without a loss now, and why.
    pub(crate) fn gifts(&self) -> anyhow::Result<Vec<Gift>> {
        if !self.state.is_ready() {
            bail!("the edge is not ready itself");
        }
        if !self.follower.borrow().writable {
            bail!(
                "the edge's replica cannot be written, so it is older than what is served: make room first"
            );
        }
        let sockets = self.running.sockets()?;
        Ok(sockets
            .into_iter()
            .map(|(name, socket)| Gift { name: name.to_owned(), fd: socket.into() })
            .collect())
    }

    /// Lets requests in flight end, sends what they used, and stops.
    pub(crate) async fn drain(self) {
        self.running.drain().await;
        self.following.end().await;
        end_all(self.senders).await;
    }

    /// As [`Self::drain`], for a process that took over and waits for the replica. Until `hurry` it is patient
    /// with visitors who are silent.
    pub(crate) async fn hand_over(self, hurry: &Shutdown) {
        let draining = self.running.hand_over(shutdown::wait(hurry));
        tokio::join!(draining, self.following.end());
        end_all(self.senders).await;
    }
}

async fn end_all(tasks: [Task; 2]) {
    for task in tasks {
        task.end().await;
    }
}

fn files(data: &DataDirectory) -> EdgeFiles {
    EdgeFiles { replica: data.file("edge.replica"), usage: data.file("edge.usage"), id: data.file("edge.id") }
}
