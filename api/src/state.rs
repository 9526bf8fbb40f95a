//! What handlers share: the store, the key that seals, the settings.

use std::sync::Arc;
use std::time::Duration;

use model::seal::KeyRing;
use model::{Host, Timestamp};
use store::Store;

use crate::consent::Consent;
use crate::inspect::Inspect;
use crate::resource::link::Links;
use crate::resource::progress::Streams;

/// Bounds of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Longest time until an answer begins; waiting for changes has its own bound beside it.
    pub request_timeout: Duration,
    /// How often a quiet stream says that it lives.
    pub heartbeat: Duration,
}

/// 20 seconds: below the half minute that clients commonly wait. 15 seconds: below the half minute after which some
/// proxies take a quiet connection for dead.
impl Default for Settings {
    fn default() -> Self {
        Self { request_timeout: Duration::from_secs(20), heartbeat: Duration::from_secs(15) }
    }
}

/// What handlers share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct State {
    inner: Arc<Inner>,
}

#[derive(Debug, Clone)]
struct Inner {
    store: Store,
    master: KeyRing,
    settings: Settings,
    inspector: Option<Arc<dyn Inspect>>,
    challenge_zone: Option<Host>,
    streams: Streams,
    consent: Option<Arc<dyn Consent>>,
    links: Links,
}

impl State {
    /// `master` has the keys that certificates' private keys are sealed with in the store. The present is
    /// the store's.
    #[must_use]
    pub fn new(store: Store, master: impl Into<KeyRing>, settings: Settings) -> Self {
        let master = master.into();
        let (streams, links) = (Streams::default(), Links::default());
        let (inspector, challenge_zone, consent) = (None, None, None);
        let inner = Inner { store, master, settings, inspector, challenge_zone, streams, consent, links };
        Self { inner: Arc::new(inner) }
    }

    /// With somebody who looks domains up; without, `GET /v1/domains/inspect` is unavailable.
    #[must_use]
    pub fn with_inspector(self, inspector: Arc<dyn Inspect>) -> Self {
        let inner = Arc::unwrap_or_clone(self.inner);
        Self { inner: Arc::new(Inner { inspector: Some(inspector), ..inner }) }
    }

    /// With a zone of ours where names are proved by texts (dns-01): domains show the alias that leads there.
    #[must_use]
    pub fn with_challenge_zone(self, zone: Option<Host>) -> Self {
        let inner = Arc::unwrap_or_clone(self.inner);
        Self { inner: Arc::new(Inner { challenge_zone: zone, ..inner }) }
    }

    pub(crate) fn challenge_zone(&self) -> Option<&Host> {
        self.inner.challenge_zone.as_ref()
    }

    /// With somebody who makes links to creators' own providers; without, there are none.
    #[must_use]
    pub fn with_consent(self, consent: Arc<dyn Consent>) -> Self {
        Self { inner: Arc::new(Inner { consent: Some(consent), ..Arc::unwrap_or_clone(self.inner) }) }
    }

    pub(crate) fn consent(&self) -> Option<&dyn Consent> {
        self.inner.consent.as_deref()
    }

    /// The links that are being looked for.
    pub(crate) fn links(&self) -> &Links {
        &self.inner.links
    }

    pub(crate) fn inspector(&self) -> Option<&dyn Inspect> {
        self.inner.inspector.as_deref()
    }

    /// The streams that are open.
    pub(crate) fn streams(&self) -> &Streams {
        &self.inner.streams
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn master(&self) -> &KeyRing {
        &self.inner.master
    }

    pub(crate) fn settings(&self) -> Settings {
        self.inner.settings
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner.store.now()
    }
}
