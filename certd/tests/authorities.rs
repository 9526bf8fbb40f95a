//! Authorities that want to know us, and one that steps in for another: Pebble, and the scripted one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use certd::{Acme, External, Settings};
use model::clock::{ManualClock, SystemClock};
use model::domain::DomainStatus;
use model::seal::SealingKey;
use model::secret::Secret;
use model::{Clock as _, Host, HostPattern};
use store::{NewOrder, OrderState, Urgency};
use testkit::ca::{self, Ca, Fault, Kind as Asked, Rule};
use testkit::pebble::{self, Pebble};
use testkit::wait::until;

use crate::authority::standing;
use crate::rig::{BOUND, Installation, Rig};

/// Base64url of 32 bytes, and its id.
const KEY: (&str, &str) = ("kid-1", "12NvJjt6iJPSQSt8f0NaasICemYzNWKXkhUY7d8695Q");

async fn another(rig: &Rig, external: Vec<(String, String)>) -> Pebble {
    let options = pebble::Options {
        http_port: rig.edge.http.port(),
        resolver: Some(rig.dns.resolver()),
        external,
        ..pebble::Options::default()
    };
    Pebble::start(options).await.unwrap()
}

fn at(pebble: &Pebble) -> Acme {
    Acme { ca_file: Some(pebble.ca_file.clone()), ..Acme::at(&pebble.directory_url) }
}

#[tokio::test]
async fn an_account_is_bound_to_one_that_was_made_elsewhere() {
    let Some(rig) = Rig::start(None).await else { return };
    let strict = another(&rig, vec![(KEY.0.to_owned(), KEY.1.to_owned())]).await;
    let external = External { key_id: KEY.0.to_owned(), hmac_key: Secret::new(KEY.1.to_owned()) };
    let installation = rig.installation().await;
    let domain = installation.add_domain("shop.example.com").await;
    rig.connect(&domain).await;

    let stranger = installation.start(Settings { acme: Some(at(&strict)), ..rig.settings() }).await;
    let refused = installation.until_status(&domain, DomainStatus::OurProblem).await;
    assert!(format!("{:?}", refused.facts).contains("`acme.eab_key_id`"), "{:?}", refused.facts);
    stranger.stop().await.unwrap();

    let other = installation.add_domain("other.example.com").await;
    rig.connect(&other).await;
    let acme = Acme { external: Some(external), ..at(&strict) };
    let certd = installation.start(Settings { acme: Some(acme), ..rig.settings() }).await;
    installation.until_status(&other, DomainStatus::Live).await;
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn somebody_who_waits_for_an_authority_that_is_gone_has_the_next_one_after_a_minute() {
    let Some(mut rig) = Rig::start(None).await else { return };
    let second = another(&rig, Vec::new()).await;
    rig.pebble.kill();
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let installation = rig.installation_by("apps.localhost", Arc::<ManualClock>::clone(&clock)).await;
    let settings = Settings { fallbacks: vec![at(&second)], ..rig.settings() };
    let certd = installation.start(settings).await;
    let domain = installation.add_domain("shop.example.com").await;
    rig.connect(&domain).await;
    let failing = installation.until_status(&domain, DomainStatus::OurProblem).await;
    let first = installation.store.latest_order(&failing.host).await.unwrap().unwrap();
    assert_eq!(first.authority, None, "nothing was placed");

    clock.advance(Duration::from_secs(61));
    until("a certificate", BOUND, async || {
        // It may be the one that tries the first authority once more.
        clock.advance(Duration::from_secs(1));
        let held = installation.store.active_certificate_for(&domain.host).await?;
        ensure!(held.is_some());
        Ok(())
    })
    .await
    .unwrap();
    let order = installation.store.latest_order(&domain.host).await.unwrap().unwrap();
    assert_eq!(order.authority.as_deref(), Some(second.directory_url.as_str()));
    let circuits = installation.store.circuits().await.unwrap();
    assert_eq!(circuits[0].authority, rig.pebble.directory_url);
    certd.stop().await.unwrap();
}

/// The usual outage: the directory answers, and orders are refused.
#[tokio::test]
async fn an_authority_that_only_answers_is_left_as_one_that_is_gone() {
    let (clock, options) = standing();
    let first = Ca::start(options.clone()).await.unwrap();
    let second = Ca::start(ca::Options { seed: 2, ..options }).await.unwrap();
    first.script(Rule::always(Fault::Unavailable(None)).on(Asked::NewOrder));
    testkit::tls::install_provider();
    let sealing = SealingKey::generate();
    let installation = Installation::at("apps.localhost", &sealing, Arc::<ManualClock>::clone(&clock)).await;
    let at = |ca: &Ca| Acme { ca_file: Some(ca.ca_file.clone()), ..Acme::at(&ca.directory_url) };
    let settings = Settings {
        acme: Some(at(&first)),
        fallbacks: vec![at(&second)],
        edge_wait: Duration::ZERO,
        ..Settings::default()
    };
    let certd = installation.start(settings).await;
    let host = Host::parse("shop.example.com").unwrap();
    let names = vec![HostPattern::Exact(host.clone())];
    let new = NewOrder {
        host: host.into(),
        names,
        tenant: None,
        app: None,
        domain: None,
        urgency: Urgency::Waiting,
    };
    let order = installation.store.begin_order(new).await.unwrap().unwrap();
    let begun = clock.now();
    until("the order to go elsewhere", BOUND, async || {
        clock.advance(Duration::from_millis(200));
        let order = installation.store.order(order.id).await?;
        ensure!(order.state == OrderState::Done, "{order:?}");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!((first.counts().finalized, second.counts().finalized), (0, 1));
    // The order's second try with the first one was at most a minute and its jitter after its first.
    assert!(clock.now().since(begun) < Duration::from_secs(180), "{:?}", clock.now().since(begun));
    certd.stop().await.unwrap();
}
