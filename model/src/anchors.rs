//! Trust anchors that a creator gives for the https backends of an app: certificates of authorities, PEM.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// Largest text, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// Most certificates; an app's backends have one authority, or two while one follows the other.
pub const MAX_CERTIFICATES: usize = 16;

/// Why a text has no trust anchors that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// More than [`MAX_BYTES`].
    #[error("it has {0} bytes: at most 65536 are taken, leave out what is not needed")]
    TooLarge(usize),
    /// The text is no PEM.
    #[error("it is not readable PEM: paste it whole, from -----BEGIN CERTIFICATE----- on")]
    Form,
    /// No certificate in the text.
    #[error("no certificate found: paste the text that begins with -----BEGIN CERTIFICATE-----")]
    Missing,
    /// More than [`MAX_CERTIFICATES`].
    #[error("it has {0} certificates: at most 16 are taken, give those of your own authority only")]
    TooMany(usize),
    /// A certificate that does not parse, counted from 1.
    #[error("certificate {0} is damaged: export it again")]
    Damaged(usize),
    /// A certificate that may not sign others.
    #[error("certificate {0} (`{1}`) is a server's: give the certificate of the authority that signed it")]
    NoAuthority(usize, String),
}

/// The certificates of a PEM text.
///
/// # Errors
/// [`AnchorError`] names what is wrong and what to do.
pub fn parse(pem: &str) -> Result<Vec<CertificateDer<'static>>, AnchorError> {
    if pem.len() > MAX_BYTES {
        return Err(AnchorError::TooLarge(pem.len()));
    }
    let ders = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| AnchorError::Form)?;
    match ders.len() {
        0 => return Err(AnchorError::Missing),
        count if count > MAX_CERTIFICATES => return Err(AnchorError::TooMany(count)),
        _ => {}
    }
    for (number, der) in (1..).zip(&ders) {
        check(number, der)?;
    }
    Ok(ders)
}

fn check(number: usize, der: &CertificateDer<'_>) -> Result<(), AnchorError> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| AnchorError::Damaged(number))?;
    if !rest.is_empty() {
        return Err(AnchorError::Damaged(number));
    }
    // Roots of the first version say nothing of it.
    let constraints = certificate.basic_constraints().map_err(|_| AnchorError::Damaged(number))?;
    match constraints {
        Some(constraints) if !constraints.value.ca => {
            Err(AnchorError::NoAuthority(number, certificate.subject().to_string()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    fn certificate(is_ca: IsCa) -> String {
        let mut params = CertificateParams::new(vec!["backend.test".to_owned()]).unwrap();
        params.is_ca = is_ca;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn certificates_of_authorities_are_anchors() {
        let one = certificate(IsCa::Ca(BasicConstraints::Unconstrained));
        assert_eq!(parse(&format!("a comment\n{one}{one}")).unwrap().len(), 2);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let authority = certificate(IsCa::Ca(BasicConstraints::Unconstrained));
        let server = certificate(IsCa::ExplicitNoCa);
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(parse(""), Err(AnchorError::Missing));
        assert_eq!(parse("hello"), Err(AnchorError::Missing));
        assert_eq!(parse(&authority.replace("-----END", "END")), Err(AnchorError::Form));
        assert_eq!(parse(&"x".repeat(MAX_BYTES + 1)), Err(AnchorError::TooLarge(MAX_BYTES + 1)));
        assert_eq!(parse(&authority.repeat(17)), Err(AnchorError::TooMany(17)));
        assert_eq!(parse(&format!("{authority}{damaged}")), Err(AnchorError::Damaged(2)));
        assert!(matches!(parse(&format!("{authority}{server}")), Err(AnchorError::NoAuthority(2, _))));
    }
}
