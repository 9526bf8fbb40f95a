//! Certificates that go with their app, their tenant or their last name. Their keys are not kept.

use model::HostPattern;
use model::certificate::CertificateSource;
use model::change::ObjectId;
use model::id::{AppId, CertificateId, TenantId};

use super::parted;
use crate::app::App;
use crate::error::Result;
use crate::row::{Columns as _, to_json};
use crate::write::{Shape, Write};

/// Takes every certificate of an app away.
pub(crate) async fn remove_all_of_app(write: &mut Write, app: AppId) -> Result<()> {
    let rows = sqlx::query("SELECT id FROM certificates WHERE app_id = $1")
        .bind(app.to_string())
        .fetch_all(write.connection())
        .await?;
    for row in &rows {
        remove(write, row.parsed("id")?).await?;
    }
    Ok(())
}

/// Takes every certificate of a tenant away.
pub(crate) async fn remove_all_of_tenant(write: &mut Write, tenant: TenantId) -> Result<()> {
    let rows = sqlx::query("SELECT id FROM certificates WHERE tenant_id = $1")
        .bind(tenant.to_string())
        .fetch_all(write.connection())
        .await?;
    for row in &rows {
        remove(write, row.parsed("id")?).await?;
    }
    Ok(())
}

/// Takes those certificates of the app's tenant away that named `host` and now name nothing of the app.
pub(crate) async fn remove_useless(write: &mut Write, app: &App, host: &HostPattern) -> Result<()> {
    let rows = sqlx::query("SELECT host FROM domains WHERE app_id = $1")
        .bind(app.id.to_string())
        .fetch_all(write.connection())
        .await?;
    let mut hosts: Vec<_> = write.store().zone_hosts(&app.name).into_iter().map(HostPattern::from).collect();
    for row in &rows {
        hosts.push(row.parsed("host")?);
    }
    let rows = sqlx::query(
        "SELECT id, names FROM certificates WHERE app_id = $1 AND id IN
         (SELECT certificate_id FROM certificate_names WHERE name = $2)",
    )
    .bind(app.id.to_string())
    .bind(host.to_string())
    .fetch_all(write.connection())
    .await?;
    for row in &rows {
        let names: Vec<HostPattern> = row.json("names")?;
        if !names.iter().any(|name| hosts.iter().any(|host| name.includes(host))) {
            remove(write, row.parsed("id")?).await?;
        }
    }
    Ok(())
}

/// Which of an app's certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// All.
    Any,
    /// Those that were not uploaded.
    Ours,
}

/// Lets no certificate of the app answer for `host` any more, after [`remove_useless`]: those that name others too
/// lose the name, and are not served at all if each of their other names has a later one.
pub(crate) async fn strip(write: &mut Write, app: &App, host: &HostPattern, whose: Whose) -> Result<()> {
    let rows = sqlx::query(
        "SELECT id, names, source FROM certificates WHERE app_id = $1 AND status = 'active' AND id IN
         (SELECT certificate_id FROM certificate_names WHERE name = $2) AND (source <> 'upload' OR $3 = 1)",
    )
    .bind(app.id.to_string())
    .bind(host.to_string())
    .bind(i64::from(whose == Whose::Any))
    .fetch_all(write.connection())
    .await?;
    for row in &rows {
        let (id, mut names): (CertificateId, Vec<HostPattern>) = (row.parsed("id")?, row.json("names")?);
        names.retain(|name| name != host);
        sqlx::query("UPDATE certificates SET names = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(to_json(&names)?)
            .execute(write.connection())
            .await?;
        sqlx::query("DELETE FROM certificate_names WHERE certificate_id = $1 AND name = $2")
            .bind(id.to_string())
            .bind(host.to_string())
            .execute(write.connection())
            .await?;
        let is_ours = row.word::<CertificateSource>("source")? != CertificateSource::Upload;
        let shape = if is_ours && parted::is_unserved(write, Some(app.tenant), (id, &names)).await? {
            parted::supersede(write, id).await?;
            Shape::Gone
        } else {
            Shape::Present
        };
        write.point(&ObjectId::Certificate(id), shape).await?;
    }
    Ok(())
}

async fn remove(write: &mut Write, id: CertificateId) -> Result<()> {
    sqlx::query("DELETE FROM certificate_names WHERE certificate_id = $1")
        .bind(id.to_string())
        .execute(write.connection())
        .await?;
    sqlx::query("DELETE FROM certificates WHERE id = $1")
        .bind(id.to_string())
        .execute(write.connection())
        .await?;
    write.point(&ObjectId::Certificate(id), Shape::Gone).await
}
