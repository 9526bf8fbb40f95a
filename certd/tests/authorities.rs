//! Authorities that want to know us, and one that steps in for another. Pebble plays all of them.

use std::sync::Arc;
use std::time::Duration;

use certd::{Acme, External, Settings};
use model::Clock as _;
use model::clock::{ManualClock, SystemClock};
use model::domain::DomainStatus;
use model::secret::Secret;
use testkit::pebble::{self, Pebble};

use crate::rig::Rig;

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
    installation.until_serial("shop.example.com", None).await;
    let order = installation.store.latest_order(&domain.host).await.unwrap().unwrap();
    assert_eq!(order.authority.as_deref(), Some(second.directory_url.as_str()));
    let circuits = installation.store.circuits().await.unwrap();
    assert_eq!(circuits[0].authority, rig.pebble.directory_url);
    certd.stop().await.unwrap();
}
