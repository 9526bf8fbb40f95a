//! Private keys as people and authorities keep them, to PKCS #8.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::{Error, PemObject as _};
use zeroize::Zeroizing;

use super::InspectError;

/// First byte of every key in DER: a SEQUENCE.
const DER_SEQUENCE: u8 = 0x30;

/// A private key with what a certificate says of it.
pub(super) struct PrivateKey {
    /// The public key as it stands in a certificate's `subjectPublicKey`.
    pub(super) public: Vec<u8>,
    /// PKCS #8 DER.
    pub(super) pkcs8: Zeroizing<Vec<u8>>,
}

/// Reads a key, PEM or DER.
pub(super) fn read(text: &[u8]) -> Result<PrivateKey, InspectError> {
    if text.first() == Some(&DER_SEQUENCE) {
        return parse(text).ok_or(InspectError::KeyForm);
    }
    if is_encrypted(text) {
        return Err(InspectError::KeyEncrypted);
    }
    let key = PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        Error::NoItemsFound => InspectError::KeyMissing,
        _ => InspectError::KeyForm,
    })?;
    let der = Zeroizing::new(key.secret_der().to_vec());
    parse(&der).ok_or(InspectError::KeyForm)
}

/// PKCS #8 (RFC 5958) and the older form of RFC 1421 each say so in clear text.
fn is_encrypted(text: &[u8]) -> bool {
    String::from_utf8_lossy(text).lines().any(|line| {
        line.contains("BEGIN ENCRYPTED PRIVATE KEY") || line.starts_with("Proc-Type: 4,ENCRYPTED")
    })
}

fn parse(der: &[u8]) -> Option<PrivateKey> {
    parse_ecdsa(der).or_else(|| parse_rsa(der))
}

fn parse_ecdsa(der: &[u8]) -> Option<PrivateKey> {
    let pair =
        [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING].into_iter().find_map(|kind| {
            EcdsaKeyPair::from_pkcs8(kind, der)
                .or_else(|_| EcdsaKeyPair::from_private_key_der(kind, der))
                .ok()
        })?;
    let pkcs8 = pair.to_pkcs8v1().ok()?;
    Some(PrivateKey {
        public: pair.public_key().as_ref().to_vec(),
        pkcs8: Zeroizing::new(pkcs8.as_ref().to_vec()),
    })
}

fn parse_rsa(der: &[u8]) -> Option<PrivateKey> {
    let pair = rsa::KeyPair::from_pkcs8(der).or_else(|_| rsa::KeyPair::from_der(der)).ok()?;
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().ok()?;
    Some(PrivateKey {
        public: pair.public_key().as_ref().to_vec(),
        pkcs8: Zeroizing::new(pkcs8.as_ref().to_vec()),
    })
}
