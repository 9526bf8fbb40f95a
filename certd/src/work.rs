//! Everything that the parts of certd work with.

use std::sync::Arc;

use model::seal::SealingKey;
use store::Store;

use crate::acme::Authority;
use crate::dns::Lookup;
use crate::local_ca::LocalAuthority;
use crate::presence::Probe;
use crate::{CertdError, Settings};

/// What looks, orders and signatures need; shared by all tasks.
pub(crate) struct Work {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) sealing: SealingKey,
    pub(crate) local: LocalAuthority,
    pub(crate) authority: Option<Authority>,
    pub(crate) lookup: Arc<dyn Lookup>,
    pub(crate) probe: Option<Probe>,
    /// Who holds leases: this process, no other and no later one.
    pub(crate) owner: String,
}

impl Work {
    pub(crate) async fn new(
        settings: Settings,
        store: Store,
        sealing: SealingKey,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, CertdError> {
        let authority = settings
            .acme
            .clone()
            .map(|acme| Authority::new(acme, store.clone(), sealing.clone()))
            .transpose()?;
        let local = LocalAuthority::open(&store, &sealing).await?;
        let probe = settings.probe.map(Probe::new).transpose()?;
        let owner = format!("certd-{:032x}", rand::random::<u128>());
        Ok(Self { settings, store, sealing, local, authority, lookup, probe, owner })
    }
}
