//! The eighteen statuses of a domain.

use serde::{Deserialize, Serialize};

/// The one status of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainStatus {
    /// No creator can own such a name.
    InvalidName,
    /// Another account has it.
    ClaimedElsewhere,
    /// The creator must add a record.
    NeedsDns,
    /// The creator must remove or change a record.
    Conflict,
    /// The creator seems to have made the record where it has no effect.
    WrongZone,
    /// The domain's own name servers fail.
    DnsBroken,
    /// The record was found, but not yet everywhere.
    Spreading,
    /// A proxy stands in front.
    Proxied,
    /// The domain allows only others to make certificates.
    CaaBlock,
    /// The certificate is being made.
    Issuing,
    /// The certificate cannot be made for now, and it is not the creator's fault.
    OurProblem,
    /// Everything is ready before the record is changed.
    Prepared,
    /// The certificate is on its way to the edges.
    Deploying,
    /// Served, with a padlock.
    Live,
    /// Still served, but the record changed.
    AtRisk,
    /// Gone for longer than the grace.
    Moved,
    /// The account is suspended.
    Suspended,
    /// It was given up.
    Removed,
}

impl DomainStatus {
    /// Every status, from the first step of a connection to the last.
    pub const ALL: [Self; 18] = [
        Self::InvalidName,
        Self::ClaimedElsewhere,
        Self::NeedsDns,
        Self::Conflict,
        Self::WrongZone,
        Self::DnsBroken,
        Self::Spreading,
        Self::Proxied,
        Self::CaaBlock,
        Self::Issuing,
        Self::OurProblem,
        Self::Prepared,
        Self::Deploying,
        Self::Live,
        Self::AtRisk,
        Self::Moved,
        Self::Suspended,
        Self::Removed,
    ];

    /// The word in JSON and SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidName => "invalid_name",
            Self::ClaimedElsewhere => "claimed_elsewhere",
            Self::NeedsDns => "needs_dns",
            Self::Conflict => "conflict",
            Self::WrongZone => "wrong_zone",
            Self::DnsBroken => "dns_broken",
            Self::Spreading => "spreading",
            Self::Proxied => "proxied",
            Self::CaaBlock => "caa_block",
            Self::Issuing => "issuing",
            Self::OurProblem => "our_problem",
            Self::Prepared => "prepared",
            Self::Deploying => "deploying",
            Self::Live => "live",
            Self::AtRisk => "at_risk",
            Self::Moved => "moved",
            Self::Suspended => "suspended",
            Self::Removed => "removed",
        }
    }

    /// How good the status is for the creator's visitors: who mends a fault never gets a smaller number. The
    /// statuses that ask for a change of records are equals, because one fault may hide another.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::InvalidName | Self::Removed | Self::ClaimedElsewhere | Self::Suspended => 0,
            Self::DnsBroken
            | Self::NeedsDns
            | Self::Conflict
            | Self::WrongZone
            | Self::Proxied
            | Self::CaaBlock
            | Self::Spreading => 1,
            Self::OurProblem => 2,
            Self::Issuing => 3,
            Self::Prepared => 4,
            Self::Deploying => 5,
            Self::Moved => 6,
            Self::AtRisk => 7,
            Self::Live => 8,
        }
    }
}
