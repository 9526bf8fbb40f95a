//! Names that a text proves for as long as it stands (dns-persist-01).

use std::sync::Arc;
use std::time::Duration;

use certd::{Acme, Certd, Settings, StandingProof};
use model::clock::ManualClock;
use model::domain::{Actor, Certification, DomainStatus, RecordKind, Unprovable, derive};
use model::seal::SealingKey;
use model::{Clock as _, Host};
use store::DomainRecord;
use testkit::ca::{self, Ca, ChallengeType, Check, Problem, Validation};
use testkit::wait::until;

use crate::authority::{Records, standing};
use crate::rig::{BOUND, Installation, Running};

/// Proved over HTTP whatever the authority makes of texts.
const FIRST: &str = "first.example.com";
const SECOND: &str = "second.example.com";

/// What an authority makes of texts that stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It goes by them, and takes the second name in no other way.
    Knows,
    /// It asks for them, and is not content with what it finds.
    Refuses,
    /// It does not ask for them.
    Ignores,
}

struct Scene {
    installation: Installation,
    clock: Arc<ManualClock>,
    records: Records,
    proof: StandingProof,
    certd: Running,
    _ca: Ca,
}

impl Scene {
    /// `is_on`: whether certd may go that way.
    async fn start(manner: Manner, is_on: bool) -> Self {
        testkit::tls::install_provider();
        let records = Records::default();
        let texts = records.clone();
        let judge = move |check: &Check| {
            let text = format!("{}; accounturi={}", ca::IDENTITY, check.account_url);
            let found = texts.text(&format!("_validation-persist.{}", check.name));
            let stands =
                found.is_some_and(|found| found == text || found == format!("{text}; policy=wildcard"));
            match check.kind {
                ChallengeType::DnsPersist01 if stands && manner == Manner::Knows => Ok(()),
                ChallengeType::Http01 if check.name == FIRST || manner != Manner::Knows => Ok(()),
                _ => Err(Problem::new("unauthorized", "it is not proved")),
            }
        };
        let (clock, options) = standing();
        let (validation, dns_persist) = (Validation::by(judge), manner != Manner::Ignores);
        let ca = Ca::start(ca::Options { validation, dns_persist, ..options }).await.unwrap();
        let settings = Settings {
            acme: Some(Acme { ca_file: Some(ca.ca_file.clone()), ..Acme::at(&ca.directory_url) }),
            dns_persist: is_on,
            // Without an edge nobody is to be waited for.
            edge_wait: Duration::ZERO,
            ..Settings::default()
        };
        let sealing = SealingKey::generate();
        let installation = Installation::at("apps.localhost", &sealing, Arc::clone(&clock) as _).await;
        let (store, lookup) = (installation.store.clone(), Arc::new(records.clone()));
        let certd = Certd::start_with(settings, store, sealing, lookup).await.unwrap();
        let proof = certd.standing_proof();
        Self { installation, clock, records, proof, certd: Running::new(certd), _ca: ca }
    }

    /// Connects the first name, so that there is an account; gives the text that proves names to it.
    async fn account(&self) -> Option<String> {
        assert_eq!(self.proof.text(&FIRST.parse().unwrap()).await, None, "nobody knows an account yet");
        self.connect(FIRST).await;
        self.until_held(FIRST).await;
        self.proof.text(&FIRST.parse().unwrap()).await
    }

    async fn connect(&self, host: &str) -> DomainRecord {
        let domain = self.installation.add_domain(host).await;
        self.records.connect(&domain);
        domain
    }

    async fn connect_with(&self, text: &str) -> DomainRecord {
        self.records.write(&format!("_validation-persist.{SECOND}"), text);
        self.connect(SECOND).await
    }

    /// Lets time pass until the name has a certificate; gives how many attempts failed before.
    async fn until_held(&self, host: &str) -> u32 {
        let host = Host::parse(host).unwrap();
        let held = until("the certificate", BOUND, async || {
            self.clock.advance(Duration::from_secs(1));
            let held = self.installation.store.active_certificate_for(&host).await?;
            anyhow::ensure!(held.is_some(), "none for {host}");
            Ok(())
        });
        held.await.unwrap();
        self.installation.store.latest_order(&host).await.unwrap().unwrap().attempts
    }
}

#[tokio::test]
async fn a_text_that_stands_proves_a_name_where_the_authority_asks_for_it() {
    for manner in [Manner::Knows, Manner::Ignores] {
        let scene = Scene::start(manner, true).await;
        let text = scene.account().await.unwrap();
        scene.connect_with(&text).await;
        assert_eq!(scene.until_held(SECOND).await, 0, "{manner:?}");
        scene.certd.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_text_that_the_authority_is_not_content_with_gives_way_to_the_usual_proof() {
    let scene = Scene::start(Manner::Refuses, true).await;
    let text = scene.account().await.unwrap();
    scene.connect_with(&text).await;
    assert_eq!(scene.until_held(SECOND).await, 1);
    scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_text_of_another_account_or_without_the_switch_proves_nothing() {
    for is_on in [true, false] {
        let scene = Scene::start(Manner::Knows, is_on).await;
        assert_eq!(scene.account().await.is_some(), is_on);
        let other = format!("{}; accounturi=https://localhost/account/other", ca::IDENTITY);
        let second = scene.connect_with(&other).await;
        let refused = until("the order to fail", BOUND, async || {
            scene.clock.advance(Duration::from_secs(1));
            let facts = scene.installation.domain(&second).await.facts;
            anyhow::ensure!(matches!(facts.certification, Certification::Failing { .. }), "{facts:?}");
            Ok(())
        });
        refused.await.unwrap();
        scene.certd.stop().await.unwrap();
    }
}

const BASE: &str = "many.example.com";

impl Scene {
    /// Connects all names below one, whose alias is there; gives what is missing to prove them.
    async fn connect_all(&self) -> (DomainRecord, Unprovable) {
        let domain = self.connect(&format!("*.{BASE}")).await;
        let unprovable = until("what is missing", BOUND, async || {
            self.clock.advance(Duration::from_secs(1));
            let found = self.installation.domain(&domain).await.facts.unprovable;
            found.ok_or_else(|| anyhow::anyhow!("nothing is missing"))
        });
        let unprovable = unprovable.await.unwrap();
        (domain, unprovable)
    }

    fn told(&self, domain: &DomainRecord) -> (DomainStatus, Actor) {
        let (status, action) = derive(&domain.facts, &domain.target, self.clock.now());
        (status, action.who)
    }
}

/// No name had a certificate here before: there is no account yet whose address the text could have.
#[tokio::test]
async fn a_wildcard_is_proved_by_a_text_that_stands() {
    let scene = Scene::start(Manner::Knows, true).await;
    let (domain, unprovable) = scene.connect_all().await;
    let domain = scene.installation.domain(&domain).await;
    assert_eq!(scene.told(&domain), (DomainStatus::NeedsDns, Actor::You));
    let record = unprovable.record.unwrap();
    assert_eq!(
        (record.kind, record.name.as_str()),
        (RecordKind::Txt, "_validation-persist.many.example.com")
    );
    assert!(record.value.ends_with("; policy=wildcard"), "{}", record.value);
    scene.records.write(&record.name, &record.value);
    let held = until("the certificate", BOUND, async || {
        scene.clock.advance(Duration::from_secs(1));
        let held = scene.installation.store.active_certificate_for(&domain.host).await?;
        held.ok_or_else(|| anyhow::anyhow!("none for {}", domain.host))
    });
    assert_eq!(held.await.unwrap().names, [domain.host]);
    scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_wildcard_that_we_are_not_set_up_to_prove_is_our_problem_and_begins_no_order_again_and_again() {
    for (manner, is_on) in [(Manner::Knows, false), (Manner::Ignores, true)] {
        let scene = Scene::start(manner, is_on).await;
        let (mut domain, unprovable) = scene.connect_all().await;
        if let Some(record) = unprovable.record {
            assert!(is_on, "{record:?}");
            scene.records.write(&record.name, &record.value);
        }
        let ours = until("our problem", BOUND, async || {
            scene.clock.advance(Duration::from_secs(1));
            domain = scene.installation.domain(&domain).await;
            anyhow::ensure!(
                domain.facts.unprovable == Some(Unprovable { record: None }),
                "{:?}",
                domain.facts
            );
            Ok(())
        });
        ours.await.unwrap();
        assert_eq!(scene.told(&domain), (DomainStatus::OurProblem, Actor::Us));
        let last = || async {
            scene.installation.store.latest_order(&domain.host).await.unwrap().map(|order| order.id)
        };
        let order = last().await;
        assert_eq!(order.is_some(), is_on, "one that found out at most");
        for _ in 0..60 {
            scene.clock.advance(Duration::from_secs(60));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(last().await, order, "an hour later");
        scene.certd.stop().await.unwrap();
    }
}
