//! One certificate as an edge holds it: what is needed to find it, and to prepare it when it is asked for.
//!
//! The private key stays sealed until the first handshake: parsing 100,000 of them would cost seconds of a
//! start and hundreds of megabytes. What can be known for little is known at once: that the chain is PEM and
//! its leaf a certificate, and that the sealed key opens. That the key belongs to the leaf was checked by the
//! control plane before it was stored; it is checked again at the first handshake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arc_swap::ArcSwapOption;
use model::certificate::{Certificate, CertificateSource};
use model::id::{CertificateId, TenantId};
use model::seal::{SealError, Sealed, SealingKey};
use model::{HostPattern, Timestamp};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

use super::issuers::{Interned, Issuers};

/// A certificate that can be served. What every handshake reads stands first, in one line of the cache.
#[repr(C, align(64))]
pub(crate) struct Served {
    /// Chain and open key; none before the first handshake, and after others needed the room.
    key: ArcSwapOption<CertifiedKey>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    /// Whether a handshake used the key since [`Self::was_used_since`] was last asked.
    was_used: AtomicBool,
    /// Whether the key turned out to be of no use.
    is_spoilt: AtomicBool,
    /// Whether its end was logged.
    pub(super) was_noted: AtomicBool,
    /// Whether its owner uploaded it, so that nobody renews it.
    pub(super) is_upload: bool,
    pub(super) id: CertificateId,
    /// Whose names it has; none: the marketplace's.
    pub(super) tenant: Option<TenantId>,
    pub(super) names: Box<[HostPattern]>,
    leaf: CertificateDer<'static>,
    issuers: Issuers,
    sealed: Sealed,
}

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// The key does not open.
    #[error("its private key does not open: {0}")]
    Sealed(#[from] SealError),
    /// The chain is not PEM.
    #[error("its chain is not PEM: {0}")]
    Pem(rustls::pki_types::pem::Error),
    /// The chain is empty.
    #[error("its chain has no certificate")]
    Empty,
    /// The first of the chain is no certificate.
    #[error("the first of its chain cannot be read: {0}")]
    Leaf(rustls::Error),
    /// The key is no key, or another certificate's.
    #[error("its private key cannot be used: {0}")]
    Key(#[from] rustls::Error),
}

impl Served {
    /// Takes `certificate` in, its key still sealed.
    ///
    /// # Errors
    /// [`CertificateError`]; never tells anything of the key.
    pub(super) fn read(
        certificate: &Certificate,
        sealing_key: &SealingKey,
        interned: &Interned,
    ) -> Result<Self, CertificateError> {
        let mut chain = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes());
        let leaf = chain.next().ok_or(CertificateError::Empty)?.map_err(CertificateError::Pem)?;
        ParsedCertificate::try_from(&leaf).map_err(CertificateError::Leaf)?;
        let issuers = chain.collect::<Result<Vec<_>, _>>().map_err(CertificateError::Pem)?;
        // Opened only to know that it opens; what comes out is wiped at once.
        sealing_key.open(&Certificate::key_context(certificate.id), &certificate.key)?;
        Ok(Self {
            id: certificate.id,
            tenant: certificate.tenant,
            names: certificate.names.as_slice().into(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            // The parser leaves a vector with room to spare.
            leaf: CertificateDer::from(Vec::from(Box::<[u8]>::from(leaf.as_ref()))),
            issuers: interned.share(issuers),
            sealed: certificate.key.clone(),
            key: ArcSwapOption::empty(),
            was_used: AtomicBool::new(false),
            is_spoilt: AtomicBool::new(false),
            was_noted: AtomicBool::new(false),
            is_upload: certificate.source == Some(CertificateSource::Upload),
        })
    }

    /// Whether its time is now and its key of use.
    pub(super) fn is_valid(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after && !self.is_spoilt()
    }

    /// Whether its key turned out to be of no use: then it is as if it were not there.
    pub(super) fn is_spoilt(&self) -> bool {
        self.is_spoilt.load(Relaxed)
    }

    /// Notes that its key is of no use. True the first time.
    pub(super) fn spoil(&self) -> bool {
        !self.is_spoilt.swap(true, Relaxed)
    }

    /// Chain and key, if the key is open.
    pub(super) fn prepared(&self) -> Option<Arc<CertifiedKey>> {
        let key = self.key.load_full()?;
        // Read before it is written, so that the many handshakes of one name do not fight for the line.
        if !self.was_used.load(Relaxed) {
            self.was_used.store(true, Relaxed);
        }
        Some(key)
    }

    /// Opens the key and checks that it is the leaf's. Takes some 0.1 ms for ECDSA, up to 1 ms for RSA.
    ///
    /// # Errors
    /// [`CertificateError`]; never tells anything of the key.
    pub(super) fn prepare(&self, sealing_key: &SealingKey) -> Result<Arc<CertifiedKey>, CertificateError> {
        let key = sealing_key.open(&Certificate::key_context(self.id), &self.sealed)?;
        let key = any_supported_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.as_slice())))?;
        let chain = std::iter::once(&self.leaf).chain(self.issuers.iter()).cloned().collect();
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                Ok(Arc::new(key))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps the key open. Only the second handshake counts as use: whoever asks for every name once must not
    /// close the keys that are in demand.
    pub(super) fn keep(&self, key: Arc<CertifiedKey>) {
        self.was_used.store(false, Relaxed);
        self.key.store(Some(key));
    }

    pub(super) fn was_used_since(&self) -> bool {
        self.was_used.swap(false, Relaxed)
    }

    /// Gives the open key up; handshakes that have it go on with it.
    pub(super) fn close(&self) {
        self.key.store(None);
    }

    #[cfg(test)]
    pub(super) fn shares_issuers_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.issuers, &other.issuers)
    }
}
