//! Everything that the parts of certd work with.

use std::sync::Arc;

use model::clock::SystemClock;
use model::seal::KeyRing;
use store::Store;

use crate::acme::Authority;
use crate::adapters::{self, Proofs};
use crate::delegation::PlaceTurns;
use crate::dns::{Lookup, Providers};
use crate::local_ca::LocalAuthority;
use crate::pace::Pace;
use crate::presence::Probe;
use crate::{CertdError, DnsZone, Settings};

/// What looks, orders and signatures need; shared by all tasks.
pub(crate) struct Work {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) sealing: KeyRing,
    pub(crate) local: LocalAuthority,
    /// Public authorities, the one that we would rather have first; none: the local authority signs everything.
    pub(crate) authorities: Vec<Authority>,
    /// Where texts for dns-01 are written; none: nowhere.
    pub(crate) proofs: Option<Proofs>,
    pub(crate) lookup: Arc<dyn Lookup>,
    pub(crate) providers: Providers,
    /// How fast domains are looked at that nobody waits for.
    pub(crate) pace: Pace,
    /// Which texts resolvers may still remember.
    pub(crate) turns: PlaceTurns,
    pub(crate) probe: Option<Probe>,
    /// Who holds leases: this process, no other and no later one.
    pub(crate) owner: String,
}

impl Work {
    pub(crate) async fn new(
        settings: Settings,
        store: Store,
        sealing: KeyRing,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, CertdError> {
        let wanted = settings.acme.iter().chain(&settings.fallbacks);
        let authorities = wanted
            .map(|acme| Authority::new(acme.clone(), store.clone(), sealing.clone()))
            .collect::<Result<_, _>>()?;
        let proofs = settings.dns.as_ref().map(|dns| proofs(dns, &settings, &lookup)).transpose()?;
        let local = LocalAuthority::open(&store, &sealing).await?;
        let probe = settings.probe.map(Probe::new).transpose()?;
        let owner = format!("certd-{:032x}", rand::random::<u128>());
        let providers = Providers::built_in()?;
        let pace = Pace::default();
        Ok(Self {
            settings,
            store,
            sealing,
            local,
            authorities,
            proofs,
            lookup,
            providers,
            pace,
            turns: PlaceTurns::default(),
            probe,
            owner,
        })
    }

    /// Whether names on the internet are certified by a public authority.
    pub(crate) fn is_public(&self) -> bool {
        !self.authorities.is_empty()
    }
}

fn proofs(dns: &DnsZone, settings: &Settings, lookup: &Arc<dyn Lookup>) -> Result<Proofs, CertdError> {
    // Signatures of updates carry the time of the wall, whatever the store goes by.
    let zone = adapters::open(dns.zone.clone(), &dns.account, Arc::new(SystemClock))?;
    Ok(Proofs::new(zone, dns.name_servers.clone(), Arc::clone(lookup), settings.dns_wait))
}
