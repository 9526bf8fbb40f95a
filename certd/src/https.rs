//! TLS to servers on the internet that certd is a client of: whom it trusts, and how long a connection may take.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tower::Service;

use crate::{CertdError, Guard};

/// How long a connection may take, TLS excluded.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);
/// How long a request may take in all: a server that hangs must not hold our work.
pub(crate) const TOTAL: Duration = Duration::from_secs(30);

/// Whether a connection without TLS is made for `http://` addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clear {
    /// Refused.
    Never,
    /// Made; whoever allows it has checked that the address is on this machine, or in a network that it trusts.
    ToThisMachine,
}

/// Who finds the addresses of names.
#[derive(Debug, Clone)]
pub(crate) enum Finder {
    /// The system: the operator gave the name.
    System(GaiResolver),
    /// The guard: a stranger did.
    Guarded(Guard),
}

impl Finder {
    /// The system's.
    pub(crate) fn system() -> Self {
        Self::System(GaiResolver::new())
    }
}

impl Service<Name> for Finder {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        match self {
            Self::Guarded(guard) => guard.call(name),
            Self::System(system) => {
                let found = system.call(name);
                Box::pin(async move { Ok(found.await?.collect::<Vec<_>>().into_iter()) })
            }
        }
    }
}

/// More trust anchors than the system's: the setting that names a PEM file, and the file.
pub(crate) type Anchors<'a> = Option<(&'static str, &'a Path)>;

/// Connections that trust the system's roots and `anchors`.
///
/// # Errors
/// [`CertdError::Settings`] if the anchors cannot be read.
pub(crate) fn connector(
    anchors: Anchors<'_>,
    clear: Clear,
) -> Result<HttpsConnector<HttpConnector<Finder>>, CertdError> {
    connector_by(Finder::system(), anchors, clear)
}

/// As [`connector`], with somebody else to find addresses.
///
/// # Errors
/// As [`connector`].
pub(crate) fn connector_by(
    finder: Finder,
    anchors: Anchors<'_>,
    clear: Clear,
) -> Result<HttpsConnector<HttpConnector<Finder>>, CertdError> {
    let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| CertdError::Settings(format!("TLS: {error}")))?
        .with_root_certificates(roots(anchors)?)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new_with_resolver(finder);
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT));
    let https = HttpsConnectorBuilder::new().with_tls_config(tls);
    let https = match clear {
        Clear::Never => https.https_only(),
        Clear::ToThisMachine => https.https_or_http(),
    };
    Ok(https.enable_http1().wrap_connector(tcp))
}

fn roots(anchors: Anchors<'_>) -> Result<RootCertStore, CertdError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let Some((setting, path)) = anchors else { return Ok(roots) };
    let unusable = |what: String| CertdError::Settings(format!("{setting} `{}`: {what}", path.display()));
    let found = CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
    let mut count = 0_usize;
    for der in found {
        let der = der.map_err(|error| unusable(error.to_string()))?;
        roots.add(der).map_err(|error| unusable(error.to_string()))?;
        count += 1;
    }
    if count == 0 {
        Err(unusable("holds no certificate, write the server's root there as PEM".to_owned()))
    } else {
        Ok(roots)
    }
}
