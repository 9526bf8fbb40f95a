//! From a record to a certificate that the edge shows, and on to its renewal.

use std::time::Duration;

use anyhow::ensure;
use certd::Settings;
use model::Host;
use model::certificate::CertificateSource;
use model::domain::{Claim, DomainStatus, RecordKind, Routing, derive};
use store::{Access, Actor, DomainRecord};
use testkit::tls::Tls;
use testkit::wait::until;
use tokio::time::sleep;

use crate::rig::{BOUND, EDGE, Installation, Rig, create_app};

#[tokio::test]
async fn a_domain_goes_from_its_record_to_live() {
    let Some(rig) = Rig::start(None).await else { return };
    let installation = rig.installation().await;
    let certd = installation.start(rig.settings()).await;
    let domain = installation.add_domain("shop.example.com").await;
    installation.until_status(&domain, DomainStatus::NeedsDns).await;
    rig.connect(&domain).await;
    let live = installation.until_status(&domain, DomainStatus::Live).await;
    assert_eq!((live.facts.claim, &live.facts.routing), (Claim::Proved, &Routing::Here));

    let client = Tls::trusting(&rig.pebble.roots_pem().await.unwrap()).unwrap();
    let shown = client.handshake(rig.edge.https, "shop.example.com").await.unwrap();
    assert_eq!(shown.names().unwrap(), ["shop.example.com"]);
    until("the answers to be taken away", BOUND, async || {
        ensure!(rig.edge.answers() == 0);
        Ok(())
    })
    .await
    .unwrap();
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_domain_that_is_not_proved_is_never_ordered() {
    let Some(rig) = Rig::start(None).await else { return };
    let installation = rig.installation().await;
    let certd = installation.start(rig.settings()).await;
    let domain = installation.add_domain("shop.example.com").await;
    rig.dns.add_a("shop.example.com", EDGE).await.unwrap();
    until("the address to be seen", BOUND, async || {
        ensure!(installation.domain(&domain).await.facts.routing == Routing::Here);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(installation.domain(&domain).await.status, DomainStatus::NeedsDns);
    assert_eq!(installation.store.latest_order(&domain.host).await.unwrap(), None);

    rig.dns.set_txt("_stoa.shop.example.com", &domain.target.proof).await.unwrap();
    installation.until_status(&domain, DomainStatus::Live).await;
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn what_stands_in_the_way_is_named() {
    let Some(rig) = Rig::start(None).await else { return };
    let installation = rig.installation().await;
    let certd = installation.start(rig.settings()).await;
    let domain = installation.add_domain("shop.example.com").await;
    rig.dns.add_a("shop.example.com", "192.0.2.1".parse().unwrap()).await.unwrap();
    let conflict = installation.until_status(&domain, DomainStatus::Conflict).await;
    assert_eq!(conflict.facts.routing, Routing::Elsewhere { found: "A 192.0.2.1".to_owned() });
    rig.dns.set_servfail("shop.example.com").await.unwrap();
    installation.until_status(&domain, DomainStatus::DnsBroken).await;
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn certificates_of_seconds_are_renewed_before_their_end() {
    let Some(rig) = Rig::start(Some(12)).await else { return };
    let installation = rig.installation().await;
    let certd = installation.start(rig.settings()).await;
    let domain = installation.add_domain("shop.example.com").await;
    rig.connect(&domain).await;
    installation.until_status(&domain, DomainStatus::Live).await;
    let client = Tls::trusting(&rig.pebble.roots_pem().await.unwrap()).unwrap();
    let mut serial = installation.until_serial("shop.example.com", None).await;
    for _ in 0..2 {
        let before = serial.clone();
        serial = until("the renewal", BOUND, async || {
            // A client that checks the time: the certificate that is shown is valid at every moment.
            client.handshake(rig.edge.https, "shop.example.com").await?;
            let held = installation.store.active_certificate_for(&domain.host).await?;
            let serial = held.map(|held| held.serial).unwrap_or_default();
            ensure!(serial != before);
            Ok(serial)
        })
        .await
        .unwrap();
        assert_eq!(installation.domain(&domain).await.status, DomainStatus::Live);
    }
    certd.stop().await.unwrap();
}

/// A domain that points here by its addresses, proved by its TXT record, live.
async fn live_by_txt(rig: &Rig, installation: &Installation) -> DomainRecord {
    let domain = installation.add_domain("shop.example.com").await;
    rig.dns.add_a("shop.example.com", EDGE).await.unwrap();
    rig.dns.set_txt("_stoa.shop.example.com", &domain.target.proof).await.unwrap();
    installation.until_status(&domain, DomainStatus::Live).await
}

#[tokio::test]
async fn a_live_domain_is_renewed_without_its_txt_record() {
    let Some(rig) = Rig::start(Some(12)).await else { return };
    let installation = rig.installation().await;
    let certd = installation.start(rig.settings()).await;
    let domain = live_by_txt(&rig, &installation).await;
    rig.dns.clear_txt("_stoa.shop.example.com").await.unwrap();
    let mut serial = installation.until_serial("shop.example.com", None).await;
    // The first renewal may have begun before the record was gone.
    for _ in 0..2 {
        serial = installation.until_serial("shop.example.com", Some(&serial)).await;
    }
    assert_eq!(installation.domain(&domain).await.status, DomainStatus::Live);
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_domain_that_was_away_is_asked_for_its_proof_again() {
    let Some(rig) = Rig::start(Some(12)).await else { return };
    let installation = rig.installation().await;
    let certd = installation.start(rig.settings()).await;
    let domain = live_by_txt(&rig, &installation).await;
    rig.dns.clear_txt("_stoa.shop.example.com").await.unwrap();
    rig.dns.clear_a("shop.example.com").await.unwrap();
    let (actor, access) = (Actor::system("test"), Access::Platform);
    installation.store.request_domain_check(&actor, access, domain.id).await.unwrap();
    until("the domain to be away", BOUND, async || {
        ensure!(installation.domain(&domain).await.facts.away_since.is_some());
        Ok(())
    })
    .await
    .unwrap();
    rig.dns.add_a("shop.example.com", EDGE).await.unwrap();
    let back = until("the claim to be forgotten", BOUND, async || {
        let domain = installation.domain(&domain).await;
        ensure!(domain.facts.routing == Routing::Here && domain.facts.claim == Claim::Unproved);
        Ok(domain)
    })
    .await
    .unwrap();
    let (status, action) = derive(&back.facts, &back.target, installation.store.now());
    assert_eq!((back.status, status), (DomainStatus::NeedsDns, DomainStatus::NeedsDns));
    assert_eq!(action.record.map(|record| record.kind), Some(RecordKind::Txt));

    rig.dns.set_txt("_stoa.shop.example.com", &domain.target.proof).await.unwrap();
    let live = installation.until_status(&domain, DomainStatus::Live).await;
    assert_eq!((live.facts.claim, live.facts.away_since), (Claim::Proved, None));
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_renewal_that_is_asked_for_is_made_at_once() {
    let Some(rig) = Rig::start(None).await else { return };
    let installation = rig.installation().await;
    let certd = installation.start(rig.settings()).await;
    let domain = installation.add_domain("shop.example.com").await;
    rig.connect(&domain).await;
    installation.until_status(&domain, DomainStatus::Live).await;
    let held = installation.store.active_certificate_for(&domain.host).await.unwrap().unwrap();
    let asked =
        installation.store.request_renewal(&Actor::system("test"), Access::Platform, held.id).await.unwrap();
    assert_eq!(asked.id, held.id);
    installation.until_serial("shop.example.com", Some(&held.serial)).await;
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn apps_of_a_public_zone_get_a_certificate_each() {
    let Some(rig) = Rig::start(None).await else { return };
    let installation = rig.installation_of("apps.example.com").await;
    for name in ["hello", "world"] {
        rig.dns.add_a(&format!("{name}.apps.example.com"), EDGE).await.unwrap();
    }
    let certd = installation.start(rig.settings()).await;
    installation.until_serial("hello.apps.example.com", None).await;
    create_app(&installation.store, installation.tenant, "world").await;
    installation.until_serial("world.apps.example.com", None).await;
    let host = Host::parse("world.apps.example.com").unwrap();
    let held = installation.store.active_certificate_for(&host).await.unwrap().unwrap();
    assert_eq!((held.source, held.tenant), (CertificateSource::Acme, Some(installation.tenant)));
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_domain_that_goes_away_is_at_risk_and_comes_back_without_an_order() {
    let Some(rig) = Rig::start(None).await else { return };
    let installation = rig.installation().await;
    let certd = installation.start(rig.settings()).await;
    let domain = installation.add_domain("shop.example.com").await;
    rig.connect(&domain).await;
    installation.until_status(&domain, DomainStatus::Live).await;
    let serial = installation.until_serial("shop.example.com", None).await;
    let look = async || {
        let (actor, access) = (Actor::system("test"), Access::Platform);
        installation.store.request_domain_check(&actor, access, domain.id).await.unwrap();
    };
    rig.dns.clear_cname("shop.example.com").await.unwrap();
    look().await;
    installation.until_status(&domain, DomainStatus::AtRisk).await;
    rig.connect(&domain).await;
    look().await;
    installation.until_status(&domain, DomainStatus::Live).await;
    assert_eq!(installation.until_serial("shop.example.com", None).await, serial);
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn without_an_authority_the_local_one_signs_for_proved_domains() {
    let Some(rig) = Rig::start(None).await else { return };
    let installation = rig.installation().await;
    let settings = Settings { acme: None, ..rig.settings() };
    let certd = installation.start(settings).await;
    let domain = installation.add_domain("shop.example.com").await;
    // Not before it is proved.
    installation.until_status(&domain, DomainStatus::NeedsDns).await;
    assert_eq!(installation.store.active_certificate_for(&domain.host).await.unwrap(), None);
    rig.connect(&domain).await;
    installation.until_status(&domain, DomainStatus::Live).await;
    let held = installation.store.active_certificate_for(&domain.host).await.unwrap().unwrap();
    assert_eq!(held.source, CertificateSource::LocalCa);
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_domain_that_lets_only_others_certify_it_is_told_the_record_and_never_ordered() {
    let Some(rig) = Rig::start(None).await else { return };
    let installation = rig.installation().await;
    let settings = Settings { caa_identities: vec!["ours.test".to_owned()], ..rig.settings() };
    let certd = installation.start(settings).await;
    rig.dns.add_caa("example.com", "pki.goog").await.unwrap();
    let domain = installation.add_domain("shop.example.com").await;
    rig.connect(&domain).await;
    let blocked = installation.until_status(&domain, DomainStatus::CaaBlock).await;
    let record = derive(&blocked.facts, &blocked.target, installation.store.now()).1.record.unwrap();
    let told = (record.kind, record.name.as_str(), record.value.as_str());
    assert_eq!(told, (RecordKind::Caa, "example.com", "0 issue \"ours.test\""));
    assert_eq!(installation.store.latest_order(&domain.host).await.unwrap(), None);

    rig.dns.add_caa("example.com", "ours.test").await.unwrap();
    let (actor, access) = (Actor::system("test"), Access::Platform);
    installation.store.request_domain_check(&actor, access, domain.id).await.unwrap();
    installation.until_status(&domain, DomainStatus::Live).await;
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn an_idle_certd_stops_at_once() {
    let Some(rig) = Rig::start(None).await else { return };
    let installation = rig.installation().await;
    let certd = installation.start(rig.settings()).await;
    sleep(Duration::ZERO).await;
    tokio::time::timeout(BOUND, certd.stop()).await.unwrap().unwrap();
}
