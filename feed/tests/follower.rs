//! An edge ends up with what the control plane has, whatever happens on the way.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use feed::{EdgeInfo, Follower, FollowerState, Origin, Replica, Sink};
use model::Timestamp;
use model::change::Revision;
use model::id::EdgeId;
use model::seal::SealingKey;
use proptest::prelude::*;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::fixtures::{Fault, MemoryOrigin, MemorySink, id};

struct Edge {
    sink: Arc<MemorySink>,
    state: watch::Receiver<FollowerState>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Edge {
    fn start(path: &Path, key: &SealingKey, origin: &Arc<MemoryOrigin>, sink: MemorySink) -> Self {
        let (replica, loaded) = Replica::open(path, key).unwrap();
        let sink = Arc::new(sink);
        let info = EdgeInfo {
            edge: EdgeId::generate(Timestamp::from_unix_millis(1)),
            version: "1.2.3".to_owned(),
            started_at: Timestamp::from_unix_millis(1),
        };
        let (origin, given): (Arc<dyn Origin>, Arc<dyn Sink>) = (origin.clone(), sink.clone());
        let follower = Follower::new(origin, given, replica, info);
        follower.load(loaded);
        let (stop, shutdown) = watch::channel(false);
        Self { sink, state: follower.state(), stop, task: tokio::spawn(follower.run(shutdown)) }
    }

    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }

    /// Waits until this edge has all that the control plane has.
    async fn converge(&mut self, origin: &MemoryOrigin) {
        let (wanted, head) = (origin.objects(), origin.plane().head);
        let sink = self.sink.clone();
        let arrived = async {
            while sink.objects() != wanted || self.state.borrow_and_update().revision != Revision(head) {
                let _ = tokio::time::timeout(Duration::from_millis(100), self.state.changed()).await;
            }
        };
        let arrived = tokio::time::timeout(Duration::from_secs(120), arrived).await;
        assert!(arrived.is_ok(), "{:?} is not {wanted:?}", self.sink.objects());
    }
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn place() -> (tempfile::TempDir, PathBuf, SealingKey) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.replica");
    (folder, path, SealingKey::generate())
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, Option<String>),
    BeginAnew,
    Purge,
    Restart { kill: bool },
    Damage(proptest::sample::Index),
    Faults(Vec<Fault>),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![Just(Fault::Lost), Just(Fault::Refused)];
    prop_oneof![
        8 => (0..12_u8, proptest::option::weighted(0.7, "[a-z]{0,5}")).prop_map(|(n, c)| Step::Put(n, c)),
        1 => Just(Step::BeginAnew),
        1 => Just(Step::Purge),
        1 => any::<bool>().prop_map(|kill| Step::Restart { kill }),
        1 => any::<proptest::sample::Index>().prop_map(Step::Damage),
        2 => proptest::collection::vec(fault, 1..4).prop_map(Step::Faults),
        3 => (0..4_000_u64).prop_map(Step::Wait),
    ]
}

async fn play(steps: Vec<Step>, page: usize) {
    let (_folder, path, key) = place();
    let origin = Arc::new(MemoryOrigin::new(page));
    let mut edge = Edge::start(&path, &key, &origin, MemorySink::default());
    for step in steps {
        match step {
            Step::Put(n, content) => origin.put(n, content.as_deref()),
            Step::BeginAnew => origin.begin_anew(),
            Step::Purge => origin.purge(),
            Step::Faults(faults) => origin.plane().faults.extend(faults),
            Step::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Step::Restart { kill } => {
                if kill {
                    edge.kill().await
                } else {
                    edge.stop().await
                }
                edge = reopened(&path, &key, &origin).await;
            }
            Step::Damage(at) => {
                edge.stop().await;
                let mut bytes = std::fs::read(&path).unwrap();
                let at = at.index(bytes.len());
                bytes[at] ^= 0x55;
                std::fs::write(&path, bytes).unwrap();
                edge = reopened(&path, &key, &origin).await;
            }
        }
    }
    origin.plane().faults.clear();
    edge.converge(&origin).await;
    edge.stop().await;
    let (_, loaded) = Replica::open(&path, &key).unwrap();
    let loaded = loaded.objects.into_iter().map(|change| (change.id, change.object.unwrap())).collect();
    assert_eq!(origin.objects(), loaded);
}

/// A killed follower may hold its file for a moment longer, on the thread that waits for the disk.
async fn reopened(path: &Path, key: &SealingKey, origin: &Arc<MemoryOrigin>) -> Edge {
    for _ in 0..1_000 {
        if Replica::open(path, key).is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Edge::start(path, key, origin, MemorySink::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn an_edge_converges_on_the_control_plane(
        steps in proptest::collection::vec(step(), 0..40), page in 1..6_usize,
    ) {
        paused().block_on(play(steps, page));
    }
}

#[test]
fn an_edge_serves_what_it_had_while_the_control_plane_is_gone() {
    paused().block_on(async {
        let (_folder, path, key) = place();
        let origin = Arc::new(MemoryOrigin::new(2));
        (0..5).for_each(|n| origin.put(n, Some("x")));
        let mut edge = Edge::start(&path, &key, &origin, MemorySink::default());
        edge.converge(&origin).await;
        edge.kill().await;

        origin.plane().faults.extend(std::iter::repeat_n(Fault::Lost, 1_000));
        let mut edge = reopened(&path, &key, &origin).await;
        assert_eq!(edge.sink.objects(), origin.objects());
        tokio::time::sleep(Duration::from_secs(30)).await;
        let state = edge.state.borrow().clone();
        assert_eq!((state.connected, state.synced_once, state.revision), (false, false, Revision(5)));

        origin.plane().faults.clear();
        origin.put(9, Some("new"));
        edge.converge(&origin).await;
        let _ = edge.state.wait_for(|state| state.connected && state.synced_once).await.unwrap();
    });
}

#[test]
fn an_edge_that_has_everything_already_does_not_wait_for_a_change_to_say_so() {
    paused().block_on(async {
        let (_folder, path, key) = place();
        let origin = Arc::new(MemoryOrigin::new(2));
        origin.put(1, Some("x"));
        let mut edge = Edge::start(&path, &key, &origin, MemorySink::default());
        edge.converge(&origin).await;
        edge.kill().await;

        let mut edge = reopened(&path, &key, &origin).await;
        let before = tokio::time::Instant::now();
        let _ = edge.state.wait_for(|state| state.connected && state.synced_once).await.unwrap();
        assert!(before.elapsed() < Duration::from_millis(100), "paused time: only waits count");
    });
}

#[test]
fn what_is_reported_is_written_down_and_reports_come_at_least_every_five_seconds() {
    paused().block_on(async {
        let (_folder, path, key) = place();
        let origin = Arc::new(MemoryOrigin::new(10));
        origin.put(1, Some("x"));
        let mut edge = Edge::start(&path, &key, &origin, MemorySink::default());
        edge.converge(&origin).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        edge.kill().await;
        let reports = origin.plane().reports.clone();
        assert!(reports.len() >= 12, "{} reports", reports.len());
        let last = reports.last().unwrap();
        assert_eq!((last.revision, last.version.as_str()), (Revision(1), "1.2.3"));
        drop(reopened(&path, &key, &origin).await);
    });
}

#[test]
fn an_object_that_is_not_taken_does_not_stop_the_others() {
    paused().block_on(async {
        let (_folder, path, key) = place();
        let origin = Arc::new(MemoryOrigin::new(1));
        (0..4).for_each(|n| origin.put(n, Some("x")));
        let sink = MemorySink::that_refuses(id(1));
        let mut edge = Edge::start(&path, &key, &origin, sink);
        let _ = edge.state.wait_for(|state| state.revision == Revision(4)).await.unwrap();
        assert_eq!(edge.sink.objects().len(), 3);
    });
}

#[test]
fn a_change_is_taken_at_once() {
    paused().block_on(async {
        let (_folder, path, key) = place();
        let origin = Arc::new(MemoryOrigin::new(10));
        let mut edge = Edge::start(&path, &key, &origin, MemorySink::default());
        tokio::time::sleep(Duration::from_millis(700)).await;
        let before = tokio::time::Instant::now();
        origin.put(1, Some("x"));
        let _ = edge.state.wait_for(|state| state.revision == Revision(1)).await.unwrap();
        assert!(before.elapsed() < Duration::from_millis(100), "paused time: only waits count");
        assert_eq!(edge.sink.objects(), origin.objects());
    });
}

#[test]
fn a_file_of_mostly_old_records_is_written_anew_beside_following() {
    paused().block_on(async {
        let (_folder, path, key) = place();
        let origin = Arc::new(MemoryOrigin::new(10));
        let mut edge = Edge::start(&path, &key, &origin, MemorySink::default());
        for round in 0..20 {
            origin.put(round % 3, Some(&"x".repeat(200_000 + usize::from(round))));
            edge.converge(&origin).await;
        }
        let is_small = async {
            while std::fs::metadata(&path).unwrap().len() > 2_000_000 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), is_small).await.expect("the file stays large");
        origin.put(5, Some("after"));
        edge.converge(&origin).await;
        edge.stop().await;
        let (_, loaded) = Replica::open(&path, &key).unwrap();
        let loaded = loaded.objects.into_iter().map(|change| (change.id, change.object.unwrap())).collect();
        assert_eq!(origin.objects(), loaded);
    });
}
