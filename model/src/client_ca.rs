//! A creator's own authority for client certificates (mTLS), and what its certificates say of a visitor.
//!
//! Whoever shows a certificate that one of these authorities signed may come in; who that is, the app is told
//! by subject and fingerprint. Deliberately absent: revocation. An authority that is past its end still vouches
//! at the edges (RFC 5280 §6.1 does not ask for the validity of a trust anchor); it is refused at the door.

mod name;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;

use crate::Timestamp;

/// Largest upload in bytes of text.
pub const MAX_BYTES: usize = 64 * 1024;
/// Most authorities of one domain.
pub const MAX_CERTIFICATES: usize = 16;
/// Largest certificate that is written into a header, in bytes: servers commonly take headers of 8 KiB.
pub const MAX_HEADER_BYTES: usize = 4096;
/// Characters in a line of PEM (RFC 7468 §2).
const LINE: usize = 64;

/// Authorities whose client certificates are accepted, as PEM: 1 to 16 certificates and nothing else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientCa(Arc<str>);

/// One of the authorities, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Its name (RFC 4514).
    pub subject: String,
    /// Last moment of validity.
    pub not_after: Timestamp,
}

/// Who a visitor is by the certificate that it showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate's subject (RFC 4514), in visible ASCII: everything else is escaped.
    pub subject: String,
    /// SHA-256 of the certificate, 64 hexadecimal digits.
    pub fingerprint: String,
    /// The certificate as a byte sequence of RFC 8941, as `Client-Cert` carries it (RFC 9440 §2.2); none if it
    /// has more than [`MAX_HEADER_BYTES`].
    pub certificate: Option<String>,
}

/// Why a text is no set of authorities.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientCaError {
    /// More than [`MAX_BYTES`].
    #[error("the text has {0} bytes: at most 65536 are taken, leave out what is not needed")]
    TooLarge(usize),
    /// The text is no PEM.
    #[error("the text is not readable PEM: paste it whole, from -----BEGIN CERTIFICATE----- on")]
    Form,
    /// A private key beside the certificates.
    #[error("the text holds a private key: leave it out, and keep it to yourself")]
    PrivateKey,
    /// No certificate in the text.
    #[error("no certificate found: paste the text that begins with -----BEGIN CERTIFICATE-----")]
    Empty,
    /// More than [`MAX_CERTIFICATES`].
    #[error("the text has {0} certificates: at most 16 are taken, leave out what is not needed")]
    TooMany(usize),
    /// A certificate that does not parse.
    #[error("certificate {0} is damaged: export it again")]
    Damaged(usize),
    /// A certificate that may not sign others.
    #[error(
        "certificate {number}, `{subject}`, is not an authority's (no CA in its basic constraints, or no right to sign): give the certificate that the clients' certificates were signed with"
    )]
    NotAuthority {
        /// Its place in the text, from 1.
        number: usize,
        /// Its name.
        subject: String,
    },
    /// A certificate past its end.
    #[error("certificate {number}, `{subject}`, expired at {not_after}: give a current one")]
    Expired {
        /// Its place in the text, from 1.
        number: usize,
        /// Its name.
        subject: String,
        /// Its end.
        not_after: Timestamp,
    },
}

impl ClientCa {
    /// Checks an upload at `now`. What comes out has each certificate once and nothing but certificates.
    ///
    /// # Errors
    /// [`ClientCaError`] names what is wrong and what to do.
    pub fn inspect(pem: &str, now: Timestamp) -> Result<Self, ClientCaError> {
        if pem.len() > MAX_BYTES {
            return Err(ClientCaError::TooLarge(pem.len()));
        }
        if pem.contains("PRIVATE KEY-----") {
            return Err(ClientCaError::PrivateKey);
        }
        let mut ders: Vec<CertificateDer<'static>> = Vec::new();
        for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let der = der.map_err(|_| ClientCaError::Form)?;
            if !ders.contains(&der) {
                ders.push(der);
            }
        }
        match ders.len() {
            0 => return Err(ClientCaError::Empty),
            count if count > MAX_CERTIFICATES => return Err(ClientCaError::TooMany(count)),
            _ => {}
        }
        for (number, der) in (1..).zip(&ders) {
            check(number, der, now)?;
        }
        Ok(Self(ders.iter().map(to_pem).collect::<String>().into()))
    }

    /// What was stored after [`Self::inspect`].
    #[must_use]
    pub fn stored(pem: &str) -> Self {
        Self(pem.into())
    }

    /// The certificates, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.0
    }

    /// The certificates, for people; what cannot be read is left out.
    #[must_use]
    pub fn authorities(&self) -> Vec<Authority> {
        let ders = CertificateDer::pem_slice_iter(self.0.as_bytes()).filter_map(Result::ok);
        ders.filter_map(|der| parse(&der).map(|certificate| authority(&certificate))).collect()
    }
}

impl fmt::Debug for ClientCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientCa").field(&self.authorities()).finish()
    }
}

impl Identity {
    /// Reads a certificate that was verified; none if its subject has a value that cannot be written down.
    #[must_use]
    pub fn of(certificate_der: &[u8]) -> Option<Self> {
        let subject = name::to_text(parse(certificate_der)?.subject())?;
        let fits = certificate_der.len() <= MAX_HEADER_BYTES;
        Some(Self {
            subject,
            fingerprint: name::hex(digest(&SHA256, certificate_der).as_ref()),
            certificate: fits.then(|| format!(":{}:", STANDARD.encode(certificate_der))),
        })
    }
}

fn check(number: usize, der: &[u8], now: Timestamp) -> Result<(), ClientCaError> {
    let certificate = parse(der).ok_or(ClientCaError::Damaged(number))?;
    let Authority { subject, not_after } = authority(&certificate);
    let may_sign = match certificate.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
        Err(_) => return Err(ClientCaError::Damaged(number)),
    };
    if !certificate.is_ca() || !may_sign {
        return Err(ClientCaError::NotAuthority { number, subject });
    }
    if not_after <= now {
        return Err(ClientCaError::Expired { number, subject, not_after });
    }
    Ok(())
}

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Some(certificate),
        _ => None,
    }
}

fn authority(certificate: &X509Certificate<'_>) -> Authority {
    Authority {
        subject: name::to_text(certificate.subject()).unwrap_or_default(),
        not_after: Timestamp::from_unix_seconds(certificate.validity().not_after.timestamp()),
    }
}

fn to_pem(der: &CertificateDer<'_>) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for (at, character) in STANDARD.encode(der).chars().enumerate() {
        if at > 0 && at % LINE == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text + "\n-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests;
