//! What can go wrong at a provider, sorted by what is done about it. Each message names the provider, the zone
//! and what to do, and never a credential.

use std::fmt;
use std::time::Duration;

use model::Host;

use super::plan::{Change, Obstacle};

/// Who runs a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// PowerDNS's HTTP API.
    PowerDns,
    /// A server that takes dynamic updates (RFC 2136).
    Rfc2136,
    /// Cloudflare.
    Cloudflare,
    /// DigitalOcean.
    DigitalOcean,
}

impl Provider {
    /// What opens it.
    fn credential(self) -> &'static str {
        match self {
            Self::PowerDns => "API key",
            Self::Rfc2136 => "TSIG key",
            Self::Cloudflare | Self::DigitalOcean => "API token",
        }
    }

    /// What the credential must allow.
    fn remedy(self) -> &'static str {
        match self {
            Self::PowerDns => "give the `api-key` of its configuration",
            Self::Rfc2136 => {
                "check name, algorithm and secret, and that the server lets this key update the zone"
            }
            Self::Cloudflare => "give a token with the permissions Zone:Read and DNS:Edit for this zone",
            Self::DigitalOcean => "give a token with the scopes to read, create, update and delete domains",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PowerDns => "PowerDNS",
            Self::Rfc2136 => "the DNS server",
            Self::Cloudflare => "Cloudflare",
            Self::DigitalOcean => "DigitalOcean",
        })
    }
}

/// Why a zone could not be read or changed.
#[derive(Debug, Clone, thiserror::Error)]
pub struct AdapterError {
    /// Who said so.
    pub provider: Provider,
    /// About which zone.
    pub zone: Host,
    /// What happened.
    pub fault: Fault,
}

/// What happened, by what is done about it.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Give another credential.
    Credential {
        /// In the provider's words.
        reason: String,
    },
    /// The zone is not there, or not for this credential.
    ZoneMissing,
    /// Ask again later.
    Limited {
        /// How long to wait, if the provider says so.
        retry_after: Option<Duration>,
    },
    /// Nobody answers, or a failure that may pass.
    Away {
        /// What happened.
        reason: String,
    },
    /// The provider does not take this change.
    Refused {
        /// In the provider's words.
        reason: String,
    },
    /// The zone is not as it was when it was looked at: look again.
    Changed {
        /// What has changed, if it can be told.
        what: String,
    },
    /// Something must not be touched and is in the way.
    Blocked(Box<Obstacle>),
    /// An answer that makes no sense.
    Nonsense {
        /// What was wrong with it.
        reason: String,
    },
}

impl Fault {
    /// Whether what was asked for is certainly not done: otherwise it may be done although nobody said so, also later.
    pub(crate) const fn is_refusal(&self) -> bool {
        match self {
            Self::Credential { .. }
            | Self::ZoneMissing
            | Self::Limited { .. }
            | Self::Refused { .. }
            | Self::Changed { .. }
            | Self::Blocked(_) => true,
            Self::Away { .. } | Self::Nonsense { .. } => false,
        }
    }
}

impl fmt::Display for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (provider, zone) = (self.provider, &self.zone);
        let credential = provider.credential();
        match &self.fault {
            Fault::Credential { reason } => {
                let remedy = provider.remedy();
                write!(f, "{provider} refuses the {credential} for the zone `{zone}` ({reason}): {remedy}")
            }
            Fault::ZoneMissing => write!(
                f,
                "{provider} has no zone `{zone}` for this {credential}: check the zone's name, and that the {credential} may see it"
            ),
            Fault::Limited { retry_after: Some(wait) } => {
                write!(
                    f,
                    "{provider} asks to wait {} s before the zone `{zone}` is asked for again",
                    wait.as_secs()
                )
            }
            Fault::Limited { retry_after: None } => {
                write!(f, "{provider} asks to wait before the zone `{zone}` is asked for again: try later")
            }
            Fault::Away { reason } => {
                write!(f, "{provider} cannot be reached for the zone `{zone}` ({reason}): try again later")
            }
            Fault::Refused { reason } => {
                write!(f, "{provider} refuses the change of the zone `{zone}`: {reason}")
            }
            Fault::Changed { what } => {
                write!(f, "the zone `{zone}` was changed meanwhile ({what}): look at a new preview")
            }
            Fault::Blocked(obstacle) => write!(f, "the zone `{zone}` is left as it is: {obstacle}"),
            Fault::Nonsense { reason } => {
                write!(f, "{provider} gives an answer about the zone `{zone}` that makes no sense: {reason}")
            }
        }
    }
}

/// A change that was not brought to its end. [`super::Plan::applied`] undoes whatever of it is there.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}; what may remain in the zone: {}", listed(.remains))]
pub struct Interrupted {
    /// What stopped it.
    pub error: AdapterError,
    /// What may be in the zone although it should not; empty: the zone is as it was.
    pub remains: Vec<Change>,
}

fn listed(changes: &[Change]) -> String {
    let lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
    if lines.is_empty() { "nothing".to_owned() } else { lines.join("; ") }
}
