//! What an edge was told, encrypted on its own disk, so that it starts and serves without the control plane.
//!
//! One append-only [journal](crate::journal): each object as it became, then a mark of how far that is. Each
//! record is sealed (AES-256-GCM) for this file and this place in it, so that none can be changed, moved or
//! taken out of the middle unnoticed. When more than half of the file is out of date it is
//! [written anew](Rewrite).
//!
//! A torn tail is cut off: the control plane is asked for it again. A damaged file is set aside, what was
//! read before the damage is still served, and the control plane is asked for everything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use model::Clock as _;
use model::change::{Batch, Change, Lineage, ObjectId, Revision};
use model::clock::SystemClock;
use model::seal::{SealError, SealingKey};

use crate::disk::{self, DiskError};
pub use crate::journal::Unsynced;
use crate::journal::{CALLER_BYTES, Ending, Found, Journal, Magic, Place, Reader};

mod entry;
mod rekey;
mod rewrite;

pub(crate) use entry::check_decode;
use entry::{Cipher, Entry, Mark};
pub use rewrite::Rewrite;

const MAGIC: Magic = *b"STOAREPL";
/// A file of less is never worth writing anew.
const COMPACT_FROM_BYTES: u64 = 1 << 20;

/// The replica of one edge; one process at a time holds it.
#[derive(Debug)]
pub struct Replica {
    path: PathBuf,
    cipher: Cipher,
    journal: Journal,
    live: BTreeMap<ObjectId, Place>,
    live_bytes: u64,
    objects: Objects,
    /// The newest mark in the file.
    mark: Mark,
    reset: Option<Reset>,
    /// What was told of since a [`Rewrite`] began.
    moved: Option<BTreeSet<ObjectId>>,
    /// File length below which writing anew is not tried again, after it failed.
    compact_from: u64,
}

/// What was on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loaded {
    /// The log that the objects are of; empty if the control plane must be asked for everything.
    pub lineage: Lineage,
    /// How far they are.
    pub revision: Revision,
    /// Every object that there is, by revision.
    pub objects: Vec<Change>,
    /// What an operator should know: a torn tail was cut off, or a damaged file was set aside (where, why, and
    /// what happens next). [`crate::Follower::load`] logs it.
    pub note: Option<String>,
}

/// How many objects a replica holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Objects {
    /// Apps.
    pub sites: u64,
    /// Certificates.
    pub certificates: u64,
}

/// Why a replica cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The file cannot be used.
    #[error("the edge's replica: {0}")]
    Disk(#[from] DiskError),
    /// The key is of no use.
    #[error("the edge's replica cannot be sealed: {0}")]
    Seal(#[from] SealError),
    /// An object has no JSON form.
    #[error("the edge's replica cannot hold an object: {0}")]
    Encode(#[from] serde_json::Error),
}

/// A reset under way.
#[derive(Debug)]
struct Reset {
    lineage: Lineage,
    next: Revision,
    known: BTreeSet<ObjectId>,
}

impl Replica {
    /// Opens the replica at `path`, or begins one; folders that are missing are made. A file that is damaged,
    /// or was sealed with another key, is renamed to `<path>.damaged-<unix ms>`.
    ///
    /// # Errors
    /// [`ReplicaError::Disk`] if the path cannot be used, or another process holds the file.
    pub fn open(path: &Path, key: &SealingKey) -> Result<(Self, Loaded), ReplicaError> {
        Self::open_with(path, key, &[])
    }

    /// As [`Self::open`]; a file that one of the `older` keys wrote is written anew with `key`, with the secrets in it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(
        path: &Path,
        key: &SealingKey,
        older: &[SealingKey],
    ) -> Result<(Self, Loaded), ReplicaError> {
        disk::make_folder(path)?;
        let (journal, head) = match Journal::find(path, MAGIC)? {
            Found::Nothing => return Ok((Self::begin(path, key)?, Loaded::default())),
            Found::Unreadable(reason) => return Self::replace_unreadable(path, key, &reason),
            Found::Journal(journal, head) => (journal, head),
        };
        if let Some(cipher) = Cipher::of_any(&head, older) {
            let (old, mut loaded) = Self::load(path, cipher, journal)?;
            return Ok((old.rekeyed(&mut loaded, key)?, loaded));
        }
        match Cipher::of_head(&head, key) {
            Ok(cipher) => Self::load(path, cipher, journal),
            Err(reason) => Self::replace_unreadable(path, key, &reason),
        }
    }

    /// What the replica at `path` holds, read beside the process that holds it. Nothing is repaired: what
    /// cannot be read is left out.
    ///
    /// # Errors
    /// [`ReplicaError::Disk`] if the file cannot be read.
    pub fn look(path: &Path, key: &SealingKey) -> Result<Loaded, ReplicaError> {
        Self::look_with(path, key, &[])
    }

    /// As [`Self::look`]; in a file that one of the `older` keys wrote, secrets come as if `key` had sealed them.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub fn look_with(path: &Path, key: &SealingKey, older: &[SealingKey]) -> Result<Loaded, ReplicaError> {
        let Found::Journal(journal, head) = Journal::look(path, MAGIC)? else { return Ok(Loaded::default()) };
        let found = Cipher::of_head(&head, key).ok().or_else(|| Cipher::of_any(&head, older));
        let Some(cipher) = found else { return Ok(Loaded::default()) };
        let mut replica = Self::empty(path, cipher, journal);
        let (objects, _) = replica.scan()?;
        let (lineage, revision) = replica.position();
        let mut objects = by_revision(objects);
        rekey::reseal(&mut objects, &replica.cipher.key, key)?;
        Ok(Loaded { lineage, revision, objects, note: None })
    }

    /// Writes a batch down. A batch that was written before may be written again. At the end of a reset it
    /// tells every object that the control plane named, and forgets the others.
    ///
    /// After it returns, a kill of the process loses nothing; a power cut loses what was not
    /// [synced](Self::unsynced).
    ///
    /// # Errors
    /// On an error the replica is as it was before.
    pub fn append(&mut self, batch: &Batch) -> Result<Option<BTreeSet<ObjectId>>, ReplicaError> {
        let continues = self.continues_reset(batch);
        let (in_reset, last) = (continues || batch.reset, !batch.more);
        let stale = if in_reset && last { self.stale(batch, continues) } else { Vec::new() };
        let mark = if in_reset && !last { Mark::default() } else { Mark::of(batch) };
        self.write(batch.changes.iter().chain(&stale), mark)?;
        Ok(self.follow_reset(batch, in_reset, continues))
    }

    /// What to ask the control plane for: the log, and the revision after which.
    #[must_use]
    pub fn position(&self) -> (Lineage, Revision) {
        match &self.reset {
            Some(reset) => (reset.lineage.clone(), reset.next),
            None => (self.mark.lineage.clone(), self.mark.revision),
        }
    }

    /// Everything up to here is written down; 0 in the middle of a reset.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.mark.revision
    }

    /// Forgets how far the log was followed, not the objects: the next question is for everything.
    pub fn start_over(&mut self) {
        self.reset = None;
        self.mark = Mark::default();
    }

    /// How many objects there are.
    #[must_use]
    pub fn objects(&self) -> Objects {
        self.objects
    }

    /// What makes that which was written outlive a power cut; none if nothing was written since the last call.
    pub fn unsynced(&mut self) -> Option<Unsynced> {
        self.journal.unsynced()
    }

    /// Whether `batch` is a later page of the reset under way. A page that says "reset" and goes back behind
    /// the page before begins a new one.
    fn continues_reset(&self, batch: &Batch) -> bool {
        let Some(reset) = self.reset.as_ref().filter(|reset| reset.lineage == batch.lineage) else {
            return false;
        };
        let first = batch.changes.first();
        !batch.reset || first.map_or(batch.next >= reset.next, |change| change.revision > reset.next)
    }

    /// Farewells to the objects that a reset, of which `batch` is the last page, does not name.
    fn stale(&self, batch: &Batch, continues: bool) -> Vec<Change> {
        let named: BTreeSet<&ObjectId> = batch.changes.iter().map(|change| &change.id).collect();
        let before = self.reset.as_ref().filter(|_| continues).map(|reset| &reset.known);
        let is_stale =
            |id: &&ObjectId| !named.contains(id) && !before.is_some_and(|known| known.contains(*id));
        let gone = |id: &ObjectId| Change { revision: batch.next, id: id.clone(), object: None };
        self.live.keys().filter(is_stale).map(gone).collect()
    }

    /// Notes what a written page named; at the end of the reset tells all that its pages named.
    fn follow_reset(&mut self, batch: &Batch, in_reset: bool, continues: bool) -> Option<BTreeSet<ObjectId>> {
        let before = self.reset.take();
        if !in_reset {
            return None;
        }
        let mut known = before.filter(|_| continues).map(|reset| reset.known).unwrap_or_default();
        for change in &batch.changes {
            match change.object {
                Some(_) => known.insert(change.id.clone()),
                None => known.remove(&change.id),
            };
        }
        if !batch.more {
            return Some(known);
        }
        self.reset = Some(Reset { lineage: batch.lineage.clone(), next: batch.next, known });
        None
    }

    fn write<'a>(
        &mut self,
        changes: impl Iterator<Item = &'a Change>,
        mark: Mark,
    ) -> Result<(), ReplicaError> {
        let changes: Vec<&Change> = changes.collect();
        let mut records = Vec::with_capacity(changes.len() + 1);
        for (number, change) in (self.journal.count()..).zip(&changes) {
            records.push(self.cipher.seal_change(number, change)?);
        }
        if mark != self.mark || !changes.is_empty() {
            let number = self.journal.count() + records.len() as u64;
            records.push(self.cipher.seal_mark(number, &mark)?);
        }
        if records.is_empty() {
            return Ok(());
        }
        let places = self.journal.append(&records)?;
        for (change, place) in changes.into_iter().zip(places) {
            self.index(change.id.clone(), change.object.is_some().then_some(place));
        }
        self.mark = mark;
        Ok(())
    }

    fn index(&mut self, id: ObjectId, place: Option<Place>) {
        let count = match &id {
            ObjectId::Site(_) => Some(&mut self.objects.sites),
            ObjectId::Certificate(_) => Some(&mut self.objects.certificates),
            ObjectId::Tenant(_) | ObjectId::Challenge(_) | ObjectId::TicketKey(_) => None,
        };
        if let Some(moved) = &mut self.moved {
            moved.insert(id.clone());
        }
        let before = match place {
            Some(place) => self.live.insert(id, place),
            None => self.live.remove(&id),
        };
        if let Some(count) = count {
            *count = (*count + u64::from(place.is_some())).saturating_sub(u64::from(before.is_some()));
        }
        let (new, old) = (place.map_or(0, Place::bytes), before.map_or(0, Place::bytes));
        self.live_bytes = (self.live_bytes + new).saturating_sub(old);
    }

    fn draft(path: &Path, key: &SealingKey) -> Result<Self, ReplicaError> {
        let (cipher, head): (Cipher, [u8; CALLER_BYTES]) = Cipher::new(key);
        let journal = Journal::draft(path, MAGIC, &head)?;
        Ok(Self::empty(path, cipher, journal))
    }

    fn begin(path: &Path, key: &SealingKey) -> Result<Self, ReplicaError> {
        let mut replica = Self::draft(path, key)?;
        replica.journal.publish()?;
        Ok(replica)
    }

    fn empty(path: &Path, cipher: Cipher, journal: Journal) -> Self {
        Self {
            path: path.to_owned(),
            cipher,
            journal,
            live: BTreeMap::new(),
            live_bytes: 0,
            objects: Objects::default(),
            mark: Mark::default(),
            reset: None,
            moved: None,
            compact_from: COMPACT_FROM_BYTES,
        }
    }

    fn replace_unreadable(
        path: &Path,
        key: &SealingKey,
        reason: &str,
    ) -> Result<(Self, Loaded), ReplicaError> {
        let aside = disk::set_aside(path, SystemClock.now())?;
        let note = format!(
            "the edge's replica `{}` cannot be used: {reason}; it was kept as `{}`, and the control plane is \
             asked for everything",
            path.display(),
            aside.display()
        );
        Ok((Self::begin(path, key)?, Loaded { note: Some(note), ..Loaded::default() }))
    }

    fn load(path: &Path, cipher: Cipher, journal: Journal) -> Result<(Self, Loaded), ReplicaError> {
        let mut replica = Self::empty(path, cipher, journal);
        let (objects, ending) = replica.scan()?;
        let objects = by_revision(objects);
        let mut note = None;
        match ending {
            Ending::Whole => {}
            Ending::Torn => {
                replica.journal.cut()?;
                note = Some(format!(
                    "the edge's replica `{}` ended in the middle of a record, as after a kill or a full disk; \
                     the record was cut off, and the control plane is asked for it again",
                    path.display()
                ));
            }
            Ending::Damaged(reason) => {
                let aside = disk::set_aside(path, SystemClock.now())?;
                replica.start_over();
                replica = replica.written_anew()?;
                note = Some(format!(
                    "the edge's replica `{}` is damaged: {reason}; it was kept as `{}`, {} objects from before \
                     the damage are served, and the control plane is asked for everything",
                    path.display(),
                    aside.display(),
                    objects.len()
                ));
            }
        }
        let (lineage, revision) = replica.position();
        Ok((replica, Loaded { lineage, revision, objects, note }))
    }

    fn scan(&mut self) -> Result<(BTreeMap<ObjectId, Change>, Ending), ReplicaError> {
        let mut objects = BTreeMap::new();
        let mut places = Vec::new();
        let mut mark = Mark::default();
        let cipher = &self.cipher;
        let ending = self.journal.scan(|place, record| {
            match cipher.read(place, record)? {
                Entry::Mark(found) => mark = found,
                Entry::Change(change) => {
                    places.push((change.id.clone(), change.object.is_some().then_some(place)));
                    match change.object {
                        Some(_) => objects.insert(change.id.clone(), *change),
                        None => objects.remove(&change.id),
                    };
                }
            }
            Ok(())
        })?;
        for (id, place) in places {
            self.index(id, place);
        }
        self.mark = mark;
        Ok((objects, ending))
    }
}

fn by_revision(objects: BTreeMap<ObjectId, Change>) -> Vec<Change> {
    let mut objects: Vec<Change> = objects.into_values().collect();
    objects.sort_by_key(|change| change.revision);
    objects
}

#[cfg(test)]
mod tests;
