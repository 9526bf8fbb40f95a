//! One record of the usage journal, as JSON.

use model::usage::UsageBatch;
use serde::{Deserialize, Serialize};

use crate::journal::CALLER_BYTES;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    /// A batch.
    Batch(UsageBatch),
    /// A batch that may have been sent, whatever [`Record::Sending`] says: saved from a damaged journal.
    Doubtful(UsageBatch),
    /// Batches of numbers up to this one may have been sent from here on. On the disk before the first is.
    Sending(u64),
    /// The control plane has the batch of this number, or refused it for good.
    Done(u64),
}

/// Decodes a record; the text tells what is wrong with it.
pub(super) fn decode(bytes: &[u8]) -> Result<Record, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("it is not understood: {error}"))
}

/// For [`crate::fuzzing`]: what decodes is encoded and decodes to the same.
pub(crate) fn check_decode(bytes: &[u8]) {
    let Ok(record) = decode(bytes) else { return };
    let written = serde_json::to_vec(&record).map_err(|error| error.to_string());
    assert_eq!(written.and_then(|written| decode(&written)), Ok(record), "a record changed on its way");
}

/// The journal's head: the next number.
pub(super) fn head(next: u64) -> [u8; CALLER_BYTES] {
    let mut head = [0; CALLER_BYTES];
    for (place, byte) in head.iter_mut().zip(next.to_le_bytes()) {
        *place = byte;
    }
    head
}

/// The next number that a head tells.
pub(super) fn next_of(head: &[u8; CALLER_BYTES]) -> u64 {
    head.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
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
        fn a_head_keeps_its_number(next in any::<u64>()) {
            prop_assert_eq!(next_of(&head(next)), next);
        }
    }
}
