//! What handlers share: the store, the key that seals, the settings.

use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use model::seal::KeyRing;
use store::Store;

use crate::inspect::Inspect;

/// Bounds of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Longest time until an answer begins; waiting for changes has its own bound beside it.
    pub request_timeout: Duration,
}

/// 20 seconds: below the half minute that clients commonly wait.
impl Default for Settings {
    fn default() -> Self {
        Self { request_timeout: Duration::from_secs(20) }
    }
}

/// What handlers share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct State {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    master: KeyRing,
    settings: Settings,
    inspector: Option<Arc<dyn Inspect>>,
}

impl State {
    /// `master` has the keys that certificates' private keys are sealed with in the store. The present is
    /// the store's.
    #[must_use]
    pub fn new(store: Store, master: impl Into<KeyRing>, settings: Settings) -> Self {
        let master = master.into();
        Self { inner: Arc::new(Inner { store, master, settings, inspector: None }) }
    }

    /// With somebody who looks domains up; without, `GET /v1/domains/inspect` is unavailable.
    #[must_use]
    pub fn with_inspector(self, inspector: Arc<dyn Inspect>) -> Self {
        let Inner { store, master, settings, .. } = &*self.inner;
        let (store, master, settings) = (store.clone(), master.clone(), *settings);
        Self { inner: Arc::new(Inner { store, master, settings, inspector: Some(inspector) }) }
    }

    pub(crate) fn inspector(&self) -> Option<&dyn Inspect> {
        self.inner.inspector.as_deref()
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
