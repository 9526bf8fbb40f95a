//! What a domain's records say: looked up with a bound, then judged by a pure function.
//!
//! The zone's own servers are asked first, each of them, so that nothing that somebody remembers stands in the way
//! ([`observe()`]); aliases are followed hop by hop, each at the servers of its own zone. The configured resolvers
//! find those servers, and are believed where they cannot be reached. Nothing is cached here.

mod addresses;
mod authority;
mod caa;
mod inspect;
mod judge;
mod observe;
mod providers;
mod public;
mod resolver;
mod standing;
mod wire;

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use model::Host;
use model::domain::{Authority, Claim, Routing, Target};
use tokio::time::{Instant, timeout_at};

pub use addresses::Addresses;
pub use authority::{Server, Zone};
pub use caa::{Issuer, Policy, Scope, permission, policy};
pub use inspect::Inspector;
pub use judge::{judge, shown};
pub(crate) use observe::sample;
pub use observe::{Observation, View, observe};
pub use providers::Providers;
pub(crate) use public::is_public;
pub use resolver::Resolver;
pub use standing::{Standing, standing};
pub use wire::Reply;

/// How long one look at a domain may take in all.
pub const TIMEOUT: Duration = Duration::from_secs(8);
/// Most aliases that are followed; resolvers give up at about as many.
pub const MAX_HOPS: usize = 10;
/// Most records of one name that are kept, since a stranger wrote them.
const MAX_RECORDS: usize = 64;

/// The types of records that are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An alias.
    Cname,
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// A text.
    Txt,
    /// A name server.
    Ns,
    /// Who takes mail.
    Mx,
    /// Who may make certificates.
    Caa,
}

/// The content of a record. Names are in lower case, without the last dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of a CNAME.
    Alias(String),
    /// Of an A or AAAA.
    Address(IpAddr),
    /// Of a TXT, its parts joined.
    Text(String),
    /// Of an NS.
    Server(String),
    /// Of an MX: preference and host.
    Mail(u16, String),
    /// Of a CAA (RFC 8659 §4.1).
    Permission {
        /// Whether who does not know the tag must refuse.
        critical: bool,
        /// `issue`, `issuewild`, …, in lower case.
        tag: String,
        /// What stands behind it.
        value: String,
    },
}

impl Value {
    fn into_address(self) -> Option<IpAddr> {
        if let Self::Address(address) = self { Some(address) } else { None }
    }

    fn into_text(self) -> Option<String> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn into_server(self) -> Option<String> {
        if let Self::Server(name) = self { Some(name) } else { None }
    }

    fn alias(&self) -> Option<&str> {
        if let Self::Alias(name) = self { Some(name) } else { None }
    }
}

/// Why a question has no answer, not even "there is nothing".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Nobody answered in time.
    #[error("the name servers do not answer")]
    Timeout,
    /// They answered with a failure, or with nonsense.
    #[error("the name servers answer with a failure: {0}")]
    Failure(String),
    /// A server does not keep the zone that was delegated to it.
    #[error("{0} does not know the domain that it is named for")]
    Lame(String),
    /// The answers do not fit their signatures (RFC 4035).
    #[error("the signatures of `{0}` are wrong (DNSSEC)")]
    Unsigned(String),
    /// Aliases that lead back to one of them.
    #[error("the aliases of `{0}` lead in a circle")]
    Circle(String),
    /// More than [`MAX_HOPS`] aliases.
    #[error("`{0}` has more than 10 aliases one after the other")]
    TooLong(String),
}

/// Whether a resolver checks signatures before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signatures {
    /// As it is set up.
    Checked,
    /// Not even if it usually does.
    Unchecked,
}

/// Asks for the records of a name. The seam where tests put faults.
#[async_trait]
pub trait Lookup: Send + Sync + std::fmt::Debug + 'static {
    /// The records of exactly this name and kind, found by a resolver; none: the name or the kind does not exist.
    ///
    /// # Errors
    /// [`LookupError`] if nobody can tell.
    async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, LookupError>;

    /// What one of a zone's own servers knows.
    ///
    /// # Errors
    /// [`LookupError`] if it does not answer, or with a failure.
    async fn ask(&self, server: IpAddr, name: &str, kind: Kind) -> Result<Reply, LookupError> {
        let _ = (server, name, kind);
        Err(LookupError::Timeout)
    }

    /// What a resolver answers, and for how long it remembers it.
    ///
    /// # Errors
    /// [`LookupError`] if it does not answer, or with a failure.
    async fn held(&self, name: &str, kind: Kind, signatures: Signatures) -> Result<Reply, LookupError> {
        let _ = signatures;
        Ok(Reply { values: self.records(name, kind).await?, ..Reply::default() })
    }
}

/// What one look at a domain's records and servers found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether it was proved to be its claimant's.
    pub claim: Claim,
    /// Where it points.
    pub routing: Routing,
    /// Who keeps its records.
    pub authority: Authority,
    /// For how long an old record is still remembered by the resolver.
    pub remembered: Option<Duration>,
}

/// Looks at a domain, at most [`TIMEOUT`] long.
pub async fn look(lookup: &dyn Lookup, providers: &Providers, target: &Target) -> Finding {
    understand(&observe(lookup, target).await, providers, target)
}

/// What an observation of a domain means.
#[must_use]
pub fn understand(seen: &Observation, providers: &Providers, target: &Target) -> Finding {
    let (claim, routing) = judge(seen, target);
    let authority = providers.authority(seen);
    Finding {
        claim,
        routing: providers.unmask(routing, seen, &authority),
        authority,
        remembered: seen.remembered_seconds.map(|seconds| Duration::from_secs(seconds.into())),
    }
}

/// What `name`, which lies below `host`, is an alias of, as the servers of that zone say; else as the resolver does.
pub(crate) async fn alias_below(
    lookup: &dyn Lookup,
    host: &Host,
    name: &str,
) -> Result<Option<String>, LookupError> {
    let question = (name, Kind::Cname);
    let found =
        authority::definitive_below(lookup, host.as_str(), question, Instant::now() + TIMEOUT).await?;
    Ok(found.iter().find_map(Value::alias).map(str::to_owned))
}

async fn ask(
    lookup: &dyn Lookup,
    name: &str,
    kind: Kind,
    deadline: Instant,
) -> Result<Vec<Value>, LookupError> {
    let answer = timeout_at(deadline, lookup.records(name, kind)).await;
    let mut values = answer.unwrap_or(Err(LookupError::Timeout))?;
    values.truncate(MAX_RECORDS);
    Ok(values)
}

#[cfg(test)]
mod tests;
