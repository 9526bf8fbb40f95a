//! Two processes with one store that keep many domains certified, over the wire, at an authority with Let's Encrypt's
//! limits. The clock stands while there is work, and then moves to the next moment at which there is some.
//!
//! Knows nothing of the other tests: the example `year` runs it at full size.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::ensure;
use async_trait::async_trait;
use certd::acme::Limits;
use certd::dns::{Kind, Lookup, LookupError, Value};
use certd::{Acme, Certd, Settings, renewal};
use model::certificate::{CertificateSource, CertificateStatus};
use model::change::Revision;
use model::clock::{Clock, ManualClock};
use model::domain::DomainStatus;
use model::edge::EdgeReport;
use model::id::{AppId, CertificateId, EdgeId, TenantId};
use model::seal::SealingKey;
use model::site::HeaderPolicy;
use model::tenant::Slug;
use model::{Host, HostPattern, Timestamp};
use store::{
    Access, Actor, CertificateFilter, CertificateRecord, DomainRecord, NewApp, NewTenant, Options, Order,
    Page, Store,
};
use tempfile::TempDir;
use testkit::ca::{self, Ca, Kind as Asked};
use testkit::wait::until;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
/// How often certificates are noted: sooner than the store forgets one that has ended.
const SEEN: Duration = Duration::from_secs(20 * 24 * 3600);
/// Longer than all the work of one moment takes.
const BOUND: Duration = Duration::from_secs(600);
/// For how long a question, or a look at a domain that is live, is one process's, as certd has it.
const TAKEN: Duration = Duration::from_secs(120);
const INSTANT: Duration = Duration::from_millis(1);
/// Domains of one app.
const EACH: usize = 100;
/// How far the clock moves at least and at most. The least: a window is open for 21 hours, and no renewal begins in its
/// last two. The most: each step costs a look at every name and a question about every certificate, four of which a
/// day have nothing to tell.
pub(crate) const STEPS: (Duration, Duration) = (MINUTE.saturating_mul(100), DAY.saturating_mul(3));

/// Domains that are connected by their CNAME.
#[derive(Debug, Clone, Default)]
struct Aliases(Arc<Mutex<HashMap<String, String>>>);

#[async_trait]
impl Lookup for Aliases {
    async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, LookupError> {
        let target = self.0.lock().unwrap().get(name).cloned().filter(|_| kind == Kind::Cname);
        Ok(target.map(Value::Alias).into_iter().collect())
    }
}

/// Two processes with one store.
pub(crate) struct Year {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Store,
    aliases: Aliases,
    domains: Vec<DomainRecord>,
    /// How many of the domains are known to have come to life.
    live: usize,
    tenant: TenantId,
    apps: Vec<AppId>,
    edge: EdgeReport,
    lease: Duration,
    certds: Vec<(watch::Sender<bool>, JoinHandle<()>)>,
    /// All public certificates as they were seen last; what ended long ago is forgotten by the store.
    seen: BTreeMap<CertificateId, CertificateRecord>,
    /// When it was looked for them.
    seen_at: Timestamp,
    _dir: TempDir,
}

pub(crate) fn lets_encrypt(clock: &Arc<ManualClock>, seed: u64) -> ca::Options {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    ca::Options { clock, seed, limits: ca::Limits::lets_encrypt(), ..ca::Options::default() }
}

pub(crate) fn start_of_time() -> Arc<ManualClock> {
    Arc::new(ManualClock::at("2026-11-23T12:00:00Z".parse().unwrap()))
}

fn at(ca: &Ca) -> Acme {
    Acme {
        ca_file: Some(ca.ca_file.clone()),
        profiles: vec!["tlsserver".to_owned()],
        limits: Limits::LetsEncrypt,
        ..Acme::at(&ca.directory_url)
    }
}

async fn open(clock: &Arc<ManualClock>, dir: &TempDir) -> Store {
    let options = Options {
        url: format!("sqlite:{}", dir.path().join("stoa.db").display()),
        zones: vec![Host::parse("apps.localhost").unwrap()],
        edge_addresses: vec![[127, 0, 0, 1].into()],
    };
    Store::open(options, Arc::clone(clock) as Arc<dyn Clock>).await.unwrap()
}

impl Year {
    pub(crate) async fn start(clock: Arc<ManualClock>, authorities: &[&Ca]) -> Self {
        let (sealing, dir, aliases) =
            (SealingKey::generate(), tempfile::tempdir().unwrap(), Aliases::default());
        let store = open(&clock, &dir).await;
        let new = NewTenant { name: "Acme".to_owned(), slug: Slug::parse("acme").unwrap() };
        let tenant = store.create_tenant(&Actor::system("test"), new).await.unwrap().id;
        let settings = Settings {
            acme: authorities.first().map(|ca| at(ca)),
            fallbacks: authorities.iter().skip(1).map(|ca| at(ca)).collect(),
            // The clock stands: seconds of the machine tell nothing.
            orders_per_second: 1_000_000,
            questions_per_second: 1_000_000,
            ..Settings::default()
        };
        let lease = settings.lease;
        let mut certds = Vec::new();
        for _ in 0..2 {
            let (shutdown, told) = watch::channel(false);
            let lookup = Arc::new(aliases.clone());
            let certd = Certd::start_with(settings.clone(), store.clone(), sealing.clone(), lookup).await;
            certds.push((shutdown, tokio::spawn(certd.unwrap().run(told))));
        }
        // An edge that has everything before it is told.
        let edge = EdgeReport {
            edge: EdgeId::generate(clock.now()),
            revision: Revision(u64::try_from(i64::MAX).unwrap()),
            version: "test".to_owned(),
            started_at: clock.now(),
            sites: 0,
            certificates: 0,
        };
        let (domains, apps, seen, seen_at) = (Vec::new(), Vec::new(), BTreeMap::new(), clock.now());
        let year = Self {
            clock,
            store,
            aliases,
            domains,
            live: 0,
            tenant,
            apps,
            edge,
            lease,
            certds,
            seen,
            seen_at,
            _dir: dir,
        };
        year.advance(Duration::ZERO).await;
        year
    }

    /// Moves the clock; the edge is heard of, and the processes look for work at once, as after any change.
    async fn advance(&self, time: Duration) {
        self.clock.advance(time);
        self.store.report_edge(&self.edge).await.unwrap();
        self.store.begin_new_lineage(&Actor::system("test")).await.unwrap();
    }

    /// Adds a domain that is connected from the start.
    pub(crate) async fn add(&mut self) -> DomainRecord {
        let (number, actor) = (self.domains.len(), Actor::system("test"));
        if number / EACH >= self.apps.len() {
            let new = NewApp {
                name: Slug::parse(&format!("app-{number}")).unwrap(),
                backends: Vec::new(),
                headers: HeaderPolicy::default(),
                settings: model::site::Settings::default(),
            };
            let app = self.store.create_app(&actor, Access::Platform, self.tenant, new).await.unwrap();
            self.apps.push(app.id);
        }
        let host = Host::parse(&format!("www.shop-{number}.com")).unwrap();
        let app = self.apps[number / EACH];
        let domain = self.store.add_domain(&actor, Access::Platform, app, host).await.unwrap();
        let (name, target) = (domain.host.to_string(), domain.target.cname.to_string());
        self.aliases.0.lock().unwrap().insert(name, target);
        self.domains.push(domain.clone());
        domain
    }

    /// Adds so many domains, and waits until all of them are live.
    pub(crate) async fn board(&mut self, count: usize) {
        for _ in 0..count {
            self.add().await;
        }
        self.advance(Duration::ZERO).await;
        let start = self.clock.now();
        while !self.have_come_to_life().await {
            self.pass(HOUR, STEPS).await;
            assert!(self.clock.now().since(start) < DAY * 30, "some domains never come to life");
        }
    }

    async fn have_come_to_life(&mut self) -> bool {
        while let Some(domain) = self.domains.get(self.live) {
            if !self.is_live(domain).await {
                return false;
            }
            self.live += 1;
        }
        true
    }

    pub(crate) async fn is_live(&self, domain: &DomainRecord) -> bool {
        self.store.domain(Access::Platform, domain.id).await.unwrap().status == DomainStatus::Live
    }

    /// Lets time pass in steps of a least and a greatest length.
    pub(crate) async fn pass(&mut self, time: Duration, (least, most): (Duration, Duration)) {
        let end = self.clock.now().plus(time);
        self.settle().await;
        while self.clock.now() < end {
            let now = self.clock.now();
            let next = self.next(now.plus(most)).await.max(now.plus(least)).min(end);
            self.advance(next.since(now)).await;
            self.settle().await;
            if next.since(self.seen_at) > SEEN {
                self.see().await;
            }
        }
    }

    /// The next moment at which an order or a renewal is due, if it is before `bound`.
    async fn next(&self, bound: Timestamp) -> Timestamp {
        // By rank, not by time: all are needed.
        let orders = self.store.due_orders(bound, u32::MAX >> 1).await.unwrap();
        let orders = orders.iter().map(|order| order.next_at);
        let renewals = self.store.certificates_due(bound, 1000).await.unwrap();
        let renewals = renewals.iter().map(renewal::due_at);
        orders.chain(renewals).min().unwrap_or(bound).min(bound)
    }

    /// Waits until nothing is due.
    async fn settle(&self) {
        let settled = until("the work of one moment", BOUND, async || {
            let (store, now) = (&self.store, self.clock.now());
            let checks = store.due_domains(now, 1).await?;
            ensure!(checks.is_empty(), "a look is due: {checks:?}");
            // What was taken in this moment, and nothing else, is due again exactly so much later.
            let taken = now.plus(TAKEN);
            let until = async |end| anyhow::Ok(store.due_domains(end, u32::MAX >> 1).await?.len());
            ensure!(until(taken).await? == until(taken.minus(INSTANT)).await?, "a look is under way");
            let renewals = store.certificates_due(now, 1).await?;
            ensure!(renewals.is_empty(), "a renewal is due: {:?}", renewals.first().map(|due| &due.names));
            // Behind what begins orders, and before what follows them.
            let under_way = self.under_way(now).await?;
            ensure!(under_way.is_empty(), "order under way: {:?}", under_way.first());
            let asks = store.certificates_to_ask(now, 1).await?;
            ensure!(asks.is_empty(), "a question is due: {:?}", asks.first().map(|(held, _)| held.id));
            let until = async |end| anyhow::Ok(store.certificates_to_ask(end, u32::MAX >> 1).await?.len());
            ensure!(until(taken).await? == until(taken.minus(INSTANT)).await?, "a question is asked");
            Ok(())
        });
        settled.await.unwrap();
    }

    /// Orders in somebody's hands, or about to be.
    async fn under_way(&self, now: Timestamp) -> anyhow::Result<Vec<Order>> {
        // Those that are leased are due when the lease is over.
        let mut orders = self.store.due_orders(now.plus(self.lease), 1000).await?;
        orders.retain(|order| order.next_at <= now);
        Ok(orders)
    }

    /// Notes all public certificates that the store knows.
    async fn see(&mut self) {
        let mut page = Page::first(Page::MAX_LIMIT);
        loop {
            let filter = CertificateFilter::default();
            let found = self.store.certificates(Access::Platform, &filter, &page).await.unwrap();
            let public = found.items.into_iter().filter(|held| held.source == CertificateSource::Acme);
            self.seen.extend(public.map(|held| (held.id, held)));
            page.cursor = found.next;
            if page.cursor.is_none() {
                break;
            }
        }
        self.seen_at = self.clock.now();
    }

    /// All public certificates of each name, in the order in which they were made.
    async fn histories(&mut self) -> BTreeMap<HostPattern, Vec<CertificateRecord>> {
        self.see().await;
        let mut histories: BTreeMap<HostPattern, Vec<CertificateRecord>> = BTreeMap::new();
        let by_name: HashMap<String, HostPattern> =
            self.domains.iter().map(|domain| (domain.host.to_string(), domain.host.clone())).collect();
        for held in self.seen.values() {
            let host = by_name[&held.names[0].to_string()].clone();
            histories.entry(host).or_default().push(held.clone());
        }
        histories
    }

    /// That no name was without a valid certificate from its first one on, and none has two that are served. Gives
    /// how many certificates there are.
    pub(crate) async fn assert_no_expiry(&mut self) -> usize {
        let histories = self.histories().await;
        assert_eq!(histories.len(), self.domains.len());
        for (host, history) in &histories {
            for pair in history.windows(2) {
                let (until, from) = (pair[0].not_after, pair[1].created_at);
                assert!(from < until, "{host} was without from {until}");
            }
            let active: Vec<_> =
                history.iter().filter(|held| held.status == CertificateStatus::Active).collect();
            assert_eq!(active.len(), 1, "{host}");
            assert!(active[0].not_after > self.clock.now(), "{host}");
        }
        histories.values().map(Vec::len).sum()
    }

    pub(crate) async fn stop(self) {
        for (shutdown, task) in self.certds {
            shutdown.send(true).unwrap();
            task.await.unwrap();
        }
    }
}

/// Lets so many domains live for so many days, and holds what became of them to the bars. Gives the figures as text.
pub(crate) async fn live_through(domains: usize, days: u32, steps: (Duration, Duration)) -> String {
    let (begun, clock) = (Instant::now(), start_of_time());
    let ca = Ca::start(lets_encrypt(&clock, 1)).await.unwrap();
    let mut year = Year::start(clock, &[&ca]).await;
    year.board(domains).await;
    let boarded = begun.elapsed();
    year.pass(DAY * days, steps).await;
    let took = begun.elapsed();
    let counts = ca.counts();
    let certificates = year.assert_no_expiry().await;
    year.live = 0;
    assert!(year.have_come_to_life().await, "all are live still");
    assert_eq!((counts.limited(), counts.failed_checks), (0, 0), "{counts:?}");
    // Each order was finalized once, and each certificate kept.
    let each_once = u64::try_from(certificates).unwrap();
    assert_eq!([counts.orders, counts.of(Asked::Finalize), counts.finalized], [each_once; 3], "{counts:?}");
    let renewals = u64::try_from(certificates - domains).unwrap();
    assert!(renewals >= u64::try_from(domains).unwrap() * u64::from(days / 31), "{renewals}");
    assert!(counts.renewals_inside * 1000 >= renewals * 999, "{renewals}: {counts:?}");
    year.stop().await;
    format!(
        "{domains} domains, {days} days: {certificates} certificates in {took:.0?} ({boarded:.0?} until all were live), \
         {} of {renewals} renewals inside their windows, 0 expiries, 0 refused by a limit, each order finalized \
         once; {counts:?}",
        counts.renewals_inside
    )
}
