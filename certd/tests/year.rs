//! A simulated year: two processes with one store keep many domains certified, over the wire, at an authority with
//! Let's Encrypt's limits. The clock stands while there is work, and then moves to the next moment at which there is
//! some.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use certd::acme::Limits;
use certd::{Acme, Certd, Settings, renewal};
use model::certificate::{CertificateSource, CertificateStatus};
use model::change::Revision;
use model::clock::{Clock, ManualClock};
use model::domain::DomainStatus;
use model::edge::EdgeReport;
use model::id::{AppId, EdgeId};
use model::seal::SealingKey;
use model::{Host, Timestamp};
use store::{Access, Actor, CertificateFilter, CertificateRecord, DomainRecord, Order, Page};
use testkit::ca::{self, Ca, Fault, Kind as Asked, Rule};
use testkit::wait::until;
use tokio::time::Instant;

use crate::authority::{Records, now};
use crate::rig::{Installation, Running, create_app};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Longer than all the work of one moment takes.
const BOUND: Duration = Duration::from_secs(600);
/// Domains of one app.
const EACH: usize = 100;
/// How far the clock moves at least and at most. The least: a window is open for 21 hours, and no renewal begins in its
/// last two. The most: each step costs a look at every name and a question about every certificate, four of which a
/// day have nothing to tell.
const STEPS: (Duration, Duration) = (MINUTE.saturating_mul(100), DAY.saturating_mul(3));

/// Two processes with one store.
struct Year {
    clock: Arc<ManualClock>,
    installation: Installation,
    records: Records,
    domains: Vec<DomainRecord>,
    apps: Vec<AppId>,
    edge: EdgeReport,
    lease: Duration,
    certds: Vec<Running>,
}

fn lets_encrypt(clock: &Arc<ManualClock>, seed: u64) -> ca::Options {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    ca::Options { clock, seed, limits: ca::Limits::lets_encrypt(), ..ca::Options::default() }
}

fn at(ca: &Ca) -> Acme {
    Acme {
        ca_file: Some(ca.ca_file.clone()),
        profiles: vec!["tlsserver".to_owned()],
        limits: Limits::LetsEncrypt,
        ..Acme::at(&ca.directory_url)
    }
}

impl Year {
    async fn start(clock: Arc<ManualClock>, authorities: &[&Ca]) -> Self {
        let sealing = SealingKey::generate();
        let installation =
            Installation::at("apps.localhost", &sealing, Arc::clone(&clock) as Arc<dyn Clock>).await;
        let records = Records::default();
        let settings = Settings {
            acme: authorities.first().map(|ca| at(ca)),
            fallbacks: authorities.iter().skip(1).map(|ca| at(ca)).collect(),
            orders_per_second: 1000,
            ..Settings::default()
        };
        let lease = settings.lease;
        let mut certds = Vec::new();
        for _ in 0..2 {
            let (settings, lookup) = (settings.clone(), Arc::new(records.clone()));
            let store = installation.store.clone();
            let certd = Certd::start_with(settings, store, sealing.clone(), lookup).await.unwrap();
            certds.push(Running::new(certd));
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
        let apps = vec![installation.app];
        let year = Self { clock, installation, records, domains: Vec::new(), apps, edge, lease, certds };
        year.advance(Duration::ZERO).await;
        year
    }

    /// Moves the clock; the edge is heard of, and the processes look for work at once, as after any change.
    async fn advance(&self, time: Duration) {
        self.clock.advance(time);
        let store = &self.installation.store;
        store.report_edge(&self.edge).await.unwrap();
        store.begin_new_lineage(&Actor::system("test")).await.unwrap();
    }

    /// Adds a domain that is connected from the start.
    async fn add(&mut self) -> DomainRecord {
        let number = self.domains.len();
        let (store, tenant) = (&self.installation.store, self.installation.tenant);
        if number / EACH >= self.apps.len() {
            self.apps.push(create_app(store, tenant, &format!("app-{number}")).await);
        }
        let host = Host::parse(&format!("www.shop-{number}.com")).unwrap();
        let app = self.apps[number / EACH];
        let domain = store.add_domain(&Actor::system("test"), Access::Platform, app, host).await.unwrap();
        self.records.connect(&domain);
        self.domains.push(domain.clone());
        domain
    }

    /// Adds so many domains, and waits until all of them are live.
    async fn board(&mut self, count: usize) {
        for _ in 0..count {
            self.add().await;
        }
        self.advance(Duration::ZERO).await;
        let start = self.clock.now();
        while !self.are_live().await {
            self.pass(HOUR, STEPS).await;
            assert!(self.clock.now().since(start) < DAY * 30, "some domains never come to life");
        }
    }

    async fn are_live(&self) -> bool {
        for domain in &self.domains {
            if self.installation.domain(domain).await.status != DomainStatus::Live {
                return false;
            }
        }
        true
    }

    /// Lets time pass in steps of a least and a greatest length.
    async fn pass(&self, time: Duration, (least, most): (Duration, Duration)) {
        let end = self.clock.now().plus(time);
        self.settle().await;
        while self.clock.now() < end {
            let now = self.clock.now();
            let next = self.next(now.plus(most)).await.max(now.plus(least)).min(end);
            self.advance(next.since(now)).await;
            self.settle().await;
        }
    }

    /// The next moment at which an order or a renewal is due, if it is before `bound`.
    async fn next(&self, bound: Timestamp) -> Timestamp {
        let store = &self.installation.store;
        let orders = store.due_orders(bound, 1000).await.unwrap();
        let orders = orders.iter().map(|order| order.next_at);
        let renewals = store.certificates_due(bound, 1000).await.unwrap();
        let renewals = renewals.iter().map(renewal::due_at);
        orders.chain(renewals).min().unwrap_or(bound).min(bound)
    }

    /// Waits until nothing is due.
    async fn settle(&self) {
        let settled = until("the work of one moment", BOUND, async || {
            let (store, now) = (&self.installation.store, self.clock.now());
            let checks = store.due_domains(now, 1).await?;
            ensure!(checks.is_empty(), "a look is due: {checks:?}");
            let renewals = store.certificates_due(now, 1).await?;
            ensure!(renewals.is_empty(), "a renewal is due: {:?}", renewals.first().map(|due| &due.names));
            // Behind what begins orders, and before what follows them.
            let under_way = self.under_way(now).await?;
            ensure!(under_way.is_empty(), "order under way: {:?}", under_way.first());
            let asks = store.certificates_to_ask(now, 1).await?;
            ensure!(asks.is_empty(), "a question is due: {:?}", asks.first().map(|(held, _)| held.id));
            Ok(())
        });
        settled.await.unwrap();
    }

    /// Orders in somebody's hands, or about to be.
    async fn under_way(&self, now: Timestamp) -> anyhow::Result<Vec<Order>> {
        // Those that are leased are due when the lease is over.
        let mut orders = self.installation.store.due_orders(now.plus(self.lease), 1000).await?;
        orders.retain(|order| order.next_at <= now);
        Ok(orders)
    }

    /// All public certificates of each name, in the order in which they were made.
    async fn histories(&self) -> BTreeMap<Host, Vec<CertificateRecord>> {
        let mut histories: BTreeMap<Host, Vec<CertificateRecord>> = BTreeMap::new();
        let by_name: HashMap<String, Host> =
            self.domains.iter().map(|domain| (domain.host.to_string(), domain.host.clone())).collect();
        let mut page = Page::first(Page::MAX_LIMIT);
        loop {
            let filter = CertificateFilter::default();
            let found = self.installation.store.certificates(Access::Platform, &filter, &page).await.unwrap();
            for held in found.items.into_iter().filter(|held| held.source == CertificateSource::Acme) {
                let host = by_name[&held.names[0].to_string()].clone();
                histories.entry(host).or_default().push(held);
            }
            page.cursor = found.next;
            if page.cursor.is_none() {
                return histories;
            }
        }
    }

    /// That no name was without a valid certificate from its first one on, and none has two that are served. Gives
    /// how many certificates there are.
    async fn assert_no_expiry(&self) -> usize {
        let histories = self.histories().await;
        assert_eq!(histories.len(), self.domains.len());
        for (host, history) in &histories {
            for pair in history.windows(2) {
                assert!(
                    pair[1].created_at < pair[0].not_after,
                    "{host} was without from {}",
                    pair[0].not_after
                );
            }
            let active: Vec<_> =
                history.iter().filter(|held| held.status == CertificateStatus::Active).collect();
            assert_eq!(active.len(), 1, "{host}");
            assert!(active[0].not_after > self.clock.now(), "{host}");
        }
        histories.values().map(Vec::len).sum()
    }

    async fn stop(self) {
        for certd in self.certds {
            certd.stop().await.unwrap();
        }
    }
}

/// Lets so many domains live for so many days, and holds what became of them to the bars.
async fn live_through(domains: usize, days: u32) {
    let begun = Instant::now();
    let clock = Arc::new(ManualClock::at(now()));
    let ca = Ca::start(lets_encrypt(&clock, 1)).await.unwrap();
    let mut year = Year::start(clock, &[&ca]).await;
    year.board(domains).await;
    let boarded = begun.elapsed();
    year.pass(DAY * days, STEPS).await;
    let counts = ca.counts();
    let certificates = year.assert_no_expiry().await;
    println!(
        "{domains} domains, {days} days: {certificates} certificates in {:?} ({boarded:?} until all were live); {counts:?}",
        begun.elapsed()
    );
    assert!(year.are_live().await);
    assert_eq!((counts.limited(), counts.failed_checks), (0, 0), "{counts:?}");
    // Each order was finalized once, and each certificate kept.
    let each_once = u64::try_from(certificates).unwrap();
    assert_eq!([counts.orders, counts.of(Asked::Finalize), counts.finalized], [each_once; 3], "{counts:?}");
    let renewals = u64::try_from(certificates - domains).unwrap();
    assert!(renewals >= u64::try_from(domains).unwrap() * u64::from(days / 31), "{renewals}");
    assert!(counts.renewals_inside * 1000 >= renewals * 999, "{renewals}: {counts:?}");
    year.stop().await;
}

/// Two renewals of each, in half a minute on a busy machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn domains_are_kept_certified_by_two_processes_inside_all_windows_and_limits() {
    live_through(40, 70).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_days_without_an_authority_cost_nobody_the_padlock_and_keep_nobody_waiting() {
    let clock = Arc::new(ManualClock::at(now()));
    let first = Ca::start(lets_encrypt(&clock, 1)).await.unwrap();
    let second = Ca::start(lets_encrypt(&clock, 2)).await.unwrap();
    let mut year = Year::start(Arc::clone(&clock), &[&first, &second]).await;
    year.board(8).await;
    year.pass(DAY * 25, STEPS).await;
    first.script(Rule::always(Fault::Unavailable(None)));
    year.pass(DAY * 2, STEPS).await;
    let (domain, added) = (year.add().await, clock.now());
    while year.installation.domain(&domain).await.status != DomainStatus::Live {
        year.pass(SECOND * 5, (SECOND, SECOND * 5)).await;
        assert!(clock.now().since(added) <= SECOND * 90, "{:?}", clock.now().since(added));
    }
    year.pass(DAY * 8, STEPS).await;
    assert_eq!(first.counts().finalized, 8);
    first.clear_faults();
    year.pass(DAY * 40, STEPS).await;
    year.assert_no_expiry().await;
    assert_eq!(first.counts().finalized, 17, "all are home again");
    assert_eq!((first.counts().limited(), second.counts().limited()), (0, 0));
    year.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_all_at_once_is_replaced_within_an_hour_of_the_question() {
    let clock = Arc::new(ManualClock::at(now()));
    let ca = Ca::start(lets_encrypt(&clock, 1)).await.unwrap();
    let mut year = Year::start(Arc::clone(&clock), &[&ca]).await;
    year.board(40).await;
    year.pass(DAY, STEPS).await;
    assert_eq!(ca.revoke(|_| true), 40);
    // Each is asked about every six hours.
    year.pass(HOUR * 7, (HOUR, HOUR)).await;
    assert_eq!(year.assert_no_expiry().await, 80);
    assert_eq!(ca.counts().limited(), 0);
    year.stop().await;
}
