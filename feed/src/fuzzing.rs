//! What must hold of whatever comes over the wire or lies on the disk, for the fuzz targets in `fuzz/` and the
//! replay of their corpus.
//!
//! Each function takes any bytes and panics only where a promise of this crate is broken. No interface: it may
//! change at any time.

use crate::http::decode_changes;
use crate::{journal, replica, usage};

/// An answer of the control plane: what is understood is the same after it was written and read again.
pub fn changes(bytes: &[u8]) {
    let Ok(batch) = decode_changes(bytes) else { return };
    let written = serde_json::to_vec(&batch).unwrap_or_default();
    let read = decode_changes(&written).ok();
    assert_eq!(read, Some(batch), "a batch changed on its way");
}

/// A record of the replica, after it was opened.
pub fn replica_record(bytes: &[u8]) {
    replica::check_decode(bytes);
}

/// A record of the usage journal.
pub fn usage_record(bytes: &[u8]) {
    usage::check_decode(bytes);
}

/// The records of a journal, sound, cut off and damaged.
pub fn journal(bytes: &[u8]) {
    journal::check_walk(bytes);
}
