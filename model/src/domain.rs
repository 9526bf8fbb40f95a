//! A creator's own domain: the facts we know of it, and the one status and one next action they mean.
//!
//! Only [`derive`] speaks to creators. It is pure and total: the same facts at the same time give the same
//! status. What is deliberately absent: how a fact was found (that is `certd`) and where it is kept.

mod derive;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::host::Host;

pub use derive::{GRACE, derive};

/// Prefix of the label that proves ownership by a TXT record: `_stoa.<host>`.
pub const PROOF_LABEL: &str = "_stoa";

/// Whether the domain was proved to be its claimant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// Not yet seen.
    Unproved,
    /// The unique CNAME target or the TXT proof was seen.
    Proved,
}

/// Where the domain's records point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "value")]
pub enum Routing {
    /// Not looked up yet.
    Unknown,
    /// No record at all.
    Absent,
    /// Something that is not ours; `found` is what.
    Elsewhere {
        /// The record as text, e.g. `A 192.0.2.1`.
        found: String,
    },
    /// The name servers do not answer, or answer with a failure.
    Broken {
        /// What happened, for the details.
        reason: String,
    },
    /// Points to us.
    Here,
}

/// How far the certificate is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "value")]
pub enum Certification {
    /// None, and none asked for.
    None,
    /// An order is under way.
    Ordering,
    /// The last try failed.
    Failing {
        /// The reason, for the details.
        reason: String,
        /// When it is tried again.
        retry_at: Timestamp,
    },
    /// A valid certificate is there, until then.
    Ready {
        /// End of validity.
        not_after: Timestamp,
    },
}

/// What the edges show to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// No handshake has shown the certificate yet.
    Absent,
    /// A handshake from outside showed the certificate.
    Verified,
}

/// Everything we know of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Whose it is.
    pub claim: Claim,
    /// Where it points.
    pub routing: Routing,
    /// Its certificate.
    pub certification: Certification,
    /// What is served.
    pub presence: Presence,
    /// When the routing was last looked up.
    pub checked_at: Option<Timestamp>,
    /// Since when a domain that was live has not pointed to us. It ends when the domain points here and its
    /// proof was seen again; pointing here alone does not end it.
    pub away_since: Option<Timestamp>,
}

impl Facts {
    /// What is known of a domain that was just added: nothing.
    #[must_use]
    pub const fn unknown() -> Self {
        Self {
            claim: Claim::Unproved,
            routing: Routing::Unknown,
            certification: Certification::None,
            presence: Presence::Absent,
            checked_at: None,
            away_since: None,
        }
    }
}

/// The one status of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainStatus {
    /// The creator must add a record.
    NeedsDns,
    /// The creator must remove or change a record.
    Conflict,
    /// The domain's own name servers fail.
    DnsBroken,
    /// The certificate is being made.
    Issuing,
    /// The certificate cannot be made for now, and it is not the creator's fault.
    OurProblem,
    /// The certificate is on its way to the edges.
    Deploying,
    /// Served, with a padlock.
    Live,
    /// Still served, but the record changed.
    AtRisk,
    /// Gone for longer than the grace.
    Moved,
}

impl DomainStatus {
    /// The word in JSON and SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NeedsDns => "needs_dns",
            Self::Conflict => "conflict",
            Self::DnsBroken => "dns_broken",
            Self::Issuing => "issuing",
            Self::OurProblem => "our_problem",
            Self::Deploying => "deploying",
            Self::Live => "live",
            Self::AtRisk => "at_risk",
            Self::Moved => "moved",
        }
    }
}

/// Who must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The creator.
    You,
    /// The marketplace.
    Us,
    /// Nobody: time must pass.
    Nobody,
}

/// The one next step, in plain words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextAction {
    /// Who acts.
    pub who: Actor,
    /// One sentence of at most 25 words, without jargon.
    pub text: String,
    /// The record to add or change, if that is the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
}

/// A DNS record as a provider's form asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `CNAME`, `A`, `AAAA` or `TXT`.
    #[serde(rename = "type")]
    pub kind: RecordKind,
    /// The full name.
    pub name: String,
    /// The value.
    pub value: String,
}

/// Types of records that we ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordKind {
    /// An alias.
    Cname,
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// A text.
    Txt,
}

/// What a creator may point a domain at, unique for each domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The domain itself.
    pub host: Host,
    /// The CNAME target: nobody else's domain may point here to be served.
    pub cname: Host,
    /// The value of the TXT record at `_stoa.<host>`.
    pub proof: String,
    /// Addresses of the edges, for domains that cannot have a CNAME record.
    pub addresses: Vec<std::net::IpAddr>,
}

impl Target {
    /// Every record that connects the domain: the CNAME, or else the addresses with the TXT proof.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let mut records = vec![self.cname_record()];
        records.extend(self.addresses.iter().map(|address| Record {
            kind: if address.is_ipv4() { RecordKind::A } else { RecordKind::Aaaa },
            name: self.host.to_string(),
            value: address.to_string(),
        }));
        if !self.addresses.is_empty() {
            let name = format!("{PROOF_LABEL}.{}", self.host);
            records.push(Record { kind: RecordKind::Txt, name, value: self.proof.clone() });
        }
        records
    }

    /// The record that we recommend.
    #[must_use]
    pub fn cname_record(&self) -> Record {
        Record { kind: RecordKind::Cname, name: self.host.to_string(), value: self.cname.to_string() }
    }
}
