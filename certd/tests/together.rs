//! A domain and its `www` on one certificate when both point here, and each on its own as soon as one does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use model::Clock as _;
use model::HostPattern;
use model::certificate::{CertificateSource, CertificateStatus};
use model::chain::serial_of;
use model::clock::ManualClock;
use model::domain::{DomainStatus, Routing};
use model::tenant::Slug;
use store::{Access, Actor, CertificateRecord, DomainRecord, NewCertificate, NewOrder, NewTenant, Urgency};
use testkit::ca::{self, Problem, Validation};
use testkit::tls::Tls;
use testkit::wait::until;

use crate::authority::{Scene, standing};
use crate::rig::{BOUND, Rig, create_app};

const APEX: &str = "example.com";
const WWW: &str = "www.example.com";
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_domain_and_its_www_are_shown_with_one_certificate() {
    let Some(rig) = Rig::start(None).await else { return };
    let installation = rig.installation().await;
    let certd = installation.start(rig.settings()).await;
    let apex = installation.add_domain(APEX).await;
    rig.connect(&apex).await;
    installation.until_status(&apex, DomainStatus::Live).await;
    let first = installation.store.active_certificate_for(&apex.host).await.unwrap().unwrap();
    assert_eq!(first.names, names(&[APEX]), "nobody has the other name yet");

    let www = installation.add_domain(WWW).await;
    rig.connect(&www).await;
    installation.until_status(&www, DomainStatus::Live).await;
    let client = Tls::trusting(&rig.pebble.roots_pem().await.unwrap()).unwrap();
    let serial = installation.until_serial(APEX, Some(&first.serial)).await;
    until("both names to be shown", BOUND, async || {
        for name in [APEX, WWW] {
            let shown = client.handshake(rig.edge.https, name).await?;
            let (names, shown) = (shown.names()?, serial_of(&shown.leaf));
            ensure!(names == [APEX, WWW] && shown.as_ref() == Some(&serial), "{name}: {names:?} {shown:?}");
        }
        Ok(())
    })
    .await
    .unwrap();
    let first = installation.store.certificate(Access::Platform, first.id).await.unwrap();
    assert_eq!(first.status, CertificateStatus::Superseded);
    certd.stop().await.unwrap();
}

fn names(of: &[&str]) -> Vec<HostPattern> {
    of.iter().map(|name| name.parse().unwrap()).collect()
}

/// An installation that sees a clock which goes on whenever somebody waits, and an authority for which `www` is as a
/// test says.
struct Street {
    scene: Scene,
    clock: Arc<ManualClock>,
    /// Whether the authority cannot see `www`.
    is_www_lost: Arc<AtomicBool>,
}

impl Street {
    async fn start() -> Self {
        let (clock, options) = standing();
        let is_www_lost = Arc::new(AtomicBool::new(false));
        let lost = Arc::clone(&is_www_lost);
        let validation = Validation::by(move |check| match check.name.as_str() {
            WWW if lost.load(SeqCst) => Err(Problem::new("unauthorized", "the wrong page")),
            _ => Ok(()),
        });
        let scene = Scene::with(ca::Options { validation, ..options }, |acme| acme).await;
        Self { scene, clock, is_www_lost }
    }

    async fn connect(&self, host: &str) -> DomainRecord {
        self.clock.advance(SECOND);
        let domain = self.scene.installation.add_domain(host).await;
        self.scene.records.connect(&domain);
        domain
    }

    /// Both, live with one certificate.
    async fn both(&self) -> (DomainRecord, DomainRecord, CertificateRecord) {
        let apex = self.connect(APEX).await;
        self.until_held(&apex, |_| true).await;
        let www = self.connect(WWW).await;
        let held = self.until_held(&www, |held| held.names == names(&[APEX, WWW])).await;
        let other = self.until_held(&apex, |other| other.id == held.id).await;
        for domain in [&apex, &www] {
            self.until_seen(domain, true).await;
        }
        (apex, www, other)
    }

    /// Waits until a certificate such as this serves the domain.
    async fn until_held(
        &self,
        domain: &DomainRecord,
        is_so: impl Fn(&CertificateRecord) -> bool,
    ) -> CertificateRecord {
        let store = &self.scene.installation.store;
        let reached = until("the certificate", BOUND, async || {
            self.clock.advance(SECOND);
            let held = store.active_certificate_for(&domain.host).await?;
            let order = store.latest_order(&domain.host).await?;
            held.filter(|held| is_so(held)).with_context(|| format!("{}: {order:?}", domain.host))
        });
        reached.await.unwrap()
    }

    /// Waits until it was seen that the domain points here, or that it does not.
    async fn until_seen(&self, domain: &DomainRecord, is_here: bool) {
        let (store, actor) = (&self.scene.installation.store, Actor::system("test"));
        store.request_domain_check(&actor, Access::Platform, domain.id).await.unwrap();
        let reached = until("the domain to be looked at", BOUND, async || {
            self.clock.advance(SECOND);
            let domain = self.scene.installation.domain(domain).await;
            ensure!((domain.facts.routing == Routing::Here) == is_here, "{:?}", domain.facts);
            Ok(())
        });
        reached.await.unwrap();
    }

    async fn renew(&self, held: &CertificateRecord) {
        self.clock.advance(SECOND);
        let (actor, access) = (Actor::system("test"), Access::Platform);
        self.scene.installation.store.request_renewal(&actor, access, held.id).await.unwrap();
    }
}

#[tokio::test]
async fn what_no_longer_points_here_is_left_out_of_the_next_certificate_and_comes_back() {
    let street = Street::start().await;
    let (apex, www, both) = street.both().await;
    street.scene.records.disconnect(&www);
    street.until_seen(&www, false).await;
    street.renew(&both).await;
    let alone = street.until_held(&apex, |held| held.id != both.id).await;
    assert_eq!(alone.names, names(&[APEX]));
    let serving = street.until_held(&www, |_| true).await;
    assert_eq!(serving.id, both.id, "it is valid still");

    street.scene.records.connect(&www);
    street.until_seen(&www, true).await;
    street.renew(&both).await;
    let again = street.until_held(&www, |held| held.id != both.id).await;
    assert_eq!(again.names, names(&[APEX, WWW]));
    street.until_held(&apex, |held| held.id == again.id).await;
    street.scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_renewal_that_was_asked_for_is_one_order_for_both() {
    let street = Street::start().await;
    let (apex, www, both) = street.both().await;
    let before = street.scene.ca.counts().orders;
    street.renew(&both).await;
    let new = street.until_held(&www, |held| held.id != both.id).await;
    assert_eq!(new.names, names(&[APEX, WWW]));
    street.until_held(&apex, |held| held.id == new.id).await;
    assert_eq!(street.scene.ca.counts().orders, before + 1);
    street.scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn names_of_two_accounts_never_share_a_certificate() {
    let street = Street::start().await;
    let store = &street.scene.installation.store;
    let new = NewTenant { name: "Other".to_owned(), slug: Slug::parse("other").unwrap() };
    let other = store.create_tenant(&Actor::system("test"), new).await.unwrap().id;
    let app = create_app(store, other, "other").await;
    let apex = street.connect(APEX).await;
    let host: HostPattern = WWW.parse().unwrap();
    let www = store.add_domain(&Actor::system("test"), Access::Platform, app, host).await.unwrap();
    street.scene.records.connect(&www);
    for (domain, name) in [(&apex, APEX), (&www, WWW)] {
        let held = street.until_held(domain, |_| true).await;
        assert_eq!(held.names, names(&[name]));
        street.renew(&held).await;
        let renewed = street.until_held(domain, |new| new.id != held.id).await;
        assert_eq!(renewed.names, names(&[name]));
    }
    street.scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn what_the_authority_cannot_see_does_not_hold_the_other_name_back() {
    let street = Street::start().await;
    let (apex, www, both) = street.both().await;
    street.is_www_lost.store(true, SeqCst);
    street.renew(&both).await;
    let alone = street.until_held(&apex, |held| held.id != both.id).await;
    assert_eq!(alone.names, names(&[APEX]));
    let store = &street.scene.installation.store;
    let order = store.latest_order(&apex.host).await.unwrap().unwrap();
    assert_eq!((order.certificate, order.attempts), (alone.id, 0), "it was tried again at once");

    let failing = until("the other name's own order", BOUND, async || {
        street.clock.advance(SECOND);
        let order = store.latest_order(&www.host).await?.context("none")?;
        ensure!(order.domain == Some(www.id) && order.attempts > 0, "{order:?}");
        Ok(order)
    });
    let failing = failing.await.unwrap();
    assert_eq!(failing.names, names(&[WWW]), "and it asks for nobody else");
    assert_eq!(street.until_held(&www, |_| true).await.id, both.id);

    street.is_www_lost.store(false, SeqCst);
    let back = street.until_held(&www, |held| held.id != both.id).await;
    assert_eq!(back.names, names(&[WWW]));
    let parted = store.certificate(Access::Platform, both.id).await.unwrap();
    assert_eq!(parted.status, CertificateStatus::Superseded, "no name is served with it any more");
    street.scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_first_certificate_does_not_wait_for_a_name_that_fails() {
    let street = Street::start().await;
    street.is_www_lost.store(true, SeqCst);
    let www = street.connect(WWW).await;
    let store = &street.scene.installation.store;
    until("the order to fail", BOUND, async || {
        street.clock.advance(SECOND);
        ensure!(store.latest_order(&www.host).await?.is_some_and(|order| order.attempts > 0));
        Ok(())
    })
    .await
    .unwrap();
    let apex = street.connect(APEX).await;
    let held = street.until_held(&apex, |_| true).await;
    assert_eq!(held.names, names(&[APEX]));
    let order = store.latest_order(&apex.host).await.unwrap().unwrap();
    assert_eq!((order.certificate, order.attempts), (held.id, 0));
    street.scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_name_whose_records_forbid_our_authority_is_left_out() {
    let street = Street::start().await;
    let (apex, _, both) = street.both().await;
    street.scene.records.permit(WWW, "issue", "other.test");
    street.renew(&both).await;
    let alone = street.until_held(&apex, |held| held.id != both.id).await;
    assert_eq!(alone.names, names(&[APEX]));
    let order = street.scene.installation.store.latest_order(&apex.host).await.unwrap().unwrap();
    assert_eq!((order.certificate, order.attempts), (alone.id, 0));
    street.scene.certd.stop().await.unwrap();
}

/// The order was begun while both pointed here, and is placed when one does not any more.
#[tokio::test]
async fn both_names_are_looked_at_before_the_order_is_placed() {
    let street = Street::start().await;
    let (apex, www, both) = street.both().await;
    street.scene.records.disconnect(&www);
    street.until_seen(&www, false).await;
    let before = street.scene.ca.counts();
    let order = NewOrder {
        host: apex.host.clone(),
        names: names(&[APEX, WWW]),
        tenant: Some(apex.tenant),
        app: Some(apex.app),
        domain: Some(apex.id),
        urgency: Urgency::Renewal,
    };
    street.clock.advance(SECOND);
    let order = street.scene.installation.store.begin_order(order).await.unwrap().unwrap();
    let alone = street.until_held(&apex, |held| held.id != both.id).await;
    assert_eq!((alone.id, &alone.names), (order.certificate, &names(&[APEX])));
    let counts = street.scene.ca.counts();
    assert_eq!((counts.orders, counts.failed_checks), (before.orders + 1, before.failed_checks));
    street.scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_domain_that_was_taken_away_is_on_no_certificate() {
    let street = Street::start().await;
    let (apex, www, both) = street.both().await;
    let store = &street.scene.installation.store;
    store.delete_domain(&Actor::system("test"), Access::Platform, www.id).await.unwrap();
    let held = street.until_held(&apex, |_| true).await;
    assert_eq!((held.id, &held.names), (both.id, &names(&[APEX])));
    assert_eq!(store.active_certificate_for(&www.host).await.unwrap(), None);
    street.renew(&held).await;
    let renewed = street.until_held(&apex, |new| new.id != both.id).await;
    assert_eq!(renewed.names, names(&[APEX]));
    let order = store.latest_order(&apex.host).await.unwrap().unwrap();
    assert_eq!((order.certificate, order.names), (renewed.id, names(&[APEX])), "nor was it ordered");
    street.scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_its_owner_uploaded_is_not_overtaken_by_the_other_name() {
    let street = Street::start().await;
    let apex = street.connect(APEX).await;
    let ours = street.until_held(&apex, |_| true).await;
    street.clock.advance(SECOND);
    let id = model::id::CertificateId::generate(street.clock.now());
    let upload = NewCertificate {
        id,
        tenant: ours.tenant,
        app: ours.app,
        source: CertificateSource::Upload,
        authority: None,
        issuer: ours.issuer,
        serial: ours.serial,
        names: ours.names,
        chain_pem: ours.chain_pem,
        key: ours.key,
        not_before: ours.not_before,
        not_after: ours.not_after,
    };
    let (store, actor) = (&street.scene.installation.store, Actor::system("test"));
    store.insert_certificate(&actor, upload).await.unwrap();
    // Its domain is not looked at yet.
    let www = street.connect(WWW).await;
    assert_eq!(street.until_held(&www, |_| true).await.names, names(&[WWW]));
    assert_eq!(street.until_held(&apex, |_| true).await.id, id);
    street.scene.certd.stop().await.unwrap();
}
