use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};

use super::*;

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000)
}

/// A self-signed certificate; `change` makes it what it should be.
fn made(change: impl FnOnce(&mut CertificateParams)) -> rcgen::Certificate {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "Members");
    change(&mut params);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap()
}

fn refused(pem: &str) -> String {
    ClientCa::inspect(pem, now()).unwrap_err().to_string()
}

#[test]
fn authorities_are_kept_once_each_and_nothing_else() {
    let (one, other) = (made(|_| ()).pem(), made(|_| ()).pem());
    let ca = ClientCa::inspect(&format!("my authority:\n{one}\n{other}{one}"), now()).unwrap();
    assert_eq!(ca.pem().matches("BEGIN").count(), 2);
    assert!(!ca.pem().contains("my authority"));
    assert_eq!(ClientCa::inspect(ca.pem(), now()).unwrap(), ca);
    assert_eq!(ca.authorities()[0].subject, "CN=Members");
    assert_eq!(serde_json::from_str::<ClientCa>(&serde_json::to_string(&ca).unwrap()).unwrap(), ca);
}

#[test]
fn what_is_wrong_is_named() {
    let good = made(|_| ()).pem();
    assert!(refused("").starts_with("no certificate found"));
    assert!(refused(&"x".repeat(MAX_BYTES + 1)).starts_with("the text has 65537 bytes"));
    assert!(refused(&good[..200]).starts_with("the text is not readable PEM"));
    let hollow = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    assert_eq!(refused(&format!("{good}{hollow}")), "certificate 2 is damaged: export it again");
    let many: String = (0..17).map(|_| made(|_| ()).pem()).collect();
    assert!(refused(&many).starts_with("the text has 17 certificates"));
    let key = KeyPair::generate().unwrap().serialize_pem();
    assert!(refused(&format!("{good}{key}")).starts_with("the text holds a private key"));
    let leaf = made(|params| params.is_ca = IsCa::NoCa).pem();
    let error = refused(&leaf);
    assert!(error.starts_with("certificate 1, `CN=Members`, is not an authority's"), "{error}");
    let idle = made(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]).pem();
    assert!(refused(&idle).contains("is not an authority's"));
    let ended = ClientCa::inspect(&good, now().plus(Duration::from_secs(100_000 * 86_400 * 30)));
    assert!(ended.unwrap_err().to_string().contains("expired at"));
}

#[test]
fn a_visitor_is_known_by_subject_and_fingerprint() {
    let certificate = made(|params| {
        params.is_ca = IsCa::NoCa;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Acme, Inc.");
        params.distinguished_name.push(DnType::CommonName, "Ann");
    });
    let identity = Identity::of(certificate.der()).unwrap();
    assert_eq!(identity.subject, "CN=Ann,O=Acme\\, Inc.");
    assert_eq!(identity.fingerprint.len(), 64);
    assert_eq!(Identity::of(b"no certificate"), None);
}
