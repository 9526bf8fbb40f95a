//! Writing a replica anew beside itself.
//!
//! What is live is handed on a chunk at a time and copied without the replica, which meanwhile goes on being
//! appended to: whoever tells it something waits for a chunk's names, not for the file. What it was told since is
//! copied at the end, and then the new file takes the place of the old.

use std::collections::BTreeSet;
use std::ops::Bound;

use model::change::{Change, ObjectId};

use super::{Cipher, Place, Reader, Replica, ReplicaError};

/// How many objects are handed on at a time.
const CHUNK_OBJECTS: usize = 1024;
/// How much is sealed before it is written.
const CHUNK_BYTES: usize = 1 << 20;

/// A new file under way: [begun](Replica::begin_rewrite), then [handed](Replica::hand_on) and
/// [copied](Self::copied) in turn, then [ended](Replica::end_rewrite). One that is dropped leaves nothing behind.
#[derive(Debug)]
pub struct Rewrite {
    fresh: Replica,
    reader: Reader,
    cipher: Cipher,
    /// What was handed on and is to be copied.
    handed: Vec<(ObjectId, Place)>,
    /// Up to here everything was handed on.
    last: Option<ObjectId>,
}

impl Replica {
    /// Whether more than half of the file is out of date, and the file large enough to matter.
    #[must_use]
    pub fn is_wasteful(&self) -> bool {
        let bytes = self.journal.bytes();
        bytes > self.compact_from && bytes / 2 > self.live_bytes
    }

    /// Begins a new file. One at a time: what an earlier one was to catch up with is forgotten.
    ///
    /// # Errors
    /// [`ReplicaError::Disk`] if no file can be made beside this one.
    pub fn begin_rewrite(&mut self) -> Result<Rewrite, ReplicaError> {
        let fresh = Self::draft(&self.path, &self.cipher.key)?;
        let (reader, cipher) = (self.journal.reader()?, self.cipher.clone());
        self.moved = Some(BTreeSet::new());
        Ok(Rewrite { fresh, reader, cipher, handed: Vec::new(), last: None })
    }

    /// Hands on what is to be copied next; false if that is the rest.
    pub fn hand_on(&self, rewrite: &mut Rewrite) -> bool {
        let after = rewrite.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.live.range((after, Bound::Unbounded)).map(|(id, place)| (id.clone(), *place));
        rewrite.handed.extend(rest.by_ref().take(CHUNK_OBJECTS));
        let is_more = rest.next().is_some();
        if let Some((id, _)) = rewrite.handed.last() {
            rewrite.last = Some(id.clone());
        }
        is_more
    }

    /// Puts the new file in the place of the old. A failure is logged, not returned: everything is written down,
    /// only not tidily, and it is tried again when the file has grown by a quarter.
    pub fn end_rewrite(&mut self, rewrite: Result<Rewrite, ReplicaError>) {
        let moved = self.moved.take().unwrap_or_default();
        match rewrite.and_then(|rewrite| self.caught_up(rewrite, &moved)) {
            Ok(fresh) => *self = Self { reset: self.reset.take(), ..fresh },
            Err(error) => {
                let bytes = self.journal.bytes();
                self.compact_from = bytes.saturating_add(bytes / 4);
                tracing::warn!(%error, path = %self.path.display(), bytes, "replica was not compacted");
            }
        }
    }

    /// The finished file with what was told since it was begun, in its place.
    fn caught_up(&self, mut rewrite: Rewrite, moved: &BTreeSet<ObjectId>) -> Result<Self, ReplicaError> {
        rewrite.handed = moved.iter().filter_map(|id| Some((id.clone(), *self.live.get(id)?))).collect();
        rewrite.copy()?;
        let mut fresh = rewrite.fresh;
        let is_gone = |id: &&ObjectId| fresh.live.contains_key(*id) && !self.live.contains_key(*id);
        let gone = |id: &ObjectId| Change { revision: self.mark.revision, id: id.clone(), object: None };
        let gone: Vec<Change> = moved.iter().filter(is_gone).map(gone).collect();
        fresh.write(gone.iter(), self.mark.clone())?;
        fresh.journal.publish_unsynced()?;
        Ok(fresh)
    }

    /// All of it at once, for a replica that nobody uses yet. When it returns the disk has it.
    pub(super) fn written_anew(&mut self) -> Result<Self, ReplicaError> {
        let mut rewrite = self.begin_rewrite()?;
        while self.hand_on(&mut rewrite) {
            rewrite.copy()?;
        }
        let mut fresh = self.caught_up(rewrite.copied()?, &BTreeSet::new())?;
        if let Some(unsynced) = fresh.unsynced() {
            unsynced.sync()?;
        }
        Ok(fresh)
    }
}

impl Rewrite {
    /// Copies what was handed on, and makes the disk have it. Blocks.
    ///
    /// # Errors
    /// [`ReplicaError`] if the old file cannot be read or the new one not written.
    pub fn copied(mut self) -> Result<Self, ReplicaError> {
        self.copy()?;
        if let Some(unsynced) = self.fresh.unsynced() {
            unsynced.sync()?;
        }
        Ok(self)
    }

    fn copy(&mut self) -> Result<(), ReplicaError> {
        let mut chunk = Chunk::default();
        for (id, place) in std::mem::take(&mut self.handed) {
            let record = self.reader.read(place)?;
            let text = self.cipher.open(place, &record)?;
            chunk.bytes += record.len();
            let number = self.fresh.journal.count() + chunk.records.len() as u64;
            chunk.records.push(self.fresh.cipher.seal(number, &text)?);
            chunk.ids.push(id);
            if chunk.bytes >= CHUNK_BYTES {
                self.fresh.take(std::mem::take(&mut chunk))?;
            }
        }
        self.fresh.take(chunk)
    }
}

/// Records on their way into a new file.
#[derive(Default)]
struct Chunk {
    ids: Vec<ObjectId>,
    records: Vec<Vec<u8>>,
    bytes: usize,
}

impl Replica {
    fn take(&mut self, chunk: Chunk) -> Result<(), ReplicaError> {
        let places = self.journal.append(&chunk.records)?;
        for (id, place) in chunk.ids.into_iter().zip(places) {
            self.index(id, Some(place));
        }
        Ok(())
    }
}
