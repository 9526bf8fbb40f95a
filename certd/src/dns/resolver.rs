//! Lookups over the network with hickory-resolver: UDP, then TCP, nothing kept.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{ResolverBuilder, TokioResolver};

use super::{Kind, Lookup, LookupError, Value};
use crate::CertdError;

/// How long one server may take to answer one datagram; a lost one is sent once more.
const ATTEMPT: Duration = Duration::from_secs(2);

/// The configured resolvers, or the system's.
pub struct Resolver(TokioResolver);

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
        builder.build().map(Self).map_err(refused)
    }
}

pub(super) fn refused(error: NetError) -> CertdError {
    CertdError::Resolver(error.to_string())
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
        match self.0.lookup(name, record_type(kind)).await {
            Ok(found) => Ok(found.answers().iter().filter_map(|record| value(&record.data, kind)).collect()),
            Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Ok(Vec::new()),
            Err(NetError::Dns(DnsError::ResponseCode(code))) => Err(LookupError::Failure(code.to_string())),
            Err(NetError::Timeout) => Err(LookupError::Timeout),
            Err(error) => Err(LookupError::Failure(error.to_string())),
        }
    }
}

fn record_type(kind: Kind) -> RecordType {
    match kind {
        Kind::Cname => RecordType::CNAME,
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Txt => RecordType::TXT,
    }
}

/// The content of a record of the wanted kind; answers carry the aliases on the way as well.
fn value(data: &RData, kind: Kind) -> Option<Value> {
    match (data, kind) {
        (RData::CNAME(name), Kind::Cname) => {
            Some(Value::Alias(name.to_ascii().to_ascii_lowercase().trim_end_matches('.').to_owned()))
        }
        (RData::A(address), Kind::A) => Some(Value::Address(address.0.into())),
        (RData::AAAA(address), Kind::Aaaa) => Some(Value::Address(address.0.into())),
        (RData::TXT(text), Kind::Txt) => {
            let joined: Vec<u8> = text.txt_data.iter().flat_map(|part| part.iter().copied()).collect();
            Some(Value::Text(String::from_utf8_lossy(&joined).into_owned()))
        }
        _ => None,
    }
}
