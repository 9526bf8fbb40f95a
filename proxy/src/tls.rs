//! TLS towards visitors: one configuration for all names, the certificate chosen by SNI; and one more for each
//! name that asks for client certificates ([`crate::client_auth`]).
//!
//! TLS 1.2 and 1.3, aws-lc-rs with X25519MLKEM768, ALPN h2 and http/1.1. Sessions are resumed by tickets
//! that any edge can read ([`crate::tickets`]); there is no session cache and no early data (RFC 8446 §8). A
//! visitor that asks for no name, or for one without a certificate, gets the alert `unrecognized_name` (RFC 6066
//! §3) and nothing else.

use std::io;
use std::sync::Arc;

use model::client_ca::ClientCa;
use model::{Clock, Host};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{Acceptor, ClientHello, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{CipherSuite, ProtocolVersion, RootCertStore, ServerConfig};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use crate::acme::alpn;
use crate::client_auth::{ClientAuth, Proof};
use crate::client_hello;
use crate::connection::{Settled, Wire};
use crate::sni::Certificates;
use crate::state::State;
use crate::tickets::Tickets;

/// A record with the fatal alert `unrecognized_name`: alert (21), TLS 1.2 (3, 3), 2 bytes, fatal (2), 112.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
/// The same for `access_denied` (49).
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// Tickets a handshake. A visitor gets a new one with each, and over HTTP/2 makes one connection; a second ticket
/// costs every handshake a derivation, a seal and a record.
const TICKETS: usize = 1;

/// The TLS side of all listeners.
pub(crate) struct Tls {
    state: Arc<State>,
    provider: Arc<CryptoProvider>,
    /// For names that ask for no certificate.
    open: Offers,
}

/// One configuration in two orders of preference.
pub(crate) struct Offers {
    /// AES-128 first, the cheapest where the processor has AES.
    swift: Arc<ServerConfig>,
    /// The visitor's order, for those that put ChaCha20 first: phones without AES in hardware.
    obliging: Arc<ServerConfig>,
}

/// A handshake whose ClientHello has been read.
pub(crate) struct Greeting {
    start: StartHandshake<Wire>,
}

/// Reads a ClientHello. Set a deadline around it.
///
/// # Errors
/// [`HandshakeError::Failed`]; the visitor has got its alert.
pub(crate) async fn greet(mut wire: Wire) -> Result<Greeting, HandshakeError> {
    wire.record();
    Ok(Greeting { start: LazyConfigAcceptor::new(Acceptor::default(), wire).await? })
}

impl Greeting {
    /// Resets the connection, which costs least.
    pub(crate) fn turn_away(self) {
        self.start.io.reset();
    }
}

/// A handshake that succeeded.
pub(crate) struct Secured {
    /// The stream of plain bytes.
    pub(crate) stream: TlsStream<Wire>,
    /// What was settled.
    pub(crate) settled: Settled,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// No name, or one without a certificate.
    #[error("no certificate for the name {0:?}")]
    UnknownName(Option<String>),
    /// The name asks for client certificates of an authority that cannot be used.
    #[error("`{0}` asks for client certificates of an authority that cannot be used")]
    NoAuthority(Host),
    /// The visitor went away, or spoke no TLS that we speak.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl Tls {
    /// The configuration over the certificates and ticket keys of `state`.
    ///
    /// # Errors
    /// If the cryptographic library refuses, which a sound build of it never does.
    pub(crate) fn new(state: &Arc<State>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(provider());
        let mut config = configure(&provider, state, WebPkiClientVerifier::no_client_auth())?;
        config.ticketer = Arc::<Tickets>::clone(&state.tickets);
        config.send_tls13_tickets = TICKETS;
        Ok(Self { state: Arc::clone(state), provider, open: Offers::of(config) })
    }

    /// Performs the rest of a handshake; none if it was a challenge of an authority, which has been answered.
    /// Set a deadline around it.
    ///
    /// # Errors
    /// [`HandshakeError`]; the visitor has got its alert.
    pub(crate) async fn accept(
        &self,
        greeting: Greeting,
        clock: &dyn Clock,
    ) -> Result<Option<Secured>, HandshakeError> {
        let Greeting { mut start } = greeting;
        let hello = start.client_hello();
        if let Some(config) = self.challenge(&hello, clock) {
            let mut stream = start.into_stream(config).await?;
            stream.shutdown().await?;
            return Ok(None);
        }
        let Some(sni) = self.known_name(&hello, clock) else {
            let name = hello.server_name().map(str::to_owned);
            start.io.write_all(&UNRECOGNIZED_NAME).await?;
            start.io.shutdown().await?;
            return Err(HandshakeError::UnknownName(name));
        };
        let auth = self.state.client_auth(sni.as_str());
        let Some(config) = self.config_for(auth.as_deref(), &hello) else {
            start.io.write_all(&ACCESS_DENIED).await?;
            start.io.shutdown().await?;
            return Err(HandshakeError::NoAuthority(sni));
        };
        let ja4 = client_hello::fingerprint(&start.io.recorded());
        let mut stream = start.into_stream(config).await?;
        let client = auth.map(|auth| prove(auth, &stream)).transpose()?;
        let version = stream.get_ref().1.protocol_version();
        let wire = stream.get_mut().0;
        wire.serve();
        if version == Some(ProtocolVersion::TLSv1_3) {
            wire.hold();
        }
        let version = version.and_then(|version| version.as_str());
        let settled = Settled { sni, version: version.unwrap_or("unknown"), client, ja4 };
        Ok(Some(Secured { stream, settled }))
    }

    /// The answer to an authority that asks for the proof of a name that is being proved (RFC 8737).
    fn challenge(&self, hello: &ClientHello<'_>, clock: &dyn Clock) -> Option<Arc<ServerConfig>> {
        if !alpn::is_asked(hello) {
            return None;
        }
        let name = model::host::normalise(hello.server_name()?).ok()?;
        self.state.alpn_challenges.find(&name, clock.now())?.config(&self.provider)
    }

    fn known_name(&self, hello: &ClientHello<'_>, clock: &dyn Clock) -> Option<Host> {
        let name = Host::parse(hello.server_name()?).ok()?;
        self.state.certificates.find(name.as_str(), clock.now()).map(|_| name)
    }

    fn config_for(&self, auth: Option<&ClientAuth>, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let offers = match auth {
            None => &self.open,
            Some(auth) => auth.offers(|ca| self.asking_for(ca))?,
        };
        Some(offers.choose(hello))
    }

    /// For a name that asks for client certificates of `ca`: without tickets, because a resumed session shows
    /// none.
    fn asking_for(&self, ca: &ClientCa) -> Result<Offers, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(ca.pem().as_bytes()) {
            roots.add(authority.map_err(|error| rustls::Error::General(error.to_string()))?)?;
        }
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider));
        let verifier = builder.build().map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut config = configure(&self.provider, &self.state, verifier)?;
        config.send_tls13_tickets = 0;
        Ok(Offers::of(config))
    }
}

/// What the visitor of a name that asks for certificates has shown.
fn prove(auth: Arc<ClientAuth>, stream: &TlsStream<Wire>) -> io::Result<Arc<Proof>> {
    let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let proof = leaf.and_then(|leaf| auth.proof(leaf));
    proof.ok_or_else(|| io::Error::other("the client's certificate has a name that cannot be written down"))
}

impl Offers {
    fn of(mut config: ServerConfig) -> Self {
        config.ignore_client_order = true;
        let mut obliging = config.clone();
        obliging.ignore_client_order = false;
        Self { swift: Arc::new(config), obliging: Arc::new(obliging) }
    }

    fn choose(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let is_chacha = |suite: &CipherSuite| {
            matches!(
                suite,
                CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
                    | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
                    | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
            )
        };
        // Browsers put a random reserved value first (GREASE, RFC 8701).
        let first = hello.cipher_suites().iter().find(|suite| suite.as_str().is_some());
        Arc::clone(if first.is_some_and(is_chacha) { &self.obliging } else { &self.swift })
    }
}

/// aws-lc-rs with AES-128 before AES-256 and ChaCha20.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        let name = suite.suite().as_str().unwrap_or_default();
        (!name.starts_with("TLS13"), !name.contains("AES_128"))
    });
    provider
}

/// Without tickets: whoever wants them sets a ticketer.
fn configure(
    provider: &Arc<CryptoProvider>,
    state: &State,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::<Certificates>::clone(&state.certificates));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_128_is_the_first_choice_in_both_versions() {
        let names: Vec<_> =
            provider().cipher_suites.iter().filter_map(|suite| suite.suite().as_str()).collect();
        assert_eq!(names.first().copied(), Some("TLS13_AES_128_GCM_SHA256"));
        let tls12 = names.iter().find(|name| !name.starts_with("TLS13")).copied();
        assert!(tls12.is_some_and(|name| name.contains("AES_128_GCM")));
    }

    #[test]
    fn the_hybrid_key_exchange_is_offered_first() {
        let groups: Vec<_> = provider().kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(groups.first(), Some(&rustls::NamedGroup::X25519MLKEM768));
    }
}
