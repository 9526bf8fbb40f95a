//! Tenants: whose apps are served, under which limits.

use model::Timestamp;
use model::change::ObjectId;
use model::id::TenantId;
use model::limits::Limits;
use model::tenant::{Slug, Standing, Tenant};
use serde_json::{Value, json};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::Store;
use crate::caller::{Access, Actor, Version};
use crate::error::{Result, StoreError};
use crate::page::{Page, Paged};
use crate::row::{Columns as _, to_json, to_word};
use crate::write::{Event, Shape, Write};

/// Longest name of a tenant or a key, and longest reason of a suspension, in characters.
pub(crate) const MAX_TEXT: usize = 200;

/// A tenant to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTenant {
    /// What people call it, 1 to 200 characters.
    pub name: String,
    /// Its short name, unique over the platform.
    pub slug: Slug,
}

/// What to change of a tenant; none leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantPatch {
    /// What people call it.
    pub name: Option<String>,
    /// Its short name.
    pub slug: Option<Slug>,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRecord {
    /// Its id.
    pub id: TenantId,
    /// What people call it.
    pub name: String,
    /// Its short name.
    pub slug: Slug,
    /// Served or not.
    pub standing: Standing,
    /// Why it is not served.
    pub suspended_reason: Option<String>,
    /// Its own limits; none: the default ones.
    pub limits: Option<Limits>,
    /// Version of the row.
    pub version: Version,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// The limits of a tenant and where they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsView {
    /// What the edges apply.
    pub effective: Limits,
    /// What was set for this tenant; none: the default applies.
    pub overridden: Option<Limits>,
}

impl TenantRecord {
    pub(crate) fn to_object(&self) -> Tenant {
        Tenant {
            id: self.id,
            slug: self.slug.clone(),
            standing: self.standing,
            limits: self.limits.unwrap_or_default(),
        }
    }

    fn limits_view(&self) -> LimitsView {
        LimitsView { effective: self.limits.unwrap_or_default(), overridden: self.limits }
    }
}

impl Store {
    /// Makes a tenant.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] `slug_taken`, [`StoreError::Invalid`] for the name.
    pub async fn create_tenant(&self, actor: &Actor, new: NewTenant) -> Result<TenantRecord> {
        check_text("name", &new.name)?;
        let mut write = self.write(actor).await?;
        free_slug(&mut write, &new.slug, None).await?;
        let now = write.now();
        let tenant = TenantRecord {
            id: TenantId::generate(now),
            name: new.name,
            slug: new.slug,
            standing: Standing::Active,
            suspended_reason: None,
            limits: None,
            version: Version::FIRST,
            created_at: now,
            updated_at: now,
        };
        insert(write.connection(), &tenant).await?;
        let details = json!({ "name": tenant.name, "slug": tenant.slug });
        finish(write, &tenant, "tenant.create", details).await?;
        Ok(tenant)
    }

    /// One tenant.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn tenant(&self, access: Access, id: TenantId) -> Result<TenantRecord> {
        let row = sqlx::query("SELECT * FROM tenants WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.pool())
            .await?;
        allowed(access, id, row.as_ref())
    }

    /// Tenants, the oldest first; to a tenant only itself.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a bad page.
    pub async fn tenants(&self, access: Access, page: &Page) -> Result<Paged<TenantRecord>> {
        let only = match access {
            Access::Platform => String::new(),
            Access::Tenant(tenant) => tenant.to_string(),
        };
        let rows =
            sqlx::query("SELECT * FROM tenants WHERE id > $1 AND ($2 = '' OR id = $2) ORDER BY id LIMIT $3")
                .bind(page.after_text::<TenantId>()?)
                .bind(only)
                .bind(page.rows()?)
                .fetch_all(self.pool())
                .await?;
        let tenants = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
        Ok(Paged::cut(tenants, page, |tenant| tenant.id))
    }

    /// Changes a tenant's names.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Stale`] if `version` is not the row's, and as
    /// [`Store::create_tenant`].
    pub async fn update_tenant(
        &self,
        actor: &Actor,
        (access, id): (Access, TenantId),
        patch: TenantPatch,
        version: Option<Version>,
    ) -> Result<TenantRecord> {
        if let Some(name) = &patch.name {
            check_text("name", name)?;
        }
        let mut write = self.write(actor).await?;
        let mut tenant = load(write.connection(), access, id).await?;
        expect_version(("tenant", id), tenant.version, version)?;
        let before = json!({ "name": tenant.name, "slug": tenant.slug });
        if let Some(slug) = patch.slug {
            free_slug(&mut write, &slug, Some(id)).await?;
            tenant.slug = slug;
        }
        tenant.name = patch.name.unwrap_or(tenant.name);
        let details = json!({ "from": before, "to": { "name": tenant.name, "slug": tenant.slug } });
        save(write, tenant, "tenant.update", details).await
    }

    /// Stops serving a tenant's apps; nothing is deleted. A suspended tenant takes the new reason.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Invalid`] for the reason.
    pub async fn suspend_tenant(&self, actor: &Actor, id: TenantId, reason: &str) -> Result<TenantRecord> {
        check_text("reason", reason)?;
        let mut write = self.write(actor).await?;
        let mut tenant = load(write.connection(), Access::Platform, id).await?;
        tenant.standing = Standing::Suspended;
        tenant.suspended_reason = Some(reason.to_owned());
        save(write, tenant, "tenant.suspend", json!({ "reason": reason })).await
    }

    /// Serves a tenant's apps again.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn resume_tenant(&self, actor: &Actor, id: TenantId) -> Result<TenantRecord> {
        let mut write = self.write(actor).await?;
        let mut tenant = load(write.connection(), Access::Platform, id).await?;
        tenant.standing = Standing::Active;
        tenant.suspended_reason = None;
        save(write, tenant, "tenant.resume", json!({})).await
    }

    /// A tenant's limits.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn tenant_limits(&self, access: Access, id: TenantId) -> Result<LimitsView> {
        Ok(self.tenant(access, id).await?.limits_view())
    }

    /// Gives a tenant limits of its own, or with none the default ones.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Invalid`] for a number out of range.
    pub async fn set_tenant_limits(
        &self,
        actor: &Actor,
        id: TenantId,
        limits: Option<Limits>,
    ) -> Result<LimitsView> {
        if let Some(limits) = &limits {
            limits.check().map_err(|error| StoreError::invalid(error.field, error))?;
        }
        let mut write = self.write(actor).await?;
        let mut tenant = load(write.connection(), Access::Platform, id).await?;
        let details = json!({ "from": tenant.limits, "to": limits });
        tenant.limits = limits;
        Ok(save(write, tenant, "tenant.limits", details).await?.limits_view())
    }

    /// Deletes a tenant with its apps, domains, certificates and keys. What it used stays on record.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Stale`] if `version` is not the row's.
    pub async fn delete_tenant(
        &self,
        actor: &Actor,
        access: Access,
        id: TenantId,
        version: Option<Version>,
    ) -> Result<()> {
        let mut write = self.write(actor).await?;
        let tenant = load(write.connection(), access, id).await?;
        expect_version(("tenant", id), tenant.version, version)?;
        crate::app::remove_all_of_tenant(&mut write, id).await?;
        crate::certificate::remove_all_of_tenant(&mut write, id).await?;
        crate::domain::forget_tenant(&mut write, id).await?;
        sqlx::query("DELETE FROM keys WHERE tenant_id = $1")
            .bind(id.to_string())
            .execute(write.connection())
            .await?;
        sqlx::query("DELETE FROM tenants WHERE id = $1")
            .bind(id.to_string())
            .execute(write.connection())
            .await?;
        write.point(&ObjectId::Tenant(id), Shape::Gone).await?;
        let details = json!({ "name": tenant.name, "slug": tenant.slug });
        let event = Event { tenant: Some(id), action: "tenant.delete", target: id.to_string(), details };
        write.audit(event).await?;
        write.commit().await
    }
}

/// A text that people wrote: not empty, not endless, no control characters.
pub(crate) fn check_text(field: &'static str, text: &str) -> Result<()> {
    let length = text.chars().count();
    if text.trim().is_empty() || length > MAX_TEXT || text.chars().any(char::is_control) {
        let shown: String = text.chars().take(60).collect();
        let reason =
            format!("{field} {shown:?} must have 1 to {MAX_TEXT} characters and no control characters");
        return Err(StoreError::invalid(field, reason));
    }
    Ok(())
}

pub(crate) fn expect_version(
    (what, id): (&'static str, impl ToString),
    current: Version,
    wanted: Option<Version>,
) -> Result<()> {
    match wanted {
        Some(wanted) if wanted != current => Err(StoreError::Stale { what, id: id.to_string(), current }),
        _ => Ok(()),
    }
}

pub(crate) fn read(row: &AnyRow) -> Result<TenantRecord> {
    Ok(TenantRecord {
        id: row.parsed("id")?,
        name: row.text("name")?,
        slug: Slug::parse(&row.text("slug")?).map_err(|error| StoreError::corrupt(error.to_string()))?,
        standing: row.word("standing")?,
        suspended_reason: row.text_or_none("suspended_reason")?,
        limits: row.json_or_none("limits")?,
        version: Version(row.integer("version")?),
        created_at: row.moment("created_at")?,
        updated_at: row.moment("updated_at")?,
    })
}

fn allowed(access: Access, id: TenantId, row: Option<&AnyRow>) -> Result<TenantRecord> {
    match row.map(read).transpose()? {
        Some(tenant) if access.allows(Some(id)) => Ok(tenant),
        _ => Err(StoreError::not_found("tenant", id)),
    }
}

pub(crate) async fn load(
    connection: &mut AnyConnection,
    access: Access,
    id: TenantId,
) -> Result<TenantRecord> {
    let row = sqlx::query("SELECT * FROM tenants WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    allowed(access, id, row.as_ref())
}

/// Whether there is (still) such a tenant.
pub(crate) async fn is_there(connection: &mut AnyConnection, id: TenantId) -> Result<bool> {
    let row = sqlx::query("SELECT id FROM tenants WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(row.is_some())
}

async fn insert(connection: &mut AnyConnection, tenant: &TenantRecord) -> Result<()> {
    sqlx::query(
        "INSERT INTO tenants (id, name, slug, standing, version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $6)",
    )
    .bind(tenant.id.to_string())
    .bind(&tenant.name)
    .bind(tenant.slug.as_str())
    .bind(to_word(&tenant.standing)?)
    .bind(tenant.version.0)
    .bind(tenant.created_at.unix_millis())
    .execute(connection)
    .await?;
    Ok(())
}

async fn save(
    mut write: Write,
    mut tenant: TenantRecord,
    action: &'static str,
    details: Value,
) -> Result<TenantRecord> {
    tenant.version = tenant.version.next();
    tenant.updated_at = write.now();
    sqlx::query(
        "UPDATE tenants SET name = $2, slug = $3, standing = $4, suspended_reason = $5, limits = $6,
         version = $7, updated_at = $8 WHERE id = $1",
    )
    .bind(tenant.id.to_string())
    .bind(&tenant.name)
    .bind(tenant.slug.as_str())
    .bind(to_word(&tenant.standing)?)
    .bind(&tenant.suspended_reason)
    .bind(tenant.limits.as_ref().map(to_json).transpose()?)
    .bind(tenant.version.0)
    .bind(tenant.updated_at.unix_millis())
    .execute(write.connection())
    .await?;
    finish(write, &tenant, action, details).await?;
    Ok(tenant)
}

async fn finish(mut write: Write, tenant: &TenantRecord, action: &'static str, details: Value) -> Result<()> {
    write.point(&ObjectId::Tenant(tenant.id), Shape::Present).await?;
    write.audit(Event { tenant: Some(tenant.id), action, target: tenant.id.to_string(), details }).await?;
    write.commit().await
}

async fn free_slug(write: &mut Write, slug: &Slug, own: Option<TenantId>) -> Result<()> {
    let row = sqlx::query("SELECT id FROM tenants WHERE slug = $1")
        .bind(slug.as_str())
        .fetch_optional(write.connection())
        .await?;
    match row {
        Some(row) if Some(row.parsed::<TenantId>("id")?) != own => {
            Err(StoreError::Conflict { field: "slug", value: slug.to_string(), code: "slug_taken" })
        }
        _ => Ok(()),
    }
}
