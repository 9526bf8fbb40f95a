//! Domains that stand for all names below one: proved by records only, with a certificate of their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use certd::dns::Resolver;
use certd::{Certd, Settings};
use model::HostPattern;
use model::certificate::CertificateSource;
use model::domain::{Claim, DomainStatus, NextAction, RecordKind, Routing, derive};
use model::seal::SealingKey;
use store::{Access, Actor, DomainRecord};
use testkit::bind::Bind;
use testkit::wait::until;

use crate::authority::Records;
use crate::dns01::{APPS, TEXT, ZONE, authority, by_updates, names, settings, until_cleared};
use crate::rig::{BOUND, Installation, Running, create_app, create_tenant, pebble_is_there};

const OWN: &str = "florist.org";
const ALL: &str = "*.florist.org";
const EMPTY: &str =
    "$TTL 5\n@ SOA ns1 hostmaster 1 3600 600 86400 1\n@ NS ns1\nns1 A 127.0.0.1\n@ A 192.0.2.1\n";

/// A creator's zone in which nothing points here yet, beside ours in which proofs are written.
struct Garden {
    installation: Installation,
    domain: DomainRecord,
    server: Bind,
    running: Running,
    _resolver: Bind,
    _pebble: testkit::pebble::Pebble,
}

impl Garden {
    async fn start() -> Self {
        testkit::tls::install_provider();
        let sealing = SealingKey::generate();
        let installation = Installation::new(APPS, &sealing).await;
        let domain = installation.add_domain(ALL).await;
        let server = Bind::start(&[(ZONE, TEXT), (OWN, EMPTY)]).await.unwrap();
        let forwards = [(ZONE, server.address()), (OWN, server.address())];
        let resolver = Bind::forwarding(&forwards, &[]).await.unwrap();
        // Nobody answers http-01 here: only texts prove anything.
        let pebble = authority(resolver.address()).await;
        let settings = settings(&pebble, by_updates(server.address()), server.address());
        let places = HashMap::from([(server.address().ip(), server.address())]);
        let lookup = Resolver::new(&[resolver.address()]).unwrap().with_places(places);
        let store = installation.store.clone();
        let certd = Certd::start_with(settings, store, sealing, Arc::new(lookup)).await.unwrap();
        let running = Running::new(certd);
        Self { installation, domain, server, running, _resolver: resolver, _pebble: pebble }
    }

    /// What its owner is told, as soon as a look found what `is_it` wants.
    async fn told(&self, is_it: impl Fn(&DomainRecord) -> bool) -> (DomainStatus, NextAction) {
        let found = until("the look", BOUND, async || {
            let domain = self.installation.domain(&self.domain).await;
            anyhow::ensure!(is_it(&domain), "{:?}", domain.facts);
            Ok(domain)
        });
        let domain = found.await.unwrap();
        derive(&domain.facts, &domain.target, self.installation.store.now())
    }

    async fn add(&self, name: &str, value: &str) {
        self.server.update(&[&format!("update add {name} 5 CNAME {value}.")]).await.unwrap();
        let store = &self.installation.store;
        store.request_domain_check(&Actor::system("test"), Access::Platform, self.domain.id).await.unwrap();
    }
}

#[tokio::test]
async fn a_wildcard_asks_for_two_records_and_has_a_certificate_of_its_own() {
    if !pebble_is_there() {
        return;
    }
    let garden = Garden::start().await;
    let (store, ours) = (&garden.installation.store, garden.server.records(ZONE).await.unwrap());
    let (status, action) = garden.told(|domain| domain.facts.routing == Routing::Absent).await;
    let record = action.record.unwrap();
    assert_eq!((status, record.kind, record.name.as_str()), (DomainStatus::NeedsDns, RecordKind::Cname, ALL));

    garden.add(ALL, &record.value).await;
    let (status, action) = garden.told(|domain| domain.facts.unprovable.is_some()).await;
    assert_eq!(status, DomainStatus::NeedsDns);
    assert!(action.text.starts_with("One more record lets us make the padlock"), "{}", action.text);
    let record = action.record.unwrap();
    assert_eq!((record.kind, record.name.as_str()), (RecordKind::Cname, "_acme-challenge.florist.org"));
    assert!(
        store.latest_order(&garden.domain.host).await.unwrap().is_none(),
        "it would fail at the authority"
    );

    garden.add(&record.name, &record.value).await;
    let held = until("the certificate", BOUND, async || {
        let held = store.active_certificate_for(&garden.domain.host).await?;
        held.ok_or_else(|| anyhow::anyhow!("none for {ALL}"))
    });
    let held = held.await.unwrap();
    assert_eq!((names(&held), held.source), (vec![ALL.to_owned()], CertificateSource::Acme));
    assert_eq!(held.tenant, Some(garden.domain.tenant));
    let any =
        store.active_certificate_for(&"roses.florist.org".parse::<model::Host>().unwrap()).await.unwrap();
    assert_eq!(any.map(|any| any.id), Some(held.id));
    let is_there =
        |domain: &DomainRecord| matches!(domain.status, DomainStatus::Deploying | DomainStatus::Live);
    garden.told(is_there).await;
    until_cleared(&ours, async || garden.server.records(ZONE).await.unwrap()).await;
    garden.running.stop().await.unwrap();
}

fn place_of(domain: &DomainRecord) -> String {
    let id = domain.id.to_string();
    format!("{}.acme.{ZONE}", id.rsplit('_').next().unwrap().to_ascii_lowercase())
}

#[tokio::test]
async fn a_name_is_proved_by_the_alias_of_its_wildcard_too() {
    if !pebble_is_there() {
        return;
    }
    let garden = Garden::start().await;
    let apex = garden.installation.add_domain(OWN).await;
    let store = &garden.installation.store;
    for domain in [&apex, &garden.domain] {
        assert_eq!(store.delegate_of(domain).await.unwrap(), garden.domain.id, "the older one");
    }
    garden
        .server
        .update(&[
            &format!("update delete {OWN} A"),
            &format!("update add {OWN} 5 A 127.0.0.1"),
            &format!("update add _stoa.{OWN} 5 TXT \"{}\"", apex.target.proof),
        ])
        .await
        .unwrap();
    garden.add(&format!("_acme-challenge.{OWN}"), &place_of(&garden.domain)).await;
    store.request_domain_check(&Actor::system("test"), Access::Platform, apex.id).await.unwrap();
    let held = until("the certificate", BOUND, async || {
        let held = store.active_certificate_for(&apex.host).await?;
        held.ok_or_else(|| anyhow::anyhow!("none for {}", apex.host))
    });
    assert_eq!(names(&held.await.unwrap()), [OWN]);
    garden.running.stop().await.unwrap();
}

/// Nobody else is asked to give the name up: its record is gone, and who keeps the zone sends its visitors elsewhere.
#[tokio::test]
async fn a_name_whose_record_is_gone_gives_way_to_anothers_wildcard() {
    testkit::tls::install_provider();
    let (sealing, records) = (SealingKey::generate(), Records::default());
    let installation = Installation::new("apps.localhost", &sealing).await;
    let store = &installation.store;
    let lookup = Arc::new(records.clone());
    let certd = Certd::start_with(Settings::default(), store.clone(), sealing, lookup).await.unwrap();
    let running = Running::new(certd);
    let until_claim = async |domain: &DomainRecord, claim: Claim| {
        let found = until("the claim", BOUND, async || {
            let found = installation.domain(domain).await;
            anyhow::ensure!(found.facts.claim == claim, "{:?}", found.facts);
            Ok(())
        });
        found.await.unwrap();
    };
    let own = installation.add_domain("roses.florist.org").await;
    records.connect(&own);
    until_claim(&own, Claim::Proved).await;

    let other = create_tenant(store, "other").await;
    let app = create_app(store, other, "garden").await;
    let name: HostPattern = ALL.parse().unwrap();
    let all = store.add_domain(&Actor::system("test"), Access::Platform, app, name).await.unwrap();
    records.connect(&all);
    until_claim(&all, Claim::Proved).await;
    store.request_domain_check(&Actor::system("test"), Access::Platform, own.id).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(installation.domain(&own).await.facts.claim, Claim::Proved, "its own record goes first");

    records.disconnect(&own);
    store.request_domain_check(&Actor::system("test"), Access::Platform, own.id).await.unwrap();
    until_claim(&own, Claim::Unproved).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_name_below_a_wildcard_has_a_certificate_of_its_own() {
    if !pebble_is_there() {
        return;
    }
    let garden = Garden::start().await;
    let below = garden.installation.add_domain("roses.florist.org").await;
    garden.add(&format!("_acme-challenge.{OWN}"), &place_of(&garden.domain)).await;
    garden.add(ALL, garden.domain.target.cname.as_str()).await;
    garden.add("roses.florist.org", below.target.cname.as_str()).await;
    garden.add("_acme-challenge.roses.florist.org", &place_of(&below)).await;
    let store = &garden.installation.store;
    for (domain, wanted) in [(&garden.domain, ALL), (&below, "roses.florist.org")] {
        let held = until("the certificate", BOUND, async || {
            let held = store.active_certificate_for(&domain.host).await?;
            held.filter(|held| names(held) == [wanted]).ok_or_else(|| anyhow::anyhow!("none for {wanted}"))
        });
        held.await.unwrap();
    }
    garden.running.stop().await.unwrap();
}
