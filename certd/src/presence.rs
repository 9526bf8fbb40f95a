//! A look from outside: which certificate an edge shows for a name.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::{Host, chain};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::CertdError;

/// How long a handshake may take in all.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Shakes hands with the edge at one address.
#[derive(Clone)]
pub(crate) struct Probe {
    address: SocketAddr,
    connector: TlsConnector,
}

impl Probe {
    pub(crate) fn new(address: SocketAddr) -> Result<Self, CertdError> {
        let provider = Arc::new(default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| CertdError::Settings(format!("TLS: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyIssuer(provider)))
            .with_no_client_auth();
        Ok(Self { address, connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Serial number of the certificate that is shown for `host`; none: no handshake came about.
    pub(crate) async fn serial(&self, host: &Host) -> Option<String> {
        tokio::time::timeout(TIMEOUT, self.shake(host)).await.ok().flatten()
    }

    async fn shake(&self, host: &Host) -> Option<String> {
        let name = ServerName::try_from(host.as_str().to_owned()).ok()?;
        let tcp = TcpStream::connect(self.address).await.ok()?;
        let tls = self.connector.connect(name, tcp).await.ok()?;
        let (_, connection) = tls.get_ref();
        connection.peer_certificates()?.first().and_then(|leaf| chain::serial_of(leaf))
    }
}

/// Takes any certificate, since it is compared with the one we made; the handshake's own signature is
/// checked, so that the edge shows that it has the key.
#[derive(Debug)]
struct AnyIssuer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyIssuer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
