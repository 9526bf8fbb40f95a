//! An edge's way of keeping up: asks the control plane for changes, writes them down, takes them into
//! memory, reports how far it is.
//!
//! The order is replica, memory, report: what is reported is written down. With the control plane away the
//! edge serves on and asks again, at most 5 s apart. With the disk full the edge still takes what it is told
//! into memory (fail-open: a suspension or a renewed certificate must not wait for a disk), but does not
//! report it and asks for it again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Timestamp;
use model::change::{Batch, Lineage, ObjectId, Revision};
use model::edge::EdgeReport;
use model::id::EdgeId;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use crate::backoff::Backoff;
use crate::replica::{Loaded, Replica, ReplicaError};
use crate::{Origin, OriginError, Sink};

mod memory;

use memory::Memory;

/// How long the control plane may wait for a change before it answers "none".
const POLL: Duration = Duration::from_secs(5);
/// How much longer an answer may take before the control plane is taken for lost.
const GRACE: Duration = Duration::from_secs(15);
/// An empty answer sooner than this was not waited for.
const TOO_SOON: Duration = Duration::from_millis(50);
/// Longest time between two reports.
const REPORT: Duration = Duration::from_secs(5);
/// What a power cut may cost: the control plane is asked for it again.
const SYNC: Duration = Duration::from_secs(1);

/// What an edge says of itself in its reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeInfo {
    /// Which edge, from [`crate::edge_id::load_or_create`].
    pub edge: EdgeId,
    /// Version of the program.
    pub version: String,
    /// When the process started.
    pub started_at: Timestamp,
}

/// How far a follower is, for metrics and readiness.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FollowerState {
    /// Whether the control plane answered when it was last asked.
    pub connected: bool,
    /// Everything up to here is in memory and in the replica; 0 in the middle of a reset.
    pub revision: Revision,
    /// Whether everything that the control plane had was taken at least once since the start.
    pub synced_once: bool,
    /// Whether the replica could be written the last time.
    pub writable: bool,
    /// Sites in memory.
    pub sites: u64,
    /// Certificates in memory.
    pub certificates: u64,
}

/// Follows one control plane for one edge.
#[derive(Debug)]
pub struct Follower {
    origin: Arc<dyn Origin>,
    info: EdgeInfo,
    half: Arc<Mutex<Half>>,
    /// Held by the thread that works on the half and may wait for the disk.
    turn: Arc<Semaphore>,
    state: watch::Sender<FollowerState>,
}

/// What is used on a thread that may wait for the disk.
#[derive(Debug)]
struct Half {
    replica: Replica,
    memory: Memory,
}

/// What is known of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    New,
    Up,
    Lost,
    Refused,
}

/// Where asking goes on after an answer.
enum Step {
    /// At once.
    Next,
    /// After the usual wait for something that failed.
    Later,
}

impl Follower {
    /// A follower that has asked for nothing yet. Call [`Self::load`], then [`Self::run`].
    #[must_use]
    pub fn new(origin: Arc<dyn Origin>, sink: Arc<dyn Sink>, replica: Replica, info: EdgeInfo) -> Self {
        let state = FollowerState { writable: true, ..FollowerState::default() };
        let half = Half { replica, memory: Memory::new(sink) };
        let (half, turn) = (Arc::new(Mutex::new(half)), Arc::new(Semaphore::new(1)));
        Self { origin, info, half, turn, state: watch::Sender::new(state) }
    }

    /// Gives what was on the disk to the sink and logs what an operator should know of it. Blocks: about a
    /// second for 10,000 certificates.
    pub fn load(&self, loaded: Loaded) {
        if let Some(note) = &loaded.note {
            tracing::warn!(note, "replica was repaired");
        }
        let half = &mut *lock(&self.half);
        let objects = loaded.objects.len();
        // Each is let go as soon as it is taken: together they are larger than what memory makes of them.
        for change in loaded.objects {
            half.memory.apply(&change);
        }
        tracing::info!(objects, revision = %loaded.revision, "replica was loaded");
        self.state.send_modify(|state| half.describe(state));
    }

    /// As [`Self::load`] where the sink has `known` already, from a [look](Replica::look) at the same replica
    /// while another process held it: gives only what has become of it since.
    pub fn catch_up(&self, mut loaded: Loaded, known: (&Lineage, Revision)) {
        let all: BTreeSet<ObjectId> = loaded.objects.iter().map(|change| change.id.clone()).collect();
        if *known.0 == loaded.lineage {
            loaded.objects.retain(|change| change.revision > known.1);
        }
        self.load(loaded);
        lock(&self.half).memory.retain(&all);
    }

    /// How far this follower is, now and from now on.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<FollowerState> {
        self.state.subscribe()
    }

    /// Follows until `shutdown` says true (or its sender is gone), then makes the disk have everything.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let stop = shutdown.clone();
        let follow = async {
            tokio::select! {
                () = self.poll() => {}
                () = self.report() => {}
                _ = shutdown.wait_for(|stop| *stop) => {}
            }
        };
        tokio::join!(follow, self.sync(stop));
        // Also waits for what was begun before: then nobody holds the replica any more.
        self.sync_once().await;
    }

    async fn poll(&self) {
        let mut backoff = Backoff::new();
        let mut link = Link::New;
        loop {
            let (lineage, after) = lock(&self.half).replica.position();
            let asked_at = Instant::now();
            // Whether a control plane is there, and has more than the replica, is not a thing to wait for a change for.
            let patience = if link == Link::Up { POLL } else { Duration::ZERO };
            let answer = self.ask(&lineage, after, patience).await;
            link = self.note_link(link, &answer);
            let waited = patience.is_zero() || asked_at.elapsed() >= TOO_SOON;
            let step = match answer {
                Ok(batch) => self.take(&lineage, after, batch, waited).await,
                Err(_) => Step::Later,
            };
            match step {
                Step::Next => backoff.reset(),
                Step::Later => sleep(backoff.next()).await,
            }
        }
    }

    async fn ask(
        &self,
        lineage: &Lineage,
        after: Revision,
        patience: Duration,
    ) -> Result<Batch, OriginError> {
        let bound = patience + GRACE;
        match timeout(bound, self.origin.changes(lineage, after, patience)).await {
            Ok(answer) => answer,
            Err(_) => Err(OriginError::Unavailable(format!("no answer in {} s", bound.as_secs()))),
        }
    }

    /// Takes an answer to the question for what is `after` in `lineage`.
    async fn take(&self, lineage: &Lineage, after: Revision, mut batch: Batch, waited: bool) -> Step {
        let goes_on = batch.lineage == *lineage && batch.next >= after;
        // From the very beginning an answer is everything there is, whether it says so or not.
        batch.reset |= !goes_on && after == Revision::default();
        if !goes_on && !batch.reset {
            tracing::warn!(
                asked = %after, answered = %batch.next,
                "control plane's log is not the one it was: asking for everything"
            );
            lock(&self.half).replica.start_over();
            return Step::Later;
        }
        let is_last = !batch.more;
        let moved = batch.next != after || batch.reset;
        let began_again = batch.reset && batch.lineage == *lineage && batch.next <= after;
        if let Err(error) = self.write_and_apply(batch).await {
            self.is_unwritable(&error);
            return Step::Later;
        }
        self.state.send_modify(|state| {
            state.synced_once |= is_last;
            if !state.writable {
                state.writable = true;
                tracing::info!("replica can be written again");
            }
        });
        // An origin that does not get on, or does not wait, must not be asked in a tight loop.
        let in_circles = began_again || !(moved || (is_last && waited));
        if in_circles { Step::Later } else { Step::Next }
    }

    /// Replica first, then memory, on a thread that may wait for the disk. Memory takes the batch even if the
    /// replica does not.
    async fn write_and_apply(&self, mut batch: Batch) -> Result<(), ReplicaError> {
        let state = self.state.clone();
        let work = move |half: &mut Half| {
            half.memory.refuse_mislabelled(&mut batch);
            let written = half.replica.append(&batch);
            for change in &batch.changes {
                half.memory.apply(change);
            }
            if let Ok(Some(known)) = &written {
                half.memory.retain(known);
            }
            if written.is_ok() {
                state.send_modify(|state| half.describe(state));
            }
            written.map(|_| ())
        };
        self.with_half(work).await.unwrap_or(Ok(()))
    }

    /// Makes what was written outlive a power cut.
    async fn sync_once(&self) {
        let unsynced = self.with_half(|half| half.replica.unsynced()).await.flatten();
        let Some(unsynced) = unsynced else { return };
        // The half is free while the disk is waited for.
        if let Ok(Err(error)) = spawn_blocking(move || unsynced.sync()).await {
            tracing::warn!(%error, "replica was not synced to the disk");
        }
    }

    /// Writes the replica anew if it is wasteful. The half is free while records are copied.
    async fn compact(&self, shutdown: &watch::Receiver<bool>) {
        let begin = |half: &mut Half| half.replica.is_wasteful().then(|| half.replica.begin_rewrite());
        let mut rewrite = self.with_half(begin).await.flatten();
        while let Some(Ok(mut under_way)) = rewrite {
            if *shutdown.borrow() {
                return;
            }
            let hand_on = |half: &mut Half| (half.replica.hand_on(&mut under_way), under_way);
            let Some((is_more, under_way)) = self.with_half(hand_on).await else { return };
            let Ok(copied) = spawn_blocking(move || under_way.copied()).await else { return };
            rewrite = Some(copied);
            // What is told meanwhile does not wait longer for the disk than otherwise.
            self.sync_once().await;
            if !is_more {
                break;
            }
        }
        if let Some(ended) = rewrite {
            self.with_half(|half| half.replica.end_rewrite(ended)).await;
            self.sync_once().await;
        }
    }

    /// Works on the half on a thread that may wait for the disk; none if the runtime is being shut down.
    async fn with_half<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Half) -> T + Send + 'static,
    ) -> Option<T> {
        let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
        let half = Arc::clone(&self.half);
        let work = move || {
            // Given back last.
            let _turn = turn;
            let half = half;
            let mut half = lock(&half);
            work(&mut half)
        };
        match spawn_blocking(work).await {
            Ok(done) => Some(done),
            Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            Err(_) => None,
        }
    }

    /// Tells the control plane after each step, and at least every five seconds.
    async fn report(&self) {
        let mut state = self.state.subscribe();
        let mut refused = false;
        loop {
            let now = state.borrow_and_update().clone();
            let report = EdgeReport {
                edge: self.info.edge,
                revision: now.revision,
                version: self.info.version.clone(),
                started_at: self.info.started_at,
                sites: now.sites,
                certificates: now.certificates,
            };
            match timeout(GRACE, self.origin.report(&report)).await {
                Ok(Err(OriginError::Refused(reason))) if !refused => {
                    refused = true;
                    tracing::error!(reason, "control plane refuses this edge's reports");
                }
                Ok(Ok(())) => refused = false,
                // `poll` tells when the control plane is lost.
                Ok(Err(_)) | Err(_) => {}
            }
            let _ = timeout(REPORT, state.wait_for(|state| state.revision != now.revision)).await;
        }
    }

    /// Keeps the file on the disk whole, and small.
    async fn sync(&self, mut shutdown: watch::Receiver<bool>) {
        while timeout(SYNC, shutdown.wait_for(|stop| *stop)).await.is_err() {
            self.sync_once().await;
            self.compact(&shutdown).await;
        }
    }

    /// Logs when the control plane is lost or back, not each time it does not answer.
    fn note_link(&self, before: Link, answer: &Result<Batch, OriginError>) -> Link {
        let revision = self.state.borrow().revision;
        let now = match answer {
            Ok(_) => Link::Up,
            Err(OriginError::Unavailable(_)) => Link::Lost,
            Err(OriginError::Refused(_)) => Link::Refused,
        };
        match answer {
            _ if now == before => return now,
            Ok(_) => tracing::info!(%revision, "control plane is connected"),
            Err(OriginError::Unavailable(reason)) => {
                tracing::warn!(reason, %revision, "control plane is lost: serving on, trying again");
            }
            Err(OriginError::Refused(reason)) => {
                tracing::error!(reason, %revision, "control plane refuses this edge: serving on, trying again");
            }
        }
        self.state.send_modify(|state| state.connected = now == Link::Up);
        now
    }

    fn is_unwritable(&self, error: &ReplicaError) {
        self.state.send_if_modified(|state| {
            let lost = state.writable;
            if lost {
                state.writable = false;
                tracing::error!(%error, "replica cannot be written: serving from memory, trying on");
            }
            lost
        });
    }
}

impl Half {
    fn describe(&self, state: &mut FollowerState) {
        let objects = self.replica.objects();
        state.revision = self.replica.revision();
        (state.sites, state.certificates) = (objects.sites, objects.certificates);
    }
}

/// A panic elsewhere leaves the half whole: each of its steps is.
fn lock(half: &Mutex<Half>) -> MutexGuard<'_, Half> {
    half.lock().unwrap_or_else(PoisonError::into_inner)
}
