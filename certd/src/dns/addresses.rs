//! The addresses of a name as programs look for them: the hosts file, `localhost` and the search list first,
//! aliases followed, and how long the answer holds. For the backends of apps; creators' domains are looked at
//! record by record ([`super::observe`]). The hosts file is read at the start.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use hickory_resolver::net::{DnsError, NetError};

use super::LookupError;
use super::resolver::{builder, refused};
use crate::CertdError;

/// Looks addresses up.
pub struct Addresses(TokioResolver);

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Addresses")
    }
}

impl Addresses {
    /// Asks `servers`, or the system's if there are none.
    ///
    /// # Errors
    /// [`CertdError::Resolver`] if the system's settings cannot be read.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, CertdError> {
        let mut builder = builder(servers).map_err(refused)?;
        let options = builder.options_mut();
        options.use_hosts_file = ResolveHosts::Always;
        // IPv4 first: many networks that have names with both have no way out for IPv6.
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        builder.build().map(Self).map_err(refused)
    }

    /// The addresses of `name`, and how long they hold.
    ///
    /// # Errors
    /// [`LookupError`] if it has none, or nobody can tell.
    pub async fn of(&self, name: &str) -> Result<(Vec<IpAddr>, Duration), LookupError> {
        let found = match self.0.lookup_ip(name).await {
            Ok(found) => found,
            Err(NetError::Timeout) => return Err(LookupError::Timeout),
            Err(NetError::Dns(DnsError::NoRecordsFound(_))) => {
                return Err(LookupError::Failure(format!("`{name}` has no address")));
            }
            Err(error) => return Err(LookupError::Failure(error.to_string())),
        };
        let holds = found.as_lookup().answers().iter().map(|record| record.ttl).min().unwrap_or(0);
        Ok((found.iter().collect(), Duration::from_secs(holds.into())))
    }
}
