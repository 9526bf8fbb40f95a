//! Authorities on a bad day: what a creator sees, and that nothing valid is taken away.

use std::time::Duration;

use certd::{Acme, Settings};
use model::domain::{Certification, DomainStatus};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use store::{Access, Actor, DomainRecord};
use tempfile::TempDir;
use testkit::wait::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::rig::{BOUND, Installation, Rig, write};

/// The reason and the wait that a failing certificate shows.
async fn failing(installation: &Installation, domain: &DomainRecord) -> (String, Duration) {
    let domain = installation.until_status(domain, DomainStatus::OurProblem).await;
    match domain.facts.certification {
        Certification::Failing { reason, retry_at } => (reason, retry_at.since(installation.store.now())),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_authority_that_is_down_is_our_problem_and_tried_again() {
    let Some(mut rig) = Rig::start(None).await else { return };
    rig.pebble.kill();
    let installation = rig.installation().await;
    let certd = installation.start(rig.settings()).await;
    let domain = installation.add_domain("shop.example.com").await;
    rig.connect(&domain).await;
    let (reason, wait) = failing(&installation, &domain).await;
    assert!(reason.starts_with("the certificate authority is not available"), "{reason}");
    assert!(wait <= Duration::from_secs(36), "{wait:?}");
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn an_authority_that_answers_html_is_asked_again_when_it_says() {
    let Some(rig) = Rig::start(None).await else { return };
    let dir = TempDir::new().unwrap();
    let acme = html_authority(&dir).await;
    let installation = rig.installation().await;
    let certd = installation.start(Settings { acme: Some(acme), ..rig.settings() }).await;
    let domain = installation.add_domain("shop.example.com").await;
    rig.connect(&domain).await;
    let (reason, wait) = failing(&installation, &domain).await;
    assert!(reason.contains("503 Service Unavailable without the JSON"), "{reason}");
    assert!(wait > Duration::from_secs(300) && wait <= Duration::from_secs(440), "{wait:?}");
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_failing_renewal_takes_no_valid_certificate_away() {
    let Some(mut rig) = Rig::start(None).await else { return };
    let installation = rig.installation().await;
    let certd = installation.start(rig.settings()).await;
    let domain = installation.add_domain("shop.example.com").await;
    rig.connect(&domain).await;
    installation.until_status(&domain, DomainStatus::Live).await;
    let held = installation.store.active_certificate_for(&domain.host).await.unwrap().unwrap();
    rig.pebble.kill();
    let (actor, store) = (Actor::system("test"), &installation.store);
    store.request_renewal(&actor, Access::Platform, held.id).await.unwrap();
    until("the renewal to fail", BOUND, async || {
        let order = store.latest_order(&domain.host).await?;
        anyhow::ensure!(order.is_some_and(|order| order.attempts > 0));
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(store.active_certificate_for(&domain.host).await.unwrap().unwrap().id, held.id);
    assert_eq!(installation.domain(&domain).await.status, DomainStatus::Live);
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn an_authority_that_cannot_reach_the_name_says_why() {
    let Some(rig) = Rig::start(None).await else { return };
    let installation = rig.installation().await;
    let certd = installation.start(rig.settings()).await;
    let domain = installation.add_domain("shop.example.com").await;
    // The alias is right, but ends at an address where nobody answers.
    rig.dns.add_a(domain.target.cname.as_str(), "127.0.0.99".parse().unwrap()).await.unwrap();
    rig.dns.set_cname("shop.example.com", domain.target.cname.as_str()).await.unwrap();
    let (reason, wait) = failing(&installation, &domain).await;
    assert!(reason.starts_with("the certificate authority could not check `shop.example.com`"), "{reason}");
    assert!(wait <= Duration::from_secs(72), "{wait:?}");
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn an_account_that_the_authority_lost_is_registered_again_with_its_key() {
    let Some(rig) = Rig::start(None).await else { return };
    let installation = rig.installation().await;
    let certd = installation.start(rig.settings()).await;
    let domain = installation.add_domain("one.example.com").await;
    rig.connect(&domain).await;
    installation.until_status(&domain, DomainStatus::Live).await;
    let (store, directory) = (&installation.store, rig.pebble.directory_url.as_str());
    let known = store.acme_account(directory).await.unwrap().unwrap();
    let lost = known.account_url.as_ref().map(|url| format!("{url}0"));
    store.set_account_url(directory, &known.key, lost.as_deref()).await.unwrap();

    let domain = installation.add_domain("two.example.com").await;
    rig.connect(&domain).await;
    installation.until_status(&domain, DomainStatus::Live).await;
    assert_eq!(store.acme_account(directory).await.unwrap(), Some(known));
    certd.stop().await.unwrap();
}

/// An authority whose every answer is a page of HTML, status 503.
async fn html_authority(dir: &TempDir) -> Acme {
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &root).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let directory = format!("https://localhost:{}/dir", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut tls) = acceptor.accept(tcp).await else { continue };
            let mut request = [0; 4096];
            let _ = tls.read(&mut request).await;
            let body = "<html><body>Be back soon</body></html>";
            let answer = format!(
                "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\nRetry-After: 400\r\n\
                 Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = tls.write_all(answer.as_bytes()).await;
            let _ = tls.shutdown().await;
        }
    });
    let ca_file = write(dir, "root.pem", &root.pem());
    Acme { ca_file: Some(ca_file), ..Acme::at(directory) }
}
