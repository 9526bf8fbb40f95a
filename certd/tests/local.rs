//! Development zones, and many domains at a time: no authority and no DNS server needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use async_trait::async_trait;
use certd::dns::{Kind, Lookup, LookupError, Value};
use certd::{Certd, Settings};
use model::certificate::CertificateSource;
use model::clock::{ManualClock, SystemClock};
use model::domain::DomainStatus;
use model::seal::SealingKey;
use model::{Clock as _, Host};
use testkit::tls::Tls;
use testkit::wait::until;
use tokio::time::sleep;

use crate::edge::Edge;
use crate::rig::{BOUND, EDGE, Installation, Running, create_app, create_tenant};

#[tokio::test]
async fn a_development_zone_is_certified_when_start_returns() {
    testkit::tls::install_provider();
    let sealing = SealingKey::generate();
    let installation = Installation::new("apps.localhost", &sealing).await;
    let store = installation.store.clone();
    let certd = Certd::start(Settings::default(), store.clone(), sealing.clone()).await.unwrap();
    let held = store.active_certificate_for(&Host::parse("hello.apps.localhost").unwrap()).await.unwrap();
    let held = held.unwrap();
    assert_eq!((held.source, held.tenant), (CertificateSource::LocalCa, None));

    let edge = Edge::start(&sealing).await.unwrap();
    edge.follow(&store);
    let client = Tls::trusting(certd.ca_pem()).unwrap();
    until("the edge to show it", BOUND, async || {
        Ok(client.handshake(edge.https, "hello.apps.localhost").await?)
    })
    .await
    .unwrap();

    let again = Certd::start(Settings::default(), store.clone(), sealing).await.unwrap();
    assert_eq!(again.ca_pem(), certd.ca_pem());
    let kept = store.active_certificate_for(&Host::parse("x.apps.localhost").unwrap()).await.unwrap();
    assert_eq!(kept.unwrap().id, held.id);
}

#[tokio::test]
async fn a_zone_wildcard_of_seconds_is_renewed() {
    let installation = Installation::new("apps.localhost", &SealingKey::generate()).await;
    let settings = Settings { local_lifetime: Duration::from_secs(6), ..Settings::default() };
    let certd = installation.start(settings).await;
    let first = installation.until_serial("hello.apps.localhost", None).await;
    let second = installation.until_serial("hello.apps.localhost", Some(&first)).await;
    installation.until_serial("hello.apps.localhost", Some(&second)).await;
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_store_of_another_sealing_key_is_refused_with_what_to_do() {
    let sealing = SealingKey::generate();
    let installation = Installation::new("apps.localhost", &sealing).await;
    installation.start(Settings::default()).await.stop().await.unwrap();
    let store = installation.store.clone();
    let error = Certd::start(Settings::default(), store, SealingKey::generate()).await.unwrap_err();
    assert!(error.to_string().contains("restore the key it was sealed with"), "{error}");
}

/// Answers slowly that nothing is there, and hangs for names that begin with `hang`.
#[derive(Debug, Default)]
struct Slow {
    now: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl Lookup for Slow {
    async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, LookupError> {
        if kind != Kind::Cname {
            return Ok(Vec::new());
        }
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        sleep(if name.starts_with("hang") { BOUND } else { Duration::from_millis(100) }).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn many_domains_are_looked_at_side_by_side_and_the_silent_ones_hold_nobody_up() {
    let sealing = SealingKey::generate();
    let mut installation = Installation::new("apps.localhost", &sealing).await;
    let mut domains = Vec::new();
    for app in ["one", "two", "three"] {
        installation.app = create_app(&installation.store, installation.tenant, app).await;
        for at in 0..60 {
            let host = if at < 8 { "hang" } else { "quick" };
            domains.push(installation.add_domain(&format!("{host}-{at}.{app}.example.com")).await);
        }
    }
    let lookup = Arc::new(Slow::default());
    let store = installation.store.clone();
    let certd =
        Certd::start_with(Settings::default(), store, sealing, Arc::clone(&lookup) as _).await.unwrap();
    let certd = Running::new(certd);
    until("every domain to be looked at", BOUND, async || {
        for domain in &domains {
            let domain = installation.domain(domain).await;
            ensure!(domain.facts.checked_at.is_some(), "{}", domain.host);
        }
        Ok(())
    })
    .await
    .unwrap();
    for domain in &domains {
        let hangs = domain.host.to_string().starts_with("hang");
        let status = if hangs { DomainStatus::DnsBroken } else { DomainStatus::NeedsDns };
        assert_eq!(installation.domain(domain).await.status, status, "{}", domain.host);
    }
    let most = lookup.most.load(Ordering::SeqCst);
    assert!(most > 1, "{most}");
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_tenant_with_many_silent_domains_does_not_keep_the_others_waiting() {
    let sealing = SealingKey::generate();
    let mut installation = Installation::new("apps.localhost", &sealing).await;
    let quick = installation.app;
    let mut silent = Vec::new();
    let loud = create_tenant(&installation.store, "loud").await;
    for app in ["one", "two", "three"] {
        installation.app = create_app(&installation.store, loud, app).await;
        for at in 0..20 {
            silent.push(installation.add_domain(&format!("hang-{at}.{app}.example.com")).await);
        }
    }
    installation.app = quick;
    let lookup: Arc<Slow> = Arc::default();
    let (store, asked) = (installation.store.clone(), Arc::clone(&lookup));
    let certd = Certd::start_with(Settings::default(), store, sealing, lookup as _).await.unwrap();
    let certd = Running::new(certd);
    until("all to be asked that may be", BOUND, async || {
        ensure!(asked.now.load(Ordering::SeqCst) >= 24);
        Ok(())
    })
    .await
    .unwrap();
    let waits = installation.add_domain("shop.example.com").await;
    until("the other to be looked at", BOUND, async || {
        ensure!(installation.domain(&waits).await.facts.checked_at.is_some());
        Ok(())
    })
    .await
    .unwrap();
    let mut told = 0;
    for domain in &silent {
        told += usize::from(installation.domain(domain).await.facts.checked_at.is_some());
    }
    // By age alone, sixty stood before it, of which 32 are asked at a time.
    assert!(told < 28, "{told}");
    certd.stop().await.unwrap();
}

/// Every name leads to one domain's target.
#[derive(Debug)]
struct Pointing {
    target: String,
    looks: AtomicUsize,
}

#[async_trait]
impl Lookup for Pointing {
    async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, LookupError> {
        Ok(match kind {
            Kind::Cname if name == "shop.example.com" => {
                self.looks.fetch_add(1, Ordering::SeqCst);
                vec![Value::Alias(self.target.clone())]
            }
            Kind::A => vec![Value::Address(EDGE)],
            _ => Vec::new(),
        })
    }
}

#[tokio::test]
async fn a_domain_whose_looks_end_in_an_error_is_looked_at_again_after_a_while_only() {
    let (sealing, clock) = (SealingKey::generate(), Arc::new(ManualClock::at(SystemClock.now())));
    let installation = Installation::at("apps.localhost", &sealing, clock.clone()).await;
    installation.start(Settings::default()).await.stop().await.unwrap();
    let domain = installation.add_domain("shop.example.com").await;
    let target = domain.target.cname.to_string();
    let lookup = Arc::new(Pointing { target, looks: AtomicUsize::new(0) });
    // What is signed from now on has ended before it is kept: the store refuses it.
    let settings = Settings { local_lifetime: Duration::ZERO, ..Settings::default() };
    let store = installation.store.clone();
    let certd = Certd::start_with(settings, store, sealing, Arc::clone(&lookup) as _).await.unwrap();
    let certd = Running::new(certd);
    let looks = || lookup.looks.load(Ordering::SeqCst);
    let put_off = async |than| {
        until("the look to be put off", BOUND, async || {
            ensure!(installation.domain(&domain).await.next_check_at > installation.store.now());
            ensure!(looks() > than, "{}", looks());
            Ok(looks())
        })
        .await
        .unwrap()
    };
    let first = put_off(0).await;
    let other = installation.add_domain("other.example.com").await;
    until("another round", BOUND, async || {
        ensure!(installation.domain(&other).await.facts.checked_at.is_some());
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(looks(), first, "not before its time");
    clock.advance(Duration::from_secs(30));
    put_off(first).await;
    certd.stop().await.unwrap();
}
