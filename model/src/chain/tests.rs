use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use time::OffsetDateTime;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_795_000_000)
}

fn moment(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.unix_seconds()).unwrap()
}

/// Parameters of a leaf that is valid for a day around the present.
fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = moment(now().minus(DAY));
    params.not_after = moment(now().plus(DAY));
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(&[]);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn self_signed(params: &CertificateParams) -> (String, KeyPair) {
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key)
}

fn refusal(chain: &str, key: &str) -> String {
    inspect(chain, key.as_bytes(), now()).expect_err("the chain should be refused").to_string()
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

#[test]
fn a_sound_chain_is_told_by_its_leaf() {
    let (chain, key) = self_signed(&params(&["shop.example.com", "*.shop.example.com", "shop.example.com"]));
    let found = inspect(&chain, key.serialize_pem().as_bytes(), now()).unwrap();
    let names: Vec<String> = found.names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["shop.example.com", "*.shop.example.com"]);
    assert_eq!((found.not_before, found.not_after), (now().minus(DAY), now().plus(DAY)));
    assert_eq!(found.key_der.as_slice(), key.serialized_der());
    assert_eq!(
        Some(found.serial),
        serial_of(
            rustls_pki_types::pem::PemObject::from_pem_slice(chain.as_bytes())
                .map(|der: rustls_pki_types::CertificateDer<'_>| der.to_vec())
                .unwrap()
                .as_slice()
        )
    );
}

#[test]
fn the_chain_is_put_in_order_and_the_root_left_out() {
    let (root, middle, leaf) = (authority("root"), authority("middle"), params(&["a.example.com"]));
    let keys = [0; 3].map(|_| KeyPair::generate().unwrap());
    let root_pem = root.self_signed(&keys[0]).unwrap().pem();
    let middle_pem = middle.signed_by(&keys[1], &Issuer::from_params(&root, &keys[0])).unwrap().pem();
    let leaf_pem = leaf.signed_by(&keys[2], &Issuer::from_params(&middle, &keys[1])).unwrap().pem();
    let found =
        inspect(&format!("{root_pem}{middle_pem}{leaf_pem}{leaf_pem}"), keys[2].serialized_der(), now());
    let found = found.unwrap();
    assert_eq!(found.issuer, "middle");
    assert_eq!(found.chain_pem, format!("{leaf_pem}{middle_pem}").replace("\r\n", "\n"));
}

#[test]
fn an_authority_that_signed_nothing_here_is_refused() {
    let (root, stray) = (authority("root"), authority("stray"));
    let (leaf, key) = self_signed(&params(&["a.example.com"]));
    let root_key = KeyPair::generate().unwrap();
    let stray =
        stray.signed_by(&KeyPair::generate().unwrap(), &Issuer::from_params(&root, &root_key)).unwrap();
    assert!(refusal(&format!("{leaf}{}", stray.pem()), &key.serialize_pem()).contains("is not an issuer"));
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (chain, _) = self_signed(&params(&["a.example.com"]));
    let other = KeyPair::generate().unwrap();
    assert_eq!(
        refusal(&chain, &other.serialize_pem()),
        "the private key does not belong to the certificate of `a.example.com`: find the key it was requested with"
    );
}

#[test]
fn a_missing_key_is_asked_for() {
    let (chain, _) = self_signed(&params(&["a.example.com"]));
    for key in ["", "hello", chain.as_str()] {
        assert_eq!(inspect(&chain, key.as_bytes(), now()), Err(InspectError::KeyMissing), "{key}");
    }
}

#[test]
fn an_encrypted_key_is_named_as_such() {
    let (chain, _) = self_signed(&params(&["a.example.com"]));
    let modern = pem("ENCRYPTED PRIVATE KEY", b"anything");
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    for key in [modern.as_str(), old] {
        assert_eq!(inspect(&chain, key.as_bytes(), now()), Err(InspectError::KeyEncrypted));
    }
}

#[test]
fn a_damaged_key_is_refused() {
    let (chain, _) = self_signed(&params(&["a.example.com"]));
    for key in [pem("PRIVATE KEY", b"no key"), "-----BEGIN PRIVATE KEY-----\n???".to_owned(), "0x".to_owned()]
    {
        assert_eq!(inspect(&chain, key.as_bytes(), now()), Err(InspectError::KeyForm), "{key}");
    }
}

#[test]
fn every_form_of_a_key_becomes_pkcs_8() {
    let (chain, key) = self_signed(&params(&["a.example.com"]));
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.serialized_der()).unwrap();
    let sec1: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
    for form in [pem("EC PRIVATE KEY", sec1.as_ref()).as_bytes(), sec1.as_ref()] {
        let found = inspect(&chain, form, now()).unwrap();
        assert_eq!(found.key_der.as_slice(), pair.to_pkcs8v1().unwrap().as_ref());
    }

    let rsa: Pkcs8V1Der<'_> = RsaKeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
    let key = KeyPair::try_from(rsa.as_ref()).unwrap();
    let chain = params(&["a.example.com"]).self_signed(&key).unwrap().pem();
    // The PKCS #1 form is what PKCS #8 wraps in 26 bytes for a key of this length.
    for form in [pem("RSA PRIVATE KEY", &rsa.as_ref()[26..]), pem("PRIVATE KEY", rsa.as_ref())] {
        assert_eq!(inspect(&chain, form.as_bytes(), now()).unwrap().key_der.as_slice(), rsa.as_ref());
    }
}

#[test]
fn what_is_not_pem_is_refused_with_its_line() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    assert_eq!(inspect("hello", key.as_bytes(), now()), Err(InspectError::NoCertificate));
    let broken = "-----BEGIN CERTIFICATE-----\nMII<html>\n-----END CERTIFICATE-----\n";
    assert!(refusal(broken, &key).contains("line 2: `MII<html>`"));
    assert!(refusal("-----BEGIN CERTIFICATE-----\nMIIB\n", &key).contains("a block has no end"));
    assert_eq!(
        refusal(&pem("CERTIFICATE", b"nothing"), &key),
        "certificate 1 of the chain is damaged: export it again"
    );
}

#[test]
fn a_certificate_is_used_within_its_validity_only() {
    let (chain, key) = self_signed(&params(&["a.example.com"]));
    let at = |now| inspect(&chain, key.serialized_der(), now).map(drop);
    assert_eq!(at(now().plus(DAY)), Ok(()));
    assert_eq!(at(now().plus(DAY * 2)), Err(InspectError::Expired(now().plus(DAY))));
    assert_eq!(at(now().minus(DAY).minus(CLOCK_LEEWAY)), Ok(()));
    assert_eq!(at(now().minus(DAY * 2)), Err(InspectError::NotYet(now().minus(DAY))));
}

#[test]
fn two_server_certificates_are_named() {
    let (one, key) = self_signed(&params(&["a.example.com"]));
    let (other, _) = self_signed(&params(&["b.example.com"]));
    assert_eq!(
        refusal(&(one + &other), &key.serialize_pem()),
        "the chain holds two server certificates, `a.example.com` and `b.example.com`: upload each by itself"
    );
}

#[test]
fn an_authority_alone_is_no_server() {
    let (chain, key) = self_signed(&authority("root"));
    assert_eq!(inspect(&chain, key.serialized_der(), now()), Err(InspectError::NoLeaf));
}

#[test]
fn only_names_that_can_be_served_pass() {
    let (chain, key) = self_signed(&params(&["*.example.com", "10.0.0.1"]));
    let found = inspect(&chain, key.serialized_der(), now()).unwrap();
    assert_eq!(found.names, ["*.example.com".parse().unwrap()]);
    for (name, error) in [
        ("a_b.example.com", "host `a_b.example.com` has a character that host names do not have"),
        ("*.*.example.com", "host `*.example.com` has a character that host names do not have"),
    ] {
        let (chain, key) = self_signed(&params(&[name]));
        assert!(refusal(&chain, &key.serialize_pem()).ends_with(error), "{name}");
    }
    let (chain, key) = self_signed(&params(&[]));
    assert_eq!(inspect(&chain, key.serialized_der(), now()), Err(InspectError::NoNames));
}

#[test]
fn a_certificate_for_another_purpose_is_refused() {
    let mut params = params(&["a.example.com"]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    let (chain, key) = self_signed(&params);
    assert_eq!(inspect(&chain, key.serialized_der(), now()), Err(InspectError::Purpose));
}

#[test]
fn size_is_bounded_before_anything_is_read() {
    let huge = "-".repeat(MAX_BYTES + 1);
    assert_eq!(inspect(&huge, b"", now()), Err(InspectError::TooLarge(Part::Chain, MAX_BYTES + 1)));
    let error = inspect("", huge.as_bytes(), now()).expect_err("too large");
    assert_eq!(error, InspectError::TooLarge(Part::Key, MAX_BYTES + 1));
    assert_eq!(error.part(), Part::Key);
}

#[test]
fn the_key_is_not_printed() {
    let (chain, key) = self_signed(&params(&["a.example.com"]));
    let printed = format!("{:?}", inspect(&chain, key.serialized_der(), now()).unwrap());
    assert!(!printed.contains("key") && printed.contains("a.example.com"));
}
