//! Which certificate serves a name now, which must be renewed, which have ended.

use model::certificate::CertificateName;
use model::change::ObjectId;
use model::id::CertificateId;
use model::{Host, Timestamp};
use serde_json::json;

use super::{CertificateRecord, read};
use crate::Store;
use crate::caller::Actor;
use crate::error::Result;
use crate::row::Columns as _;
use crate::write::{Event, Shape};

/// When renewal begins: at a third of the lifetime left.
pub(super) fn renew_at(certificate: &CertificateRecord) -> Timestamp {
    let lifetime = certificate.not_after.since(certificate.not_before);
    certificate.not_after.minus(lifetime / 3)
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

    /// The certificate that serves `host` now, exactly or by a wildcard: of several the one that ends last.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn active_certificate_for(&self, host: &Host) -> Result<Option<CertificateRecord>> {
        let parent = host.parent().and_then(|parent| Host::parse(parent).ok());
        let wildcard = parent.map(|parent| CertificateName::Wildcard(parent).to_string()).unwrap_or_default();
        let now = self.now();
        let row = sqlx::query(
            "SELECT * FROM certificates WHERE status = 'active' AND not_after > $1 AND id IN
             (SELECT certificate_id FROM certificate_names WHERE name = $2 OR name = $3)
             ORDER BY not_after DESC LIMIT 1",
        )
        .bind(now.unix_millis())
        .bind(host.as_str())
        .bind(wildcard)
        .fetch_optional(self.pool())
        .await?;
        row.map(|row| read(&row, now)).transpose()
    }

    /// Writes down which certificates have ended and takes them off the edges; at most 1,000 a call. Gives
    /// how many; 0: nothing is left to do.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn expire_certificates(&self) -> Result<usize> {
        let now = self.now();
        let any = sqlx::query("SELECT id FROM certificates WHERE status = 'active' AND not_after <= $1 LIMIT 1")
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
