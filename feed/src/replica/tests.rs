use std::os::unix::fs::PermissionsExt;

use model::Timestamp;
use model::acme::{Challenge, ChallengeKind, Token};

use super::*;

fn id(name: &str) -> ObjectId {
    ObjectId::Challenge(Token::parse(name).unwrap())
}

fn change(revision: u64, name: &str, body: &str) -> Change {
    let challenge = Challenge {
        kind: ChallengeKind::Http01,
        token: Token::parse(name).unwrap(),
        host: model::Host::parse("a.example").unwrap(),
        key_authorization: body.to_owned(),
        expires_at: Timestamp::from_unix_millis(0),
    };
    let object = Some(model::change::Object::Challenge(challenge));
    Change { revision: Revision(revision), id: id(name), object }
}

fn gone(revision: u64, name: &str) -> Change {
    Change { revision: Revision(revision), id: id(name), object: None }
}

fn batch(next: u64, changes: Vec<Change>) -> Batch {
    let lineage = Lineage("one".to_owned());
    Batch { lineage, reset: false, more: false, next: Revision(next), changes }
}

fn page(lineage: &str, more: bool, next: u64, changes: Vec<Change>) -> Batch {
    Batch { lineage: Lineage(lineage.to_owned()), reset: true, more, ..batch(next, changes) }
}

fn names(loaded: &Loaded) -> Vec<ObjectId> {
    loaded.objects.iter().map(|change| change.id.clone()).collect()
}

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
    key: SealingKey,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/edge.replica");
        Self { _folder: folder, path, key: SealingKey::generate() }
    }

    fn open(&self) -> (Replica, Loaded) {
        Replica::open(&self.path, &self.key).unwrap()
    }

    fn set_aside(&self) -> usize {
        let files = std::fs::read_dir(self.path.parent().unwrap()).unwrap();
        files.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().contains("damaged")).count()
    }
}

#[test]
fn what_was_told_is_there_after_a_kill() {
    let place = Place::new();
    let (mut replica, loaded) = place.open();
    assert_eq!(loaded, Loaded::default());
    let told = vec![change(1, "a", "old"), change(2, "b", "b"), change(3, "a", "new"), gone(4, "b")];
    assert_eq!(replica.append(&batch(4, told)).unwrap(), None);
    drop(replica);
    let (_, loaded) = place.open();
    assert_eq!(loaded.objects, [change(3, "a", "new")]);
    assert_eq!((loaded.lineage.0.as_str(), loaded.revision, loaded.note), ("one", Revision(4), None));
    assert_eq!(std::fs::metadata(&place.path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn nothing_of_an_object_is_readable_on_the_disk() {
    let place = Place::new();
    let (mut replica, _) = place.open();
    replica.append(&batch(1, vec![change(1, "token-of-it", "body-of-it")])).unwrap();
    let bytes = std::fs::read(&place.path).unwrap();
    for text in [b"token-of-it".as_slice(), b"body-of-it", b"a.example"] {
        assert!(!bytes.windows(text.len()).any(|window| window == text));
    }
}

#[test]
fn a_reset_forgets_what_it_does_not_name_only_when_it_ends() {
    let place = Place::new();
    let (mut replica, _) = place.open();
    replica.append(&batch(9, vec![change(8, "a", "old"), change(9, "stale", "old")])).unwrap();
    assert_eq!(replica.append(&page("two", true, 3, vec![change(3, "a", "new")])).unwrap(), None);
    assert_eq!(replica.position(), (Lineage("two".to_owned()), Revision(3)));
    drop(replica);

    let (mut replica, loaded) = place.open();
    assert_eq!(names(&loaded), [id("a"), id("stale")]);
    assert_eq!((loaded.lineage, loaded.revision), (Lineage::default(), Revision(0)));
    replica.append(&page("two", true, 3, vec![change(3, "a", "new")])).unwrap();
    let known = replica.append(&page("two", false, 5, vec![change(5, "b", "b")])).unwrap();
    assert_eq!(known, Some(BTreeSet::from([id("a"), id("b")])));
    drop(replica);

    let (_, loaded) = place.open();
    assert_eq!(loaded.objects, [change(3, "a", "new"), change(5, "b", "b")]);
    assert_eq!((loaded.lineage.0.as_str(), loaded.revision), ("two", Revision(5)));
}

#[test]
fn a_reset_that_begins_again_forgets_what_its_first_try_named() {
    let place = Place::new();
    let (mut replica, _) = place.open();
    replica.append(&page("one", true, 3, vec![change(2, "a", "a"), change(3, "b", "b")])).unwrap();
    replica.append(&page("one", true, 2, vec![change(2, "a", "a")])).unwrap();
    let known = replica.append(&page("one", false, 4, vec![change(4, "c", "c")])).unwrap();
    assert_eq!(known, Some(BTreeSet::from([id("a"), id("c")])));
}

#[test]
fn later_pages_of_a_reset_need_not_say_so() {
    let place = Place::new();
    let (mut replica, _) = place.open();
    replica.append(&page("one", true, 3, vec![change(3, "a", "a")])).unwrap();
    let known = replica.append(&batch(4, vec![change(4, "b", "b")])).unwrap();
    assert_eq!(known, Some(BTreeSet::from([id("a"), id("b")])));
}

#[test]
fn a_file_of_another_key_is_set_aside_not_lost() {
    let place = Place::new();
    let (mut replica, _) = place.open();
    replica.append(&batch(1, vec![change(1, "a", "a")])).unwrap();
    drop(replica);
    let (replica, loaded) = Replica::open(&place.path, &SealingKey::generate()).unwrap();
    let note = loaded.note.unwrap();
    assert!(note.contains(&place.key.fingerprint()) && note.contains("asked for everything"), "{note}");
    assert_eq!((loaded.objects.len(), replica.position().1, place.set_aside()), (0, Revision(0), 1));
}

/// Writes the file anew with sound sums, but with other records than the replica wrote.
fn forge(path: &Path, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let Found::Journal(mut journal, head) = Journal::find(path, MAGIC).unwrap() else { panic!("no journal") };
    let mut records = Vec::new();
    journal
        .scan(|_, record| {
            records.push(record.to_vec());
            Ok(())
        })
        .unwrap();
    change(&mut records);
    let mut forged = Journal::draft(path, MAGIC, &head).unwrap();
    forged.append(&records).unwrap();
    forged.publish().unwrap();
}

#[test]
fn records_cannot_be_swapped_repeated_or_taken_out() {
    let forgeries: [fn(&mut Vec<Vec<u8>>); 3] = [
        |records| records.swap(1, 2),
        |records| records[1] = records[0].clone(),
        |records| drop(records.remove(1)),
    ];
    for forgery in forgeries {
        let place = Place::new();
        let (mut replica, _) = place.open();
        let told = vec![change(1, "a", "old"), change(2, "a", "new"), change(3, "a", "newest")];
        replica.append(&batch(3, told)).unwrap();
        drop(replica);
        forge(&place.path, forgery);
        let (mut replica, loaded) = place.open();
        assert!(replica.unsynced().is_none(), "the disk has what was saved");
        assert_eq!((loaded.objects, loaded.revision), (vec![change(1, "a", "old")], Revision(0)));
        assert_eq!(place.set_aside(), 1);
    }
}

#[test]
fn records_cannot_be_moved_to_another_file() {
    let place = Place::new();
    let (mut replica, _) = place.open();
    let mut other = Replica::open(&place.path.with_extension("other"), &place.key).unwrap().0;
    for replica in [&mut replica, &mut other] {
        replica.append(&batch(1, vec![change(1, "a", "a")])).unwrap();
    }
    let (ours, theirs) = (std::fs::read(&place.path).unwrap(), place.path.with_extension("other"));
    let theirs = std::fs::read(theirs).unwrap();
    drop(replica);
    std::fs::write(&place.path, [&ours[..64], &theirs[64..]].concat()).unwrap();
    let (_, loaded) = place.open();
    assert_eq!((loaded.objects.len(), loaded.revision, place.set_aside()), (0, Revision(0), 1));
    assert!(loaded.note.unwrap().contains("damaged"));
}

fn write_anew(replica: &mut Replica, mut between: impl FnMut(&mut Replica)) {
    let mut rewrite = replica.begin_rewrite().unwrap();
    loop {
        let is_more = replica.hand_on(&mut rewrite);
        between(replica);
        rewrite = rewrite.copied().unwrap();
        if !is_more {
            break;
        }
    }
    replica.end_rewrite(Ok(rewrite));
}

#[test]
fn a_log_of_mostly_old_records_is_wasteful_until_it_is_written_anew() {
    let place = Place::new();
    let (mut replica, _) = place.open();
    let body = "x".repeat(10_000);
    for revision in 1..=400_u64 {
        let name = format!("n{}", revision % 5);
        replica.append(&batch(revision, vec![change(revision, &name, &body)])).unwrap();
    }
    assert!(replica.is_wasteful());
    write_anew(&mut replica, |_| {});
    assert!(!replica.is_wasteful() && replica.unsynced().is_some());
    drop(replica);
    assert!(std::fs::metadata(&place.path).unwrap().len() < 100_000);
    let (_, loaded) = place.open();
    let revisions: Vec<u64> = loaded.objects.iter().map(|change| change.revision.0).collect();
    assert_eq!(
        (revisions, loaded.revision, loaded.note),
        (vec![396, 397, 398, 399, 400], Revision(400), None)
    );
}

#[test]
fn what_is_told_while_it_is_written_anew_is_in_the_new_file() {
    let place = Place::new();
    let (mut replica, _) = place.open();
    let many = (1..=3000_u64).map(|revision| change(revision, &format!("n{revision:04}"), "old")).collect();
    replica.append(&batch(3000, many)).unwrap();
    let mut revision = 3000;
    write_anew(&mut replica, |replica| {
        // Of what was handed on, of what was not, and new.
        let told = vec![
            change(revision + 1, "n0001", "new"),
            gone(revision + 2, "n0002"),
            change(revision + 3, "n2999", "new"),
            gone(revision + 4, "n3000"),
            change(revision + 5, &format!("z{revision}"), "new"),
        ];
        revision += 5;
        replica.append(&batch(revision, told)).unwrap();
    });
    assert_eq!(revision, 3015, "three chunks");
    replica.append(&batch(3016, vec![change(3016, "last", "new")])).unwrap();
    let objects = replica.objects();
    drop(replica);
    let (replica, loaded) = place.open();
    assert_eq!((replica.objects(), loaded.revision, loaded.note), (objects, Revision(3016), None));
    assert_eq!(loaded.objects.len(), 3000 - 2 + 3 + 1);
    let newest: Vec<u64> = loaded.objects.iter().rev().take(6).map(|change| change.revision.0).collect();
    assert_eq!(newest, [3016, 3015, 3013, 3011, 3010, 3005]);
}

#[test]
fn a_rewrite_that_is_dropped_or_fails_leaves_the_file_as_it_was() {
    let place = Place::new();
    let (mut replica, _) = place.open();
    replica.append(&batch(1, vec![change(1, "a", "a")])).unwrap();
    let draft = disk::with_suffix(&place.path, ".new");
    let rewrite = replica.begin_rewrite().unwrap();
    assert!(draft.exists() && matches!(replica.begin_rewrite(), Err(ReplicaError::Disk(_))));
    drop(rewrite);
    assert!(!draft.exists());
    let refused = ReplicaError::Disk(DiskError::InUse { path: draft });
    replica.end_rewrite(Err(refused));
    replica.append(&batch(2, vec![change(2, "b", "b")])).unwrap();
    drop(replica);
    let (_, loaded) = place.open();
    assert_eq!((names(&loaded), loaded.note), (vec![id("a"), id("b")], None));
}

#[test]
fn an_unusable_path_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), b"").unwrap();
    for path in [folder.path().to_owned(), folder.path().join("file/edge.replica")] {
        let error = Replica::open(&path, &SealingKey::generate()).unwrap_err().to_string();
        assert!(error.contains(&folder.path().display().to_string()), "{error}");
    }
}

#[test]
fn a_file_of_an_older_key_is_taken_over_with_the_secrets_in_it() {
    let place = Place::new();
    let older = SealingKey::generate();
    let ticket = model::ticket::TicketKey::generate(Timestamp::from_unix_millis(1), &older).unwrap();
    let context = model::ticket::TicketKey::key_context(ticket.id);
    let secret = older.open(&context, &ticket.key).unwrap();
    let object = model::change::Object::TicketKey(ticket);
    let told = Change { revision: Revision(2), id: object.id(), object: Some(object) };
    let (mut replica, _) = Replica::open(&place.path, &older).unwrap();
    replica.append(&batch(2, vec![change(1, "a", "a"), told])).unwrap();
    drop(replica);

    let keys = [older.clone()];
    let seen = Replica::look_with(&place.path, &place.key, &keys).unwrap();
    let (replica, loaded) = Replica::open_with(&place.path, &place.key, &keys).unwrap();
    assert_eq!((names(&seen), seen.revision), (names(&loaded), Revision(2)));
    drop(replica);
    let (_, mut loaded) = place.open();
    assert_eq!((loaded.revision, place.set_aside()), (Revision(2), 0));
    for objects in [seen.objects, std::mem::take(&mut loaded.objects)] {
        let mut secrets = objects.into_iter().filter_map(|it| it.object);
        let mut ticket = secrets.find(|it| matches!(it, model::change::Object::TicketKey(_))).unwrap();
        let (_, sealed) = ticket.secret().unwrap();
        assert_eq!(place.key.open(&context, sealed).unwrap(), secret);
    }
    let bytes = std::fs::read(&place.path).unwrap();
    let fingerprint = older.fingerprint().into_bytes();
    assert!(!bytes.windows(fingerprint.len()).any(|window| window == fingerprint));
}
