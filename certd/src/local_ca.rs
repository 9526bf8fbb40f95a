//! The local authority of an installation: certificates for development zones and, where no public
//! authority is configured, for every proved name.
//!
//! Its root is made once, P-256, good for ten years and for signing leaves only; its key lies sealed in the
//! store. Leaves follow the Baseline Requirements of the CA/Browser Forum where they matter to browsers:
//! random serial, SAN, serverAuth, at most 47 days.

use std::time::Duration;

use model::chain::{self, Inspected};
use model::seal::KeyRing;
use model::{HostPattern, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use store::{LocalCa, Store};
use time::OffsetDateTime;

use crate::CertdError;

/// Lifetime of the root.
const ROOT_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Lifetime of a leaf: what the Baseline Requirements allow from March 2029 on.
pub const LEAF_LIFETIME: Duration = Duration::from_secs(47 * 24 * 3600);
/// How far a certificate begins in the past, for clients whose clocks are slow; a tenth of a short lifetime.
const BACKDATE: Duration = Duration::from_secs(3600);

/// The authority, ready to sign.
pub struct LocalAuthority {
    cert_pem: String,
    issuer: Issuer<'static, KeyPair>,
    not_after: Timestamp,
}

impl std::fmt::Debug for LocalAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalAuthority").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl LocalAuthority {
    /// The installation's authority; made and stored if there is none yet.
    ///
    /// # Errors
    /// [`CertdError::Store`] if the store is away, [`CertdError::Seal`] if another key sealed it,
    /// [`CertdError::LocalCa`] if it is damaged.
    pub async fn open(store: &Store, sealing: impl Into<KeyRing>) -> Result<Self, CertdError> {
        let sealing = sealing.into();
        let kept = match store.local_ca().await? {
            Some(kept) => kept,
            None => {
                // Two processes may start at once: the first one's authority counts for both.
                store.put_local_ca(&create(&sealing, store.now())?).await?;
                store.local_ca().await?.ok_or(CertdError::LocalCa("it was not kept".to_owned()))?
            }
        };
        Self::load(&kept, &sealing)
    }

    fn load(kept: &LocalCa, sealing: &KeyRing) -> Result<Self, CertdError> {
        let key = sealing.open(LocalCa::KEY_CONTEXT, &kept.key)?;
        let key = KeyPair::try_from(key.as_slice())?;
        let issuer = Issuer::from_ca_cert_pem(&kept.cert_pem, key)?;
        let not_after = CertificateDer::from_pem_slice(kept.cert_pem.as_bytes())
            .ok()
            .and_then(|der| chain::not_after_of(&der))
            .ok_or_else(|| CertdError::LocalCa("its certificate is damaged".to_owned()))?;
        Ok(Self { cert_pem: kept.cert_pem.clone(), issuer, not_after })
    }

    /// The root as PEM, for the file that clients trust.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.cert_pem
    }

    /// Signs a new leaf with a new key for `names`, valid from about `now` for `lifetime`.
    ///
    /// # Errors
    /// [`CertdError::LocalCa`] if the library refuses the names, or the root ends before the leaf would begin.
    pub fn issue(
        &self,
        names: &[HostPattern],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Inspected, CertdError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(serial());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = moment(now.minus(BACKDATE.min(lifetime / 10)))?;
        params.not_after = moment(now.plus(lifetime).min(self.not_after))?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        chain::inspect(&leaf.pem(), key.serialized_der(), now)
            .map_err(|error| CertdError::LocalCa(error.to_string()))
    }
}

/// A new root with its key sealed.
fn create(sealing: &KeyRing, now: Timestamp) -> Result<LocalCa, CertdError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let name = format!("Stoa local authority {:08x}", rand::random::<u32>());
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(serial());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = moment(now.minus(BACKDATE))?;
    params.not_after = moment(now.plus(ROOT_LIFETIME))?;
    let cert_pem = params.self_signed(&key)?.pem();
    Ok(LocalCa { cert_pem, key: sealing.seal(LocalCa::KEY_CONTEXT, key.serialized_der())? })
}

/// 127 random bits, positive as RFC 5280 §4.1.2.2 wants it.
fn serial() -> SerialNumber {
    let [first, rest @ ..] = rand::random::<[u8; 16]>();
    SerialNumber::from_slice(&[[first & 0x7f].as_slice(), &rest].concat())
}

fn moment(at: Timestamp) -> Result<OffsetDateTime, CertdError> {
    OffsetDateTime::from_unix_timestamp(at.unix_seconds())
        .map_err(|_| CertdError::LocalCa(format!("{at} is no date for a certificate")))
}

impl From<rcgen::Error> for CertdError {
    fn from(error: rcgen::Error) -> Self {
        Self::LocalCa(error.to_string())
    }
}

#[cfg(test)]
mod tests;
