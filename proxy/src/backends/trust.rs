//! Whom an app's https backends are verified by: the operator's trust anchors, or the app's own.
//!
//! An app's own anchors replace the operator's for its backends, in requests and health checks alike. pingora
//! 0.9.1 leaves them out of what tells connections apart, so the pool's group key has them (see
//! [`super::Pools::replace`]). If they cannot be read, nothing is trusted.

use std::panic::catch_unwind;
use std::sync::Arc;

use model::anchors;
use model::site::Settings;
use pingora_core::protocols::tls::CaType;
use pingora_core::utils::tls::{WrappedX509, parse_x509};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// The app's own trust anchors.
#[derive(Clone)]
pub(super) struct Trust {
    /// For pingora, which trusts nobody if it is empty.
    pub(super) anchors: Arc<CaType>,
    /// For health checks and second requests.
    pub(super) tls: Option<TlsConnector>,
}

impl Trust {
    /// The app's own; none if it has none.
    pub(super) fn of(settings: &Settings) -> Option<Self> {
        let pem = settings.backend_ca_pem.as_deref()?;
        let ders = anchors::parse(pem).unwrap_or_else(|error| {
            tracing::error!(%error, "an app's trust anchors cannot be read: its https backends are not trusted");
            Vec::new()
        });
        let mut roots = RootCertStore::empty();
        let (_added, _ignored) = roots.add_parsable_certificates(ders.iter().cloned());
        let anchors: Vec<WrappedX509> = ders.iter().filter_map(wrapped).collect();
        Some(Self { anchors: anchors.into(), tls: connector(Arc::new(roots)) })
    }
}

/// pingora's reader panics on what it cannot read, and it is another one than `model`'s.
fn wrapped(der: &CertificateDer<'_>) -> Option<WrappedX509> {
    let bytes = der.to_vec();
    catch_unwind(|| WrappedX509::new(bytes, parse_x509)).ok()
}

/// A client that trusts `roots`; it offers no protocol of its own.
pub(super) fn connector(roots: Arc<RootCertStore>) -> Option<TlsConnector> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    Some(TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth())))
}
