//! Client certificates (mTLS): a domain whose creator uploaded an authority is open only to visitors who show
//! a certificate of it.
//!
//! Such a domain has a TLS configuration of its own, made at its first handshake and dropped with the domain's
//! entry. It neither gives nor takes session tickets: a resumed session shows no certificate. A request over a
//! connection that was made before the authority was set, or under another one, is misdirected (RFC 9110
//! §15.5.20): browsers then make a new connection, which is asked. Reads memory only; fails closed: an
//! authority that cannot be used lets nobody in.

use std::sync::{Arc, OnceLock};

use http::HeaderValue;
use model::client_ca::{ClientCa, Identity};
use rustls::pki_types::CertificateDer;

use crate::connection::Carrier;
use crate::refusal::Refusal;
use crate::state::Route;
use crate::tls::Offers;

/// Whose certificates a domain asks for.
pub(crate) struct ClientAuth {
    ca: ClientCa,
    /// None inside: the authorities cannot be used.
    offers: OnceLock<Option<Offers>>,
}

/// What a visitor showed, and under which authority it was verified.
pub(crate) struct Proof {
    auth: Arc<ClientAuth>,
    /// Who it is, for the app.
    pub(crate) identity: ClientFields,
}

/// A visitor's certificate as header fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientFields {
    /// `X-Client-Cert-Subject`
    pub(crate) subject: HeaderValue,
    /// `X-Client-Cert-Fingerprint`
    pub(crate) fingerprint: HeaderValue,
    /// `Client-Cert` (RFC 9440); none for a certificate that is too large for a header.
    pub(crate) certificate: Option<HeaderValue>,
}

impl ClientAuth {
    /// Asks for certificates of `ca`.
    pub(crate) fn new(ca: ClientCa) -> Arc<Self> {
        Arc::new(Self { ca, offers: OnceLock::new() })
    }

    /// Whether it asks for certificates of `ca`.
    pub(crate) fn is_of(&self, ca: &ClientCa) -> bool {
        self.ca == *ca
    }

    /// The TLS configuration, made by `make` at the first call; none: nobody can be let in.
    pub(crate) fn offers(
        &self,
        make: impl FnOnce(&ClientCa) -> Result<Offers, rustls::Error>,
    ) -> Option<&Offers> {
        let make = || match make(&self.ca) {
            Ok(offers) => Some(offers),
            Err(error) => {
                tracing::error!(%error, ca = ?self.ca, "authority for client certificates cannot be used: nobody is let in");
                None
            }
        };
        self.offers.get_or_init(make).as_ref()
    }

    /// What a verified `leaf` proves; none if its name cannot be written down.
    pub(crate) fn proof(self: Arc<Self>, leaf: &CertificateDer<'_>) -> Option<Arc<Proof>> {
        let identity = ClientFields::of(&Identity::of(leaf)?)?;
        Some(Arc::new(Proof { auth: self, identity }))
    }
}

impl ClientFields {
    fn of(identity: &Identity) -> Option<Self> {
        let field = |text: &str| HeaderValue::from_str(text).ok();
        Some(Self {
            subject: field(&identity.subject)?,
            fingerprint: field(&identity.fingerprint)?,
            certificate: identity.certificate.as_deref().and_then(field),
        })
    }
}

/// Lets pass who proved what the host at `route` asks for, and tells who it is.
///
/// # Errors
/// [`Refusal::Misdirected`].
pub(crate) fn check(route: &Route, connection: &Carrier) -> Result<Option<Arc<Proof>>, Refusal> {
    let Some(asked) = &route.client_auth else { return Ok(None) };
    let proof = connection.tls.as_ref().and_then(|tls| tls.client.as_ref());
    match proof.filter(|proof| Arc::ptr_eq(&proof.auth, asked)) {
        Some(proof) => Ok(Some(Arc::clone(proof))),
        None => Err(Refusal::Misdirected),
    }
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Proof").field(&self.identity).finish()
    }
}
