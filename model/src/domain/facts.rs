//! What is known of a domain: five facts (claim, routing, authority, certification, presence) and the policy.
//!
//! They are stored as JSON. A field or a value that came later has a default, so that older rows are still read.

use serde::{Deserialize, Serialize};

use super::{Provider, Record};
use crate::{Host, Timestamp};

/// Whether the domain was proved to be its claimant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// Not yet seen.
    Unproved,
    /// The unique CNAME target or the TXT proof was seen.
    Proved,
    /// Another account has it, or had it until lately.
    Contested,
    /// It was given up by its claimant, who may come back.
    Released,
}

/// Where the domain's records point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "value")]
pub enum Routing {
    /// Not looked up yet.
    Unknown,
    /// No record at all.
    Absent,
    /// The right record, but under a name that nobody asks for.
    Misplaced {
        /// The name, e.g. `shop.example.com.example.com`.
        name: String,
    },
    /// Something that is not ours; `found` is what.
    Elsewhere {
        /// The record as text, e.g. `A 192.0.2.1`.
        found: String,
    },
    /// To us, and somewhere else as well; `found` is what is left over.
    Partial {
        /// The record as text, e.g. `AAAA 2001:db8::1`.
        found: String,
    },
    /// A proxy of the domain's own provider stands in front, so that the record behind it is not seen.
    Proxied {
        /// Whose, e.g. `Cloudflare`.
        by: String,
    },
    /// The name servers do not answer, or answer with a failure.
    Broken {
        /// What happened, for the details.
        reason: String,
    },
    /// Some of the domain's name servers point to us, others do not yet.
    Spreading {
        /// One that does not.
        late: String,
        /// How long its old answer holds at most, in seconds.
        seconds: u32,
    },
    /// Points to us.
    Here,
}

/// How well the domain's own name servers work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nobody looked, or they could not be found.
    #[default]
    Unknown,
    /// They answer.
    Sound,
    /// They do not answer.
    Silent,
    /// They answer that they fail.
    Failing,
    /// They do not know the domain that they are named for.
    Lame,
    /// Their answers do not fit the signatures that were published for them (DNSSEC).
    Unsigned,
    /// Its aliases lead back to themselves, or there are too many.
    Circular,
    /// The domain has no name servers: it was never bought, or has run out.
    Unregistered,
    /// The domain names other servers as its own than the registry does.
    Split,
}

/// The domain's own name servers, as they were last seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Authority {
    /// How well they work.
    pub health: Health,
    /// The zone that they keep, e.g. `example.com` for `shop.example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Host>,
    /// Their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// Who runs them, as far as we know them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Who runs the servers that [`Health::Split`] found beside them: the records there are seen by nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<String>,
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

/// A CAA record (RFC 8659) that keeps our certificate authority from making a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forbidden {
    /// The authority that the records name, e.g. `pki.goog`; none: they name nobody.
    pub allowed: Option<String>,
    /// Where the records are.
    pub name: Host,
    /// The value of the record to add, e.g. `0 issue "letsencrypt.org"`.
    pub add: String,
}

/// A wildcard that cannot be proved: its records only prove it, since nobody can visit all its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unprovable {
    /// The record that is missing; none: what is missing is on our side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
}

/// Two accounts want the same name: how this one stands. It is not looked up, but known at the time of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "value")]
pub enum Contest {
    /// Another one has the name; this one has not shown yet that it is its own.
    Asked,
    /// This one has shown it: the name moves here then, unless its holder shows the same.
    Waiting {
        /// When it moves.
        until: Timestamp,
    },
    /// It came to nothing: the name stays where it is.
    Refused {
        /// Why.
        cause: Refusal,
    },
    /// This one had the name, which moved to another one that showed that it is theirs.
    Lost,
    /// This one has the name, which moves to another one then, unless this one shows anew that it is its own.
    Challenged {
        /// When it moves.
        until: Timestamp,
    },
}

/// Why a claim of a name came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The holder has shown that it is theirs.
    Proved,
    /// The operator has said so.
    Decided,
    /// It was not confirmed until the end of its wait, too often.
    Lapsed,
}

/// What the edges show to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// No handshake has shown the certificate yet.
    Absent,
    /// A handshake from outside showed the certificate.
    Verified,
}

/// What the marketplace says of the domain. It is not looked up, but known at the time of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// It may be served.
    #[default]
    Allowed,
    /// Its account is suspended.
    Suspended,
    /// No creator can own such a name.
    Refused,
}

/// Everything we know of a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Whose it is.
    pub claim: Claim,
    /// Where it points.
    pub routing: Routing,
    /// Who keeps its records.
    #[serde(default)]
    pub authority: Authority,
    /// Its certificate.
    pub certification: Certification,
    /// What keeps our authority from making one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forbidden: Option<Forbidden>,
    /// What is missing to prove a wildcard to our authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unprovable: Option<Unprovable>,
    /// What is served.
    pub presence: Presence,
    /// What the marketplace says of it.
    #[serde(default)]
    pub policy: Policy,
    /// When the routing was last looked up.
    pub checked_at: Option<Timestamp>,
    /// Since when a domain that was live has not pointed to us. It ends when the domain points here and its
    /// proof was seen again; pointing here alone does not end it.
    pub away_since: Option<Timestamp>,
    /// Until when some visitors may still be sent to where an old record pointed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_until: Option<Timestamp>,
    /// Until when a name that was given up is kept for whoever had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<Timestamp>,
    /// How long it is from one look to the next for now, in seconds; none: a few seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_every_seconds: Option<u32>,
    /// Who else wants the name.
    #[serde(skip)]
    pub contest: Option<Contest>,
    /// End of the certificate that serves it, if its owner uploaded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploaded_until: Option<Timestamp>,
}

impl Facts {
    /// What is known of a domain that was just added: nothing.
    #[must_use]
    pub const fn unknown() -> Self {
        Self {
            claim: Claim::Unproved,
            routing: Routing::Unknown,
            authority: Authority {
                health: Health::Unknown,
                zone: None,
                servers: Vec::new(),
                provider: None,
                stale: None,
            },
            certification: Certification::None,
            forbidden: None,
            unprovable: None,
            presence: Presence::Absent,
            policy: Policy::Allowed,
            checked_at: None,
            away_since: None,
            old_until: None,
            kept_until: None,
            look_every_seconds: None,
            contest: None,
            uploaded_until: None,
        }
    }

    /// Until when a valid certificate is there.
    #[must_use]
    pub fn certified_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.certification {
            Certification::Ready { not_after } if not_after > now => Some(not_after),
            _ => None,
        }
    }
}
