//! Which certificate serves a name now, which must be renewed, which have ended.

use std::time::Duration;

use model::certificate::{CertificateSource, CertificateStatus};
use model::change::ObjectId;
use model::id::{CertificateId, TenantId};
use model::{Host, HostPattern, Timestamp};
use serde_json::json;

use super::{CertificateRecord, NewCertificate, insert, read};
use crate::caller::{Access, Actor};
use crate::error::{Result, StoreError};
use crate::row::{Columns as _, to_word};
use crate::write::{Event, Shape, Write};
use crate::{App, Store};

/// What of a certificate decides when it is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// Which one; what is drawn by lot for it is drawn from this.
    pub id: CertificateId,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
    /// When it was kept.
    pub created_at: Timestamp,
    /// Within which its authority would like it to be renewed, if it said so.
    pub window: Option<(Timestamp, Timestamp)>,
}

impl Term {
    /// When renewal begins if nobody says otherwise: at a third of the lifetime left, and of one that was taken in late,
    /// as after a roll-back, not before half of what was left then is over.
    #[must_use]
    pub fn renews_at(&self) -> Timestamp {
        let left = self.not_after.since(self.created_at);
        self.not_after.minus((self.lifetime() / 3).min(left / 2))
    }

    /// For how long it is valid in all.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.not_after.since(self.not_before)
    }
}

impl From<&CertificateRecord> for Term {
    fn from(held: &CertificateRecord) -> Self {
        Self {
            id: held.id,
            not_before: held.not_before,
            not_after: held.not_after,
            created_at: held.created_at,
            window: held.renewal_window,
        }
    }
}

impl CertificateRecord {
    /// As [`Term::renews_at`].
    #[must_use]
    pub fn renews_at(&self) -> Timestamp {
        Term::from(self).renews_at()
    }
}

impl Store {
    /// Active certificates of ours (not uploaded ones) with at most a third of their lifetime left at `now`
    /// and no open order for one of their names, those that end first at the front.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn certificates_due(&self, now: Timestamp, limit: u32) -> Result<Vec<CertificateRecord>> {
        let rows = sqlx::query(
            "SELECT * FROM certificates WHERE status = 'active' AND renew_at <= $1 AND source <> 'upload'
             AND NOT EXISTS (SELECT 1 FROM certificate_names, orders
                 WHERE certificate_names.certificate_id = certificates.id
                 AND orders.host = certificate_names.name AND orders.state = 'open')
             ORDER BY not_after LIMIT $2",
        )
        .bind(now.unix_millis())
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| read(row, now)).collect()
    }

    /// Puts a certificate of ours first in line to be renewed. It is served until the new one is there.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Invalid`] if it is uploaded, superseded or has ended.
    pub async fn request_renewal(
        &self,
        actor: &Actor,
        access: Access,
        id: CertificateId,
    ) -> Result<CertificateRecord> {
        let mut write = self.write(actor).await?;
        let row = sqlx::query("SELECT * FROM certificates WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(write.connection())
            .await?;
        let certificate = match row.map(|row| read(&row, write.now())).transpose()? {
            Some(certificate) if access.allows(certificate.tenant) => certificate,
            _ => return Err(StoreError::not_found("certificate", id)),
        };
        check_renewable(&certificate)?;
        sqlx::query("UPDATE certificates SET renew_at = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(write.now_millis())
            .execute(write.connection())
            .await?;
        let details = json!({ "names": certificate.names });
        let (tenant, target) = (certificate.tenant, id.to_string());
        write.audit(Event { tenant, action: "certificate.renew", target, details }).await?;
        write.commit().await?;
        Ok(certificate)
    }

    /// The certificate that serves `host` now, by the same rule as at the edges: exactly before by a wildcard,
    /// then the one with the greatest id, i.e. the last one made. Whose it is, is the caller's to look at.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn active_certificate_for(
        &self,
        host: impl Into<HostPattern>,
    ) -> Result<Option<CertificateRecord>> {
        let host = host.into();
        let parent = host.exact().and_then(Host::parent).and_then(|parent| Host::parse(parent).ok());
        let wildcard = parent.map(|parent| HostPattern::Wildcard(parent).to_string()).unwrap_or_default();
        let now = self.now();
        let row = sqlx::query(
            "SELECT certificates.* FROM certificate_names
             JOIN certificates ON certificates.id = certificate_names.certificate_id
             WHERE certificates.status = 'active' AND certificates.not_after > $1
             AND (certificate_names.name = $2 OR certificate_names.name = $3)
             ORDER BY CASE certificate_names.name WHEN $2 THEN 0 ELSE 1 END, certificates.id DESC LIMIT 1",
        )
        .bind(now.unix_millis())
        .bind(host.to_string())
        .bind(wildcard)
        .fetch_optional(self.pool())
        .await?;
        row.map(|row| read(&row, now)).transpose()
    }

    /// Apps whose name in `zone` needs an order at `now`: no certificate of a public authority covers it,
    /// or that certificate (unless it was uploaded) has at most a third of its lifetime left, and no order
    /// for it is open. The oldest first. Costs a walk over all apps.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn uncertified_apps(&self, zone: &Host, now: Timestamp, limit: u32) -> Result<Vec<App>> {
        let rows = sqlx::query(
            "SELECT * FROM apps WHERE NOT EXISTS (SELECT 1 FROM certificate_names, certificates
                 WHERE certificates.id = certificate_names.certificate_id AND certificates.status = 'active'
                 AND certificates.source <> 'local_ca' AND certificates.not_after > $1
                 AND (certificates.renew_at > $1 OR certificates.source = 'upload')
                 AND (certificate_names.name = apps.name || CAST($2 AS TEXT) OR certificate_names.name = $3))
             AND NOT EXISTS (SELECT 1 FROM orders
                 WHERE orders.host = apps.name || CAST($2 AS TEXT) AND orders.state = 'open')
             ORDER BY apps.id LIMIT $4",
        )
        .bind(now.unix_millis())
        .bind(format!(".{zone}"))
        .bind(HostPattern::Wildcard(zone.clone()).to_string())
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| self.read_app(row)).collect()
    }

    /// Writes down which certificates have ended and takes them off the edges; at most 1,000 a call. Gives
    /// how many; 0: nothing is left to do.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn expire_certificates(&self) -> Result<usize> {
        let now = self.now();
        let any =
            sqlx::query("SELECT id FROM certificates WHERE status = 'active' AND not_after <= $1 LIMIT 1")
                .bind(now.unix_millis())
                .fetch_optional(self.pool())
                .await?;
        if any.is_none() {
            return Ok(0);
        }
        let mut write = self.write(&Actor::system("certd")).await?;
        let rows = sqlx::query(
            "UPDATE certificates SET status = 'expired' WHERE id IN
             (SELECT id FROM certificates WHERE status = 'active' AND not_after <= $1 ORDER BY not_after LIMIT 1000)
             RETURNING id, tenant_id, not_after",
        )
        .bind(now.unix_millis())
        .fetch_all(write.connection())
        .await?;
        for row in &rows {
            let id = row.parsed::<CertificateId>("id")?;
            write.point(&ObjectId::Certificate(id), Shape::Gone).await?;
            let details = json!({ "not_after": row.moment("not_after")? });
            let tenant = row.parsed_or_none("tenant_id")?;
            let event = Event { tenant, action: "certificate.expire", target: id.to_string(), details };
            write.audit(event).await?;
        }
        write.commit().await?;
        Ok(rows.len())
    }
}

fn check_renewable(certificate: &CertificateRecord) -> Result<()> {
    let id = certificate.id;
    match (certificate.source, certificate.status) {
        (CertificateSource::Upload, _) => {
            let reason = format!("certificate `{id}` was uploaded: upload the new one instead");
            Err(StoreError::invalid("source", reason))
        }
        (_, CertificateStatus::Active) => Ok(()),
        (_, status) => {
            let reason =
                format!("certificate `{id}` is {}: only an active one is renewed", to_word(&status)?);
            Err(StoreError::invalid("status", reason))
        }
    }
}

/// Whether a tenant has a valid certificate that is served for `host`.
pub(crate) async fn is_secure(write: &mut Write, host: &HostPattern, tenant: TenantId) -> Result<bool> {
    let now = write.now_millis();
    let row = sqlx::query(
        "SELECT certificates.id FROM certificate_names
         JOIN certificates ON certificates.id = certificate_names.certificate_id
         WHERE certificate_names.name = $1 AND certificates.tenant_id = $2 AND certificates.status = 'active'
         AND certificates.not_after > $3 LIMIT 1",
    )
    .bind(host.to_string())
    .bind(tenant.to_string())
    .bind(now)
    .fetch_optional(write.connection())
    .await?;
    Ok(row.is_some())
}

/// Keeps a certificate that was kept before, with the times that it had then: nothing of its renewal changes.
pub(crate) async fn take_in_again(write: &mut Write, new: NewCertificate) -> Result<()> {
    let mut certificate = write.store().checked(new)?;
    certificate.created_at = certificate.not_before;
    insert(write.connection(), &certificate).await
}
