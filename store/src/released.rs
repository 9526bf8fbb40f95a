//! Names that were given up: for a while only whoever had them may have them again, so that nobody takes
//! over the visitors, the bookmarks and the records that still point here.

use std::time::Duration;

use model::id::TenantId;
use model::{HostPattern, Timestamp};

use crate::Store;
use crate::error::{Result, StoreError};
use crate::row::Columns as _;
use crate::write::Write;

/// How long a name that was given up is kept for whoever had it.
pub const QUARANTINE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Keeps the name for its last owner.
pub(crate) async fn keep(write: &mut Write, host: &HostPattern, tenant: TenantId) -> Result<()> {
    let now = write.now();
    sqlx::query("DELETE FROM released_hosts WHERE released_at <= $1")
        .bind(now.minus(QUARANTINE).unix_millis())
        .execute(write.connection())
        .await?;
    sqlx::query(
        "INSERT INTO released_hosts (host, tenant_id, released_at) VALUES ($1, $2, $3)
         ON CONFLICT (host) DO UPDATE SET tenant_id = excluded.tenant_id, released_at = excluded.released_at",
    )
    .bind(host.to_string())
    .bind(tenant.to_string())
    .bind(now.unix_millis())
    .execute(write.connection())
    .await?;
    Ok(())
}

/// Who gave the name up, and until when it is kept for them; none: it is not kept.
pub(crate) async fn last_owner(store: &Store, host: &HostPattern) -> Result<Option<(TenantId, Timestamp)>> {
    let row = sqlx::query("SELECT tenant_id, released_at FROM released_hosts WHERE host = $1")
        .bind(host.to_string())
        .fetch_optional(store.pool())
        .await?;
    let Some(row) = row else { return Ok(None) };
    let until = row.moment("released_at")?.plus(QUARANTINE);
    Ok(if until > store.now() { Some((row.parsed("tenant_id")?, until)) } else { None })
}

/// Who the name is kept for, within a change.
pub(crate) async fn keeper(write: &mut Write, host: &HostPattern) -> Result<Option<TenantId>> {
    let row = sqlx::query("SELECT tenant_id FROM released_hosts WHERE host = $1 AND released_at > $2")
        .bind(host.to_string())
        .bind(write.now().minus(QUARANTINE).unix_millis())
        .fetch_optional(write.connection())
        .await?;
    row.map(|row| row.parsed("tenant_id")).transpose()
}

/// Keeps the name for nobody any more.
pub(crate) async fn forget(write: &mut Write, host: &HostPattern) -> Result<()> {
    sqlx::query("DELETE FROM released_hosts WHERE host = $1")
        .bind(host.to_string())
        .execute(write.connection())
        .await?;
    Ok(())
}

/// Takes the name out of quarantine for `tenant`.
pub(crate) async fn claim(
    write: &mut Write,
    host: &HostPattern,
    tenant: TenantId,
    (field, code): (&'static str, &'static str),
) -> Result<()> {
    let row = sqlx::query("SELECT tenant_id, released_at FROM released_hosts WHERE host = $1")
        .bind(host.to_string())
        .fetch_optional(write.connection())
        .await?;
    let Some(row) = row else { return Ok(()) };
    let kept = write.now().since(row.moment("released_at")?) < QUARANTINE;
    if kept && row.parsed::<TenantId>("tenant_id")? != tenant {
        return Err(StoreError::Conflict { field, value: host.to_string(), code });
    }
    sqlx::query("DELETE FROM released_hosts WHERE host = $1")
        .bind(host.to_string())
        .execute(write.connection())
        .await?;
    Ok(())
}
