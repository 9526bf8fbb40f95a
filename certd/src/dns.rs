//! What a domain's records say: looked up with a bound, then judged by a pure function.
//!
//! The CNAME chain is followed hop by hop, so that it may leave the zone of the server that is asked, may be
//! circular and may be long. Nothing is cached here. Deliberately absent: CAA and DNSSEC (RFC 8659, 4033),
//! which the certificate authority checks.

mod addresses;
mod judge;
mod resolver;

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use model::domain::{PROOF_LABEL, Target};
use tokio::time::{Instant, timeout_at};

pub use addresses::Addresses;
pub use judge::judge;
pub use resolver::Resolver;

/// How long one look at a domain may take in all.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Most aliases that are followed; resolvers give up at about as many.
pub const MAX_HOPS: usize = 8;
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
}

/// The content of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of a CNAME: the name, lower case, without the last dot.
    Alias(String),
    /// Of an A or AAAA.
    Address(IpAddr),
    /// Of a TXT, its parts joined.
    Text(String),
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
    /// Aliases that lead back to one of them.
    #[error("the aliases of `{0}` lead in a circle")]
    Circle(String),
    /// More than [`MAX_HOPS`] aliases.
    #[error("`{0}` has more than 8 aliases one after the other")]
    TooLong(String),
}

/// Asks for the records of a name. The seam where tests put faults.
#[async_trait]
pub trait Lookup: Send + Sync + std::fmt::Debug + 'static {
    /// The records of exactly this name and kind; none: the name or the kind does not exist.
    ///
    /// # Errors
    /// [`LookupError`] if nobody can tell.
    async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, LookupError>;
}

/// What one look at a domain saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The names that the domain is an alias of, nearest first; as far as they could be followed.
    pub aliases: Vec<String>,
    /// Why the aliases could not be followed further.
    pub alias_error: Option<LookupError>,
    /// IPv4 addresses at the end of the aliases.
    pub v4: Result<Vec<IpAddr>, LookupError>,
    /// IPv6 addresses at the end of the aliases.
    pub v6: Result<Vec<IpAddr>, LookupError>,
    /// The texts at `_stoa.<host>`.
    pub texts: Result<Vec<String>, LookupError>,
}

/// Looks at a domain, at most [`TIMEOUT`] long; what was not answered by then counts as a timeout.
pub async fn observe(lookup: &dyn Lookup, target: &Target) -> Observation {
    let deadline = Instant::now() + TIMEOUT;
    let host = target.host.as_str();
    let proof = format!("{PROOF_LABEL}.{host}");
    let (chain, v4, v6, texts) = tokio::join!(
        follow(lookup, host, deadline),
        ask(lookup, host, Kind::A, deadline),
        ask(lookup, host, Kind::Aaaa, deadline),
        ask(lookup, &proof, Kind::Txt, deadline),
    );
    let (aliases, alias_error) = chain;
    Observation {
        aliases,
        alias_error,
        v4: v4.map(addresses),
        v6: v6.map(addresses),
        texts: texts.map(strings),
    }
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

/// Follows aliases from `host` on until there is none.
async fn follow(lookup: &dyn Lookup, host: &str, deadline: Instant) -> (Vec<String>, Option<LookupError>) {
    let mut aliases: Vec<String> = Vec::new();
    loop {
        let name = aliases.last().map_or(host, String::as_str);
        let next = match ask(lookup, name, Kind::Cname, deadline).await {
            Ok(values) => values.into_iter().find_map(|value| match value {
                Value::Alias(alias) => Some(alias),
                _ => None,
            }),
            Err(error) => return (aliases, Some(error)),
        };
        match next {
            None => return (aliases, None),
            Some(next) if next == host || aliases.contains(&next) => {
                return (aliases, Some(LookupError::Circle(host.to_owned())));
            }
            Some(_) if aliases.len() == MAX_HOPS => {
                return (aliases, Some(LookupError::TooLong(host.to_owned())));
            }
            Some(next) => aliases.push(next),
        }
    }
}

fn addresses(values: Vec<Value>) -> Vec<IpAddr> {
    let address = |value| if let Value::Address(address) = value { Some(address) } else { None };
    values.into_iter().filter_map(address).collect()
}

fn strings(values: Vec<Value>) -> Vec<String> {
    let text = |value| if let Value::Text(text) = value { Some(text) } else { None };
    values.into_iter().filter_map(text).collect()
}

#[cfg(test)]
mod tests;
