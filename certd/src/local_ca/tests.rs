use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use model::clock::SystemClock;
use model::seal::SealingKey;
use model::{Clock as _, Host};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::{ServerName, UnixTime};
use store::Options;

use super::*;

async fn store(dir: &Path) -> Store {
    let options = Options {
        url: format!("sqlite:{}", dir.join("stoa.db").display()),
        zones: vec![Host::parse("apps.localhost").unwrap()],
        edge_addresses: Vec::new(),
    };
    Store::open(options, Arc::new(SystemClock)).await.unwrap()
}

fn names(texts: &[&str]) -> Vec<HostPattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Whether a TLS client that trusts `root` takes `chain` for `host` now.
fn takes(root: &str, chain: &str, host: &str) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let leaf = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    verifier.verify_server_cert(&leaf, &[], &name, &[], UnixTime::now()).is_ok()
}

#[tokio::test]
async fn clients_that_trust_the_root_take_the_leaf_for_its_names_only() {
    let dir = tempfile::tempdir().unwrap();
    let authority = LocalAuthority::open(&store(dir.path()).await, SealingKey::generate()).await.unwrap();
    let zone = names(&["*.apps.localhost", "apps.localhost"]);
    let leaf = authority.issue(&zone, LEAF_LIFETIME, SystemClock.now()).unwrap();
    for (host, taken) in [
        ("hello.apps.localhost", true),
        ("apps.localhost", true),
        ("x.hello.apps.localhost", false),
        ("example.com", false),
    ] {
        assert_eq!(takes(authority.pem(), &leaf.chain_pem, host), taken, "{host}");
    }
    let (ca, pem) = (dir.path().join("ca.pem"), dir.path().join("leaf.pem"));
    std::fs::write(&ca, authority.pem()).unwrap();
    std::fs::write(&pem, &leaf.chain_pem).unwrap();
    let (ca, pem) = (ca.to_str().unwrap(), pem.to_str().unwrap());
    openssl(&["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", ca, pem]);
    let text = openssl(&["x509", "-noout", "-text", "-in", pem]);
    for part in ["Authority Key Identifier", "Subject Key Identifier", "TLS Web Server Authentication"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[tokio::test]
async fn the_root_signs_leaves_only_and_for_ten_years() {
    let dir = tempfile::tempdir().unwrap();
    let authority = LocalAuthority::open(&store(dir.path()).await, SealingKey::generate()).await.unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let text = openssl(&["x509", "-noout", "-text", "-in", ca.to_str().unwrap()]);
    for part in ["CN = Stoa local authority ", "CA:TRUE, pathlen:0", "prime256v1", "Certificate Sign"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    let years = authority.not_after.since(SystemClock.now()).as_secs() / (365 * 24 * 3600);
    assert!((9..=10).contains(&years));
}

#[tokio::test]
async fn the_root_is_made_once_and_opens_with_its_sealing_key_only() {
    let dir = tempfile::tempdir().unwrap();
    let (store, sealing) = (store(dir.path()).await, SealingKey::generate());
    let (one, other) =
        tokio::join!(LocalAuthority::open(&store, &sealing), LocalAuthority::open(&store, &sealing));
    let again = LocalAuthority::open(&store, &sealing).await.unwrap();
    assert_eq!(one.unwrap().pem(), again.pem());
    assert_eq!(other.unwrap().pem(), again.pem());
    let error = LocalAuthority::open(&store, SealingKey::generate()).await.unwrap_err();
    assert!(error.to_string().ends_with("restore the key it was sealed with"), "{error}");
}

#[tokio::test]
async fn short_lifetimes_are_kept_and_serials_differ() {
    let dir = tempfile::tempdir().unwrap();
    let authority = LocalAuthority::open(&store(dir.path()).await, SealingKey::generate()).await.unwrap();
    let now = Timestamp::from_unix_seconds(SystemClock.now().unix_seconds());
    let names = names(&["shop.example.com"]);
    let leaf = authority.issue(&names, Duration::from_secs(30), now).unwrap();
    assert_eq!(leaf.not_after.since(now), Duration::from_secs(30));
    assert_eq!(now.since(leaf.not_before), Duration::from_secs(3));
    let other = authority.issue(&names, Duration::from_secs(30), now).unwrap();
    assert_ne!(leaf.serial, other.serial);
    assert_ne!(leaf.key_der, other.key_der);
}

#[tokio::test]
async fn a_leaf_never_outlives_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let authority = LocalAuthority::open(&store(dir.path()).await, SealingKey::generate()).await.unwrap();
    let late = authority.not_after.minus(Duration::from_secs(3600));
    let leaf = authority.issue(&names(&["shop.example.com"]), LEAF_LIFETIME, late).unwrap();
    assert_eq!(leaf.not_after, authority.not_after);
}
