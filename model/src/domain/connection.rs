//! "Connect for me": the records of a creator's domain, set at its provider by the marketplace.
//!
//! What was asked for, how far it is and what was found; the sentences are in [`super::catalogue`]. Deliberately
//! absent: the credential (it is sealed and kept apart) and how a provider is spoken to (that is `certd`).

mod door;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::catalogue::Notice;
use super::{Actor, Authority, Fate};
use crate::id::DomainId;
use crate::{Host, Timestamp};

pub use door::{Door, DoorError};

/// How long records that were set can be taken back without giving the credential again. Then it is forgotten.
pub const UNDO_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a credential is kept of which no use was made: somebody looks at a preview.
pub const PREVIEW_WINDOW: Duration = Duration::from_secs(3600);

/// Providers whose records we can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Connector {
    /// PowerDNS's HTTP API, on a server that creators run or rent.
    PowerDns,
    /// Dynamic updates signed with TSIG (RFC 2136, RFC 8945).
    Rfc2136,
    /// Cloudflare's API.
    Cloudflare,
    /// DigitalOcean's API.
    DigitalOcean,
}

impl Connector {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::PowerDns, Self::Rfc2136, Self::Cloudflare, Self::DigitalOcean];

    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PowerDns => "powerdns",
            Self::Rfc2136 => "rfc2136",
            Self::Cloudflare => "cloudflare",
            Self::DigitalOcean => "digitalocean",
        }
    }

    /// As people know it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::PowerDns => "PowerDNS",
            Self::Rfc2136 => "your name server",
            Self::Cloudflare => "Cloudflare",
            Self::DigitalOcean => "DigitalOcean",
        }
    }

    /// Those that can be meant, by who keeps the domain's records. A company that we know is spoken to in its own
    /// way or not at all; servers of nobody that we know may be the creator's own.
    #[must_use]
    pub fn fitting(authority: &Authority) -> Vec<Self> {
        match &authority.provider {
            Some(provider) => provider.connect.into_iter().collect(),
            None if authority.servers.is_empty() => Self::ALL.to_vec(),
            None => vec![Self::PowerDns, Self::Rfc2136],
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// To be shown what would be changed.
    Preview,
    /// To set the records.
    Apply,
    /// To take them back.
    Undo,
}

impl Step {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preview => "preview",
            Self::Apply => "apply",
            Self::Undo => "undo",
        }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionStatus {
    /// The provider is being asked.
    Working,
    /// What would be changed is known; nothing was changed.
    Previewed,
    /// The records are set.
    Applied,
    /// The records were taken back.
    Undone,
    /// Nothing was changed, for the reason told.
    Failed,
    /// Some of the records are set, or not taken back.
    Incomplete,
}

/// Why a step did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// The credential is not accepted.
    Key,
    /// The zone is not there, or not for this credential.
    Zone,
    /// Somebody changed the records since the preview.
    Changed,
    /// Nobody answers, or we were asked to wait.
    Away,
    /// The provider does not take the change.
    Refused,
    /// Something that must not be touched is in the way.
    InTheWay,
    /// Somebody changed the records after us, so that they are not taken back.
    Others,
    /// The server's address is none on the internet.
    Unreachable,
}

/// What a step found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Findings {
    /// The zone that was looked at.
    pub zone: Option<Host>,
    /// What would be changed, or was.
    pub changes: Vec<RecordChange>,
    /// Whether records for e-mail were seen beside; none is ever touched.
    pub mail: bool,
    /// What went wrong.
    pub trouble: Option<Trouble>,
    /// The same in the words of the trade: the provider's answer, what is in the way, who changed what.
    pub details: Vec<String>,
    /// Whether taking records back was begun and is not known to be done: what is missing may be missing because of us.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

impl Findings {
    /// Whether a record would be made or deleted.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.changes.iter().any(|change| change.change != Fate::Keep)
    }
}

/// One record at a provider, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordChange {
    /// What becomes of it.
    pub change: Fate,
    /// Its type; providers have types of their own.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its full name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Who acts next, in one sentence.
#[must_use]
pub fn tell(
    (status, door): (ConnectionStatus, &Door),
    found: &Findings,
    undo_until: Option<Timestamp>,
    now: Timestamp,
) -> (Actor, String) {
    let notice = notice((status, door), found, undo_until);
    (notice.who(), notice.text(now))
}

fn notice<'a>(
    (status, door): (ConnectionStatus, &'a Door),
    found: &'a Findings,
    until: Option<Timestamp>,
) -> Notice<'a> {
    let provider = door.provider.label();
    match (status, found.trouble) {
        (ConnectionStatus::Working, _) => Notice::Working { provider },
        (ConnectionStatus::Incomplete, _) => Notice::HalfWay { provider },
        (_, Some(trouble)) => about(trouble, provider, found.zone.as_ref()),
        (ConnectionStatus::Previewed, None) if found.has_changes() => Notice::Ready,
        (ConnectionStatus::Previewed, None) => Notice::Complete,
        (ConnectionStatus::Applied, None) => Notice::Set { provider, until },
        (ConnectionStatus::Undone, None) => Notice::TakenBack,
        (ConnectionStatus::Failed, None) => Notice::NotTaken { provider },
    }
}

fn about<'a>(trouble: Trouble, provider: &'a str, zone: Option<&'a Host>) -> Notice<'a> {
    match trouble {
        Trouble::Key => Notice::BadKey { provider },
        Trouble::Zone => Notice::NoZone { provider, zone: zone.map_or("this domain", Host::as_str) },
        Trouble::Changed => Notice::Overtaken,
        Trouble::Away => Notice::NoAnswer { provider },
        Trouble::Refused => Notice::NotTaken { provider },
        Trouble::InTheWay => Notice::InTheWay { provider },
        Trouble::Others => Notice::LeftAlone { provider },
        Trouble::Unreachable => Notice::NotOnTheInternet,
    }
}

/// The context that a domain's credential is sealed in.
#[must_use]
pub fn credential_context(id: DomainId) -> String {
    format!("domain-connection/{id}")
}

#[cfg(test)]
mod tests {
    use super::super::Provider;
    use super::*;

    fn at(provider: Option<Provider>, servers: &[&str]) -> Authority {
        let servers = servers.iter().map(|name| (*name).to_owned()).collect();
        Authority { provider, servers, ..Authority::default() }
    }

    #[test]
    fn a_provider_is_spoken_to_in_its_own_way_or_not_at_all() {
        let known = |connect| Provider { connect, ..Provider::named("Somebody") };
        let cloudflare = at(Some(known(Some(Connector::Cloudflare))), &["a.ns.cloudflare.com"]);
        assert_eq!(Connector::fitting(&cloudflare), [Connector::Cloudflare]);
        assert_eq!(Connector::fitting(&at(Some(known(None)), &["ns1.gandi.net"])), []);
        let own = [Connector::PowerDns, Connector::Rfc2136];
        assert_eq!(Connector::fitting(&at(None, &["ns1.example.com"])), own);
        assert_eq!(Connector::fitting(&at(None, &[])), Connector::ALL);
    }

    #[test]
    fn the_word_in_json_is_the_word_in_code() {
        for connector in Connector::ALL {
            assert_eq!(serde_json::to_value(connector).unwrap(), connector.as_str());
        }
        for step in [Step::Preview, Step::Apply, Step::Undo] {
            assert_eq!(serde_json::to_value(step).unwrap(), step.as_str());
        }
    }
}
