//! Which certificate a visitor gets for the name that it asks for.
//!
//! Exact name before wildcard of one label (RFC 6125 §6.4.3); never a certificate of another name. Of several
//! for one name, the valid one with the greatest id, which was made last: the same one that the control plane
//! calls active. When a certificate begins says nothing about that. An expired one is served until the control
//! plane takes it away: a browser's warning tells the visitor more than a broken connection. A creator's wildcard
//! is never served for a name below it that somebody else has.
//!
//! A private key is opened by the first handshake that needs it. One that cannot be used then is logged once,
//! and its certificate is as if it were not there: the next best is served.

mod issuers;
mod prepared;
mod served;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use model::certificate::Certificate;
use model::id::CertificateId;
use model::seal::SealingKey;
use model::{Clock, Host, HostPattern, Timestamp};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use smallvec::SmallVec;

use issuers::Interned;
use prepared::{MOST_PREPARED, Prepared};
pub(crate) use served::CertificateError;
use served::Served;

use crate::state::Hosts;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Those of one name, greatest id first. Nearly every name has one, which then stands in the map itself: each
/// place in memory that a look-up has to visit costs as much as all that it computes.
type Candidates = SmallVec<[Arc<Served>; 2]>;
type ByName = DashMap<Host, Candidates, RandomState>;

/// All certificates of an edge, found by name without an allocation.
pub(crate) struct Certificates {
    exact: ByName,
    /// By the name that the wildcard stands below.
    wildcard: ByName,
    by_id: DashMap<CertificateId, Arc<Served>, RandomState>,
    issuers: Interned,
    prepared: Prepared,
    sealing_key: SealingKey,
    clock: Arc<dyn Clock>,
    hosts: Arc<Hosts>,
}

impl Certificates {
    /// None yet; their private keys open with `sealing_key`. `hosts` tells whose a name is.
    pub(crate) fn new(sealing_key: SealingKey, clock: Arc<dyn Clock>, hosts: Arc<Hosts>) -> Self {
        Self {
            exact: DashMap::default(),
            wildcard: DashMap::default(),
            by_id: DashMap::default(),
            issuers: Interned::default(),
            prepared: Prepared::with_room_for(MOST_PREPARED),
            sealing_key,
            clock,
            hosts,
        }
    }

    /// Serves `certificate` from the next handshake on, in place of the one with the same id. Costs the same
    /// however many there are.
    ///
    /// # Errors
    /// [`CertificateError`]; what was served before is served on.
    pub(crate) fn put(&self, certificate: &Certificate) -> Result<(), CertificateError> {
        let served = Arc::new(Served::read(certificate, &self.sealing_key, &self.issuers)?);
        let old = self.by_id.insert(served.id, Arc::clone(&served));
        for name in &served.names {
            let (map, host) = self.place(name);
            insert(&mut map.entry(host.clone()).or_default(), &served);
        }
        for name in old.iter().flat_map(|old| &old.names).filter(|name| !served.names.contains(name)) {
            self.take_out(name, served.id);
        }
        Ok(())
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

    /// The certificate for `name`, which is canonical, with its key open. Takes no lock but the maps' own
    /// unless the key has to be opened.
    pub(crate) fn find(&self, name: &str, now: Timestamp) -> Option<Arc<CertifiedKey>> {
        // Ends: each turn serves, or spoils one more.
        loop {
            let served = match self.look_up(name, now)? {
                Found::Prepared(key) => return Some(key),
                Found::Sealed(served) => served,
            };
            match served.prepare(&self.sealing_key) {
                Ok(key) => return Some(self.prepared.keep(&served, key)),
                Err(error) if served.spoil() => {
                    tracing::error!(certificate = %served.id, %error, "certificate cannot be served");
                }
                Err(_) => {}
            }
        }
    }

    /// The maps are free again when this returns: opening a key takes its time.
    fn look_up(&self, name: &str, now: Timestamp) -> Option<Found> {
        let exact = self.exact.get(name);
        let exact = exact.as_deref().map_or(&[][..], SmallVec::as_slice);
        if let Some(served) = exact.iter().find(|served| served.is_valid(now)) {
            return Some(Found::of(served));
        }
        let parent = name.split_once('.').map_or("", |(_, parent)| parent);
        let wildcard = self.wildcard.get(parent);
        let wildcard = wildcard.as_deref().map_or(&[][..], SmallVec::as_slice);
        let covers =
            |served: &&Arc<Served>| served.tenant.is_none_or(|tenant| self.hosts.may_cover(name, tenant));
        choose(exact.iter().chain(wildcard.iter().filter(covers)), now).map(Found::of)
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

    /// How many uploaded ones end within so many days, each count with those before it.
    pub(crate) fn uploads_ending(&self, days: [u32; 3]) -> [usize; 3] {
        let now = self.clock.now();
        let ends = days.map(|days| now.plus(DAY * days));
        let mut counts = [0; 3];
        for served in self.by_id.iter().filter(|served| served.is_upload) {
            for (count, _) in counts.iter_mut().zip(ends).filter(|(_, end)| served.not_after <= *end) {
                *count += 1;
            }
        }
        counts
    }

    fn place<'c, 'n>(&'c self, name: &'n HostPattern) -> (&'c ByName, &'n Host) {
        match name {
            HostPattern::Exact(host) => (&self.exact, host),
            HostPattern::Wildcard(parent) => (&self.wildcard, parent),
        }
    }

    fn take_out(&self, name: &HostPattern, id: CertificateId) {
        let (map, host) = self.place(name);
        if let Some(mut list) = map.get_mut(host) {
            list.retain(|served| served.id != id);
        }
        map.remove_if(host, |_, list| list.is_empty());
    }
}

/// What a look-up finds.
enum Found {
    /// Ready to be served.
    Prepared(Arc<CertifiedKey>),
    /// Its key is to be opened first.
    Sealed(Arc<Served>),
}

impl Found {
    fn of(served: &Arc<Served>) -> Self {
        served.prepared().map_or_else(|| Self::Sealed(Arc::clone(served)), Self::Prepared)
    }
}

/// Keeps the list ordered by id, greatest first: ids tell the order in which certificates were made.
fn insert(list: &mut Candidates, served: &Arc<Served>) {
    list.retain(|other| other.id != served.id);
    let at = list.partition_point(|other| other.id > served.id);
    list.insert(at, Arc::clone(served));
}

/// The first that is valid: exact before wildcard, the one that was made last first; if none is, the first there is.
fn choose<'s>(
    mut all: impl Iterator<Item = &'s Arc<Served>> + Clone,
    now: Timestamp,
) -> Option<&'s Arc<Served>> {
    all.clone().find(|served| served.is_valid(now)).or_else(|| all.find(|served| !served.is_spoilt()))
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
