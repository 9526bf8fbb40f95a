//! A visitor who trusts Pebble and wants a handshake.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

/// Longest that one handshake may take: on demand, an order is inside.
const HANDSHAKE: Duration = Duration::from_secs(90);
/// Time between two tries.
const AGAIN: Duration = Duration::from_millis(20);

pub(super) struct Visitor(TlsConnector);

impl Visitor {
    /// One who trusts these roots.
    pub(super) fn trusting(pem: &str) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(root?)?;
        }
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// One handshake.
    ///
    /// # Errors
    /// No certificate that is good for `host`.
    pub(super) async fn handshake(&self, host: &str, port: u16) -> anyhow::Result<()> {
        let shake = async {
            let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
            tcp.set_nodelay(true)?;
            self.0.connect(ServerName::try_from(host.to_owned())?, tcp).await?;
            anyhow::Ok(())
        };
        timeout(HANDSHAKE, shake).await?
    }

    /// Milliseconds until a handshake came about, however often it was tried.
    pub(super) async fn until_served(&self, host: &str, port: u16, bound: Duration) -> anyhow::Result<f64> {
        let begun = Instant::now();
        loop {
            let tried = self.handshake(host, port).await;
            match tried {
                Ok(()) => return Ok(begun.elapsed().as_secs_f64() * 1000.0),
                Err(error) if begun.elapsed() > bound => {
                    return Err(error.context(format!("{host} is not served")));
                }
                Err(_) => sleep(AGAIN).await,
            }
        }
    }
}
