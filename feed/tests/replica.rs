//! A replica that was cut or damaged anywhere gives a state that there once was, and never another.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use feed::Replica;
use feed::replica::Loaded;
use model::change::{Batch, Change, Lineage, ObjectId, Revision};
use model::seal::SealingKey;
use proptest::prelude::*;

use crate::fixtures::{id, object};

/// One batch to be: which objects, put or removed, and whether it is a reset of how many pages.
#[derive(Debug, Clone)]
struct Told {
    changes: Vec<(u8, Option<String>)>,
    reset_pages: Option<usize>,
}

fn told() -> impl Strategy<Value = Told> {
    let change = (0..6_u8, proptest::option::weighted(0.7, "[a-z]{0,30}"));
    let changes = proptest::collection::vec(change, 0..6);
    (changes, proptest::option::weighted(0.3, 1..4_usize))
        .prop_map(|(changes, reset_pages)| Told { changes, reset_pages })
}

fn batches(all: Vec<Told>) -> Vec<Batch> {
    let (mut revision, mut generation) = (0, 0);
    let mut batches = Vec::new();
    for Told { changes, reset_pages } in all {
        let changes: Vec<Change> = changes
            .into_iter()
            .map(|(n, content)| {
                revision += 1;
                let object = content.map(|content| object(n, &content));
                Change { revision: Revision(revision), id: id(n), object }
            })
            .collect();
        generation += u64::from(reset_pages.is_some());
        let lineage = Lineage(format!("generation-{generation}"));
        let size = changes.len().div_ceil(reset_pages.unwrap_or(1)).max(1);
        let mut pages: Vec<Vec<Change>> = changes.chunks(size).map(<[Change]>::to_vec).collect();
        if pages.is_empty() {
            pages.push(Vec::new());
        }
        let last = pages.len() - 1;
        for (at, changes) in pages.into_iter().enumerate() {
            let next = changes.last().map_or(Revision(revision), |change| change.revision);
            let (lineage, reset) = (lineage.clone(), reset_pages.is_some());
            batches.push(Batch { lineage, reset, more: at != last, next, changes });
        }
    }
    batches
}

/// All states in turn: after every change and after every batch, with what may be known of the position.
fn states(batches: &[Batch]) -> Vec<(BTreeMap<ObjectId, Change>, (Lineage, Revision))> {
    let mut objects: BTreeMap<ObjectId, Change> = BTreeMap::new();
    let mut position = (Lineage::default(), Revision(0));
    let mut known = BTreeSet::new();
    let mut states = vec![(objects.clone(), position.clone())];
    for batch in batches {
        let is_end = batch.reset && !batch.more;
        known.extend(batch.changes.iter().map(|change| change.id.clone()));
        let stale: Vec<ObjectId> =
            objects.keys().filter(|id| is_end && !known.contains(*id)).cloned().collect();
        let stale = stale.into_iter().map(|id| Change { revision: batch.next, id, object: None });
        for change in batch.changes.iter().cloned().chain(stale) {
            match change.object {
                Some(_) => objects.insert(change.id.clone(), change),
                None => objects.remove(&change.id),
            };
            states.push((objects.clone(), position.clone()));
        }
        position = match batch.more {
            true => (Lineage::default(), Revision(0)),
            false => (batch.lineage.clone(), batch.next),
        };
        if !batch.more {
            known.clear();
        }
        states.push((objects.clone(), position.clone()));
    }
    states
}

fn write(path: &Path, key: &SealingKey, batches: &[Batch]) {
    let (mut replica, _) = Replica::open(path, key).unwrap();
    for batch in batches {
        replica.append(batch).unwrap();
    }
}

/// Opens, checks that this is one of the states, and that nothing is found wrong the second time.
fn check(path: &Path, key: &SealingKey, batches: &[Batch]) -> Result<Loaded, TestCaseError> {
    let (replica, loaded) = Replica::open(path, key).unwrap();
    drop(replica);
    let objects = |loaded: &Loaded| -> BTreeMap<ObjectId, Change> {
        loaded.objects.iter().map(|change| (change.id.clone(), change.clone())).collect()
    };
    let position = (loaded.lineage.clone(), loaded.revision);
    let nothing = (Lineage::default(), Revision(0));
    let is_state = states(batches).into_iter().any(|(state, at)| {
        state == objects(&loaded) && (at == position || (position == nothing && loaded.note.is_some()))
    });
    prop_assert!(is_state, "{loaded:?}");
    let (_, again) = Replica::open(path, key).unwrap();
    prop_assert_eq!(&again.note, &None);
    prop_assert_eq!(objects(&again), objects(&loaded));
    prop_assert_eq!((&again.lineage, again.revision), (&loaded.lineage, loaded.revision));
    Ok(loaded)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_was_told_is_loaded(all in proptest::collection::vec(told(), 0..8)) {
        let folder = tempfile::tempdir().unwrap();
        let (path, key, batches) = (folder.path().join("replica"), SealingKey::generate(), batches(all));
        write(&path, &key, &batches);
        let loaded = check(&path, &key, &batches)?;
        let (state, at) = states(&batches).pop().unwrap();
        prop_assert_eq!(loaded.objects.len(), state.len());
        prop_assert_eq!((loaded.lineage, loaded.revision), at);
        prop_assert_eq!(loaded.note, None);
    }

    #[test]
    fn a_file_written_anew_at_any_time_says_the_same(
        all in proptest::collection::vec(told(), 0..8), begin in any::<proptest::sample::Index>(), length in 0..6_usize,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (path, key, batches) = (folder.path().join("replica"), SealingKey::generate(), batches(all));
        let (mut replica, _) = Replica::open(&path, &key).unwrap();
        let begin = begin.index(batches.len() + 1);
        let end = batches.len().min(begin + length);
        for batch in &batches[..begin] {
            replica.append(batch).unwrap();
        }
        let mut rewrite = replica.begin_rewrite().unwrap();
        prop_assert!(!replica.hand_on(&mut rewrite));
        for batch in &batches[begin..end] {
            replica.append(batch).unwrap();
        }
        replica.end_rewrite(rewrite.copied());
        for batch in &batches[end..] {
            replica.append(batch).unwrap();
        }
        drop(replica);
        let loaded = check(&path, &key, &batches)?;
        let (state, at) = states(&batches).pop().unwrap();
        prop_assert_eq!(loaded.objects.len(), state.len());
        prop_assert_eq!((loaded.lineage, loaded.revision), at);
        prop_assert_eq!(loaded.note, None);
    }

    #[test]
    fn a_file_cut_at_any_byte_loads_an_earlier_state(
        all in proptest::collection::vec(told(), 0..8), cut in any::<proptest::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (path, key, batches) = (folder.path().join("replica"), SealingKey::generate(), batches(all));
        write(&path, &key, &batches);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..cut.index(bytes.len() + 1)]).unwrap();
        check(&path, &key, &batches)?;
    }

    #[test]
    fn a_flipped_byte_gives_an_earlier_state_and_keeps_the_file(
        all in proptest::collection::vec(told(), 0..8), at in any::<proptest::sample::Index>(), flip in 1..=255_u8,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (path, key, batches) = (folder.path().join("replica"), SealingKey::generate(), batches(all));
        write(&path, &key, &batches);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        std::fs::write(&path, &bytes).unwrap();
        let loaded = check(&path, &key, &batches)?;
        prop_assert!(loaded.note.is_some());
        let aside = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
        let kept = aside.filter(|file| *file != path).any(|file| std::fs::read(file).unwrap() == bytes);
        prop_assert!(kept || loaded.note.unwrap().contains("cut off"));
    }

    #[test]
    fn a_file_of_any_bytes_is_set_aside(bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("replica");
        std::fs::write(&path, &bytes).unwrap();
        let (_, loaded) = Replica::open(&path, &SealingKey::generate()).unwrap();
        prop_assert!(loaded.objects.is_empty() && loaded.note.unwrap().contains("was kept as"));
    }

    #[test]
    fn decoding_an_answer_of_any_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = serde_json::from_slice::<Batch>(&bytes);
        let _ = serde_json::from_slice::<model::usage::UsageBatch>(&bytes);
        let _ = serde_json::from_slice::<model::edge::EdgeReport>(&bytes);
    }

    #[test]
    fn an_answer_round_trips_and_a_cut_one_is_refused(
        all in proptest::collection::vec(told(), 1..4), cut in any::<proptest::sample::Index>(),
    ) {
        for batch in batches(all) {
            let json = serde_json::to_vec(&batch).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<Batch>(&json).unwrap(), &batch);
            prop_assert!(serde_json::from_slice::<Batch>(&json[..cut.index(json.len())]).is_err());
        }
    }
}
