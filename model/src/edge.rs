//! What an edge tells the control plane of itself.

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::change::Revision;
use crate::id::EdgeId;

/// Sent by an edge after it applied changes, and at least every five seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeReport {
    /// Which edge.
    pub edge: EdgeId,
    /// Everything up to here is in its memory and in its replica.
    pub revision: Revision,
    /// Version of the program.
    pub version: String,
    /// When the process started.
    pub started_at: Timestamp,
    /// Sites in memory.
    pub sites: u64,
    /// Certificates in memory.
    pub certificates: u64,
}
