//! The authority's keys, made once: two roots, and an intermediate that both have signed, so that there is an
//! alternate chain. A leaf costs one P-256 signature.

use anyhow::{Context as _, Result};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64URL, Engine as _};
use model::Timestamp;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use time::OffsetDateTime;

/// What a leaf says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf<'a> {
    pub(super) names: &'a [String],
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

pub(super) struct Signer {
    roots: [CertifiedIssuer<'static, KeyPair>; 2],
    intermediate: CertifiedIssuer<'static, KeyPair>,
    /// The intermediate by each root, PEM.
    intermediates: [String; 2],
    /// Key identifier of the intermediate, base64url: the first half of ARI's certificate ids.
    pub(super) key_id: String,
}

impl Signer {
    pub(super) fn new() -> Result<Self> {
        let root = |name| CertifiedIssuer::self_signed(authority(name), KeyPair::generate()?);
        let roots = [root("the test CA's root")?, root("the test CA's other root")?];
        let key = KeyPair::generate()?;
        let same_key = KeyPair::try_from(key.serialized_der())?;
        let params = authority("the test CA");
        let key_id = BASE64URL.encode(params.key_identifier(&key));
        let [first, second] = &roots;
        let intermediate = CertifiedIssuer::signed_by(params.clone(), key, first)?;
        let other = CertifiedIssuer::signed_by(params, same_key, second)?;
        let intermediates = [intermediate.pem(), other.pem()];
        Ok(Self { roots, intermediate, intermediates, key_id })
    }

    /// The root of the default chain, or of the alternate one, PEM.
    pub(super) fn root_pem(&self, chain: usize) -> Option<String> {
        self.roots.get(chain).map(|root| root.pem())
    }

    /// Everything but root and leaf of a chain, PEM.
    pub(super) fn intermediate_pem(&self, chain: usize) -> Option<&str> {
        self.intermediates.get(chain).map(String::as_str)
    }

    /// Signs a leaf with a serial number of 16 bytes.
    pub(super) fn sign(
        &self,
        leaf: Leaf<'_>,
        key: &impl PublicKeyData,
        serial: [u8; 16],
    ) -> Result<Certificate> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for name in leaf.names {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
        }
        params.not_before = moment(leaf.not_before)?;
        params.not_after = moment(leaf.not_after)?;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(key, &self.intermediate)?)
    }
}

/// A serial number that is positive and has no leading zero, so that its bytes are its DER.
pub(super) fn draw_serial(chance: &mut StdRng) -> [u8; 16] {
    let mut serial: [u8; 16] = chance.random();
    if let Some(first) = serial.first_mut() {
        *first = *first % 0x7f + 1;
    }
    serial
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn moment(at: Timestamp) -> Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(at.unix_seconds()).with_context(|| format!("{at} is out of range"))
}
