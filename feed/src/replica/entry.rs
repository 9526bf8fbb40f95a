//! One record of the replica: JSON, sealed for its file and its number.

use std::ops::Deref;

use model::change::{Batch, Change, Lineage, Revision};
use model::seal::{SealError, SealingKey};
use serde::{Deserialize, Serialize};

use crate::journal::{CALLER_BYTES, Place};
use crate::replica::ReplicaError;

const FILE_ID_BYTES: usize = 16;
const FINGERPRINT_BYTES: usize = 8;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    /// An object became so.
    Change(Box<Change>),
    /// Everything up to here was told.
    Mark(Mark),
}

/// The same, to be written without a copy.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum EntryRef<'a> {
    Change(&'a Change),
    Mark(&'a Mark),
}

/// How far the log was followed. The default: not at all, ask for everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) lineage: Lineage,
    pub(super) revision: Revision,
}

impl Mark {
    /// The end of a batch.
    pub(super) fn of(batch: &Batch) -> Self {
        Self { lineage: batch.lineage.clone(), revision: batch.next }
    }
}

/// Seals and opens the records of one file.
#[derive(Debug, Clone)]
pub(super) struct Cipher {
    pub(super) key: SealingKey,
    file: String,
}

impl Cipher {
    /// For a new file, with the head that names file and key.
    pub(super) fn new(key: &SealingKey) -> (Self, [u8; CALLER_BYTES]) {
        let id: [u8; FILE_ID_BYTES] = rand::random();
        let mut head = [0; CALLER_BYTES];
        let bytes = id.into_iter().chain(key.fingerprint().into_bytes());
        for (place, byte) in head.iter_mut().zip(bytes) {
            *place = byte;
        }
        (Self { key: key.clone(), file: hex(&id) }, head)
    }

    /// For a file with this head; tells if it was written with another key.
    pub(super) fn of_head(head: &[u8; CALLER_BYTES], key: &SealingKey) -> Result<Self, String> {
        let (id, rest) = head.split_at_checked(FILE_ID_BYTES).unwrap_or_default();
        let fingerprint = rest.get(..FINGERPRINT_BYTES).unwrap_or_default();
        if fingerprint == key.fingerprint().as_bytes() {
            return Ok(Self { key: key.clone(), file: hex(id) });
        }
        let written_with = String::from_utf8_lossy(fingerprint);
        Err(format!("it was written with key {written_with}, but the key at hand is {}", key.fingerprint()))
    }

    /// As [`Self::of_head`] with the one of `keys` that wrote the file, if it is among them.
    pub(super) fn of_any(head: &[u8; CALLER_BYTES], keys: &[SealingKey]) -> Option<Self> {
        keys.iter().find_map(|key| Self::of_head(head, key).ok())
    }

    pub(super) fn seal_change(&self, number: u64, change: &Change) -> Result<Vec<u8>, ReplicaError> {
        Ok(self.seal(number, &serde_json::to_vec(&EntryRef::Change(change))?)?)
    }

    pub(super) fn seal_mark(&self, number: u64, mark: &Mark) -> Result<Vec<u8>, ReplicaError> {
        Ok(self.seal(number, &serde_json::to_vec(&EntryRef::Mark(mark))?)?)
    }

    pub(super) fn seal(&self, number: u64, text: &[u8]) -> Result<Vec<u8>, SealError> {
        self.key.seal_bytes(&self.context(number), text)
    }

    pub(super) fn open(
        &self,
        place: Place,
        record: &[u8],
    ) -> Result<impl Deref<Target = Vec<u8>> + use<>, SealError> {
        self.key.open_bytes(&self.context(place.number()), record)
    }

    /// Opens and decodes a record; the text tells what is wrong with it.
    pub(super) fn read(&self, place: Place, record: &[u8]) -> Result<Entry, String> {
        let text = self.open(place, record).map_err(|error| error.to_string())?;
        decode(&text)
    }

    fn context(&self, number: u64) -> String {
        format!("edge-replica/{}/{number}", self.file)
    }
}

/// Decodes what was sealed.
fn decode(text: &[u8]) -> Result<Entry, String> {
    serde_json::from_slice(text).map_err(|error| format!("it is not understood: {error}"))
}

/// For [`crate::fuzzing`]: what decodes is encoded and decodes to the same.
pub(crate) fn check_decode(text: &[u8]) {
    let Ok(entry) = decode(text) else { return };
    let written = match &entry {
        Entry::Change(change) => serde_json::to_vec(&EntryRef::Change(change)),
        Entry::Mark(mark) => serde_json::to_vec(&EntryRef::Mark(mark)),
    };
    let read = written.map_err(|error| error.to_string()).and_then(|written| decode(&written));
    assert_eq!(read, Ok(entry), "a record changed on its way to the disk and back");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decoding_arbitrary_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn decoding_nearly_sound_json_never_panics(
            kind in "change|mark", id in "tenant|site|certificate|challenge", text in "[ -~]{0,40}", n in any::<i64>(),
        ) {
            let id = serde_json::json!({"kind": id, "id": text});
            let object = serde_json::json!({"kind": "tenant", "value": {"id": text, "slug": n}});
            let body = serde_json::json!({"revision": n, "id": id, "object": object, "lineage": text});
            let _ = decode(serde_json::json!({ kind: body }).to_string().as_bytes());
        }
    }
}
