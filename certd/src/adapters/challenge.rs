//! dns-01 (RFC 8555 §8.4): a text in a zone of ours, there before the authority looks, and gone afterwards.
//!
//! The text stands at `_acme-challenge.<host>` for names in the zone itself. A name elsewhere is proved by an
//! alias that its owner sets once, `_acme-challenge.<host>` to `<id>.acme.<zone>`, so that only our zone is ever
//! written. An authority that looks at a server which does not have the text yet fails the order: every
//! authoritative server is asked first.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use model::Host;
use model::acme::DNS01_LABEL as LABEL;
use model::id::DomainId;
use tokio::time::{Instant, sleep, timeout};

use super::record::{NameError, RecordName};
use super::{AdapterError, Zone};
use crate::dns::{self, Kind, Lookup, LookupError, Resolver, Signatures, Value};

/// Time to live of a text, in seconds: the shortest that every provider takes.
const TTL: u32 = 60;
/// How long the servers of a zone may take to show a text; managed ones take up to a minute.
pub const WAIT: Duration = Duration::from_secs(90);
/// Wait between two looks at a server.
const LOOK: Duration = Duration::from_millis(500);
/// Looks after which a text that is not shown is written again: another process may have overwritten it.
const REWRITE: usize = 20;
/// Most servers that are asked; a zone has two to eight.
const MAX_SERVERS: usize = 16;
/// Where name servers answer (RFC 1035 §4.2).
const PORT: u16 = 53;
/// Looks in a row without any answer after which a server counts as down.
const SILENCES: usize = 1;
/// How long a server may take to answer one look.
const ANSWER: Duration = Duration::from_secs(2);

/// A text at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Where it stands, in our zone.
    pub place: RecordName,
    /// What it says.
    pub text: String,
}

/// Why a proof is not to be seen.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// It could not be written.
    #[error(transparent)]
    Zone(#[from] AdapterError),
    /// The zone's name servers cannot be found.
    #[error(
        "the name servers of the zone `{zone}` cannot be found ({reason}): name them as acme.dns.name_servers"
    )]
    NoServers {
        /// The zone.
        zone: Host,
        /// What was said instead.
        reason: String,
    },
    /// A server does not show it in time.
    #[error("the name server {server} does not show `{place}` within {} s", .after.as_secs())]
    NotShown {
        /// The first of them.
        server: SocketAddr,
        /// What it does not show.
        place: RecordName,
        /// How long it was asked.
        after: Duration,
    },
}

/// A zone of ours where texts are written.
#[derive(Debug, Clone)]
pub struct Proofs {
    zone: Arc<dyn Zone>,
    name_servers: Vec<SocketAddr>,
    lookup: Arc<dyn Lookup>,
    wait: Duration,
}

impl Proofs {
    /// Writes into `zone` and waits, at most so long, for these name servers; none: those that the zone's NS
    /// records name.
    #[must_use]
    pub fn new(
        zone: Arc<dyn Zone>,
        name_servers: Vec<SocketAddr>,
        lookup: Arc<dyn Lookup>,
        wait: Duration,
    ) -> Self {
        Self { zone, name_servers, lookup, wait }
    }

    /// Whether a name's proof can stand in the zone itself.
    #[must_use]
    pub fn covers(&self, host: &Host) -> bool {
        host.is_within(self.zone.zone())
    }

    /// Where the proof for a name in the zone stands.
    ///
    /// # Errors
    /// [`NameError`] if the name is too long for the label.
    pub fn own(&self, host: &Host) -> Result<RecordName, NameError> {
        asked(host)
    }

    /// Where the proof for a creator's domain stands: what `_acme-challenge.<host>` must be an alias of.
    ///
    /// # Errors
    /// [`NameError`] if the zone's name is too long.
    pub fn delegate(&self, domain: DomainId) -> Result<RecordName, NameError> {
        RecordName::parse(&model::acme::delegate(domain, self.zone.zone()))
    }

    /// The alias that the owner of `host` has set for its proofs, if any. Asked for at the zone's own servers, so that
    /// nobody waits until a resolver forgets that there was none.
    ///
    /// # Errors
    /// [`LookupError`] if nobody can tell.
    pub async fn alias(&self, host: &Host) -> Result<Option<String>, LookupError> {
        match asked(host) {
            Ok(asked) => dns::alias_below(self.lookup.as_ref(), host, asked.as_str()).await,
            Err(_) => Ok(None),
        }
    }

    /// Writes a text beside those that are there.
    ///
    /// # Errors
    /// [`AdapterError`] tells what to do.
    pub async fn publish(&self, proof: &Proof) -> Result<(), AdapterError> {
        self.zone.append_text(&proof.place, &proof.text, TTL).await
    }

    /// Takes the text away and leaves the others.
    ///
    /// # Errors
    /// [`AdapterError`] tells what to do.
    pub async fn withdraw(&self, proof: &Proof) -> Result<(), AdapterError> {
        self.zone.remove_text(&proof.place, &proof.text).await
    }

    /// Waits until every name server that answers shows every text.
    ///
    /// # Errors
    /// [`ProofError`] after the bound, or if there is no server to ask.
    pub async fn wait(&self, proofs: &[Proof]) -> Result<(), ProofError> {
        let servers = self.servers().await?;
        let end = Instant::now() + self.wait;
        let mut silent = None;
        let mut answers = 0_usize;
        for server in servers {
            match self.wait_for(server, proofs, end).await? {
                Shown::Whole => answers += 1,
                Shown::Silence => silent = Some(server.address()),
            }
        }
        match (answers, silent, proofs.first()) {
            (0, Some(server), Some(proof)) => Err(self.not_shown(server, proof)),
            _ => Ok(()),
        }
    }

    /// A server that is down holds nothing up: the authority passes it over as well.
    async fn wait_for(&self, server: Server, proofs: &[Proof], end: Instant) -> Result<Shown, ProofError> {
        for proof in proofs {
            let (mut looks, mut silences) = (0_usize, 0_usize);
            loop {
                let found = timeout(ANSWER, server.texts(self.lookup.as_ref(), &proof.place)).await;
                match found.unwrap_or(Err(LookupError::Timeout)) {
                    Ok(found) if found.contains(&Value::Text(proof.text.clone())) => break,
                    Ok(_) => silences = 0,
                    Err(_) if silences >= SILENCES => return Ok(Shown::Silence),
                    Err(_) => silences += 1,
                }
                if Instant::now() >= end {
                    return Err(self.not_shown(server.address(), proof));
                }
                looks += 1;
                if looks.is_multiple_of(REWRITE) {
                    self.publish(proof).await?;
                }
                sleep(LOOK).await;
            }
        }
        Ok(Shown::Whole)
    }

    fn not_shown(&self, server: SocketAddr, proof: &Proof) -> ProofError {
        ProofError::NotShown { server, place: proof.place.clone(), after: self.wait }
    }

    /// Who is to be asked.
    async fn servers(&self) -> Result<Vec<Server>, ProofError> {
        if !self.name_servers.is_empty() {
            return Ok(self.name_servers.iter().copied().map(Server::Configured).collect());
        }
        let zone = self.zone.zone();
        let no_servers = |reason: String| ProofError::NoServers { zone: zone.clone(), reason };
        let found = self.lookup.records(zone.as_str(), Kind::Ns).await;
        let mut addresses = Vec::new();
        for server in found.map_err(|error| no_servers(error.to_string()))?.into_iter().take(MAX_SERVERS) {
            if let Value::Server(name) = server {
                addresses.extend(self.address_of(&name).await);
            }
        }
        if addresses.is_empty() {
            return Err(no_servers("its NS records lead to no address".to_owned()));
        }
        Ok(addresses.into_iter().map(Server::Found).collect())
    }

    /// IPv4 first: not every network has a way out for IPv6. A server without an address is nobody's to ask.
    async fn address_of(&self, name: &str) -> Option<IpAddr> {
        for kind in [Kind::A, Kind::Aaaa] {
            let found = self.lookup.records(name, kind).await.unwrap_or_default();
            let address = found.into_iter().find_map(|value| match value {
                Value::Address(address) => Some(address),
                _ => None,
            });
            if address.is_some() {
                return address;
            }
        }
        None
    }
}

/// A server of the zone.
#[derive(Debug, Clone, Copy)]
enum Server {
    Configured(SocketAddr),
    /// At the port of all name servers.
    Found(IpAddr),
}

impl Server {
    fn address(self) -> SocketAddr {
        match self {
            Self::Configured(address) => address,
            Self::Found(address) => SocketAddr::new(address, PORT),
        }
    }

    async fn texts(self, lookup: &dyn Lookup, place: &RecordName) -> Result<Vec<Value>, LookupError> {
        let reply = match self {
            Self::Configured(address) => {
                let server =
                    Resolver::new(&[address]).map_err(|error| LookupError::Failure(error.to_string()))?;
                server.held(place.as_str(), Kind::Txt, Signatures::Unchecked).await?
            }
            Self::Found(address) => lookup.ask(address, place.as_str(), Kind::Txt).await?,
        };
        Ok(reply.values)
    }
}

/// How a server stands to the texts.
enum Shown {
    Whole,
    /// It does not answer.
    Silence,
}

/// The text that proves possession of the account's key (RFC 8555 §8.4).
#[must_use]
pub fn text_of(key_authorization: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, key_authorization.as_bytes()))
}

/// The name that the authority asks for.
fn asked(host: &Host) -> Result<RecordName, NameError> {
    RecordName::parse(&format!("{LABEL}.{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_digest_of_the_key_authorization() {
        // echo -n token.thumbprint | openssl dgst -sha256 -binary | basenc --base64url
        assert_eq!(text_of("token.thumbprint"), "61rBZ_4knHblO0MNoxFsXZ_eTFUHum0B6IVRbhvUn5I");
    }
}
