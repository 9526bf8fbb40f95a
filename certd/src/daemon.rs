//! The loop: looks for what is due, hands it to tasks, and never waits for any of them.

mod checks;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use model::domain::{Claim, Routing};
use model::id::{CertificateId, DomainId, OrderId, TenantId};
use model::seal::KeyRing;
use model::{Host, Timestamp};
use store::{CertificateRecord, DomainRecord, Store, StoreError};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::acme::WIDEST;
use crate::caa::StandingProof;
use crate::consent::Consents;
use crate::dns::{Inspector, Lookup, Resolver};
use crate::domains::Renewal;
use crate::line::Crowds;
use crate::renewal::BEING_ASKED;
use crate::work::Work;
use crate::{CertdError, Guard, Settings};

/// Most orders that are looked through for some that may be begun.
const IN_LINE: u32 = 500;
/// Longest wait between two rounds: not everything that becomes due moves the store's revision.
const TICK: Duration = Duration::from_millis(500);
/// Shortest wait between two rounds, however fast the store changes.
const BREATH: Duration = Duration::from_millis(20);
/// Wait after a round that the store did not bear.
const STORE_AWAY: Duration = Duration::from_secs(1);
/// How often what costs a walk is done.
const WALK: Duration = Duration::from_secs(5);
/// How often ended certificates are written off.
const SWEEP: Duration = Duration::from_secs(60);
/// How often it is looked for certificates that ended so long ago that they are forgotten.
const PURGE: Duration = Duration::from_secs(3600);
/// How often it is looked for texts that were left in zones of ours.
const CLEAR: Duration = Duration::from_secs(60);
/// How often certificates are looked for whose renewal no domain's own check sees to.
const RENEWALS: Duration = Duration::from_secs(1);
/// How long one of them is left alone after its renewal was set going.
const LEFT_ALONE: Duration = Duration::from_secs(60);
/// Most of them in one look.
const DUE: u32 = 1_000;
/// Most creators' providers that are asked at a time.
const CONNECTIONS: usize = 8;
/// Most of one tenant's: a server that is slow on purpose holds up nobody else.
const CONNECTIONS_OF_ONE: usize = 2;
/// Questions to authorities about renewals that go out together, and whose answers are written down together.
const QUESTIONS: u32 = 16;
/// Most such bundles at a time: one question that is not answered holds up its bundle only.
const BUNDLES: usize = 4;
/// How often turns with authorities are dealt out anew, at most; and how much longer than it takes.
const DEAL: (Duration, u32) = (Duration::from_secs(10), 100);
/// How often it is looked for authorities that failed, and for accounts that are to get another key.
const TRIALS: Duration = Duration::from_secs(5);
/// How long tasks may take to end when the process ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// Domains and certificates of one installation.
pub struct Certd {
    work: Arc<Work>,
}

impl std::fmt::Debug for Certd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certd").field("settings", &self.work.settings).finish_non_exhaustive()
    }
}

impl Certd {
    /// Prepares: the local authority and the certificates of local zones are there when this returns.
    ///
    /// # Errors
    /// [`CertdError`] names the setting, the key or the store that cannot be used.
    pub async fn start(
        settings: Settings,
        store: Store,
        sealing: impl Into<KeyRing>,
    ) -> Result<Self, CertdError> {
        let lookup = Arc::new(Resolver::new(&settings.resolvers)?);
        Self::start_with(settings, store, sealing, lookup).await
    }

    /// As [`Certd::start`], with another way to look names up.
    ///
    /// # Errors
    /// As [`Certd::start`].
    pub async fn start_with(
        settings: Settings,
        store: Store,
        sealing: impl Into<KeyRing>,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, CertdError> {
        let work = Arc::new(Work::new(settings, store, sealing.into(), lookup).await?);
        work.certify_zones().await?;
        Ok(Self { work })
    }

    /// Looks at domains that are not connected yet, with the same resolvers.
    #[must_use]
    pub fn inspector(&self) -> Inspector {
        Inspector::new(Arc::clone(&self.work.lookup), self.work.providers.clone())
    }

    /// The zone of ours where names are proved by texts, if there is one.
    #[must_use]
    pub fn challenge_zone(&self) -> Option<Host> {
        self.work.settings.dns.as_ref().map(|dns| dns.zone.clone())
    }

    /// Whether certificates for all names below one can be made: by the local authority, or proved by records.
    #[must_use]
    pub fn takes_wildcards(&self) -> bool {
        let settings = &self.work.settings;
        !self.work.is_public() || settings.dns.is_some() || settings.dns_persist
    }

    /// Tells the text that proves a name to the first authority for good.
    #[must_use]
    pub fn standing_proof(&self) -> StandingProof {
        StandingProof::new(Arc::clone(&self.work))
    }

    /// Makes links to creators' own providers, if we are known to any.
    ///
    /// # Errors
    /// [`CertdError::Settings`] names what cannot be used.
    pub fn consents(&self) -> Result<Option<Consents>, CertdError> {
        let (connect, lookup) = (&self.work.settings.connect, &self.work.lookup);
        let guard = Guard::new(Arc::clone(lookup), connect.networks.clone());
        let service = connect.service.clone();
        service.map(|service| Consents::new(service, guard, Arc::clone(lookup))).transpose()
    }

    /// The root of the local authority, PEM, for whoever is to trust it.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.work.local.pem()
    }

    /// Works until `shutdown` says true or its sender is gone; orders under way are left for whoever comes
    /// next.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let mut revision = self.work.store.watch();
        let mut rounds = Rounds::new(self.work, shutdown.clone());
        loop {
            let wait = match rounds.go().await {
                Ok(()) => TICK,
                Err(error) => {
                    tracing::warn!(%error, "certd could not look for work");
                    STORE_AWAY
                }
            };
            let until = Instant::now() + wait;
            sleep(BREATH).await;
            tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => break,
                () = sleep_until(until) => {}
                Ok(()) = revision.changed(), if wait == TICK => {}
                Some(ended) = rounds.tasks.join_next_with_id() => rounds.note(ended),
            }
        }
        rounds.end().await;
    }
}

/// Whether the time `at` has come, of something that is done `every` so often. A time further away was set before
/// the wall clock was put back: it does not hold anything up.
fn is_due(at: Timestamp, now: Timestamp, every: Duration) -> bool {
    at <= now || at > now.plus(every)
}

/// What a task works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Job {
    Check(DomainId, TenantId),
    Order(OrderId),
    /// Sets a creator's records, or takes them back.
    Connect(DomainId, TenantId),
    /// Asks when some certificates should be renewed; with the number of the bundle.
    Ask(u64),
    /// Tries authorities that failed, and changes keys of accounts.
    Try,
    /// Deals turns with authorities out anew, and waits until that may be done again.
    Deal,
    /// Forgets what ended long ago.
    Purge,
    /// Takes texts away that were left in zones of ours.
    Clear,
    /// Walks over zones and apps.
    Walk,
}

/// The tasks under way, and when the slower things are next.
struct Rounds {
    work: Arc<Work>,
    shutdown: watch::Receiver<bool>,
    tasks: JoinSet<()>,
    jobs: HashMap<Id, Job>,
    /// Number of the last bundle of questions.
    bundle: u64,
    /// When the next bundle may go out.
    ask_at: Instant,
    zones_at: Timestamp,
    walk_at: Timestamp,
    sweep_at: Timestamp,
    purge_at: Timestamp,
    clear_at: Timestamp,
    renewals_at: Timestamp,
    trials_at: Timestamp,
    /// Certificates whose renewal was set going, and until when they are left alone; at most [`DUE`] a look.
    left_alone: HashMap<CertificateId, Timestamp>,
}

impl Rounds {
    fn new(work: Arc<Work>, shutdown: watch::Receiver<bool>) -> Self {
        let at_once = Timestamp::default();
        Self {
            work,
            shutdown,
            tasks: JoinSet::new(),
            jobs: HashMap::new(),
            bundle: 0,
            ask_at: Instant::now(),
            zones_at: at_once,
            walk_at: at_once,
            sweep_at: at_once,
            purge_at: at_once,
            clear_at: at_once,
            renewals_at: at_once,
            trials_at: at_once,
            left_alone: HashMap::new(),
        }
    }

    /// Looks for everything that is due and begins it.
    async fn go(&mut self) -> Result<(), CertdError> {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.note(ended);
        }
        let now = self.work.store.now();
        self.check_domains(now).await?;
        self.set_renewals_going(now).await?;
        self.walk(now).await?;
        self.deal_turns();
        self.work_off_orders().await?;
        self.work_off_connections(now).await?;
        self.ask_authorities(now).await?;
        if is_due(self.sweep_at, now, SWEEP) {
            self.work.store.expire_certificates().await?;
            for (held, days) in self.work.store.warn_of_ending_uploads().await? {
                let (names, not_after) = (&held.names, held.not_after);
                tracing::warn!(certificate = %held.id, ?names, %not_after, days, "an uploaded certificate ends soon");
            }
            self.work.store.purge_budget().await?;
            self.work.store.forget_credentials().await?;
            self.sweep_at = now.plus(SWEEP);
        }
        if is_due(self.purge_at, now, PURGE) && !self.has(Job::Purge) {
            self.purge_at = now.plus(PURGE);
            let store = self.work.store.clone();
            self.begin(Job::Purge, async move { while let Ok(1..) = store.purge_certificates().await {} });
        }
        if is_due(self.clear_at, now, CLEAR) && !self.has(Job::Clear) {
            self.clear_at = now.plus(CLEAR);
            let work = Arc::clone(&self.work);
            self.begin(Job::Clear, async move {
                if let Err(error) = work.clear_texts().await {
                    tracing::warn!(%error, "texts that were left in zones could not be looked for");
                }
            });
        }
        Ok(())
    }

    async fn work_off_orders(&mut self) -> Result<(), CertdError> {
        let most = usize::try_from(WIDEST).unwrap_or(usize::MAX).saturating_mul(self.work.authorities.len());
        let free = most.saturating_sub(self.count(|job| matches!(job, Job::Order(_))));
        if free == 0 {
            return Ok(());
        }
        let now = self.work.store.now();
        let in_line = self.work.store.orders_in_line(now, IN_LINE).await?;
        if in_line.is_empty() {
            return Ok(());
        }
        let mut crowds = self.crowds(now).await?;
        // One that was just begun is in nobody's hands yet.
        let (begun, in_line): (Vec<_>, Vec<_>) =
            in_line.into_iter().partition(|(id, _)| self.has(Job::Order(*id)));
        begun.iter().for_each(|(_, host)| crowds.join(host.base()));
        for id in crowds.pick(in_line.iter().map(|(id, host)| (*id, host.base())), free) {
            let (work, shutdown) = (Arc::clone(&self.work), self.shutdown.clone());
            self.begin(Job::Order(id), async move { work.work_off(id, shutdown).await });
        }
        Ok(())
    }

    /// Sees to it that nobody who waits for an authority's limits has more turns than others who do. The task goes on
    /// until it may be done again.
    fn deal_turns(&mut self) {
        if self.has(Job::Deal) {
            return;
        }
        let (work, mut shutdown) = (Arc::clone(&self.work), self.shutdown.clone());
        self.begin(Job::Deal, async move {
            let begun = Instant::now();
            for authority in &work.authorities {
                match work.store.deal_turns(authority.name()).await {
                    Ok(0) | Err(StoreError::Fenced { .. }) => {}
                    Ok(moved) => {
                        tracing::info!(authority = authority.name(), moved, "turns were dealt out anew");
                    }
                    Err(error) => tracing::warn!(%error, "turns were not dealt out anew"),
                }
            }
            let pause = sleep(DEAL.0.max(begun.elapsed() * DEAL.1));
            tokio::select! {
                () = pause => {}
                _ = shutdown.wait_for(|stop| *stop) => {}
            }
        });
    }

    async fn work_off_connections(&mut self, now: Timestamp) -> Result<(), CertdError> {
        let under_way = self.count(|job| matches!(job, Job::Connect(..)));
        if under_way >= CONNECTIONS {
            return Ok(());
        }
        let (each, most) = (limit(CONNECTIONS_OF_ONE), limit(CONNECTIONS + under_way));
        for wished in self.work.store.due_connections(now, each, most).await? {
            let (id, tenant) = (wished.domain, wished.tenant);
            let of_one = self.count(|job| matches!(job, Job::Connect(_, of) if *of == tenant));
            let all = self.count(|job| matches!(job, Job::Connect(..)));
            let job = Job::Connect(id, tenant);
            if of_one < CONNECTIONS_OF_ONE && all < CONNECTIONS && !self.has(job) {
                let (work, shutdown) = (Arc::clone(&self.work), self.shutdown.clone());
                self.begin(job, async move { work.work_off_connection(id, shutdown).await });
            }
        }
        Ok(())
    }

    /// How many orders are worked on for each registered domain. Who else works is told to the authorities' lanes on
    /// the same occasion.
    async fn crowds(&self, now: Timestamp) -> Result<Crowds, CertdError> {
        let in_hand = self.work.store.orders_in_hand(now).await?;
        let others: HashSet<&str> = in_hand
            .iter()
            .map(|order| order.owner.as_str())
            .filter(|owner| *owner != self.work.owner)
            .collect();
        let processes = u32::try_from(others.len()).unwrap_or(u32::MAX).saturating_add(1);
        for authority in &self.work.authorities {
            authority.lane().share_with(processes);
        }
        let mut crowds = Crowds::default();
        in_hand.iter().for_each(|order| crowds.join(order.host.base()));
        Ok(crowds)
    }

    /// Asks when certificates should be renewed, and whether authorities that failed are back.
    async fn ask_authorities(&mut self, now: Timestamp) -> Result<(), CertdError> {
        if !self.work.is_public() {
            return Ok(());
        }
        while self.count(|job| matches!(job, Job::Ask(_))) < BUNDLES && self.ask_at <= Instant::now() {
            let taken = self.work.store.take_questions(QUESTIONS, BEING_ASKED).await?;
            if taken.is_empty() {
                break;
            }
            let apart =
                Duration::from_secs(1) * limit(taken.len()) / self.work.settings.questions_per_second.max(1);
            self.ask_at = self.ask_at.max(Instant::now()) + apart;
            self.bundle = self.bundle.wrapping_add(1);
            let work = Arc::clone(&self.work);
            self.begin(Job::Ask(self.bundle), async move {
                if let Err(error) = work.ask_for_advice(&taken).await {
                    tracing::warn!(%error, "renewal windows were not written down");
                }
            });
        }
        if is_due(self.trials_at, now, TRIALS) && !self.has(Job::Try) {
            self.trials_at = now.plus(TRIALS);
            let work = Arc::clone(&self.work);
            self.begin(Job::Try, async move {
                if let Err(error) = work.try_authorities().await {
                    tracing::warn!(%error, "authorities that failed could not be tried");
                }
                if let Err(error) = work.change_keys().await {
                    tracing::warn!(%error, "keys of accounts could not be changed");
                }
            });
        }
        Ok(())
    }

    /// Renewals of zones and apps, and those of domains that somebody asked for before their time.
    async fn set_renewals_going(&mut self, now: Timestamp) -> Result<(), CertdError> {
        if !is_due(self.renewals_at, now, RENEWALS) {
            return Ok(());
        }
        self.renewals_at = now.plus(RENEWALS);
        self.left_alone.retain(|_, until| !is_due(*until, now, LEFT_ALONE));
        for due in self.work.store.certificates_due(now, DUE).await? {
            if let Entry::Vacant(free) = self.left_alone.entry(due.id) {
                free.insert(now.plus(LEFT_ALONE));
                if let Err(error) = self.renew(&due, now).await {
                    tracing::warn!(certificate = %due.id, %error, "a renewal could not be set going");
                }
            }
        }
        Ok(())
    }

    async fn renew(&mut self, due: &CertificateRecord, now: Timestamp) -> Result<(), CertdError> {
        let mut domains = Vec::new();
        for name in &due.names {
            if self.work.store.zones().contains(name.base()) {
                return self.work.renew_zone(name.base()).await;
            }
            domains.extend(self.work.store.domain_by_host(name).await?);
        }
        let Some((first, tenant)) = domains.first().map(|domain| (domain.id, domain.tenant)) else {
            self.walk_at = now;
            return Ok(());
        };
        // A domain looks after its renewal itself when it is time, unless its last look was under way while the
        // authority gave its advice. One that was asked for is not due.
        let renewal = if self.work.due_at(due) > now { Renewal::Now } else { Renewal::WhenDue };
        let is_here = |domain: &DomainRecord| {
            domain.facts.routing == Routing::Here && domain.facts.claim == Claim::Proved
        };
        domains.retain(|domain| renewal == Renewal::Now || (is_here(domain) && domain.next_check_at > now));
        if !domains.is_empty() {
            let (work, id) = (Arc::clone(&self.work), due.id);
            self.begin(Job::Check(first, tenant), async move { work.renew_for(id, domains, renewal).await });
        }
        Ok(())
    }

    /// Zones and apps, when their time has come.
    async fn walk(&mut self, now: Timestamp) -> Result<(), CertdError> {
        if self.zones_at <= now {
            // What fails here must not hold up the orders.
            self.zones_at = self.work.certify_zones().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "a zone could not be certified");
                now.plus(WALK)
            });
        }
        if is_due(self.walk_at, now, WALK) && self.work.is_public() && !self.has(Job::Walk) {
            self.walk_at = now.plus(WALK);
            let work = Arc::clone(&self.work);
            self.begin(Job::Walk, async move {
                if let Err(error) = work.order_apps().await {
                    tracing::warn!(%error, "apps without a certificate could not be looked for");
                }
            });
        }
        Ok(())
    }

    fn begin(&mut self, job: Job, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(task).id();
        self.jobs.insert(id, job);
    }

    fn has(&self, job: Job) -> bool {
        self.jobs.values().any(|under_way| *under_way == job)
    }

    fn count(&self, of: impl Fn(&Job) -> bool) -> usize {
        self.jobs.values().filter(|job| of(job)).count()
    }

    fn note(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "a task of certd broke off");
                error.id()
            }
        };
        self.jobs.remove(&id);
    }

    /// Lets the tasks end; those that do not are cut off, which the journal bears.
    async fn end(mut self) {
        let until = Instant::now() + FAREWELL;
        while let Ok(Some(_)) = timeout_at(until, self.tasks.join_next()).await {}
    }
}

fn limit(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_is_put_back_a_day_holds_nothing_up() {
        let (now, day) = (Timestamp::from_unix_seconds(1_800_000_000), Duration::from_secs(86_400));
        let next = now.plus(SWEEP);
        assert!(!is_due(next, now, SWEEP));
        assert!(is_due(next, now.plus(SWEEP), SWEEP));
        assert!(is_due(next, now.plus(day), SWEEP));
        assert!(is_due(next, now.minus(day), SWEEP));
    }
}
