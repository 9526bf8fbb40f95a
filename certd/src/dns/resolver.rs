//! Lookups over the network: hickory-resolver asks the resolvers, [`super::wire`] a zone's own servers. Nothing is
//! kept.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::Name;
use hickory_resolver::{ResolverBuilder, TokioResolver, system_conf};

use super::public::is_public;
use super::wire::{self, Manner, Reply, record_type, value};
use super::{Kind, Lookup, LookupError, Signatures, Value};
use crate::CertdError;

/// How long one server may take to answer one datagram; a lost one is sent once more.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Where authorities listen (RFC 1035 §4.2).
const PORT: u16 = 53;

/// The configured resolvers, or the system's.
pub struct Resolver {
    resolver: TokioResolver,
    /// The same, to be asked one question without the library.
    servers: Vec<SocketAddr>,
    /// Where some authorities are really asked.
    places: HashMap<IpAddr, SocketAddr>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    /// A resolver that asks `servers`, or the system's if there are none.
    ///
    /// # Errors
    /// [`CertdError::Resolver`] if the system's settings cannot be read.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, CertdError> {
        let mut builder = builder(servers).map_err(refused)?;
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        let servers = if servers.is_empty() { system_servers()? } else { servers.to_vec() };
        Ok(Self { resolver: builder.build().map_err(refused)?, servers, places: HashMap::new() })
    }

    /// Asks some authorities elsewhere than at port 53 of their address: for tests, whose servers have neither.
    #[must_use]
    pub fn with_places(self, places: HashMap<IpAddr, SocketAddr>) -> Self {
        Self { places, ..self }
    }
}

pub(super) fn refused(error: NetError) -> CertdError {
    CertdError::Resolver(error.to_string())
}

fn system_servers() -> Result<Vec<SocketAddr>, CertdError> {
    let (config, _) = system_conf::read_system_conf().map_err(refused)?;
    let address = |server: &NameServerConfig| {
        let port = server.connections.first().map_or(PORT, |connection| connection.port);
        SocketAddr::new(server.ip, port)
    };
    Ok(config.name_servers().iter().map(address).collect())
}

/// A resolver of either kind: asks once more when a datagram is lost, and keeps nothing, because whoever asks
/// knows for how long an answer is good.
pub(super) fn builder(servers: &[SocketAddr]) -> Result<ResolverBuilder<TokioRuntimeProvider>, NetError> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        TokioResolver::builder_with_config(configuration(servers), TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.cache_size = 0;
    options.attempts = 1;
    options.timeout = ATTEMPT;
    Ok(builder)
}

fn configuration(servers: &[SocketAddr]) -> ResolverConfig {
    let servers = servers.iter().map(|server| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = server.port();
            connection
        });
        NameServerConfig::new(server.ip(), true, connections.to_vec())
    });
    ResolverConfig::from_name_servers(servers.collect())
}

#[async_trait]
impl Lookup for Resolver {
    async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, LookupError> {
        let name = Name::from_ascii(format!("{name}."))
            .map_err(|error| LookupError::Failure(format!("`{name}`: {error}")))?;
        match self.resolver.lookup(name.clone(), record_type(kind)).await {
            // An alias leads to the servers of another zone.
            Ok(found) => Ok(found
                .answers()
                .iter()
                .filter(|record| kind != Kind::Ns || record.name == name)
                .filter_map(|record| value(&record.data, kind))
                .collect()),
            Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Ok(Vec::new()),
            Err(NetError::Dns(DnsError::ResponseCode(code))) => Err(LookupError::Failure(code.to_string())),
            Err(NetError::Timeout) => Err(LookupError::Timeout),
            Err(error) => Err(LookupError::Failure(error.to_string())),
        }
    }

    async fn ask(&self, server: IpAddr, name: &str, kind: Kind) -> Result<Reply, LookupError> {
        let server = match self.places.get(&server) {
            Some(place) => *place,
            None if is_public(server) => SocketAddr::new(server, PORT),
            // Whoever owns a domain says which addresses its servers have: none of ours is asked for strangers.
            None => return Err(LookupError::Timeout),
        };
        wire::ask(server, name, kind, Manner::Direct).await
    }

    async fn held(&self, name: &str, kind: Kind, signatures: Signatures) -> Result<Reply, LookupError> {
        let server = *self.servers.first().ok_or(LookupError::Timeout)?;
        let manner = match signatures {
            Signatures::Checked => Manner::Recursive,
            Signatures::Unchecked => Manner::Unchecked,
        };
        wire::ask(server, name, kind, manner).await
    }
}
