//! An empty store filled with what edges still know: tenants, apps, proved domains, certificates, ticket keys.
//!
//! One transaction: an edge that asks sees nothing of it or all of it, and never takes a part for the whole. Objects keep
//! their ids, so an edge that is told everything anew, because the log has another lineage, drops nothing.

use std::collections::BTreeMap;

use model::change::ObjectId;
use model::client_ca::ClientCa;
use model::domain::{Certification, Claim, Facts, Presence, Routing};
use model::id::AppId;
use model::limits::Limits;
use model::site::{HostOrigin, Site, SiteHost};
use model::tenant::Tenant;
use model::ticket::TicketKey;
use model::{HostPattern, Timestamp};
use serde_json::json;

use crate::Store;
use crate::caller::{Actor, Version};
use crate::certificate::{self, NewCertificate};
use crate::domain::{self, TimelineEntry};
use crate::error::{Result, StoreError};
use crate::row::{Columns as _, to_json, to_word};
use crate::write::{Event, Shape, Write};

/// Time between the first looks at two domains: their name servers are not all asked at once.
const PACE_MILLIS: i64 = 20;

/// What edges still know of a store that was lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Salvage {
    /// Their names for people are lost: the short one takes their place.
    pub tenants: Vec<Tenant>,
    /// Apps with the domains that were proved.
    pub sites: Vec<Site>,
    /// Certificates, their keys sealed for the store; those whose names are an app's have the app.
    pub certificates: Vec<NewCertificate>,
    /// Keys of session tickets, sealed for the store, the oldest first.
    pub ticket_keys: Vec<TicketKey>,
}

impl Store {
    /// Whether nobody has ever used it: it has neither tenants nor keys.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn is_blank(&self) -> Result<bool> {
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM (SELECT id FROM tenants LIMIT 1) AS one)
             + (SELECT COUNT(*) FROM (SELECT id FROM keys LIMIT 1) AS other) AS used",
        )
        .fetch_one(self.pool())
        .await?;
        Ok(row.integer("used")? == 0)
    }

    /// Takes everything in. The log has a new lineage, as every store that was made anew.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if there are tenants or certificates; else if the database does not answer: then nothing
    /// was taken in.
    pub async fn rebuild(&self, actor: &Actor, salvage: Salvage) -> Result<()> {
        let mut write = self.write(actor).await?;
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM tenants) + (SELECT COUNT(*) FROM certificates) AS used",
        )
        .fetch_one(write.connection())
        .await?;
        if row.integer("used")? > 0 {
            return Err(StoreError::invalid("store", "the store is not empty: only an empty one is rebuilt"));
        }
        let ends = ends(&salvage.certificates);
        let details = json!({
            "tenants": salvage.tenants.len(), "apps": salvage.sites.len(),
            "certificates": salvage.certificates.len(),
        });
        for tenant in &salvage.tenants {
            take_tenant(&mut write, tenant).await?;
        }
        let mut looks = write.now_millis();
        for site in &salvage.sites {
            take_site(&mut write, site).await?;
            for host in &site.hosts {
                if let HostOrigin::Domain { .. } = host.origin {
                    looks = looks.saturating_add(PACE_MILLIS);
                    take_domain(&mut write, site, (host, ends.get(&host.host).copied()), looks).await?;
                }
            }
        }
        for certificate in salvage.certificates {
            let id = ObjectId::Certificate(certificate.id);
            certificate::take_in_again(&mut write, certificate).await?;
            write.point(&id, Shape::Present).await?;
        }
        for (number, key) in (1_i64..).zip(&salvage.ticket_keys) {
            take_ticket_key(&mut write, key, number).await?;
        }
        write
            .audit(Event { tenant: None, action: "platform.rebuild", target: "store".to_owned(), details })
            .await?;
        write.commit().await
    }
}

/// Until when each name has a certificate.
fn ends(certificates: &[NewCertificate]) -> BTreeMap<HostPattern, Timestamp> {
    let mut ends: BTreeMap<HostPattern, Timestamp> = BTreeMap::new();
    for certificate in certificates {
        for name in &certificate.names {
            let end = ends.entry(name.clone()).or_default();
            *end = (*end).max(certificate.not_after);
        }
    }
    ends
}

async fn take_tenant(write: &mut Write, tenant: &Tenant) -> Result<()> {
    let now = write.now_millis();
    sqlx::query(
        "INSERT INTO tenants (id, name, slug, standing, limits, version, created_at, updated_at)
         VALUES ($1, $2, $2, $3, $4, $5, $6, $6)",
    )
    .bind(tenant.id.to_string())
    .bind(tenant.slug.as_str())
    .bind(to_word(&tenant.standing)?)
    .bind(Some(&tenant.limits).filter(|limits| **limits != Limits::default()).map(to_json).transpose()?)
    .bind(Version::FIRST.0)
    .bind(now)
    .execute(write.connection())
    .await?;
    write.point(&ObjectId::Tenant(tenant.id), Shape::Present).await
}

async fn take_site(write: &mut Write, site: &Site) -> Result<()> {
    let now = write.now_millis();
    sqlx::query(
        "INSERT INTO apps (id, tenant_id, name, backends, headers, settings, version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
    )
    .bind(site.app.to_string())
    .bind(site.tenant.to_string())
    .bind(site.name.as_str())
    .bind(to_json(&site.backends)?)
    .bind(to_json(&site.headers)?)
    .bind(to_json(&site.settings)?)
    .bind(Version::FIRST.0)
    .bind(now)
    .execute(write.connection())
    .await?;
    let app: AppId = site.app;
    write.point(&ObjectId::Site(app), Shape::Present).await
}

/// An edge is told of domains that were proved only. Where it points is taken to be as it was until the first look.
async fn take_domain(
    write: &mut Write,
    site: &Site,
    (host, ends): (&SiteHost, Option<Timestamp>),
    look_at: i64,
) -> Result<()> {
    let HostOrigin::Domain { id, live } = host.origin else { return Ok(()) };
    let now = write.now();
    let facts = Facts {
        claim: Claim::Proved,
        routing: if live { Routing::Here } else { Routing::Unknown },
        certification: ends.map_or(Certification::None, |not_after| Certification::Ready { not_after }),
        presence: if live && ends.is_some() { Presence::Verified } else { Presence::Absent },
        ..Facts::unknown()
    };
    let proof = domain::proof();
    let status = write.store().status_of(id, host.host.clone(), &proof, &facts)?;
    sqlx::query(
        "INSERT INTO domains (id, app_id, tenant_id, host, proof, facts, proved, was_live, status, timeline,
         version, next_check_at, created_at, client_ca)
         VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(id.to_string())
    .bind(site.app.to_string())
    .bind(site.tenant.to_string())
    .bind(host.host.to_string())
    .bind(proof)
    .bind(to_json(&facts)?)
    .bind(i64::from(live))
    .bind(status.as_str())
    .bind(to_json(&[TimelineEntry { at: now, status, ends_in_days: None }])?)
    .bind(Version::FIRST.0)
    .bind(look_at)
    .bind(now.unix_millis())
    .bind(host.client_ca.as_ref().map(ClientCa::pem))
    .execute(write.connection())
    .await?;
    Ok(())
}

async fn take_ticket_key(write: &mut Write, key: &TicketKey, number: i64) -> Result<()> {
    sqlx::query("INSERT INTO ticket_keys (id, number, key_sealed, made_at) VALUES ($1, $2, $3, $4)")
        .bind(key.id.to_string())
        .bind(number)
        .bind(key.key.to_string())
        .bind(key.made_at.unix_millis())
        .execute(write.connection())
        .await?;
    write.point(&ObjectId::TicketKey(key.id), Shape::Present).await
}
