//! Names that were on one certificate and part: it is served for as long as one of them has no later one. An uploaded
//! certificate stays, because its owner has chosen it, and those of the marketplace itself are for other names each.

use model::HostPattern;
use model::id::{CertificateId, TenantId};

use super::CertificateRecord;
use crate::error::Result;
use crate::row::Columns as _;
use crate::write::Write;

/// Supersedes ours that have a name in common with `new`, which is in the store, and that no name is served with any
/// more. Gives which.
pub(super) async fn supersede_unserved(
    write: &mut Write,
    new: &CertificateRecord,
) -> Result<Vec<CertificateId>> {
    let Some(tenant) = new.tenant else { return Ok(Vec::new()) };
    let mut superseded = Vec::new();
    for name in &new.names {
        let rows = sqlx::query(
            "SELECT id, names FROM certificates WHERE status = 'active' AND source <> 'upload' AND tenant_id = $1
             AND id < $2 AND id IN (SELECT certificate_id FROM certificate_names WHERE name = $3)",
        )
        .bind(tenant.to_string())
        .bind(new.id.to_string())
        .bind(name.to_string())
        .fetch_all(write.connection())
        .await?;
        for row in &rows {
            let (id, names): (CertificateId, Vec<HostPattern>) = (row.parsed("id")?, row.json("names")?);
            if is_unserved(write, Some(tenant), (id, &names)).await? {
                supersede(write, id).await?;
                superseded.push(id);
            }
        }
    }
    Ok(superseded)
}

/// Whether each of a tenant's certificate's names has a valid one that was made later, by which it is served.
pub(super) async fn is_unserved(
    write: &mut Write,
    tenant: Option<TenantId>,
    (id, names): (CertificateId, &[HostPattern]),
) -> Result<bool> {
    let Some(tenant) = tenant else { return Ok(false) };
    let now = write.now_millis();
    for name in names {
        let later = sqlx::query(
            "SELECT id FROM certificates WHERE status = 'active' AND not_after > $1 AND tenant_id = $2 AND id > $3
             AND id IN (SELECT certificate_id FROM certificate_names WHERE name = $4) LIMIT 1",
        )
        .bind(now)
        .bind(tenant.to_string())
        .bind(id.to_string())
        .bind(name.to_string())
        .fetch_optional(write.connection())
        .await?;
        if later.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes down that a certificate is not served any more; the edges are still to be told.
pub(super) async fn supersede(write: &mut Write, id: CertificateId) -> Result<()> {
    sqlx::query("UPDATE certificates SET status = 'superseded' WHERE id = $1")
        .bind(id.to_string())
        .execute(write.connection())
        .await?;
    Ok(())
}
