use std::os::unix::fs::PermissionsExt;

use super::*;

const MAGIC: Magic = *b"TESTTEST";

fn written(path: &Path, records: &[&[u8]]) -> Journal {
    let mut journal = Journal::draft(path, MAGIC, &[7; CALLER_BYTES]).unwrap();
    journal.append(records).unwrap();
    journal.publish().unwrap();
    journal
}

fn found(path: &Path) -> (Vec<Vec<u8>>, Ending) {
    let Found::Journal(mut journal, head) = Journal::find(path, MAGIC).unwrap() else { panic!("no journal") };
    assert_eq!(head, [7; CALLER_BYTES]);
    let mut records = Vec::new();
    let ending = journal.scan(|place, body| {
        assert_eq!(place.number(), records.len() as u64);
        records.push(body.to_vec());
        Ok(())
    });
    (records, ending.unwrap())
}

#[test]
fn what_was_appended_is_found_again_and_only_by_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut journal = written(&path, &[b"one", b"", b"three"]);
    let places = journal.append(&[b"four"]).unwrap();
    assert_eq!(journal.read(places[0]).unwrap(), b"four");
    drop(journal);
    let all = vec![b"one".to_vec(), Vec::new(), b"three".to_vec(), b"four".to_vec()];
    assert_eq!(found(&path), (all, Ending::Whole));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn one_process_at_a_time_holds_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let held = written(&path, &[b"one"]);
    let error = Journal::find(&path, MAGIC).unwrap_err();
    assert!(matches!(&error, DiskError::InUse { path: named } if *named == path), "{error}");
    drop(held);
    assert!(matches!(Journal::find(&path, MAGIC), Ok(Found::Journal(..))));
}

#[test]
fn a_tail_of_zeros_is_torn_and_a_zero_in_the_middle_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    drop(written(&path, &[b"one", b"two"]));
    let sound = std::fs::read(&path).unwrap();
    std::fs::write(&path, [sound.as_slice(), &[0; 500]].concat()).unwrap();
    assert_eq!(found(&path).1, Ending::Torn);
    let mut damaged = sound;
    damaged[HEAD_BYTES + frame::HEAD_BYTES] = 0;
    std::fs::write(&path, damaged).unwrap();
    assert!(matches!(found(&path).1, Ending::Damaged(_)));
}

#[test]
fn a_cleared_journal_keeps_its_head_and_takes_records_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut journal = written(&path, &[b"one", b"two"]);
    journal.clear(&[7; CALLER_BYTES]).unwrap();
    journal.append(&[b"new"]).unwrap();
    drop(journal);
    assert_eq!(found(&path), (vec![b"new".to_vec()], Ending::Whole));
}

#[test]
fn a_record_that_is_too_long_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut journal = written(&path, &[b"one"]);
    let huge = vec![0; MAX_RECORD_BYTES as usize + 1];
    assert!(journal.append(&[b"two".as_slice(), &huge]).is_err());
    drop(journal);
    assert_eq!(found(&path), (vec![b"one".to_vec()], Ending::Whole));
}

#[test]
fn a_file_of_another_kind_or_format_is_told_by_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    drop(written(&path, &[]));
    let mut head = std::fs::read(&path).unwrap();
    let reason = |path: &Path, magic| match Journal::find(path, magic).unwrap() {
        Found::Unreadable(reason) => reason,
        found => panic!("{found:?}"),
    };
    assert!(reason(&path, *b"OTHERONE").contains("not a file of this kind"));
    head[8] = 9;
    let sum = frame::sum(&[&head[..HEAD_BYTES - 4]]).to_le_bytes();
    head[HEAD_BYTES - 4..].copy_from_slice(&sum);
    std::fs::write(&path, &head).unwrap();
    assert_eq!(reason(&path, MAGIC), "it has format 9, this stoa writes format 1");
    std::fs::write(&path, b"short").unwrap();
    assert_eq!(reason(&path, MAGIC), "it has only 5 bytes");
}
