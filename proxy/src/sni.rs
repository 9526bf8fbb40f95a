//! Which certificate a visitor gets for the name that it asks for.
//!
//! Exact name before wildcard of one label (RFC 6125 §6.4.3); never a certificate of another name. Of several
//! for one name, the valid one with the greatest id, which was made last: the same one that the control plane
//! calls active. When a certificate begins says nothing about that. An expired one is served until the control
//! plane takes it away: a browser's warning tells the visitor more than a broken connection.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use model::certificate::{Certificate, CertificateName};
use model::id::CertificateId;
use model::seal::{SealError, SealingKey};
use model::{Clock, Host, Timestamp};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A certificate that can be served.
pub(crate) struct Served {
    id: CertificateId,
    names: Vec<CertificateName>,
    key: Arc<CertifiedKey>,
    not_before: Timestamp,
    not_after: Timestamp,
    /// Whether its end was logged.
    was_noted: AtomicBool,
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
    /// The key is no key, or another certificate's.
    #[error("its private key cannot be used: {0}")]
    Key(#[from] rustls::Error),
}

impl Served {
    /// Opens and parses `certificate`.
    ///
    /// # Errors
    /// [`CertificateError`]; never tells anything of the key.
    pub(crate) fn prepare(
        certificate: &Certificate,
        sealing_key: &SealingKey,
    ) -> Result<Self, CertificateError> {
        let context = Certificate::key_context(certificate.id);
        let key = sealing_key.open(&context, &certificate.key)?;
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(CertificateError::Pem)?;
        if chain.is_empty() {
            return Err(CertificateError::Empty);
        }
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec()));
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?;
        Ok(Self {
            id: certificate.id,
            names: certificate.names.clone(),
            key: Arc::new(key),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            was_noted: AtomicBool::new(false),
        })
    }

    fn is_valid(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after
    }
}

/// All certificates of an edge, found by name without an allocation.
pub(crate) struct Certificates {
    exact: DashMap<Host, Vec<Arc<Served>>, RandomState>,
    /// By the name that the wildcard stands below.
    wildcard: DashMap<Host, Vec<Arc<Served>>, RandomState>,
    by_id: DashMap<CertificateId, Arc<Served>, RandomState>,
    clock: Arc<dyn Clock>,
}

impl Certificates {
    /// None yet.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { exact: DashMap::default(), wildcard: DashMap::default(), by_id: DashMap::default(), clock }
    }

    /// Serves `served` from the next handshake on, in place of the one with the same id.
    pub(crate) fn put(&self, served: Served) {
        let served = Arc::new(served);
        let old = self.by_id.insert(served.id, Arc::clone(&served));
        for name in &served.names {
            let (map, host) = self.place(name);
            insert(&mut map.entry(host.clone()).or_default(), &served);
        }
        for name in old.iter().flat_map(|old| &old.names).filter(|name| !served.names.contains(name)) {
            self.take_out(name, served.id);
        }
    }

    /// Forgets one; another one for the same names is served instead, if there is one.
    pub(crate) fn remove(&self, id: CertificateId) {
        if let Some((_, served)) = self.by_id.remove(&id) {
            served.names.iter().for_each(|name| self.take_out(name, id));
        }
    }

    /// Forgets all that `keep` does not want.
    pub(crate) fn retain(&self, keep: impl Fn(CertificateId) -> bool) {
        let gone: Vec<CertificateId> =
            self.by_id.iter().map(|entry| *entry.key()).filter(|id| !keep(*id)).collect();
        gone.into_iter().for_each(|id| self.remove(id));
    }

    /// The certificate for `name`, which is canonical.
    pub(crate) fn find(&self, name: &str, now: Timestamp) -> Option<Arc<CertifiedKey>> {
        let exact = self.exact.get(name);
        let parent = name.split_once('.').map_or("", |(_, parent)| parent);
        let wildcard = self.wildcard.get(parent);
        let exact = exact.as_deref().map_or(&[][..], Vec::as_slice);
        let wildcard = wildcard.as_deref().map_or(&[][..], Vec::as_slice);
        choose(exact, wildcard, now).map(|served| Arc::clone(&served.key))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How many are past their end. Logs each of them once.
    pub(crate) fn note_expired(&self) -> usize {
        let now = self.clock.now();
        let mut expired = 0;
        for served in self.by_id.iter().filter(|served| served.not_after <= now) {
            expired += 1;
            if !served.was_noted.swap(true, Relaxed) {
                let names: Vec<String> = served.names.iter().map(ToString::to_string).collect();
                tracing::warn!(certificate = %served.id, ?names, not_after = %served.not_after, "certificate has expired and is still served");
            }
        }
        expired
    }

    fn place<'c, 'n>(
        &'c self,
        name: &'n CertificateName,
    ) -> (&'c DashMap<Host, Vec<Arc<Served>>, RandomState>, &'n Host) {
        match name {
            CertificateName::Exact(host) => (&self.exact, host),
            CertificateName::Wildcard(parent) => (&self.wildcard, parent),
        }
    }

    fn take_out(&self, name: &CertificateName, id: CertificateId) {
        let (map, host) = self.place(name);
        if let Some(mut list) = map.get_mut(host) {
            list.retain(|served| served.id != id);
        }
        map.remove_if(host, |_, list| list.is_empty());
    }
}

/// Keeps the list ordered by id, greatest first: ids tell the order in which certificates were made.
fn insert(list: &mut Vec<Arc<Served>>, served: &Arc<Served>) {
    list.retain(|other| other.id != served.id);
    let at = list.partition_point(|other| other.id > served.id);
    list.insert(at, Arc::clone(served));
}

/// The valid one that was made last, exact before wildcard; if none is valid, the first there is.
fn choose<'s>(
    exact: &'s [Arc<Served>],
    wildcard: &'s [Arc<Served>],
    now: Timestamp,
) -> Option<&'s Arc<Served>> {
    let all = || exact.iter().chain(wildcard);
    all().find(|served| served.is_valid(now)).or_else(|| all().next())
}

impl ResolvesServerCert for Certificates {
    /// The listener has looked the name up before it comes to this.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = model::host::normalise(hello.server_name()?).ok()?;
        self.find(&name, self.clock.now())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
