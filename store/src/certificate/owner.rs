//! Whose names a certificate may have: the platform's any, an app's only its own. Looked at in the transaction
//! that keeps it, because an order or an upload may outlive its domain.

use std::collections::BTreeSet;

use model::HostPattern;
use model::certificate::CertificateSource;

use super::CertificateRecord;
use crate::app::App;
use crate::caller::Access;
use crate::error::{Result, StoreError};
use crate::row::Columns as _;
use crate::write::Write;

/// The tenant and the app must be there still, and every name must be the app's.
pub(super) async fn check(write: &mut Write, new: &CertificateRecord) -> Result<()> {
    if let Some(tenant) = new.tenant {
        crate::tenant::load(write.connection(), Access::Platform, tenant).await?;
    }
    let Some(id) = new.app else {
        return match new.tenant {
            None => Ok(()),
            Some(tenant) => {
                let reason = format!("a certificate of tenant `{tenant}` must be for one of its apps");
                Err(StoreError::invalid("app", reason))
            }
        };
    };
    let store = write.store().clone();
    let app = store.load_app(write.connection(), Access::Platform, id).await?;
    if Some(app.tenant) != new.tenant {
        return Err(StoreError::not_found("app", id));
    }
    check_names(write, new, &app).await
}

async fn check_names(write: &mut Write, new: &CertificateRecord, app: &App) -> Result<()> {
    let own = own_hosts(write, new.source, app).await?;
    for name in &new.names {
        match name {
            name if own.contains(name) => {}
            HostPattern::Wildcard(_) => {
                let reason = format!(
                    "the certificate names `{name}`: connect `{name}` to the app first, or upload it for the platform"
                );
                return Err(StoreError::invalid("names", reason));
            }
            HostPattern::Exact(host) => {
                return Err(StoreError::not_found("proved domain of the app", host));
            }
        }
    }
    Ok(())
}

/// The app's names on the zones and its proved domains. The local authority signs in the same look that finds
/// the proof, before that is written down: for it every domain of the app counts.
async fn own_hosts(write: &mut Write, source: CertificateSource, app: &App) -> Result<BTreeSet<HostPattern>> {
    let rows = sqlx::query("SELECT host FROM domains WHERE app_id = $1 AND (proved = 1 OR $2 = 1)")
        .bind(app.id.to_string())
        .bind(i64::from(source == CertificateSource::LocalCa))
        .fetch_all(write.connection())
        .await?;
    let mut hosts: BTreeSet<_> =
        write.store().zone_hosts(&app.name).into_iter().map(HostPattern::from).collect();
    for row in &rows {
        hosts.insert(row.parsed("host")?);
    }
    Ok(hosts)
}
