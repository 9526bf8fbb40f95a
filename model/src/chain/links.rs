//! From a text with certificates in any order to one chain.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;

use super::{InspectError, MAX_CERTIFICATES, title};

/// Characters in a line of PEM (RFC 7468 §2).
const LINE: usize = 64;

/// A leaf with the issuers that lead away from it, the root left out.
pub(super) struct Chain<'a> {
    pub(super) leaf: X509Certificate<'a>,
    issuers: Vec<X509Certificate<'a>>,
}

/// The certificates of a PEM text, each once.
pub(super) fn read(pem: &str) -> Result<Vec<CertificateDer<'static>>, InspectError> {
    let mut ders = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let der = der.map_err(|_| InspectError::ChainForm(broken_line(pem)))?;
        if !ders.contains(&der) {
            ders.push(der);
        }
    }
    match ders.len() {
        0 => Err(InspectError::NoCertificate),
        count if count > MAX_CERTIFICATES => Err(InspectError::TooMany(count)),
        _ => Ok(ders),
    }
}

/// The first line that no PEM has, shortened; for the error only.
fn broken_line(pem: &str) -> String {
    let fits = |line: &str| {
        line.starts_with("-----")
            || line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
    };
    let broken = pem.lines().map(str::trim).enumerate().find(|(_, line)| !fits(line));
    match broken {
        Some((index, line)) => {
            format!("line {}: `{}`", index + 1, line.chars().take(24).collect::<String>())
        }
        None => "a block has no end or is damaged".to_owned(),
    }
}

/// Puts the certificates in order: each one signed by the next. Self-signed authorities are dropped, since
/// who trusts them has them.
pub(super) fn order<'a>(ders: &'a [CertificateDer<'static>]) -> Result<Chain<'a>, InspectError> {
    let mut leaves = Vec::new();
    let mut authorities = Vec::new();
    for (index, der) in ders.iter().enumerate() {
        let certificate = match x509_parser::parse_x509_certificate(der) {
            Ok(([], certificate)) => certificate,
            _ => return Err(InspectError::Certificate(index + 1)),
        };
        match certificate.is_ca() {
            false => leaves.push(certificate),
            true if certificate.subject() == certificate.issuer() => {}
            true => authorities.push(certificate),
        }
    }
    let mut leaves = leaves.into_iter();
    match (leaves.next(), leaves.next()) {
        (None, _) => Err(InspectError::NoLeaf),
        (Some(one), Some(other)) => Err(InspectError::TwoLeaves(title(&one), title(&other))),
        (Some(leaf), None) => link(leaf, authorities),
    }
}

fn link<'a>(
    leaf: X509Certificate<'a>,
    mut authorities: Vec<X509Certificate<'a>>,
) -> Result<Chain<'a>, InspectError> {
    let mut chain = Chain { leaf, issuers: Vec::with_capacity(authorities.len()) };
    while let Some(at) = authorities.iter().position(|authority| signed(authority, chain.last())) {
        let authority = authorities.swap_remove(at);
        chain.issuers.push(authority);
    }
    match authorities.first() {
        Some(stray) => Err(InspectError::Stray(title(stray))),
        None => Ok(chain),
    }
}

/// Whether `authority` signed `certificate`; a kind of signature that we cannot check counts by name.
fn signed(authority: &X509Certificate<'_>, certificate: &X509Certificate<'_>) -> bool {
    let verdict = certificate.verify_signature(Some(authority.public_key()));
    authority.subject() == certificate.issuer()
        && matches!(verdict, Ok(()) | Err(X509Error::SignatureUnsupportedAlgorithm))
}

impl<'a> Chain<'a> {
    fn last(&self) -> &X509Certificate<'a> {
        self.issuers.last().unwrap_or(&self.leaf)
    }

    /// The chain as PEM, leaf first.
    pub(super) fn to_pem(&self) -> String {
        let mut text = String::new();
        for certificate in std::iter::once(&self.leaf).chain(&self.issuers) {
            text.push_str("-----BEGIN CERTIFICATE-----\n");
            let body = STANDARD.encode(certificate.as_raw());
            for (index, character) in body.chars().enumerate() {
                if index > 0 && index % LINE == 0 {
                    text.push('\n');
                }
                text.push(character);
            }
            text.push_str("\n-----END CERTIFICATE-----\n");
        }
        text
    }
}
