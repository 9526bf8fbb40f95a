//! TLS towards visitors: one configuration for all names, the certificate chosen by SNI.
//!
//! TLS 1.2 and 1.3, aws-lc-rs with X25519MLKEM768, ALPN h2 and http/1.1. Sessions are resumed by tickets
//! that any edge can read ([`crate::tickets`]); there is no session cache and no early data (RFC 8446 §8). A visitor that asks for no name, or for one without a certificate, gets the alert
//! `unrecognized_name` (RFC 6066 §3) and nothing else.

use std::io;
use std::sync::Arc;

use model::{Clock, Host};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{Acceptor, ClientHello, NoServerSessionStorage};
use rustls::{CipherSuite, ServerConfig};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use crate::connection::{Settled, Wire};
use crate::sni::Certificates;
use crate::state::State;
use crate::tickets::Tickets;

/// A record with the fatal alert `unrecognized_name`: alert (21), TLS 1.2 (3, 3), 2 bytes, fatal (2), 112.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// The TLS side of all listeners.
pub(crate) struct Tls {
    certificates: Arc<Certificates>,
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
pub(crate) async fn greet(wire: Wire) -> Result<Greeting, HandshakeError> {
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
    /// The visitor went away, or spoke no TLS that we speak.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl Tls {
    /// The configuration over the certificates and ticket keys of `state`.
    ///
    /// # Errors
    /// If the cryptographic library refuses, which a sound build of it never does.
    pub(crate) fn new(state: &State) -> Result<Self, rustls::Error> {
        let certificates = Arc::clone(&state.certificates);
        let mut swift = configure(provider(), &certificates)?;
        swift.ticketer = Arc::<Tickets>::clone(&state.tickets);
        swift.ignore_client_order = true;
        let mut obliging = swift.clone();
        obliging.ignore_client_order = false;
        Ok(Self { certificates, swift: Arc::new(swift), obliging: Arc::new(obliging) })
    }

    /// Performs the rest of a handshake. Set a deadline around it.
    ///
    /// # Errors
    /// [`HandshakeError`]; the visitor has got its alert.
    pub(crate) async fn accept(
        &self,
        greeting: Greeting,
        clock: &dyn Clock,
    ) -> Result<Secured, HandshakeError> {
        let Greeting { mut start } = greeting;
        let hello = start.client_hello();
        let Some(sni) = self.known_name(&hello, clock) else {
            let name = hello.server_name().map(str::to_owned);
            start.io.write_all(&UNRECOGNIZED_NAME).await?;
            start.io.shutdown().await?;
            return Err(HandshakeError::UnknownName(name));
        };
        let config = self.config_for(&hello);
        let mut stream = start.into_stream(config).await?;
        let version = stream.get_ref().1.protocol_version().and_then(|version| version.as_str());
        stream.get_mut().0.serve();
        Ok(Secured { stream, settled: Settled { sni, version: version.unwrap_or("unknown") } })
    }

    fn known_name(&self, hello: &ClientHello<'_>, clock: &dyn Clock) -> Option<Host> {
        let name = Host::parse(hello.server_name()?).ok()?;
        self.certificates.find(name.as_str(), clock.now()).map(|_| name)
    }

    fn config_for(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
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

fn configure(
    provider: CryptoProvider,
    certificates: &Arc<Certificates>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::<Certificates>::clone(certificates));
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
