//! Names that a text proves for as long as it stands (dns-persist-01).

use std::sync::Arc;
use std::time::Duration;

use certd::{Acme, Certd, Settings, StandingProof};
use model::Host;
use model::clock::ManualClock;
use model::domain::Certification;
use model::seal::SealingKey;
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
            let stands = texts.text(&format!("_validation-persist.{}", check.name)) == Some(text);
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
