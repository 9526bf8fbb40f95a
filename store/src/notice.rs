//! What accounts are told without having asked. Each is kept until it is taken away, the newest ones of an account
//! only.

use model::domain::NoticeKind;
use model::id::{DomainId, NoticeId, TenantId};
use model::{HostPattern, Timestamp};

use crate::Store;
use crate::caller::{Access, Actor};
use crate::error::{Result, StoreError};
use crate::page::{Page, Paged};
use crate::row::{Columns as _, to_word};
use crate::write::{Event, Write};

/// Most notices of an account that are kept.
pub const MAX_NOTICES: i64 = 200;

/// A notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeRecord {
    /// Its id.
    pub id: NoticeId,
    /// Whom it tells.
    pub tenant: TenantId,
    /// What has happened.
    pub kind: NoticeKind,
    /// The account's domain or claim that it is about; none: it has none any more.
    pub domain: Option<DomainId>,
    /// The name.
    pub host: HostPattern,
    /// When something happens, if it will.
    pub until: Option<Timestamp>,
    /// When it was written.
    pub created_at: Timestamp,
}

impl Store {
    /// Notices, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a bad page.
    pub async fn notices(&self, access: Access, page: &Page) -> Result<Paged<NoticeRecord>> {
        let after = page.after_text::<NoticeId>()?;
        let query = match access {
            Access::Platform => sqlx::query("SELECT * FROM notices WHERE id > $1 ORDER BY id LIMIT $2"),
            Access::Tenant(_) => {
                sqlx::query("SELECT * FROM notices WHERE id > $1 AND tenant_id = $3 ORDER BY id LIMIT $2")
            }
        };
        let query = query.bind(after).bind(page.rows()?);
        let query = match access {
            Access::Platform => query,
            Access::Tenant(tenant) => query.bind(tenant.to_string()),
        };
        let rows = query.fetch_all(self.pool()).await?;
        let notices = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
        Ok(Paged::cut(notices, page, |notice| notice.id))
    }

    /// Takes a notice away that was read.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_notice(&self, actor: &Actor, access: Access, id: NoticeId) -> Result<()> {
        let mut write = self.write(actor).await?;
        let row = sqlx::query("SELECT * FROM notices WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(write.connection())
            .await?;
        let notice = match row.as_ref().map(read).transpose()? {
            Some(notice) if access.allows(Some(notice.tenant)) => notice,
            _ => return Err(StoreError::not_found("notice", id)),
        };
        sqlx::query("DELETE FROM notices WHERE id = $1")
            .bind(id.to_string())
            .execute(write.connection())
            .await?;
        let details = serde_json::json!({ "kind": notice.kind, "hostname": notice.host });
        let (tenant, target) = (Some(notice.tenant), id.to_string());
        write.audit(Event { tenant, action: "notice.delete", target, details }).await?;
        write.commit().await
    }
}

fn read(row: &sqlx::any::AnyRow) -> Result<NoticeRecord> {
    Ok(NoticeRecord {
        id: row.parsed("id")?,
        tenant: row.parsed("tenant_id")?,
        kind: row.word("kind")?,
        domain: row.parsed_or_none("domain_id")?,
        host: row.parsed("host")?,
        until: row.moment_or_none("until")?,
        created_at: row.moment("created_at")?,
    })
}

/// Tells an account something about a name, within the change that it is about.
pub(crate) async fn tell(
    write: &mut Write,
    tenant: TenantId,
    kind: NoticeKind,
    (domain, host): (Option<DomainId>, &HostPattern),
    until: Option<Timestamp>,
) -> Result<()> {
    let now = write.now();
    sqlx::query(
        "INSERT INTO notices (id, tenant_id, kind, domain_id, host, until, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(NoticeId::generate(now).to_string())
    .bind(tenant.to_string())
    .bind(to_word(&kind)?)
    .bind(domain.map(|domain| domain.to_string()))
    .bind(host.to_string())
    .bind(until.map(Timestamp::unix_millis))
    .bind(now.unix_millis())
    .execute(write.connection())
    .await?;
    sqlx::query(
        "DELETE FROM notices WHERE tenant_id = $1 AND id NOT IN
         (SELECT id FROM notices WHERE tenant_id = $1 ORDER BY id DESC LIMIT $2)",
    )
    .bind(tenant.to_string())
    .bind(MAX_NOTICES)
    .execute(write.connection())
    .await?;
    Ok(())
}
