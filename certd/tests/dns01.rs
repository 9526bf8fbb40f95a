//! dns-01 through real servers: Pebble asks the BIND, or the PowerDNS, that certd writes into.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use certd::adapters::{Account, Algorithm};
use certd::dns::Resolver;
use certd::{Acme, Certd, DnsZone, Settings};
use model::Clock as _;
use model::Host;
use model::certificate::CertificateSource;
use model::clock::{ManualClock, SystemClock};
use model::domain::DomainStatus;
use model::seal::SealingKey;
use model::secret::Secret;
use store::{Access, Actor, CertificateRecord, DomainRecord, OrderPatch, OrderState};
use testkit::bind::{Bind, KEY_NAME, KEY_SECRET};
use testkit::pebble::{self, Pebble};
use testkit::powerdns::{API_KEY, PowerDns};
use testkit::wait::until;

use crate::rig::{BOUND, Installation, Running, create_app, pebble_is_there};

pub(crate) const ZONE: &str = "example.com";
pub(crate) const APPS: &str = "apps.example.com";
pub(crate) const TEXT: &str = "$TTL 60\n@ SOA ns1 hostmaster 1 3600 600 86400 30\n@ NS ns1\nns1 A 127.0.0.1\n\
    @ TXT \"v=spf1 -all\"\n_acme-challenge.apps TXT \"of another client\"\ncname.apps A 127.0.0.1\n";

pub(crate) async fn authority(resolver: SocketAddr) -> Pebble {
    let options = pebble::Options { http_port: 1, resolver: Some(resolver), ..pebble::Options::default() };
    Pebble::start(options).await.unwrap()
}

pub(crate) fn settings(pebble: &Pebble, account: Account, name_server: SocketAddr) -> Settings {
    let zone = Host::parse(ZONE).unwrap();
    Settings {
        acme: Some(Acme { ca_file: Some(pebble.ca_file.clone()), ..Acme::at(&pebble.directory_url) }),
        dns: Some(DnsZone { zone, account, name_servers: vec![name_server] }),
        resolvers: vec![name_server],
        ..Settings::default()
    }
}

pub(crate) fn by_updates(server: SocketAddr) -> Account {
    Account::Rfc2136 {
        server: server.to_string(),
        key_name: KEY_NAME.to_owned(),
        algorithm: Algorithm::HmacSha256,
        secret: Secret::new(KEY_SECRET.to_owned()),
    }
}

async fn certificate_for(installation: &Installation, host: &str) -> CertificateRecord {
    let host = Host::parse(host).unwrap();
    let held = until("a certificate", BOUND, async || {
        let held = installation.store.active_certificate_for(&host).await?;
        held.ok_or_else(|| anyhow::anyhow!("none for `{host}`"))
    });
    held.await.unwrap()
}

pub(crate) fn names(certificate: &CertificateRecord) -> Vec<String> {
    let mut names: Vec<String> = certificate.names.iter().map(ToString::to_string).collect();
    names.sort();
    names
}

/// Waits until the zone is as it was.
pub(crate) async fn until_cleared(before: &[String], mut records: impl AsyncFnMut() -> Vec<String>) {
    let cleared = until("the texts to be gone", BOUND, async || {
        let now = records().await;
        anyhow::ensure!(now == before, "{now:?}");
        Ok(())
    });
    cleared.await.unwrap();
}

#[tokio::test]
async fn a_zone_of_ours_has_one_public_wildcard_and_no_certificate_for_each_app() {
    if !pebble_is_there() {
        return;
    }
    testkit::tls::install_provider();
    let server = Bind::start(&[(ZONE, TEXT)]).await.unwrap();
    let before = server.records(ZONE).await.unwrap();
    let pebble = authority(server.address()).await;
    let installation = Installation::new(APPS, &SealingKey::generate()).await;
    create_app(&installation.store, installation.tenant, "second").await;
    let running = installation.start(settings(&pebble, by_updates(server.address()), server.address())).await;
    let held = certificate_for(&installation, "second.apps.example.com").await;
    assert_eq!(names(&held), ["*.apps.example.com", "apps.example.com"]);
    assert_eq!(certificate_for(&installation, "hello.apps.example.com").await.id, held.id);
    assert_eq!(certificate_for(&installation, APPS).await.id, held.id);
    until_cleared(&before, async || server.records(ZONE).await.unwrap()).await;

    installation.store.request_renewal(&Actor::system("test"), Access::Platform, held.id).await.unwrap();
    let renewed = until("the renewal", BOUND, async || {
        let renewed = certificate_for(&installation, "hello.apps.example.com").await;
        anyhow::ensure!(renewed.id != held.id, "still the old one");
        Ok(renewed)
    });
    assert_eq!(names(&renewed.await.unwrap()), names(&held));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_crash_leaves_no_text_in_the_zone() {
    if !pebble_is_there() {
        return;
    }
    testkit::tls::install_provider();
    let server = Bind::start(&[(ZONE, TEXT)]).await.unwrap();
    let before = server.records(ZONE).await.unwrap();
    let pebble = authority(server.address()).await;
    let installation = Installation::new(APPS, &SealingKey::generate()).await;
    let account = by_updates(server.address());
    let lease = Duration::from_secs(1);
    let settings = Settings { lease, ..settings(&pebble, account, server.address()) };
    for texts in [1, 2] {
        let running = installation.start(settings.clone()).await;
        let written = until("the texts", BOUND, async || {
            let now = server.records(ZONE).await?;
            anyhow::ensure!(now.len() >= before.len() + texts, "{now:?}");
            Ok(())
        });
        written.await.unwrap();
        running.task.abort();
    }
    // Proved by now: the authority asks for these texts no more.
    let running = installation.start(settings.clone()).await;
    let signing = until("the key", BOUND, async || {
        let far = installation.store.now().plus(Duration::from_secs(3600));
        let orders = installation.store.due_orders(far, 10).await?;
        anyhow::ensure!(orders.iter().any(|order| order.key.is_some()), "none");
        Ok(())
    });
    signing.await.unwrap();
    running.task.abort();
    let running = installation.start(settings).await;
    certificate_for(&installation, "hello.apps.example.com").await;
    until_cleared(&before, async || server.records(ZONE).await.unwrap()).await;
    running.stop().await.unwrap();
}

/// Nobody goes on with it: its texts are taken away when no authority looks at them any more.
#[tokio::test]
async fn an_order_that_is_forgotten_leaves_no_text_in_the_zone() {
    if !pebble_is_there() {
        return;
    }
    testkit::tls::install_provider();
    let server = Bind::start(&[(ZONE, TEXT)]).await.unwrap();
    let before = server.records(ZONE).await.unwrap();
    let pebble = authority(server.address()).await;
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let installation = Installation::at(APPS, &SealingKey::generate(), clock.clone()).await;
    let store = &installation.store;
    let settings = settings(&pebble, by_updates(server.address()), server.address());
    let running = installation.start(settings.clone()).await;
    let written = until("the texts", BOUND, async || {
        let now = server.records(ZONE).await?;
        anyhow::ensure!(now.len() > before.len(), "{now:?}");
        Ok(())
    });
    written.await.unwrap();
    running.task.abort();
    clock.advance(settings.lease * 2);
    let order = store.due_orders(clock.now(), 1).await.unwrap().remove(0);
    let order = store.lease_order(order.id, "test", settings.lease).await.unwrap();
    let given_up = OrderPatch { state: Some(OrderState::Failed), ..OrderPatch::default() };
    store.update_order(order.id, order.fence, given_up).await.unwrap();
    let left = server.records(ZONE).await.unwrap();
    assert!(left.len() > before.len(), "{left:?}");

    let running = installation.start(settings).await;
    until_cleared(&before, async || {
        clock.advance(Duration::from_secs(300));
        server.records(ZONE).await.unwrap()
    })
    .await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn powerdns_shows_the_proof_of_a_wildcard() {
    if !pebble_is_there() {
        return;
    }
    testkit::tls::install_provider();
    let server = PowerDns::start().await.unwrap();
    server.add_zone(ZONE, TEXT).await.unwrap();
    let before = server.records(ZONE).await.unwrap();
    let pebble = authority(server.address()).await;
    let installation = Installation::new(APPS, &SealingKey::generate()).await;
    let account =
        Account::PowerDns { url: server.url(), key: Secret::new(API_KEY.to_owned()), ca_file: None };
    let running = installation.start(settings(&pebble, account, server.address())).await;
    let held = certificate_for(&installation, "hello.apps.example.com").await;
    assert_eq!(names(&held), ["*.apps.example.com", "apps.example.com"]);
    until_cleared(&before, async || server.records(ZONE).await.unwrap()).await;
    running.stop().await.unwrap();
}

/// The creator's zone: connected, proved, and with an alias for dns-01.
fn creators(domain: &DomainRecord) -> String {
    let id = domain.id.to_string();
    let bare = id.rsplit('_').next().unwrap().to_ascii_lowercase();
    format!(
        "$TTL 60\n@ SOA ns1 hostmaster 1 3600 600 86400 30\n@ NS ns1\nns1 A 127.0.0.1\nshop CNAME {}.\n\
         _stoa.shop TXT \"{}\"\n_acme-challenge.shop CNAME {bare}.acme.{ZONE}.\n",
        domain.target.cname, domain.target.proof,
    )
}

/// As [`creators`], for the zone's own name and its `www`, of which the first of `delegated` have the alias.
fn creators_both(domains: [&DomainRecord; 2], delegated: usize) -> String {
    let mut text = "$TTL 60\n@ SOA ns1 hostmaster 1 3600 600 86400 30\n@ NS ns1\nns1 A 127.0.0.1\n\
                    @ A 127.0.0.1\nwww A 127.0.0.1\n"
        .to_owned();
    for (at, domain) in domains.into_iter().enumerate() {
        let (id, host) = (domain.id.to_string(), &domain.host);
        let bare = id.rsplit('_').next().unwrap().to_ascii_lowercase();
        text += &format!("_stoa.{host}. TXT \"{}\"\n", domain.target.proof);
        if at < delegated {
            text += &format!("_acme-challenge.{host}. CNAME {bare}.acme.{ZONE}.\n");
        }
    }
    text
}

/// Each has an alias of its own, so that each has a text of its own.
#[tokio::test]
async fn a_domain_and_its_www_are_proved_by_two_aliases_in_one_order() {
    if !pebble_is_there() {
        return;
    }
    let street = Street::start(2).await;
    let both = until("the certificate for both", BOUND, async || {
        let held = street.until_held("www.florist.org").await;
        let is_public = held.source == CertificateSource::Acme;
        anyhow::ensure!(is_public && names(&held) == ["florist.org", "www.florist.org"], "{held:?}");
        Ok(held)
    });
    let both = both.await.unwrap();
    assert_eq!(street.until_held("florist.org").await.id, both.id);
    until_cleared(&street.before, async || street.server.records(ZONE).await.unwrap()).await;
    street.running.stop().await.unwrap();
}

/// Nobody answers http-01 here, so that a name without the alias gets none.
#[tokio::test]
async fn a_name_that_is_proved_in_another_way_holds_nobody_back() {
    if !pebble_is_there() {
        return;
    }
    let street = Street::start(1).await;
    let apex = street.until_held("florist.org").await;
    assert_eq!(names(&apex), ["florist.org"]);
    let order =
        street.installation.store.latest_order(&Host::parse("florist.org").unwrap()).await.unwrap().unwrap();
    assert_eq!((order.certificate, order.attempts), (apex.id, 0));
    street.running.stop().await.unwrap();
}

/// A creator's zone with both names, of which some have the alias into our zone.
struct Street {
    installation: Installation,
    server: Bind,
    before: Vec<String>,
    running: Running,
    _held: (Bind, Pebble),
}

impl Street {
    async fn start(delegated: usize) -> Self {
        testkit::tls::install_provider();
        let sealing = SealingKey::generate();
        let installation = Installation::new(APPS, &sealing).await;
        let apex = installation.add_domain("florist.org").await;
        let www = installation.add_domain("www.florist.org").await;
        let zone = creators_both([&apex, &www], delegated);
        let server = Bind::start(&[(ZONE, TEXT), ("florist.org", &zone)]).await.unwrap();
        let before = server.records(ZONE).await.unwrap();
        let forwards = [(ZONE, server.address()), ("florist.org", server.address())];
        let resolver = Bind::forwarding(&forwards, &[]).await.unwrap();
        let pebble = authority(resolver.address()).await;
        let settings = settings(&pebble, by_updates(server.address()), server.address());
        let places = HashMap::from([(server.address().ip(), server.address())]);
        let lookup = Arc::new(Resolver::new(&[resolver.address()]).unwrap().with_places(places));
        if delegated > 1 {
            // Both are proved before the first order: else it is for whichever is seen first, and resolvers remember
            // its text while the order for both has another one.
            let settings = Settings { acme: None, dns: None, ..settings.clone() };
            let (store, lookup) = (installation.store.clone(), Arc::clone(&lookup) as _);
            let certd = Certd::start_with(settings, store, sealing.clone(), lookup).await.unwrap();
            let running = Running::new(certd);
            for host in ["florist.org", "www.florist.org"] {
                certificate_for(&installation, host).await;
            }
            running.stop().await.unwrap();
        }
        let store = installation.store.clone();
        let certd = Certd::start_with(settings, store, sealing, lookup).await.unwrap();
        Self { installation, server, before, running: Running::new(certd), _held: (resolver, pebble) }
    }

    async fn until_held(&self, host: &str) -> CertificateRecord {
        certificate_for(&self.installation, host).await
    }
}

#[tokio::test]
async fn a_creators_domain_is_proved_by_an_alias_into_our_zone() {
    if !pebble_is_there() {
        return;
    }
    testkit::tls::install_provider();
    let sealing = SealingKey::generate();
    let installation = Installation::new(APPS, &sealing).await;
    let domain = installation.add_domain("shop.florist.org").await;
    let server = Bind::start(&[(ZONE, TEXT), ("florist.org", &creators(&domain))]).await.unwrap();
    let before = server.records(ZONE).await.unwrap();
    // Aliases from one zone into another are followed by resolvers only.
    let forwards = [(ZONE, server.address()), ("florist.org", server.address())];
    let resolver = Bind::forwarding(&forwards, &[]).await.unwrap();
    // Nobody answers http-01 here: only the text proves the domain.
    let pebble = authority(resolver.address()).await;
    let settings = settings(&pebble, by_updates(server.address()), server.address());
    let places = HashMap::from([(server.address().ip(), server.address())]);
    let lookup = Resolver::new(&[resolver.address()]).unwrap().with_places(places);
    let certd =
        Certd::start_with(settings, installation.store.clone(), sealing, Arc::new(lookup)).await.unwrap();
    let running = Running::new(certd);
    let held = certificate_for(&installation, "shop.florist.org").await;
    assert_eq!(names(&held), ["shop.florist.org"]);
    let domain = installation.store.domain(Access::Platform, domain.id).await.unwrap();
    assert_ne!(domain.status, DomainStatus::NeedsDns);
    until_cleared(&before, async || server.records(ZONE).await.unwrap()).await;
    running.stop().await.unwrap();
}
