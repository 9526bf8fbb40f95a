//! What was used: counted once, at a request's end, on one edge; summed in windows of a minute.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::id::{AppId, EdgeId, TenantId};

/// Width of a usage window.
pub const WINDOW: Duration = Duration::from_secs(60);

/// What became of a request. Only [`UsageClass::Visitor`] is billable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageClass {
    /// Served by the app.
    Visitor,
    /// Refused for a reason that is not the visitor's: no backend, suspended, malformed, not found.
    Refused,
    /// Stopped by a limit or by the firewall.
    Blocked,
}

impl UsageClass {
    /// All classes, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::Visitor, Self::Refused, Self::Blocked];

    /// The word in JSON, SQL and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Visitor => "visitor",
            Self::Refused => "refused",
            Self::Blocked => "blocked",
        }
    }

    /// Whether it goes on a bill.
    #[must_use]
    pub const fn is_billable(self) -> bool {
        matches!(self, Self::Visitor)
    }
}

/// What a sum is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UsageKey {
    /// Whose.
    pub tenant: TenantId,
    /// Which app's.
    pub app: AppId,
    /// Start of the [`WINDOW`].
    pub window: Timestamp,
    /// What became of the requests.
    pub class: UsageClass,
}

/// A sum. Bytes are of bodies; a WebSocket's bytes count both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Requests that ended.
    pub requests: u64,
    /// Bytes received from visitors.
    pub bytes_in: u64,
    /// Bytes sent to visitors.
    pub bytes_out: u64,
}

impl Counters {
    /// Adds another sum, saturating.
    pub fn add(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.bytes_in = self.bytes_in.saturating_add(other.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(other.bytes_out);
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

/// One line of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// For what.
    #[serde(flatten)]
    pub key: UsageKey,
    /// How much more than before.
    #[serde(flatten)]
    pub counters: Counters,
}

/// Increments that one edge sends up. The pair (edge, sequence) is taken at most once, so sending a batch
/// again changes no total.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageBatch {
    /// Who counted.
    pub edge: EdgeId,
    /// Rises with every new batch of this edge, over all its restarts; numbers may be left out. Up to 2^53.
    pub sequence: u64,
    /// What was counted since the batch before.
    pub rows: Vec<UsageRow>,
}
