//! tls-alpn-01 answers (RFC 8737): a self-signed certificate that carries the digest of the key authorization.
//!
//! Found by the name in the ClientHello. Key and certificate are made by the first handshake that asks and kept
//! with the challenge. Only challenges of the feed are answered, so no visitor can make this grow or compute.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{SHA256, digest};
use dashmap::DashMap;
use foldhash::fast::RandomState;
use model::acme::Challenge;
use model::{Host, Timestamp};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// The protocol, which is offered alone (RFC 8737 §3).
const PROTOCOL: &[u8] = b"acme-tls/1";

/// The challenges that are answered in a handshake.
#[derive(Default)]
pub(crate) struct AlpnChallenges(DashMap<Host, Arc<AlpnChallenge>, RandomState>);

/// One of them.
pub(crate) struct AlpnChallenge {
    challenge: Arc<Challenge>,
    /// None inside: no key could be made.
    config: OnceLock<Option<Arc<ServerConfig>>>,
}

/// Whether an authority asks, which offers nothing else.
pub(crate) fn is_asked(hello: &ClientHello<'_>) -> bool {
    let mut offered = hello.alpn().into_iter().flatten();
    offered.next() == Some(PROTOCOL) && offered.next().is_none()
}

impl AlpnChallenges {
    /// Answers `challenge` for its name, in place of an older one.
    pub(crate) fn put(&self, challenge: &Arc<Challenge>) {
        let entry = AlpnChallenge { challenge: Arc::clone(challenge), config: OnceLock::new() };
        self.0.insert(challenge.host.clone(), Arc::new(entry));
    }

    /// Forgets `challenge`, unless its name has another one by now.
    pub(crate) fn remove(&self, challenge: &Challenge) {
        self.0.remove_if(&challenge.host, |_, entry| entry.challenge.token == challenge.token);
    }

    /// The challenge for `host`.
    pub(crate) fn find(&self, host: &str, now: Timestamp) -> Option<Arc<AlpnChallenge>> {
        let entry = self.0.get(host)?;
        (entry.challenge.expires_at > now).then(|| Arc::clone(&entry))
    }
}

impl AlpnChallenge {
    /// The TLS configuration that proves the name; none if no key can be made, which is logged once.
    pub(crate) fn config(&self, provider: &Arc<CryptoProvider>) -> Option<Arc<ServerConfig>> {
        let make = || match self.make(provider) {
            Ok(config) => Some(Arc::new(config)),
            Err(reason) => {
                tracing::error!(host = %self.challenge.host, reason, "tls-alpn-01 challenge cannot be answered");
                None
            }
        };
        self.config.get_or_init(make).clone()
    }

    fn make(&self, provider: &Arc<CryptoProvider>) -> Result<ServerConfig, String> {
        let (certificate, key) = self.certificate().map_err(|error| error.to_string())?;
        let key = any_supported_type(&PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .map_err(|error| error.to_string())?;
        // Not checked by the library, which refuses critical extensions that it does not know.
        let certified = CertifiedKey::new(vec![certificate.der().clone()], key);
        let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// RFC 8737 §3: the name alone, and the digest in a critical extension.
    fn certificate(&self) -> Result<(rcgen::Certificate, KeyPair), rcgen::Error> {
        let mut params = CertificateParams::new([self.challenge.host.to_string()])?;
        params.distinguished_name = DistinguishedName::new();
        let proof = digest(&SHA256, self.challenge.key_authorization.as_bytes());
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(proof.as_ref())];
        let key = KeyPair::generate()?;
        Ok((params.self_signed(&key)?, key))
    }
}
