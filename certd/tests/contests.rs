//! Two accounts want one name: what certd sees at its name servers decides, and visitors notice nothing.

use std::any::Any;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use certd::dns::{Kind, Lookup, LookupError, Reply, Value};
use certd::{Certd, Settings};
use model::change::{Lineage, Object, Revision};
use model::clock::{ManualClock, SystemClock};
use model::domain::{Contest, DomainStatus, Refusal};
use model::id::TenantId;
use model::seal::SealingKey;
use model::tenant::Slug;
use model::{Clock as _, Host, Timestamp};
use store::{Access, Actor, Decision, DomainRecord, HOLD, NewTenant};
use testkit::wait::until;

use crate::edge::Edge;
use crate::rig::{BOUND, EDGE, Installation, Rig, Running, create_app};

const NAME: &str = "shop.example.com";
const SERVER: &str = "ns1.example.net";

/// A zone with one server, whose records tests change.
#[derive(Debug, Clone, Default)]
struct Zone(Arc<Mutex<Records>>);

/// What stands at a name, by kind.
type Records = HashMap<(String, Kind), Vec<Value>>;

impl Zone {
    fn set(&self, name: &str, kind: Kind, values: Vec<Value>) {
        self.0.lock().unwrap().insert((name.to_owned(), kind), values);
    }

    fn get(&self, name: &str, kind: Kind) -> Vec<Value> {
        self.0.lock().unwrap().get(&(name.to_owned(), kind)).cloned().unwrap_or_default()
    }

    /// The texts that prove whose the name is.
    fn show(&self, proofs: &[&str]) {
        let values = proofs.iter().map(|proof| Value::Text((*proof).to_owned())).collect();
        self.set(&format!("_stoa.{NAME}"), Kind::Txt, values);
    }
}

#[async_trait]
impl Lookup for Zone {
    async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, LookupError> {
        Ok(match (name, kind) {
            ("example.com", Kind::Ns) => vec![Value::Server(SERVER.to_owned())],
            (SERVER, Kind::A) => vec![Value::Address(EDGE)],
            _ => self.get(name, kind),
        })
    }

    async fn ask(&self, _: IpAddr, name: &str, kind: Kind) -> Result<Reply, LookupError> {
        let mut values = self.get(name, Kind::Cname);
        if values.is_empty() {
            values = self.get(name, kind);
        }
        Ok(Reply { values, authoritative: true, ..Reply::default() })
    }
}

struct Scene {
    /// What goes with it: an edge, or a rig with its edge.
    _stage: Box<dyn Any>,
    installation: Installation,
    clock: Arc<ManualClock>,
    zone: Zone,
    other: TenantId,
    own: DomainRecord,
    claim: DomainRecord,
    certd: Running,
}

impl Scene {
    /// A live domain, and another account's claim of it, where the local authority signs.
    async fn start() -> Self {
        let sealing = SealingKey::generate();
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_seconds(1_795_000_000)));
        let edge = Edge::start(&sealing).await.unwrap();
        let scene = Self::on(&edge, &sealing, clock, Settings::default()).await;
        Self { _stage: Box::new(edge), ..scene }
    }

    /// The same where Pebble does, by a clock that begins at the machine's.
    async fn with(rig: Rig) -> Self {
        rig.dns.add_a(NAME, EDGE).await.unwrap();
        let settings = Settings { acme: Some(rig.acme()), ..Settings::default() };
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let scene = Self::on(&rig.edge, &rig.sealing, clock, settings).await;
        Self { _stage: Box::new(rig), ..scene }
    }

    async fn on(edge: &Edge, sealing: &SealingKey, clock: Arc<ManualClock>, settings: Settings) -> Self {
        testkit::tls::install_provider();
        let installation = Installation::at("apps.localhost", sealing, clock.clone()).await;
        let (store, zone) = (&installation.store, Zone::default());
        edge.follow(store);
        let certd = Certd::start_with(settings, store.clone(), sealing.clone(), Arc::new(zone.clone()));
        let certd = Running::new(certd.await.unwrap());
        let own = installation.add_domain(NAME).await;
        zone.set(NAME, Kind::Cname, vec![Value::Alias(own.target.cname.to_string())]);
        zone.set(own.target.cname.as_str(), Kind::A, vec![Value::Address(EDGE)]);
        let new = NewTenant { name: "Other".to_owned(), slug: Slug::parse("other").unwrap() };
        let other = store.create_tenant(&Actor::system("test"), new).await.unwrap().id;
        let app = create_app(store, other, "other").await;
        let (claim, stage) = (own.clone(), Box::new(()));
        let mut scene = Self { _stage: stage, claim, own, installation, clock, zone, other, certd };
        scene
            .until("the domain to be live", async |scene| Ok(scene.own().await.status == DomainStatus::Live))
            .await;
        let (actor, name) = (Actor::system("test"), Host::parse(NAME).unwrap());
        let store = &scene.installation.store;
        scene.claim = store.add_domain(&actor, Access::Platform, app, name).await.unwrap();
        scene
    }

    async fn own(&self) -> DomainRecord {
        self.installation.domain(&self.own).await
    }

    async fn claim(&self) -> DomainRecord {
        self.installation.domain(&self.claim).await
    }

    async fn contest(&self) -> Option<Contest> {
        self.claim().await.facts.contest
    }

    /// Waits, a second of the clock with each look; at every look one account is served, with its own certificate.
    async fn until(&self, what: &str, is: impl AsyncFn(&Self) -> Result<bool>) {
        let reached = until(what, BOUND, async || {
            self.clock.advance(Duration::from_secs(1));
            self.check_service().await;
            ensure!(is(self).await?, "{:?} {:?}", self.own().await.facts, self.claim().await.facts);
            Ok(())
        });
        reached.await.unwrap();
    }

    /// Whoever has the name has a certificate for it.
    async fn check_padlock(&self) {
        let (store, host) = (&self.installation.store, &self.own.host);
        let before = store.domain_by_host(host).await.unwrap().unwrap();
        let held = store.active_certificate_for(host).await.unwrap();
        let after = store.domain_by_host(host).await.unwrap().unwrap();
        if before.tenant == after.tenant {
            assert_eq!(held.and_then(|held| held.tenant), Some(before.tenant));
        }
    }

    async fn check_service(&self) {
        let store = &self.installation.store;
        let served = served(store).await;
        assert!(served.len() <= 1, "{served:?}");
        // Read after it: the name may have moved in between.
        let held = store.active_certificate_for(&self.own.host).await.unwrap();
        let holder = store.domain_by_host(&self.own.host).await.unwrap().unwrap();
        if let (true, Some(held)) = (self.own().await.was_live, held) {
            assert!(held.tenant == Some(holder.tenant) || served.first() != Some(&holder.tenant));
        }
    }
}

/// The tenants that edges serve the name for.
async fn served(store: &store::Store) -> Vec<TenantId> {
    let batch = store.changes(&Lineage::default(), Revision(0), 1_000).await.unwrap();
    let sites = batch.changes.into_iter().filter_map(|change| match change.object {
        Some(Object::Site(site)) => Some(site),
        _ => None,
    });
    sites
        .filter(|site| site.hosts.iter().any(|host| host.host.to_string() == NAME))
        .map(|site| site.tenant)
        .collect()
}

#[tokio::test]
async fn a_name_moves_a_day_after_its_proof_was_seen_and_its_certificate_is_there_before() {
    let scene = Scene::start().await;
    scene.zone.show(&[&scene.own.target.proof, &scene.claim.target.proof]);
    scene
        .until("the wait", async |scene| Ok(matches!(scene.contest().await, Some(Contest::Waiting { .. }))))
        .await;
    let own = scene.own().await;
    assert_eq!(
        (own.status, served(&scene.installation.store).await),
        (DomainStatus::AtRisk, vec![own.tenant])
    );
    scene.clock.advance(HOLD - Duration::from_secs(1800));
    let prepared = async |scene: &Scene| Ok(scene.installation.store.is_prepared(scene.claim.id).await?);
    scene.until("the certificate", prepared).await;
    assert_eq!(served(&scene.installation.store).await, [own.tenant], "not before its time");
    scene.clock.advance(Duration::from_secs(1800));
    scene.until("the move", async |scene| Ok(scene.contest().await.is_none())).await;
    assert_eq!(served(&scene.installation.store).await, [scene.other]);
    let held = scene.installation.store.active_certificate_for(&scene.own.host).await.unwrap().unwrap();
    assert_eq!(held.tenant, Some(scene.other));
    scene.until("the padlock", async |scene| Ok(scene.claim().await.status == DomainStatus::Live)).await;
    assert_eq!(scene.own().await.facts.contest, Some(Contest::Lost));
    scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_name_that_is_released_moves_with_its_new_certificate_and_not_before() {
    let Some(rig) = Rig::start(None).await else { return };
    let scene = Scene::with(rig).await;
    scene.zone.show(&[&scene.claim.target.proof]);
    scene
        .until("the wait", async |scene| Ok(matches!(scene.contest().await, Some(Contest::Waiting { .. }))))
        .await;
    let actor = Actor::system("test");
    let store = &scene.installation.store;
    store.decide_contest(&actor, Access::Platform, scene.own.id, Decision::Release).await.unwrap();
    let moved = async |scene: &Scene| {
        scene.check_padlock().await;
        Ok(scene.contest().await.is_none())
    };
    scene.until("the move", moved).await;
    scene.check_padlock().await;
    assert_eq!(served(store).await, [scene.other]);
    scene.until("the padlock", async |scene| Ok(scene.claim().await.status == DomainStatus::Live)).await;
    scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_holder_that_shows_its_new_record_keeps_the_name() {
    let scene = Scene::start().await;
    scene.zone.show(&[&scene.claim.target.proof]);
    scene
        .until("the wait", async |scene| Ok(matches!(scene.contest().await, Some(Contest::Waiting { .. }))))
        .await;
    let challenged = scene.own().await;
    scene.zone.show(&[&scene.claim.target.proof, &challenged.target.proof]);
    scene
        .until("the end", async |scene| {
            Ok(scene.contest().await == Some(Contest::Refused { cause: Refusal::Proved }))
        })
        .await;
    scene.until("peace", async |scene| Ok(scene.own().await.status == DomainStatus::Live)).await;
    scene.clock.advance(HOLD * 2);
    scene
        .until("a look", async |scene| Ok(scene.own().await.facts.checked_at > challenged.facts.checked_at))
        .await;
    assert_eq!(served(&scene.installation.store).await, [challenged.tenant]);
    scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn an_old_token_and_an_alias_prove_nothing_in_a_contest() {
    let scene = Scene::start().await;
    // The alias leads to the claimant now, and the text is the holder's old one: neither is the claimant's proof.
    scene.zone.show(&[&scene.own.target.proof]);
    scene.zone.set(NAME, Kind::Cname, vec![Value::Alias(scene.claim.target.cname.to_string())]);
    let before = scene.claim().await.version;
    scene.until("three looks", async |scene| Ok(scene.claim().await.version.0 > before.0 + 3)).await;
    assert_eq!(scene.contest().await, Some(Contest::Asked));
    scene.certd.stop().await.unwrap();
}
