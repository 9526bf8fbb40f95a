//! The check of a certificate chain and its private key before they are used, whoever they come from.
//!
//! Pure: text in, [`Inspected`] or one [`InspectError`] out that says what is wrong and what to do. What
//! comes out is normalised: leaf first, each certificate signed by the next, roots left out, the key in
//! PKCS #8. Deliberately absent: whether browsers trust the issuer, and whether it was revoked.

mod key;
mod links;

use std::fmt;
use std::time::Duration;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

use crate::host::HostError;
use crate::{HostPattern, Timestamp};

/// Largest chain and largest key, in bytes of text.
pub const MAX_BYTES: usize = 64 * 1024;
/// Most certificates in a chain; public chains have two or three.
pub const MAX_CERTIFICATES: usize = 10;
/// How far a certificate may begin in the future: clocks of authorities and ours differ a little.
pub const CLOCK_LEEWAY: Duration = Duration::from_secs(5 * 60);

/// A chain and key that are fit for use.
#[derive(Clone, PartialEq, Eq)]
pub struct Inspected {
    /// The DNS names of the leaf, in its order, without repetition.
    pub names: Vec<HostPattern>,
    /// Who signed it: the issuer's common name, or its whole name if it has none.
    pub issuer: String,
    /// Serial number of the leaf, lower-case hexadecimal without leading zeros.
    pub serial: String,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
    /// The chain, PEM, leaf first.
    pub chain_pem: String,
    /// The private key, PKCS #8 DER.
    pub key_der: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspected")
            .field("names", &self.names)
            .field("issuer", &self.issuer)
            .field("serial", &self.serial)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Which of the two texts is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The certificates.
    Chain,
    /// The private key.
    Key,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain => "chain",
            Self::Key => "private key",
        })
    }
}

/// Why a chain and key are not fit for use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// More than [`MAX_BYTES`].
    #[error("the {0} has {1} bytes: at most 65536 are taken, leave out what is not needed")]
    TooLarge(Part, usize),
    /// The chain's text is no PEM.
    #[error("the chain is not readable PEM ({0}): paste it whole, from -----BEGIN CERTIFICATE----- on")]
    ChainForm(String),
    /// No certificate in the text.
    #[error("no certificate found: paste the text that begins with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// More than [`MAX_CERTIFICATES`].
    #[error(
        "the chain has {0} certificates: at most 10 are taken, leave out all but the server's and its issuers"
    )]
    TooMany(usize),
    /// A certificate that does not parse.
    #[error("certificate {0} of the chain is damaged: export it again")]
    Certificate(usize),
    /// Only authorities' certificates.
    #[error("the chain holds only certificates of authorities: add the server's own certificate, first")]
    NoLeaf,
    /// More than one server's certificate.
    #[error("the chain holds two server certificates, `{0}` and `{1}`: upload each by itself")]
    TwoLeaves(String, String),
    /// A certificate that did not sign any other of the chain.
    #[error("certificate `{0}` is not an issuer of the server's certificate: leave it out")]
    Stray(String),
    /// The leaf may not be used by servers.
    #[error(
        "the certificate may not be used by a server (no serverAuth purpose): ask its issuer for a TLS server certificate"
    )]
    Purpose,
    /// The leaf has no DNS name.
    #[error(
        "the certificate names no host (no DNS name in its subject alternative names): ask its issuer for one that does"
    )]
    NoNames,
    /// A DNS name of the leaf is no name we serve.
    #[error("the certificate holds a name that cannot be served: {0}")]
    Name(#[from] HostError),
    /// Past its end.
    #[error("the certificate expired at {0}: get a new one")]
    Expired(Timestamp),
    /// Not valid yet.
    #[error("the certificate is valid only from {0}: use it then")]
    NotYet(Timestamp),
    /// No private key in the text.
    #[error("no private key found: paste the text that begins with -----BEGIN PRIVATE KEY-----")]
    KeyMissing,
    /// The private key is protected by a password.
    #[error("the private key is encrypted: decrypt it first, e.g. openssl pkey -in key.pem -out plain.pem")]
    KeyEncrypted,
    /// The private key does not parse, or is of a kind that browsers do not accept.
    #[error(
        "the private key is damaged or of an unknown kind: ECDSA P-256 and P-384 and RSA of 2048 to 8192 bits are taken"
    )]
    KeyForm,
    /// The private key belongs to another certificate.
    #[error(
        "the private key does not belong to the certificate of `{0}`: find the key it was requested with"
    )]
    KeyMismatch(String),
}

impl InspectError {
    /// Which of the two texts is at fault.
    #[must_use]
    pub const fn part(&self) -> Part {
        match self {
            Self::TooLarge(part, _) => *part,
            Self::KeyMissing | Self::KeyEncrypted | Self::KeyForm | Self::KeyMismatch(_) => Part::Key,
            _ => Part::Chain,
        }
    }
}

/// Checks a chain (PEM) and its private key (PEM or DER; PKCS #8, SEC 1 or PKCS #1) for use at `now`.
///
/// # Errors
/// [`InspectError`] names what is wrong and what to do.
pub fn inspect(chain_pem: &str, key: &[u8], now: Timestamp) -> Result<Inspected, InspectError> {
    for (part, bytes) in [(Part::Chain, chain_pem.len()), (Part::Key, key.len())] {
        if bytes > MAX_BYTES {
            return Err(InspectError::TooLarge(part, bytes));
        }
    }
    let ders = links::read(chain_pem)?;
    let chain = links::order(&ders)?;
    let leaf = &chain.leaf;
    let key = key::read(key)?;
    if key.public != *leaf.public_key().subject_public_key.data {
        return Err(InspectError::KeyMismatch(title(leaf)));
    }
    let (not_before, not_after) = validity(leaf, now)?;
    check_purpose(leaf)?;
    Ok(Inspected {
        names: names(leaf)?,
        issuer: issuer(leaf),
        serial: serial(leaf),
        not_before,
        not_after,
        chain_pem: chain.to_pem(),
        key_der: key.pkcs8,
    })
}

/// The serial number of a certificate in DER, in the form of [`Inspected::serial`]; none if it is damaged.
#[must_use]
pub fn serial_of(certificate_der: &[u8]) -> Option<String> {
    let (_, leaf) = x509_parser::parse_x509_certificate(certificate_der).ok()?;
    Some(serial(&leaf))
}

/// The last moment of validity of a certificate in DER; none if it is damaged.
#[must_use]
pub fn not_after_of(certificate_der: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate_der).ok()?;
    Some(Timestamp::from_unix_seconds(certificate.validity().not_after.timestamp()))
}

/// The names that a certificate in DER was made for, in their order as [`HostPattern`]s; none if it is damaged or has a
/// name that cannot be served.
#[must_use]
pub fn names_of(certificate_der: &[u8]) -> Option<Vec<HostPattern>> {
    let (_, leaf) = x509_parser::parse_x509_certificate(certificate_der).ok()?;
    let mut names = names(&leaf).ok()?;
    names.sort();
    Some(names)
}

fn serial(leaf: &X509Certificate<'_>) -> String {
    let hex = leaf.raw_serial().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let bare = hex.trim_start_matches('0');
    if bare.is_empty() { "0".to_owned() } else { bare.to_owned() }
}

fn issuer(leaf: &X509Certificate<'_>) -> String {
    let common = leaf.issuer().iter_common_name().next().and_then(|name| name.as_str().ok());
    common.map_or_else(|| leaf.issuer().to_string(), str::to_owned)
}

/// What a person knows the certificate by: its first DNS name, else its subject.
fn title(certificate: &X509Certificate<'_>) -> String {
    let first = dns_names(certificate).next().map(str::to_owned);
    first.unwrap_or_else(|| certificate.subject().to_string())
}

fn dns_names<'a>(certificate: &'a X509Certificate<'_>) -> impl Iterator<Item = &'a str> {
    let names = certificate.subject_alternative_name().ok().flatten();
    names.into_iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    })
}

fn names(leaf: &X509Certificate<'_>) -> Result<Vec<HostPattern>, InspectError> {
    let mut names: Vec<HostPattern> = Vec::new();
    for text in dns_names(leaf) {
        let name = text.parse()?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { Err(InspectError::NoNames) } else { Ok(names) }
}

fn validity(leaf: &X509Certificate<'_>, now: Timestamp) -> Result<(Timestamp, Timestamp), InspectError> {
    let not_before = Timestamp::from_unix_seconds(leaf.validity().not_before.timestamp());
    let not_after = Timestamp::from_unix_seconds(leaf.validity().not_after.timestamp());
    if not_after < now {
        return Err(InspectError::Expired(not_after));
    }
    if not_before > now.plus(CLOCK_LEEWAY) {
        return Err(InspectError::NotYet(not_before));
    }
    Ok((not_before, not_after))
}

/// RFC 5280 §4.2.1.12: without the extension every purpose is allowed.
fn check_purpose(leaf: &X509Certificate<'_>) -> Result<(), InspectError> {
    match leaf.extended_key_usage() {
        Ok(None) => Ok(()),
        Ok(Some(usage)) if usage.value.server_auth || usage.value.any => Ok(()),
        Ok(Some(_)) | Err(_) => Err(InspectError::Purpose),
    }
}

#[cfg(test)]
mod tests;
