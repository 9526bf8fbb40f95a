//! What the authority was asked for, for tests to read.

use std::collections::BTreeMap;

use super::limits::Limit;

/// Kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names of RFC 8555 §7.1 and RFC 9773")]
pub enum Kind {
    Directory,
    NewNonce,
    NewAccount,
    Account,
    KeyChange,
    NewOrder,
    Order,
    Authorization,
    Challenge,
    Finalize,
    Certificate,
    RevokeCert,
    RenewalInfo,
    /// An address that the authority does not have.
    Unknown,
}

impl Kind {
    /// Whether such requests are signed and carry a nonce.
    #[must_use]
    pub fn is_signed(self) -> bool {
        !matches!(self, Self::Directory | Self::NewNonce | Self::RenewalInfo | Self::Unknown)
    }
}

/// How often what happened since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests by kind, refused ones and those with a scripted fault included.
    pub requests: BTreeMap<Kind, u64>,
    /// Requests that a scripted fault befell.
    pub faults: u64,
    /// Orders that were opened; given again ones are not counted.
    pub orders: u64,
    /// Certificates that were signed for orders.
    pub finalized: u64,
    /// Checks of names that failed.
    pub failed_checks: u64,
    /// Requests that a limit refused.
    pub refused: BTreeMap<Limit, u64>,
    /// Certificates that replaced another and were ordered inside its window.
    pub renewals_inside: u64,
    /// Certificates that replaced another and were ordered before or after its window.
    pub renewals_outside: u64,
    /// Certificates for a set of names that had one before, without `replaces`.
    pub renewals_unmarked: u64,
    /// Certificates that were revoked.
    pub revoked: u64,
}

impl Counts {
    /// Requests of one kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> u64 {
        self.requests.get(&kind).copied().unwrap_or_default()
    }

    /// Requests that a limit refused, whichever.
    #[must_use]
    pub fn limited(&self) -> u64 {
        self.refused.values().sum()
    }
}
