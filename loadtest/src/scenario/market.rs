//! What an edge is told: one tenant, many names, each with a certificate of one authority. Written as the edge's
//! replica, or as PEM files for peers.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use feed::Replica;
use model::backend::Backend;
use model::certificate::Certificate;
use model::change::{Batch, Change, Lineage, Object, Revision};
use model::clock::{Clock as _, SystemClock};
use model::id::{AppId, CertificateId, TenantId};
use model::limits::{Limits, MAX, Rate};
use model::seal::SealingKey;
use model::site::{HeaderPolicy, HostOrigin, Settings, Site, SiteHost};
use model::tenant::{Slug, Standing, Tenant};
use model::{Host, HostPattern, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;

use crate::edge;

/// Changes in one batch.
const BATCH: usize = 1_000;
/// The log that a replica is of.
pub(super) const LINEAGE: &str = "loadtest.0";

/// Which part of a market an edge is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// The tenant alone.
    Nothing,
    /// The tenant and the certificates.
    Certificates,
    /// Everything.
    CertificatesAndSites,
}

/// Certificates and sites as an edge's feed tells them.
pub(super) struct Market {
    /// Who signed the intermediate that signed the certificates.
    pub(super) authority: CertificateDer<'static>,
    /// The same as visitors take it.
    pub(super) authority_pem: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
    key: SealingKey,
    tenant: Tenant,
    certificates: Vec<Object>,
    sites: Vec<Object>,
}

impl Market {
    /// Makes keys and certificates: about 100 µs each.
    ///
    /// # Errors
    /// A key cannot be made.
    pub(super) fn make(count: usize) -> anyhow::Result<Self> {
        let root = CertifiedIssuer::self_signed(authority("root"), KeyPair::generate()?)?;
        let issuer = CertifiedIssuer::signed_by(authority("intermediate"), KeyPair::generate()?, &root)?;
        let key = edge::sealing_key()?;
        let mut market = Self {
            authority: root.der().clone(),
            authority_pem: root.pem(),
            issuer,
            key,
            certificates: Vec::with_capacity(count),
            sites: Vec::with_capacity(count),
            tenant: tenant(SystemClock.now())?,
        };
        for number in 0..count {
            // Nothing listens there.
            market.add(&Self::host(number), &format!("customer-{number}"), 9)?;
        }
        Ok(market)
    }

    /// One more name, with a certificate and a site before a backend on loopback.
    ///
    /// # Errors
    /// It is no name.
    pub(super) fn add(&mut self, host: &str, name: &str, backend: u16) -> anyhow::Result<()> {
        self.certificates.push(Object::Certificate(self.certificate(host)?));
        self.sites.push(Object::Site(Box::new(self.site(host, name, backend)?)));
        Ok(())
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.certificates.len()
    }

    /// The name of that number.
    pub(super) fn host(number: usize) -> String {
        format!("www.customer-{number}.example.com")
    }

    /// Writes a share of it to a new replica, as an edge that followed the feed to its end would have it, and tells
    /// where that end is.
    ///
    /// # Errors
    /// The disk does not take it.
    pub(super) fn write(&self, path: &Path, share: Share) -> anyhow::Result<Revision> {
        let tenant = Object::Tenant(self.tenant.clone());
        let mut objects = vec![&tenant];
        if share != Share::Nothing {
            objects.extend(&self.certificates);
        }
        if share == Share::CertificatesAndSites {
            objects.extend(&self.sites);
        }
        replicate(path, &self.key, &objects)
    }

    /// Writes each certificate to a file of `folder`: chain and key in one, named after the name.
    ///
    /// # Errors
    /// The disk does not take it.
    pub(super) fn write_pem(&self, folder: &Path) -> anyhow::Result<()> {
        for object in &self.certificates {
            let Object::Certificate(certificate) = object else { continue };
            let name = certificate.names.first().context("a certificate without a name")?;
            let key = self.key.open(&Certificate::key_context(certificate.id), &certificate.key)?;
            let key = KeyPair::try_from(key.as_slice())?.serialize_pem();
            std::fs::write(folder.join(format!("{name}.pem")), format!("{}{key}", certificate.chain_pem))?;
        }
        Ok(())
    }

    /// A certificate for `host`.
    ///
    /// # Errors
    /// It is no name.
    pub(super) fn certificate(&self, host: &str) -> anyhow::Result<Certificate> {
        let (host, now) = (Host::parse(host)?, SystemClock.now());
        let pair = KeyPair::generate()?;
        let leaf = CertificateParams::new(vec![host.to_string()])?.signed_by(&pair, &self.issuer)?;
        let id = CertificateId::generate(now);
        Ok(Certificate {
            id,
            tenant: None,
            source: None,
            authority: None,
            names: vec![HostPattern::Exact(host)],
            chain_pem: format!("{}{}", leaf.pem(), self.issuer.pem()),
            key: self.key.seal(&Certificate::key_context(id), &pair.serialize_der())?,
            not_before: now.minus(Duration::from_secs(3600)),
            not_after: now.plus(Duration::from_secs(90 * 86_400)),
        })
    }

    /// A new app at `host` before a backend on loopback.
    ///
    /// # Errors
    /// It is no name.
    pub(super) fn site(&self, host: &str, name: &str, backend: u16) -> anyhow::Result<Site> {
        let host = SiteHost { host: host.parse()?, origin: HostOrigin::Zone, client_ca: None };
        Ok(Site {
            app: AppId::generate(SystemClock.now()),
            tenant: self.tenant.id,
            name: Slug::parse(name).context("no slug")?,
            hosts: vec![host],
            backends: vec![Backend { url: format!("http://127.0.0.1:{backend}").parse()?, weight: 1 }],
            headers: HeaderPolicy::default(),
            settings: Settings::default(),
        })
    }
}

/// Writes objects to a new replica, as an edge that followed the feed to its end would have it, and tells where that
/// end is.
///
/// # Errors
/// The disk does not take it.
pub(super) fn replicate(path: &Path, key: &SealingKey, objects: &[&Object]) -> anyhow::Result<Revision> {
    let (mut replica, _) = Replica::open(path, key)?;
    let mut revision = 0;
    let batches = objects.len().div_ceil(BATCH);
    for (number, batch) in objects.chunks(BATCH).enumerate() {
        let changes = batch.iter().map(|object| {
            revision += 1;
            Change { revision: Revision(revision), id: object.id(), object: Some((*object).clone()) }
        });
        let changes: Vec<Change> = changes.collect();
        let (reset, more) = (number == 0, number + 1 < batches);
        let lineage = Lineage(LINEAGE.to_owned());
        replica.append(&Batch { lineage, reset, more, next: Revision(revision), changes })?;
    }
    Ok(Revision(revision))
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("a load test's {name}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// Without limits that matter here.
fn tenant(now: Timestamp) -> anyhow::Result<Tenant> {
    let slug = Slug::parse("many").context("a slug")?;
    let wide = Rate { requests_per_minute: MAX, burst: MAX };
    let limits = Limits { tenant: wide, visitor: wide };
    Ok(Tenant { id: TenantId::generate(now), slug, standing: Standing::Active, limits })
}
