//! One process takes the place of another: nothing that the other was told or counted is lost or doubled.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use feed::usage::{JOURNALS, adopt, claim};
use feed::{EdgeInfo, Follower, Origin, Outbox, Replica, Sink};
use model::Timestamp;
use model::change::{Change, Revision};
use model::id::EdgeId;
use model::seal::SealingKey;
use model::usage::{Counters, UsageClass, UsageKey, UsageRow};
use tokio::sync::watch;

use crate::fixtures::{MemoryOrigin, MemorySink, id, object};

fn row(requests: u64) -> UsageRow {
    let key = UsageKey {
        tenant: "t_00000000000000000000000001".parse().unwrap(),
        app: "a_00000000000000000000000001".parse().unwrap(),
        window: Timestamp::from_unix_seconds(0),
        class: UsageClass::Visitor,
    };
    UsageRow { key, counters: Counters { requests, bytes_in: 0, bytes_out: 0 } }
}

fn counted(origin: &MemoryOrigin) -> u64 {
    origin.plane().usage.values().map(|counters| counters.requests).sum()
}

async fn until_counted(origin: &MemoryOrigin, wanted: u64) {
    let all = async {
        while counted(origin) < wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), all).await;
    assert!(waited.is_ok(), "{} of {wanted}", counted(origin));
}

fn claimed(folder: &Path) -> Outbox {
    claim(&folder.join("edge.usage"), &folder.join("edge.id")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_a_process_left_in_its_journal_is_sent_once_by_the_one_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let origin = Arc::new(MemoryOrigin::new(1));
    let (old, new) = (claimed(folder.path()), claimed(folder.path()));
    for requests in [1, 2, 4] {
        old.push(vec![row(requests)]).unwrap();
        new.push(vec![row(requests * 10)]).unwrap();
    }
    let (stop, stopped) = watch::channel(false);
    let adopting = |origin: &Arc<MemoryOrigin>| {
        let (path, id) = (folder.path().join("edge.usage"), folder.path().join("edge.id"));
        let origin: Arc<dyn Origin> = origin.clone();
        tokio::spawn(adopt(path, id, origin, stopped.clone()))
    };
    let (first, second) = (adopting(&origin), adopting(&origin));
    // Paused time: several looks at what is left.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(counted(&origin), 0, "both are held");
    drop(old);
    until_counted(&origin, 7).await;
    drop(new);
    until_counted(&origin, 77).await;
    stop.send_replace(true);
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(counted(&origin), 77);
    let edges: std::collections::BTreeSet<String> =
        origin.plane().taken.iter().map(|(edge, _)| edge.clone()).collect();
    assert_eq!(edges.len(), 2, "numbers of one never hide those of the other");
}

#[test]
fn there_are_so_many_journals_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let held: Vec<Outbox> = (0..JOURNALS).map(|_| claimed(folder.path())).collect();
    let error = claim(&folder.path().join("edge.usage"), &folder.path().join("edge.id")).map(|_| ());
    assert!(error.unwrap_err().to_string().contains("in use by another stoa"));
    drop(held);
    claimed(folder.path());
}

fn follower(origin: &Arc<MemoryOrigin>, sink: &Arc<MemorySink>, replica: Replica) -> Follower {
    let info = EdgeInfo {
        edge: EdgeId::generate(Timestamp::from_unix_millis(1)),
        version: "1.2.3".to_owned(),
        started_at: Timestamp::from_unix_millis(1),
    };
    let (origin, sink): (Arc<dyn Origin>, Arc<dyn Sink>) = (origin.clone(), sink.clone());
    Follower::new(origin, sink, replica, info)
}

async fn follow_to(follower: Follower, revision: u64) {
    let (stop, stopped) = watch::channel(false);
    let mut state = follower.state();
    let running = tokio::spawn(follower.run(stopped));
    let there = state.wait_for(|state| state.revision == Revision(revision) && state.synced_once);
    tokio::time::timeout(Duration::from_secs(60), there).await.unwrap().unwrap();
    stop.send_replace(true);
    running.await.unwrap();
}

#[tokio::test]
async fn a_look_beside_the_holder_and_a_catching_up_give_the_whole_state() {
    let (folder, key) = (tempfile::tempdir().unwrap(), SealingKey::generate());
    let path = folder.path().join("edge.replica");
    let origin = Arc::new(MemoryOrigin::new(3));
    for n in 0..5 {
        origin.put(n, Some("old"));
    }
    let (replica, _) = Replica::open(&path, &key).unwrap();
    let old = follower(&origin, &Arc::new(MemorySink::default()), replica);
    follow_to(old, 5).await;
    let (held, _) = Replica::open(&path, &key).unwrap();
    assert!(Replica::open(&path, &key).is_err(), "one process holds it");

    let seen = Replica::look(&path, &key).unwrap();
    assert_eq!((seen.revision, seen.objects.len()), (Revision(5), 5));
    let sink = Arc::new(MemorySink::default());
    for change in &seen.objects {
        sink.apply(change).unwrap();
    }
    origin.put(0, None);
    origin.put(1, Some("new"));
    follow_to(follower(&origin, &Arc::new(MemorySink::default()), held), 7).await;

    let (replica, loaded) = Replica::open(&path, &key).unwrap();
    let new = follower(&origin, &sink, replica);
    new.catch_up(loaded, (&seen.lineage, seen.revision));
    assert_eq!(sink.objects(), origin.objects());
}

#[test]
fn a_look_at_a_replica_that_is_being_written_leaves_the_torn_end_out() {
    let (folder, key) = (tempfile::tempdir().unwrap(), SealingKey::generate());
    let path = folder.path().join("edge.replica");
    assert_eq!(Replica::look(&path, &key).unwrap().revision, Revision(0));
    let (mut replica, _) = Replica::open(&path, &key).unwrap();
    for n in 1..=2 {
        let change = Change { revision: Revision(n), id: id(1), object: Some(object(1, &n.to_string())) };
        let batch = model::change::Batch {
            lineage: model::change::Lineage("one".to_owned()),
            reset: n == 1,
            more: false,
            next: Revision(n),
            changes: vec![change],
        };
        replica.append(&batch).unwrap();
    }
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
    assert_eq!(Replica::look(&path, &key).unwrap().revision, Revision(1));
    assert_eq!(std::fs::read(&path).unwrap().len(), whole.len() - 3, "nothing is repaired");
}
