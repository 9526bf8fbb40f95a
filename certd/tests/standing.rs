//! Names that a text proves for as long as it stands (dns-persist-01).

use std::sync::Arc;
use std::time::Duration;

use certd::{Acme, Certd, Settings, StandingProof};
use model::domain::Certification;
use model::seal::SealingKey;
use testkit::ca::{self, Ca, ChallengeType, Check, Problem, Validation};
use testkit::wait::until;

use crate::authority::Records;
use crate::rig::{BOUND, Installation, Running};

/// Also proved over HTTP.
const FIRST: &str = "first.example.com";
const SECOND: &str = "second.example.com";

struct Scene {
    installation: Installation,
    records: Records,
    proof: StandingProof,
    certd: Running,
    _ca: Ca,
}

impl Scene {
    /// An authority that knows that way or not, which takes only the first name otherwise, and certd that may go it or
    /// not.
    async fn start(is_known: bool, is_on: bool) -> Self {
        let records = Records::default();
        let texts = records.clone();
        let judge = move |check: &Check| {
            let text = format!("{}; accounturi={}", ca::IDENTITY, check.account_url);
            let stands = texts.text(&format!("_validation-persist.{}", check.name)) == Some(text);
            match check.kind {
                ChallengeType::DnsPersist01 if stands => Ok(()),
                ChallengeType::Http01 if check.name == FIRST || !is_known => Ok(()),
                _ => Err(Problem::new("unauthorized", "it is not proved")),
            }
        };
        let validation = Validation::by(judge);
        let options = ca::Options { validation, dns_persist: is_known, ..ca::Options::default() };
        let ca = Ca::start(options).await.unwrap();
        let settings = Settings {
            acme: Some(Acme { ca_file: Some(ca.ca_file.clone()), ..Acme::at(&ca.directory_url) }),
            dns_persist: is_on,
            // Without an edge nobody is to be waited for.
            edge_wait: Duration::ZERO,
            ..Settings::default()
        };
        let sealing = SealingKey::generate();
        let installation = Installation::new("apps.localhost", &sealing).await;
        let (store, lookup) = (installation.store.clone(), Arc::new(records.clone()));
        let certd = Certd::start_with(settings, store, sealing, lookup).await.unwrap();
        let proof = certd.standing_proof();
        Self { installation, records, proof, certd: Running::new(certd), _ca: ca }
    }

    /// Connects the first name, so that there is an account; gives the text that proves names to it.
    async fn account(&self) -> Option<String> {
        assert_eq!(self.proof.text().await, None, "nobody knows an account yet");
        let first = self.installation.add_domain(FIRST).await;
        self.records.connect(&first);
        self.installation.until_serial(FIRST, None).await;
        self.proof.text().await
    }
}

#[tokio::test]
async fn a_text_that_stands_proves_a_name_and_nothing_is_answered() {
    testkit::tls::install_provider();
    let scene = Scene::start(true, true).await;
    let text = scene.account().await.unwrap();
    scene.records.write(&format!("_validation-persist.{SECOND}"), &text);
    let second = scene.installation.add_domain(SECOND).await;
    scene.records.connect(&second);
    scene.installation.until_serial(SECOND, None).await;
    scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_text_of_another_account_or_without_the_switch_proves_nothing() {
    testkit::tls::install_provider();
    for is_on in [true, false] {
        let scene = Scene::start(true, is_on).await;
        let text = scene.account().await;
        assert_eq!(text.is_some(), is_on);
        let other = format!("{}; accounturi=https://localhost/account/other", ca::IDENTITY);
        scene.records.write(&format!("_validation-persist.{SECOND}"), &other);
        let second = scene.installation.add_domain(SECOND).await;
        scene.records.connect(&second);
        let refused = until("the order to fail", BOUND, async || {
            let facts = scene.installation.domain(&second).await.facts;
            anyhow::ensure!(matches!(facts.certification, Certification::Failing { .. }), "{facts:?}");
            Ok(())
        });
        refused.await.unwrap();
        scene.certd.stop().await.unwrap();
    }
}

#[tokio::test]
async fn an_authority_that_does_not_know_that_way_is_asked_in_the_usual_one() {
    testkit::tls::install_provider();
    let scene = Scene::start(false, true).await;
    let text = scene.account().await.unwrap();
    scene.records.write(&format!("_validation-persist.{SECOND}"), &text);
    let second = scene.installation.add_domain(SECOND).await;
    scene.records.connect(&second);
    scene.installation.until_serial(SECOND, None).await;
    scene.certd.stop().await.unwrap();
}
