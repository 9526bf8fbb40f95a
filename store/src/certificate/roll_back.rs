//! Back to the certificate before. What is served is always the one with the greatest id, here and at the edges, so the
//! one before is taken in anew; the one that it takes the place of is not come back to.

use model::Timestamp;
use model::change::ObjectId;
use model::id::CertificateId;
use serde_json::json;

use super::{CertificateRecord, NewCertificate, insert, owner, read};
use crate::Store;
use crate::caller::Actor;
use crate::error::{Result, StoreError};
use crate::row::to_json;
use crate::write::{Event, Shape};

impl CertificateRecord {
    /// Whether its authority wanted it replaced in the first half of its life, and at once: so it does with what it has
    /// revoked or is about to (RFC 9773 §4.2).
    #[must_use]
    pub fn was_called_back(&self, now: Timestamp) -> bool {
        let half = self.not_before.plus(self.not_after.since(self.not_before) / 2);
        self.renewal_window.is_some_and(|(start, end)| end <= now && start < half)
    }
}

impl Store {
    /// The certificate that was served before `current` for the same names: the last one, with another serial number,
    /// that was not rolled back from. It may have ended.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn certificate_before(&self, current: &CertificateRecord) -> Result<Option<CertificateRecord>> {
        // The names' own table has the index that leads to the few rows that can be meant.
        let row = sqlx::query(
            "SELECT * FROM certificates WHERE status = 'superseded' AND names = $1
             AND COALESCE(tenant_id, '') = $2 AND id < $3 AND serial <> $4
             AND id IN (SELECT certificate_id FROM certificate_names WHERE name = $5) ORDER BY id DESC LIMIT 1",
        )
        .bind(to_json(&current.names)?)
        .bind(current.tenant.map(|tenant| tenant.to_string()).unwrap_or_default())
        .bind(current.id.to_string())
        .bind(&current.serial)
        .bind(current.names.first().map(ToString::to_string).unwrap_or_default())
        .fetch_optional(self.pool())
        .await?;
        row.map(|row| read(&row, self.now())).transpose()
    }

    /// Serves `again` in the place of `current`, which is not served for these names any more.
    ///
    /// # Errors
    /// As [`Store::insert_certificate`]; [`StoreError::NotFound`] also if `current` is not served any more.
    pub async fn roll_back_certificate(
        &self,
        actor: &Actor,
        current: CertificateId,
        again: NewCertificate,
    ) -> Result<CertificateRecord> {
        let certificate = self.checked(again)?;
        let mut write = self.write(actor).await?;
        let rolled = sqlx::query(
            "UPDATE certificates SET status = 'rolled_back' WHERE id = $1 AND status = 'active' AND names = $2",
        )
        .bind(current.to_string())
        .bind(to_json(&certificate.names)?)
        .execute(write.connection())
        .await?;
        if rolled.rows_affected() == 0 {
            return Err(StoreError::not_found("certificate that is served", current));
        }
        owner::check(&mut write, &certificate).await?;
        insert(write.connection(), &certificate).await?;
        write.point(&ObjectId::Certificate(certificate.id), Shape::Present).await?;
        write.point(&ObjectId::Certificate(current), Shape::Gone).await?;
        let details = json!({
            "names": certificate.names, "serial": certificate.serial, "not_after": certificate.not_after,
            "in_place_of": current,
        });
        let (tenant, target) = (certificate.tenant, certificate.id.to_string());
        write.audit(Event { tenant, action: "certificate.roll_back", target, details }).await?;
        write.commit().await?;
        Ok(certificate)
    }
}
