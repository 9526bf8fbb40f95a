//! The contents of an edge's replica: one tenant, many names, each with a certificate of one authority.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use feed::Replica;
use model::certificate::{Certificate, CertificateName};
use model::change::{Batch, Change, Lineage, Object, Revision};
use model::clock::{Clock as _, SystemClock};
use model::id::{AppId, CertificateId, TenantId};
use model::limits::Limits;
use model::seal::SealingKey;
use model::site::{HeaderPolicy, HostOrigin, Settings, Site, SiteHost};
use model::tenant::{Slug, Standing, Tenant};
use model::{Host, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;

use crate::edge;

/// Changes in one batch.
const BATCH: usize = 1_000;

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
    key: SealingKey,
    tenant: Object,
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
        let now = SystemClock.now();
        let tenant = tenant(now)?;
        let mut market = Self {
            authority: root.der().clone(),
            key,
            certificates: Vec::with_capacity(count),
            sites: Vec::with_capacity(count),
            tenant: Object::Tenant(tenant.clone()),
        };
        for number in 0..count {
            let host = Host::parse(&Self::host(number))?;
            let made = market.certificate(&host, &issuer, now)?;
            market.certificates.push(made);
            market.sites.push(site(host, number, tenant.id, now)?);
        }
        Ok(market)
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.certificates.len()
    }

    /// The name of that number.
    pub(super) fn host(number: usize) -> String {
        format!("www.customer-{number}.example.com")
    }

    /// Writes a share of it to a new replica, as an edge that followed the feed to its end would have it.
    ///
    /// # Errors
    /// The disk does not take it.
    pub(super) fn write(&self, path: &Path, share: Share) -> anyhow::Result<()> {
        let mut objects = vec![&self.tenant];
        if share != Share::Nothing {
            objects.extend(&self.certificates);
        }
        if share == Share::CertificatesAndSites {
            objects.extend(&self.sites);
        }
        let (mut replica, _) = Replica::open(path, &self.key)?;
        let mut revision = 0;
        let batches = objects.len().div_ceil(BATCH);
        for (number, batch) in objects.chunks(BATCH).enumerate() {
            let changes = batch.iter().map(|object| {
                revision += 1;
                Change { revision: Revision(revision), id: object.id(), object: Some((*object).clone()) }
            });
            let changes: Vec<Change> = changes.collect();
            let (reset, more) = (number == 0, number + 1 < batches);
            let lineage = Lineage("loadtest.0".to_owned());
            replica.append(&Batch { lineage, reset, more, next: Revision(revision), changes })?;
        }
        Ok(())
    }

    fn certificate(
        &self,
        host: &Host,
        issuer: &CertifiedIssuer<'static, KeyPair>,
        now: Timestamp,
    ) -> anyhow::Result<Object> {
        let pair = KeyPair::generate()?;
        let leaf = CertificateParams::new(vec![host.to_string()])?.signed_by(&pair, issuer)?;
        let id = CertificateId::generate(now);
        Ok(Object::Certificate(Certificate {
            id,
            tenant: None,
            names: vec![CertificateName::Exact(host.clone())],
            chain_pem: format!("{}{}", leaf.pem(), issuer.pem()),
            key: self.key.seal(&Certificate::key_context(id), &pair.serialize_der())?,
            not_before: now.minus(Duration::from_secs(3600)),
            not_after: now.plus(Duration::from_secs(90 * 86_400)),
        }))
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("a load test's {name}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn tenant(now: Timestamp) -> anyhow::Result<Tenant> {
    let slug = Slug::parse("many").context("a slug")?;
    Ok(Tenant { id: TenantId::generate(now), slug, standing: Standing::Active, limits: Limits::default() })
}

fn site(host: Host, number: usize, tenant: TenantId, now: Timestamp) -> anyhow::Result<Object> {
    Ok(Object::Site(Box::new(Site {
        app: AppId::generate(now),
        tenant,
        name: Slug::parse(&format!("customer-{number}")).context("a slug")?,
        hosts: vec![SiteHost { host, origin: HostOrigin::Zone, client_ca: None }],
        backends: vec![model::backend::Backend { url: "http://127.0.0.1:9".parse()?, weight: 1 }],
        headers: HeaderPolicy::default(),
        settings: Settings::default(),
    })))
}
