//! Which of two authorities an order goes to: what the domain allows, what is used up, and what is never finished.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use certd::{Acme, Certd, Settings};
use model::clock::ManualClock;
use model::domain::{DomainStatus, RecordKind, derive};
use model::seal::SealingKey;
use model::{Clock as _, Host, HostPattern};
use store::{Access, Actor, DomainRecord, NewOrder, Order, OrderState, Urgency};
use testkit::ca::{self, Ca, Fault, Kind as Asked, Limits, Rate, Rule, Wait};
use testkit::wait::until;

use crate::authority::{Records, standing};
use crate::rig::{BOUND, Installation, Running};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// An installation with some authorities, `ca0.test`, `ca1.test`, …, the first of which it would rather have.
struct World {
    clock: Arc<ManualClock>,
    cas: Vec<Ca>,
    installation: Installation,
    records: Records,
    certd: Running,
}

impl World {
    async fn start(authorities: u64, limits: Limits) -> Self {
        let (clock, options) = standing();
        let mut cas = Vec::new();
        for seed in 0..authorities {
            let (identity, limits) = (format!("ca{seed}.test"), limits.clone());
            cas.push(Ca::start(ca::Options { seed, identity, limits, ..options.clone() }).await.unwrap());
        }
        let at = |ca: &Ca| Acme { ca_file: Some(ca.ca_file.clone()), ..Acme::at(&ca.directory_url) };
        let settings = Settings {
            acme: cas.first().map(at),
            fallbacks: cas.iter().skip(1).map(at).collect(),
            edge_wait: Duration::ZERO,
            order_wait: SECOND,
            orders_per_second: 1000,
            ..Settings::default()
        };
        let (sealing, records) = (SealingKey::generate(), Records::default());
        let installation =
            Installation::at("apps.localhost", &sealing, Arc::<ManualClock>::clone(&clock)).await;
        let (store, lookup) = (installation.store.clone(), Arc::new(records.clone()));
        let certd = Certd::start_with(settings, store, sealing, lookup).await.unwrap();
        Self { clock, cas, installation, records, certd: Running::new(certd) }
    }

    async fn connect(&self, host: &str) -> DomainRecord {
        let domain = self.installation.add_domain(host).await;
        self.records.connect(&domain);
        domain
    }

    /// Lets time pass until the domain has the status.
    async fn until_status(&self, domain: &DomainRecord, status: DomainStatus) -> DomainRecord {
        let reached = until("the status", BOUND, async || {
            self.clock.advance(SECOND);
            let domain = self.installation.domain(domain).await;
            ensure!(domain.status == status, "{:?} {:?}", domain.status, domain.facts);
            Ok(domain)
        });
        reached.await.unwrap()
    }

    /// Waits for a certificate, and tells which authority has made it.
    async fn authority_of(&self, domain: &DomainRecord) -> usize {
        let order = until("the order to be done", BOUND, async || {
            self.clock.advance(SECOND);
            let order = self.installation.store.latest_order(&domain.host).await?;
            let order = order.filter(|order| order.state == OrderState::Done);
            order.ok_or_else(|| anyhow::anyhow!("{:?}", domain.host))
        });
        let authority = order.await.unwrap().authority.unwrap();
        self.cas.iter().position(|ca| ca.directory_url == authority).unwrap()
    }

    /// Begins an order of the marketplace itself.
    async fn order(&self, host: &str) -> Order {
        let host = Host::parse(host).unwrap();
        let names = vec![HostPattern::Exact(host.clone())];
        let urgency = Urgency::Waiting;
        let new = NewOrder { host: host.into(), names, tenant: None, app: None, domain: None, urgency };
        self.installation.store.begin_order(new).await.unwrap().unwrap()
    }

    /// Waits, while the clock goes on in such steps, until the order is as it should be.
    async fn until(&self, order: &Order, step: Duration, is_so: impl Fn(&Order) -> bool) -> Order {
        let reached = until("the order", BOUND, async || {
            self.clock.advance(step);
            let order = self.installation.store.order(order.id).await?;
            ensure!(is_so(&order), "{order:?}");
            Ok(order)
        });
        reached.await.unwrap()
    }

    fn asked(&self, kind: Asked) -> Vec<u64> {
        self.cas.iter().map(|ca| ca.counts().of(kind)).collect()
    }
}

fn is_done(order: &Order) -> bool {
    order.state == OrderState::Done
}

#[tokio::test]
async fn an_order_goes_only_to_an_authority_that_the_domain_allows() {
    let world = World::start(2, Limits::default()).await;
    let free = world.connect("free.example.com").await;
    assert_eq!(world.authority_of(&free).await, 0);

    world.records.permit("second.example.com", "issue", "ca1.test");
    let second = world.connect("second.example.com").await;
    assert_eq!(world.authority_of(&second).await, 1);

    // Ours, and somebody else's, at the first.
    let store = &world.installation.store;
    let account =
        store.acme_account(&world.cas[0].directory_url).await.unwrap().unwrap().account_url.unwrap();
    let strange = world.cas[0].directory_url.replace("/dir", "/account/77");
    for (host, account, expected) in [("ours.example.com", &account, 0), ("theirs.example.com", &strange, 1)]
    {
        world.records.permit(host, "issue", &format!("ca0.test; accounturi={account}"));
        world.records.permit(host, "issue", "ca1.test");
        let domain = world.connect(host).await;
        assert_eq!(world.authority_of(&domain).await, expected, "{host}");
    }
    world.records.permit("way.example.com", "issue", "ca0.test; validationmethods=dns-01");
    world.records.permit("way.example.com", "issue", "ca1.test; validationmethods=http-01");
    let way = world.connect("way.example.com").await;
    assert_eq!(world.authority_of(&way).await, 1);
    assert_eq!(world.asked(Asked::NewOrder), [2, 3], "nothing was asked for in vain");
    world.certd.stop().await.unwrap();
}

/// The first order of an installation: nobody has told yet who it is.
#[tokio::test]
async fn a_domain_that_allows_none_of_our_authorities_is_told_the_record_and_never_ordered() {
    let world = World::start(2, Limits::default()).await;
    world.records.permit("example.com", "issue", "other.test");
    let domain = world.connect("shop.example.com").await;
    let blocked = world.until_status(&domain, DomainStatus::CaaBlock).await;
    let record = derive(&blocked.facts, &blocked.target, world.clock.now()).1.record.unwrap();
    let told = (record.kind, record.name.as_str(), record.value.as_str());
    assert_eq!(told, (RecordKind::Caa, "example.com", "0 issue \"ca0.test\""));
    assert_eq!(world.asked(Asked::NewOrder), [0, 0]);

    world.records.permit("example.com", "issue", "ca1.test");
    let (actor, access) = (Actor::system("test"), Access::Platform);
    world.installation.store.request_domain_check(&actor, access, domain.id).await.unwrap();
    assert_eq!(world.authority_of(&domain).await, 1);
    world.certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_limit_that_is_reached_stops_what_it_is_about_and_nothing_else() {
    let limits = Limits { certificates_per_domain: Some(Rate::new(1, HOUR)), ..Limits::default() };
    let world = World::start(1, limits).await;
    world.until(&world.order("a.example.com").await, Duration::ZERO, is_done).await;
    let refused = world.order("b.example.com").await;
    let refused = world.until(&refused, Duration::ZERO, |order| order.attempts == 1).await;
    let waits = |order: &Order| order.next_at.since(world.clock.now());
    assert!((HOUR..=HOUR * 11 / 10).contains(&waits(&refused)), "{:?}", waits(&refused));

    let behind = world.order("c.example.com").await;
    let behind = world.until(&behind, Duration::ZERO, |order| order.next_at > world.clock.now()).await;
    assert!((HOUR..=HOUR * 11 / 10).contains(&waits(&behind)), "{:?}", waits(&behind));
    assert_eq!(behind.attempts, 0, "it was not sent");
    world.until(&world.order("a.example.org").await, Duration::ZERO, is_done).await;
    assert_eq!(world.cas[0].counts().limited(), 1);

    for order in [refused, behind] {
        world.until(&order, MINUTE * 5, is_done).await;
    }
    world.certd.stop().await.unwrap();
}

#[tokio::test]
async fn whoever_would_wait_long_for_a_limit_has_the_next_authority() {
    let world = World::start(2, Limits::default()).await;
    world.cas[0].script(Rule::next(1, Fault::Limited(Some(Wait::Seconds(5000)))).on(Asked::NewOrder));
    let refused = world.order("a.example.com").await;
    world.until(&refused, SECOND, is_done).await;
    // The words name no limit, so that it is the account's.
    world.until(&world.order("b.example.org").await, SECOND, is_done).await;
    assert_eq!(world.asked(Asked::NewOrder), [1, 2]);
    world.clock.advance(Duration::from_secs(5500));
    world.until(&world.order("c.example.net").await, SECOND, is_done).await;
    assert_eq!(world.asked(Asked::NewOrder), [2, 2]);
    world.certd.stop().await.unwrap();
}

#[tokio::test]
async fn an_order_that_is_never_finished_is_placed_anew_and_nothing_is_finalized_twice() {
    let world = World::start(1, Limits::default()).await;
    world.cas[0].script(Rule::next(1, Fault::Processing));
    let order = world.order("a.example.com").await;
    let stuck = world.until(&order, Duration::ZERO, |order| order.attempts == 1).await;
    let (begun, url) = (world.clock.now(), stuck.order_url.clone());
    world.clock.advance(stuck.next_at.since(begun));
    let still = world.until(&order, Duration::ZERO, |order| order.attempts == 2).await;
    assert_eq!(still.order_url, url, "it is gone on with first");
    world.until(&order, SECOND * 5, is_done).await;
    // Whatever becomes of the old one.
    world.cas[0].finish_orders();
    let counts = world.cas[0].counts();
    assert_eq!((counts.orders, counts.of(Asked::Finalize)), (2, 2), "{counts:?}");
    let host = Host::parse("a.example.com").unwrap();
    assert!(world.installation.store.active_certificate_for(&host).await.unwrap().is_some());
    world.certd.stop().await.unwrap();
}

/// It may wait for one of the two.
#[tokio::test]
async fn an_order_for_two_names_that_is_never_finished_goes_on_for_one() {
    let world = World::start(1, Limits::default()).await;
    let store = &world.installation.store;
    let apex = world.connect("example.com").await;
    world.authority_of(&apex).await;
    let www = world.connect("www.example.com").await;
    let both = until("the certificate for both", BOUND, async || {
        world.clock.advance(SECOND);
        let held = store.active_certificate_for(&www.host).await?;
        held.filter(|held| held.names.len() == 2).ok_or_else(|| anyhow::anyhow!("none"))
    });
    let both = both.await.unwrap();
    world.cas[0].script(Rule::next(1, Fault::Processing));
    store.request_renewal(&Actor::system("test"), Access::Platform, both.id).await.unwrap();
    let begun = until("the renewal", BOUND, async || {
        world.clock.advance(SECOND);
        let order = store.latest_order(&apex.host).await?;
        order
            .filter(|order| order.names.len() == 2 && order.certificate != both.id && order.attempts == 1)
            .ok_or_else(|| anyhow::anyhow!("none"))
    });
    let begun = begun.await.unwrap();
    let done = world.until(&begun, MINUTE * 2, is_done).await;
    assert_eq!(done.names, [apex.host]);
    world.certd.stop().await.unwrap();
}

#[tokio::test]
async fn an_order_that_is_never_finished_goes_to_the_next_authority() {
    let world = World::start(2, Limits::default()).await;
    world.cas[0].script(Rule::always(Fault::Processing));
    let order = world.order("a.example.com").await;
    let done = world.until(&order, SECOND * 5, is_done).await;
    assert_eq!(done.authority.as_deref(), Some(world.cas[1].directory_url.as_str()));
    assert_eq!(world.asked(Asked::Finalize), [1, 1]);
    world.certd.stop().await.unwrap();
}

#[tokio::test]
async fn an_authority_bears_so_many_orders_at_a_time_and_a_domains_servers_fewer() {
    let world = World::start(1, Limits::default()).await;
    world.cas[0].script(Rule::always(Fault::Hang).on(Asked::NewOrder));
    for number in 0..20 {
        world.order(&format!("n{number}.crowded.com")).await;
    }
    for number in 0..40 {
        world.order(&format!("www.shop-{number}.com")).await;
    }
    until("the orders in flight", BOUND, async || {
        let flying = world.cas[0].counts().of(Asked::NewOrder);
        ensure!(flying == 32, "{flying}");
        Ok(())
    })
    .await
    .unwrap();
    let in_hand = world.installation.store.orders_in_hand(world.clock.now()).await.unwrap();
    let crowded = in_hand.iter().filter(|order| order.host.to_string().ends_with(".crowded.com")).count();
    assert_eq!((in_hand.len(), crowded), (32, 4));
    world.certd.stop().await.unwrap();
}
