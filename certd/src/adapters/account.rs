//! A zone at a provider with what opens it, as settings name it.

use std::path::PathBuf;
use std::sync::Arc;

use model::secret::Secret;
use model::{Clock, Host};

use super::{Algorithm, Cloudflare, DigitalOcean, Key, PowerDns, Rfc2136, Zone};
use crate::{CertdError, Guard};

/// Which provider, and what opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// PowerDNS's HTTP API.
    PowerDns {
        /// Where the API is: `https://…`, or `http://` on this machine.
        url: String,
        /// Its `api-key`.
        key: Secret,
        /// PEM file with trust anchors of the API beside the system's.
        ca_file: Option<PathBuf>,
    },
    /// Dynamic updates (RFC 2136).
    Rfc2136 {
        /// The zone's primary server, `host:port`.
        server: String,
        /// Name of the TSIG key.
        key_name: String,
        /// What it signs with.
        algorithm: Algorithm,
        /// The key, base64.
        secret: Secret,
    },
    /// Cloudflare.
    Cloudflare {
        /// An API token.
        token: Secret,
        /// Another address of the API than the provider's.
        url: Option<String>,
    },
    /// DigitalOcean.
    DigitalOcean {
        /// An API token.
        token: Secret,
        /// Another address of the API than the provider's.
        url: Option<String>,
    },
}

/// The zone at the account's provider. Nothing is asked yet.
///
/// # Errors
/// [`CertdError::Settings`] names what cannot be used.
pub fn open(zone: Host, account: &Account, clock: Arc<dyn Clock>) -> Result<Arc<dyn Zone>, CertdError> {
    Ok(match account {
        Account::PowerDns { url, key, ca_file } => {
            Arc::new(PowerDns::new(zone, url, key, ca_file.as_deref())?)
        }
        Account::Rfc2136 { server, key_name, algorithm, secret } => {
            let key = Key::new(key_name, *algorithm, secret)?;
            Arc::new(Rfc2136::new(zone, server, key, clock)?)
        }
        Account::Cloudflare { token, url } => Arc::new(Cloudflare::new(zone, token, url.as_deref())?),
        Account::DigitalOcean { token, url } => Arc::new(DigitalOcean::new(zone, token, url.as_deref())?),
    })
}

/// As [`open`], for a stranger: servers that the account names are connected to only if `guard` lets them through.
///
/// # Errors
/// As [`open`]; also an address that `guard` does not let through.
pub fn open_guarded(
    zone: Host,
    account: &Account,
    clock: Arc<dyn Clock>,
    guard: &Guard,
) -> Result<Arc<dyn Zone>, CertdError> {
    Ok(match account {
        Account::PowerDns { url, key, .. } => Arc::new(PowerDns::guarded(zone, url, key, guard)?),
        Account::Rfc2136 { server, key_name, algorithm, secret } => {
            let key = Key::new(key_name, *algorithm, secret)?;
            Arc::new(Rfc2136::new(zone, server, key, clock)?.guarded(guard.clone()))
        }
        // Where these are is not the stranger's to say.
        Account::Cloudflare { .. } | Account::DigitalOcean { .. } => open(zone, account, clock)?,
    })
}
