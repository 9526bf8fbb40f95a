//! Bare TLS handshakes: which certificate, protocol and key exchange came out, or which alert came back.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, HandshakeKind, NamedGroup, RootCertStore,
    SignatureScheme, SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::authority::Issued;

/// Longer than a handshake on loopback takes on a loaded machine.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Makes aws-lc-rs the provider of the test process; again does nothing.
pub fn install_provider() {
    // An error means that it is installed already.
    let _installed = aws_lc_rs::default_provider().install_default();
}

/// What a handshake settled.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The server's certificate, DER.
    pub leaf: CertificateDer<'static>,
    /// The protocol, e.g. `h2`.
    pub alpn: Option<String>,
    /// The key exchange group.
    pub group: Option<NamedGroup>,
}

impl Settled {
    /// The issuer of the certificate as text.
    ///
    /// # Errors
    /// If the certificate cannot be read.
    pub fn issuer(&self) -> Result<String> {
        Ok(parse(&self.leaf)?.issuer().to_string())
    }

    /// The serial number in hexadecimal, as the store has it.
    ///
    /// # Errors
    /// If the certificate cannot be read.
    pub fn serial(&self) -> Result<String> {
        model::chain::serial_of(&self.leaf).context("the certificate cannot be read")
    }

    /// The DNS names of the certificate.
    ///
    /// # Errors
    /// If the certificate cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        let leaf = parse(&self.leaf)?;
        let Some(names) = leaf.subject_alternative_name()? else { return Ok(Vec::new()) };
        let dns = |name: &x509_parser::extensions::GeneralName<'_>| match name {
            x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        };
        Ok(names.value.general_names.iter().filter_map(dns).collect())
    }
}

fn parse<'a>(leaf: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>> {
    Ok(X509Certificate::from_der(leaf).context("the server's certificate cannot be read")?.1)
}

/// A TLS client.
#[derive(Debug, Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trusts the roots in `pem` and checks name, chain and time. Offers `h2` and `http/1.1`.
    ///
    /// # Errors
    /// If `pem` holds no certificates.
    pub fn trusting(pem: &str) -> Result<Self> {
        Self::trusting_in(pem, rustls::DEFAULT_VERSIONS)
    }

    /// The same in these versions of TLS only.
    ///
    /// # Errors
    /// If `pem` holds no certificates.
    pub fn trusting_in(pem: &str, versions: &[&'static SupportedProtocolVersion]) -> Result<Self> {
        install_provider();
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(root?)?;
        }
        let builder = ClientConfig::builder_with_protocol_versions(versions);
        Ok(Self::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }

    /// The same client with a memory of its sessions: it resumes them where the server lets it.
    #[must_use]
    pub fn remembering(&self) -> Self {
        let mut config = ClientConfig::clone(&self.0);
        config.resumption = rustls::client::Resumption::in_memory_sessions(32);
        Self(Arc::new(config))
    }

    /// The same client with the same memory, which shows a certificate when it is asked for one.
    ///
    /// # Errors
    /// If the key is none.
    pub fn showing(&self, issued: &Issued) -> Result<Self> {
        let key = aws_lc_rs::sign::any_supported_type(&issued.key)?;
        let certified = CertifiedKey::new(vec![issued.der.clone()], key);
        let mut config = ClientConfig::clone(&self.0);
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
        Ok(Self(Arc::new(config)))
    }

    /// Takes any certificate, to look at it.
    #[must_use]
    pub fn trusting_anyone() -> Self {
        Self::verified_by(Anyone { provider: aws_lc_rs::default_provider(), checks_signature: true })
    }

    /// As [`Self::trusting_anyone`], with one group for the key exchange.
    #[must_use]
    pub fn trusting_anyone_by(group: NamedGroup) -> Self {
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups.retain(|known| known.name() == group);
        Self::verified_by(Anyone { provider, checks_signature: true })
    }

    /// Takes anything, the signature of the handshake included: for certificates with a critical extension, which
    /// the library does not even read (RFC 8737).
    #[must_use]
    pub fn checking_nothing() -> Self {
        Self::verified_by(Anyone { provider: aws_lc_rs::default_provider(), checks_signature: false })
    }

    #[expect(clippy::expect_used, reason = "the library's own versions suit its own provider")]
    fn verified_by(verifier: Anyone) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(verifier.provider.clone()));
        let config =
            config.with_protocol_versions(rustls::DEFAULT_VERSIONS).expect("the versions have suites");
        let config = config.dangerous();
        Self::new(config.with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
    }

    /// No resumption: each handshake shows the certificate anew.
    fn new(mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Self(Arc::new(config))
    }

    /// The same client, offering other protocols.
    #[must_use]
    pub fn offering(&self, protocols: &[&str]) -> Self {
        let mut config = ClientConfig::clone(&self.0);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Self(Arc::new(config))
    }

    /// A connection for `name`.
    ///
    /// # Errors
    /// If the handshake fails; [`alert`] finds the server's alert in it.
    pub async fn connect(&self, address: SocketAddr, name: &str) -> io::Result<TlsStream<TcpStream>> {
        let connect = tokio::time::timeout(TIMEOUT, TcpStream::connect(address)).await;
        self.secure(connect.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?, name).await
    }

    /// A handshake for `name` over a connection that is there.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn secure(&self, tcp: TcpStream, name: &str) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        tcp.set_nodelay(true)?;
        let handshake = TlsConnector::from(Arc::clone(&self.0)).connect(name, tcp);
        tokio::time::timeout(TIMEOUT, handshake).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// A handshake for `name`, one request in HTTP/1.0 for `host`, and the whole answer: so the session's
    /// tickets were read too.
    ///
    /// # Errors
    /// If the handshake fails, or the connection breaks; [`alert`] finds the server's alert in it.
    pub async fn ask(
        &self,
        address: SocketAddr,
        name: &str,
        host: &str,
    ) -> io::Result<(HandshakeKind, String)> {
        let mut stream = self.offering(&["http/1.1"]).connect(address, name).await?;
        let request = format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n");
        let exchange = async {
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = tokio::time::timeout(TIMEOUT, exchange).await;
        let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        let kind = stream.get_ref().1.handshake_kind();
        Ok((kind.ok_or_else(|| io::Error::other("the handshake is not done"))?, answer))
    }

    /// A handshake for `name`, closed at once.
    ///
    /// # Errors
    /// If the handshake fails; [`alert`] finds the server's alert in it.
    pub async fn handshake(&self, address: SocketAddr, name: &str) -> io::Result<Settled> {
        let stream = self.connect(address, name).await?;
        let (_, session) = stream.get_ref();
        let leaf = session.peer_certificates().and_then(<[_]>::first).cloned();
        Ok(Settled {
            leaf: leaf.ok_or_else(|| io::Error::other("the server showed no certificate"))?,
            alpn: session.alpn_protocol().map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
            group: session.negotiated_key_exchange_group().map(|group| group.name()),
        })
    }
}

/// The alert that ended a handshake, if it was one.
#[must_use]
pub fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// Accepts every certificate.
#[derive(Debug)]
struct Anyone {
    provider: CryptoProvider,
    /// Whether the signature of the handshake has to be the certificate's.
    checks_signature: bool,
}

impl Anyone {
    fn check(
        &self,
        verify: impl FnOnce(&WebPkiSupportedAlgorithms) -> Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.checks_signature {
            verify(&self.provider.signature_verification_algorithms)
        } else {
            Ok(HandshakeSignatureValid::assertion())
        }
    }
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check(|algorithms| verify_tls12_signature(message, leaf, signature, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check(|algorithms| verify_tls13_signature(message, leaf, signature, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
