//! The memory of an edge: everything that a request is answered from, filled by the feed.
//!
//! Concurrent maps of immutable values; a site is replaced whole. A tenant is one entry that its sites share,
//! so that its standing and its limit survive their replacement, and a site may come before its tenant: until
//! the tenant is there, it is not served. The maps are as large as the feed makes them; no visitor adds to
//! them. Serves until told otherwise, so it fails open when the control plane is away.

mod hosts;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use dashmap::DashMap;
use feed::{ApplyError, Sink};
use foldhash::fast::RandomState;
use model::acme::{Challenge, ChallengeKind, Token};
use model::change::{Change, Object, ObjectId};
use model::id::{AppId, TenantId};
use model::seal::SealingKey;
use model::site::{HostOrigin, Site, SiteHost};
use model::tenant::Tenant;
use model::{Clock, Host};
use ratelimit::{Gcra, Stopwatch, VisitorTable};
use rustls::crypto::aws_lc_rs;

use crate::acme::alpn::AlpnChallenges;
use crate::backends::{Pool, PoolSettings, Pools};
use crate::client_auth::ClientAuth;
use crate::drain::{Course, Phase};
use crate::edge::EdgeError;
use crate::headers::{Hsts, PreparedPolicy};
use crate::metrics::{Metrics, Readings, Series, UPLOADS_ENDING};
use crate::settings::Settings;
use crate::sni::Certificates;
use crate::tickets::Tickets;
use crate::usage::{Ledger, Meter};

pub(crate) use hosts::Hosts;

/// The memory of one edge.
pub struct State {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stopwatch: Stopwatch,
    pub(crate) zones: Vec<Host>,
    hsts: bool,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) tickets: Arc<Tickets>,
    pub(crate) pools: Arc<Pools>,
    pub(crate) visitors: VisitorTable,
    pub(crate) metrics: Metrics,
    pub(crate) ledger: Ledger,
    pub(crate) course: Course,
    /// The port in redirects to https.
    pub(crate) https_port: AtomicU16,
    hosts: Arc<Hosts>,
    apps: DashMap<AppId, Arc<SiteEntry>, RandomState>,
    tenants: DashMap<TenantId, Arc<TenantEntry>, RandomState>,
    challenges: DashMap<Token, Arc<Challenge>, RandomState>,
    /// Those of them that are answered in a handshake.
    pub(crate) alpn_challenges: AlpnChallenges,
    revision: AtomicU64,
    is_feed_connected: AtomicBool,
    /// Changes are taken one at a time.
    applying: Mutex<()>,
}

/// Where a host leads.
#[derive(Clone)]
pub(crate) struct Route {
    /// The site.
    pub(crate) site: Arc<SiteEntry>,
    /// Which HSTS goes with the host, over TLS.
    pub(crate) hsts: Hsts,
    /// Whose client certificates the host asks for; none: it asks nobody.
    pub(crate) client_auth: Option<Arc<ClientAuth>>,
}

/// A site with what its requests need.
pub(crate) struct SiteEntry {
    /// As the feed gave it.
    pub(crate) site: Site,
    /// Whose it is.
    pub(crate) tenant: Arc<TenantEntry>,
    /// Its backends.
    pub(crate) pool: Arc<Pool>,
    /// Its headers, ready to send.
    pub(crate) policy: PreparedPolicy,
    /// Its meter.
    pub(crate) meter: Arc<Meter>,
}

/// A tenant: what the feed says of it, and what outlives each of these words.
#[derive(Default)]
pub(crate) struct TenantEntry {
    /// None until it came, and after it went.
    pub(crate) tenant: ArcSwapOption<Tenant>,
    /// How much of its limit is used.
    pub(crate) bucket: Gcra,
    /// Its metrics.
    pub(crate) series: Series,
}

impl State {
    /// An empty memory whose certificates' keys open with `sealing_key`. Give it to the feed as its
    /// [`Sink`] and to [`crate::Edge::start`].
    ///
    /// # Errors
    /// [`EdgeError::BackendCa`] if the trust anchors for backends cannot be read; [`EdgeError::Tls`] if the
    /// cryptographic library refuses.
    pub fn new(
        settings: &Settings,
        sealing_key: SealingKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, EdgeError> {
        let forbidden = [&settings.http, &settings.https, &settings.forbidden_backends].into_iter().flatten();
        let pool_settings = PoolSettings {
            forbidden: forbidden.chain(&settings.metrics).copied().collect(),
            socket_directories: settings.unix_backends.clone(),
            roots: settings.backend_ca_file.as_deref().map(crate::edge::read_roots).transpose()?,
        };
        let local = aws_lc_rs::Ticketer::new()?;
        let hosts = Arc::<Hosts>::default();
        Ok(Arc::new(Self {
            stopwatch: Stopwatch::start(),
            zones: settings.zones.clone(),
            hsts: settings.hsts,
            tickets: Arc::new(Tickets::new(local, sealing_key.clone(), Arc::clone(&clock))),
            certificates: Arc::new(Certificates::new(sealing_key, Arc::clone(&clock), Arc::clone(&hosts))),
            pools: Pools::new(pool_settings),
            visitors: VisitorTable::with_bytes(settings.visitor_table_bytes),
            metrics: Metrics::new(),
            ledger: Ledger::default(),
            course: Course::default(),
            https_port: AtomicU16::new(settings.public_https_port.unwrap_or(443)),
            hosts,
            apps: DashMap::default(),
            tenants: DashMap::default(),
            challenges: DashMap::default(),
            alpn_challenges: AlpnChallenges::default(),
            revision: AtomicU64::new(0),
            is_feed_connected: AtomicBool::new(false),
            applying: Mutex::new(()),
            clock,
        }))
    }

    /// Says that the first state is in memory, from the replica or from the feed: `/readyz` answers 200 from
    /// now on. [`Sink::retain`] says it too.
    pub fn set_ready(&self) {
        self.course.advance(Phase::Serving);
    }

    /// Whether the first state is in memory and the edge is not about to end.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.course.phase() == Phase::Serving
    }

    /// Sites in memory.
    #[must_use]
    pub fn sites(&self) -> usize {
        self.apps.len()
    }

    /// Certificates in memory.
    #[must_use]
    pub fn certificates(&self) -> usize {
        self.certificates.len()
    }

    /// Whether a handshake for `name`, which is canonical, finds a certificate now. Does what the handshake
    /// does: opens the private key if no handshake has done so yet.
    #[must_use]
    pub fn can_serve(&self, name: &str) -> bool {
        self.certificates.find(name, self.clock.now()).is_some()
    }

    /// Notes whether the control plane answers, for the metric `stoa_feed_connected`.
    pub fn set_feed_connected(&self, is_connected: bool) {
        self.is_feed_connected.store(is_connected, Relaxed);
    }

    /// What a scrape tells of the memory.
    pub(crate) fn readings(&self) -> Readings {
        Readings {
            sites: self.sites(),
            certificates: self.certificates(),
            certificates_expired: self.certificates.note_expired(),
            uploads_ending: self.certificates.uploads_ending(UPLOADS_ENDING),
            backends: self.pools.counts(),
            breaker_turns: self.pools.tally().turns(),
            feed_revision: self.revision.load(Relaxed),
            is_feed_connected: self.is_feed_connected.load(Relaxed),
            visitors_forgotten: self.visitors.forgotten(),
        }
    }

    /// Where `host` leads.
    pub(crate) fn route(&self, host: &str) -> Option<Route> {
        self.hosts.find(host, Route::clone)
    }

    /// Whose client certificates `host` asks for, if it asks for any.
    pub(crate) fn client_auth(&self, host: &str) -> Option<Arc<ClientAuth>> {
        self.hosts.find(host, |route| route.client_auth.clone())?
    }

    /// Whether a site answers at `host`.
    pub(crate) fn knows(&self, host: &str) -> bool {
        self.hosts.find(host, |_| ()).is_some()
    }

    /// The challenge of `token`.
    pub(crate) fn challenge(&self, token: &str) -> Option<Arc<Challenge>> {
        self.challenges.get(token).map(|challenge| Arc::clone(&challenge))
    }

    /// Forgets challenges that are past their end, in case the feed never takes them away.
    pub(crate) fn drop_expired_challenges(&self) {
        let now = self.clock.now();
        self.challenges.retain(|_, challenge| {
            let is_held = challenge.expires_at > now;
            if !is_held {
                self.alpn_challenges.remove(challenge);
            }
            is_held
        });
    }

    fn put(&self, object: &Object) -> Result<(), String> {
        match object {
            Object::Tenant(tenant) => {
                self.tenant_entry(tenant.id).tenant.store(Some(Arc::new(tenant.clone())));
            }
            Object::Site(site) => self.put_site(site),
            Object::Certificate(certificate) => {
                self.certificates.put(certificate).map_err(|error| error.to_string())?;
            }
            Object::Challenge(challenge) => {
                let challenge = Arc::new(challenge.clone());
                if challenge.kind == ChallengeKind::TlsAlpn01 {
                    self.alpn_challenges.put(&challenge);
                }
                self.challenges.insert(challenge.token.clone(), challenge);
            }
            Object::TicketKey(key) => self.tickets.put(key).map_err(|error| error.to_string())?,
        }
        Ok(())
    }

    fn put_site(&self, site: &Site) {
        let old = self.apps.get(&site.app).map(|entry| Arc::clone(&entry));
        let meter = old.as_ref().map(|old| &old.meter).filter(|meter| meter.is_of(site.tenant)).cloned();
        let entry = Arc::new(SiteEntry {
            site: site.clone(),
            tenant: self.tenant_entry(site.tenant),
            pool: self.pools.replace(site.app, &site.backends, &site.settings),
            policy: PreparedPolicy::new(&site.headers),
            meter: meter.unwrap_or_else(|| Arc::new(Meter::new(site.tenant, site.app))),
        });
        for host in &site.hosts {
            let route = Route {
                site: Arc::clone(&entry),
                hsts: if self.hsts { hsts(host) } else { Hsts::Off },
                client_auth: self.client_auth_of(host),
            };
            self.hosts.put(&host.host, route);
        }
        self.apps.insert(site.app, entry);
        let is_kept = |host: &SiteHost| site.hosts.iter().any(|kept| kept.host == host.host);
        let lost = old.iter().flat_map(|old| &old.site.hosts).filter(|host| !is_kept(host));
        lost.for_each(|host| self.hosts.take_out(&host.host, site.app));
    }

    /// The one that is there if the authority is the same: connections that proved it go on.
    fn client_auth_of(&self, host: &SiteHost) -> Option<Arc<ClientAuth>> {
        let ca = host.client_ca.as_ref()?;
        let there = self.hosts.get(&host.host, |route| route.client_auth.clone()).flatten();
        let there = there.filter(|there| there.is_of(ca));
        Some(there.unwrap_or_else(|| ClientAuth::new(ca.clone())))
    }

    fn remove(&self, id: &ObjectId) {
        match id {
            ObjectId::Tenant(id) => self.remove_tenant(*id),
            ObjectId::Site(app) => self.remove_site(*app),
            ObjectId::Certificate(id) => self.certificates.remove(*id),
            ObjectId::Challenge(token) => {
                if let Some((_, challenge)) = self.challenges.remove(token) {
                    self.alpn_challenges.remove(&challenge);
                }
            }
            ObjectId::TicketKey(id) => self.tickets.remove(*id),
        }
    }

    fn remove_site(&self, app: AppId) {
        if let Some((_, entry)) = self.apps.remove(&app) {
            entry.site.hosts.iter().for_each(|host| self.hosts.take_out(&host.host, app));
            self.pools.remove(app);
        }
    }

    /// An entry that sites share stays, so that it is the same when the tenant comes back.
    fn remove_tenant(&self, id: TenantId) {
        self.tenants.remove_if(&id, |_, entry| {
            entry.tenant.store(None);
            Arc::strong_count(entry) == 1
        });
    }

    fn tenant_entry(&self, id: TenantId) -> Arc<TenantEntry> {
        Arc::clone(&self.tenants.entry(id).or_default())
    }

    fn ids(&self) -> BTreeSet<ObjectId> {
        let tenants = self.tenants.iter().map(|entry| ObjectId::Tenant(*entry.key()));
        let sites = self.apps.iter().map(|entry| ObjectId::Site(*entry.key()));
        let challenges = self.challenges.iter().map(|entry| ObjectId::Challenge(entry.key().clone()));
        let tickets = self.tickets.ids().into_iter().map(ObjectId::TicketKey);
        tenants.chain(sites).chain(challenges).chain(tickets).collect()
    }
}

/// HSTS on our zones and on domains that have been live; never where a developer could lock himself out.
fn hsts(host: &SiteHost) -> Hsts {
    match host.origin {
        _ if host.host.base().is_development() => Hsts::Off,
        HostOrigin::Zone => Hsts::Zone,
        HostOrigin::Domain { live: true, .. } => Hsts::Domain,
        HostOrigin::Domain { live: false, .. } => Hsts::Off,
    }
}

impl Sink for State {
    fn apply(&self, change: &Change) -> Result<(), ApplyError> {
        let _one_at_a_time = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        // A new lineage begins anew, so this is no maximum.
        self.revision.store(change.revision.0, Relaxed);
        match &change.object {
            Some(object) => self.put(object).map_err(|reason| ApplyError {
                id: change.id.clone(),
                revision: change.revision,
                reason,
            }),
            None => {
                self.remove(&change.id);
                Ok(())
            }
        }
    }

    fn retain(&self, known: &BTreeSet<ObjectId>) {
        let _one_at_a_time = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        self.ids().difference(known).for_each(|id| self.remove(id));
        self.certificates.retain(|id| known.contains(&ObjectId::Certificate(id)));
        if known.is_empty() {
            // No change told of the new lineage: what is here is of the one before.
            self.revision.store(0, Relaxed);
        }
        self.set_ready();
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("sites", &self.sites())
            .field("certificates", &self.certificates())
            .field("revision", &self.revision.load(Relaxed))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;
