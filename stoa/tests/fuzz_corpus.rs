//! Replays the corpus of the fuzz targets: what once broke a promise never breaks it again, also where nobody
//! fuzzes.

use std::collections::BTreeSet;
use std::path::PathBuf;

#[path = "../../fuzz/src/targets.rs"]
mod targets;

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
}

fn names(folder: PathBuf) -> BTreeSet<String> {
    std::fs::read_dir(&folder)
        .expect("a folder of the corpus")
        .map(|entry| entry.expect("a readable folder").file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn each_fuzz_target_has_a_corpus_and_each_corpus_a_target() {
    let known: BTreeSet<String> = targets::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(known.len(), targets::TARGETS.len(), "two targets have one name");
    assert_eq!(names(corpus()), known);
}

#[test]
fn every_file_of_the_corpus_keeps_every_promise() {
    for (target, run) in targets::TARGETS {
        for name in names(corpus().join(target)) {
            let bytes = std::fs::read(corpus().join(target).join(&name)).expect("a readable file");
            let kept = std::panic::catch_unwind(|| run(&bytes));
            assert!(
                kept.is_ok(),
                "fuzz/corpus/{target}/{name} breaks a promise; the message above says which"
            );
        }
    }
}

/// What is fuzzed is what is shipped.
#[test]
fn fuzzing_uses_the_versions_that_the_workspace_uses() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let packages = |path: &str| {
        let text = std::fs::read_to_string(root.join(path)).expect("a lock file");
        let mut lines = text.lines().peekable();
        let mut found = BTreeSet::new();
        while let Some(line) = lines.next() {
            if let (Some(name), Some(version)) = (line.strip_prefix("name = "), lines.peek()) {
                found.insert((name.to_owned(), (*version).to_owned()));
            }
        }
        found
    };
    let (shipped, fuzzed) = (packages("Cargo.lock"), packages("fuzz/Cargo.lock"));
    let known: BTreeSet<&String> = shipped.iter().map(|(name, _)| name).collect();
    let strays: Vec<_> = fuzzed.difference(&shipped).filter(|(name, _)| known.contains(name)).collect();
    let cure = "cp Cargo.lock fuzz/ && cargo metadata --manifest-path fuzz/Cargo.toml >/dev/null";
    assert!(strays.is_empty(), "{strays:?} are other versions than the workspace's: {cure}");
}
