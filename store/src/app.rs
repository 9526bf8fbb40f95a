//! Apps: what a visitor meets at `<name>.<zone>` and at its creator's own domains.

use model::backend::{Backend, MAX_PER_APP, MAX_WEIGHT};
use model::change::ObjectId;
use model::id::{AppId, TenantId};
use model::site::{HeaderPolicy, HostOrigin, Settings, Site, SiteHost};
use model::tenant::Slug;
use model::{Host, Timestamp};
use serde_json::{Value, json};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::caller::{Access, Actor, Version};
use crate::error::{Result, StoreError};
use crate::page::{Page, Paged};
use crate::row::{Columns as _, to_json};
use crate::tenant::expect_version;
use crate::write::{Event, Shape, Write};
use crate::{Store, certificate, connection, domain, released, tenant};

/// Most apps of one tenant.
pub const MAX_APPS_PER_TENANT: usize = 1_000;

/// An app to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApp {
    /// The label of its host name, unique over the platform, not a reserved word.
    pub name: Slug,
    /// Where its requests go, at most [`MAX_PER_APP`]; may be empty.
    pub backends: Vec<Backend>,
    /// Headers added to its responses.
    pub headers: HeaderPolicy,
    /// Time limits, health checks and load limits.
    pub settings: Settings,
}

/// What to change of an app; none leaves a field as it is. Its name stays what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppPatch {
    /// All its backends anew.
    pub backends: Option<Vec<Backend>>,
    /// All its headers anew.
    pub headers: Option<HeaderPolicy>,
    /// All its settings anew.
    pub settings: Option<Settings>,
}

/// An app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its id.
    pub id: AppId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The label of its host name.
    pub name: Slug,
    /// `<name>.<first zone>`
    pub hostname: Host,
    /// Where its requests go.
    pub backends: Vec<Backend>,
    /// Headers added to its responses.
    pub headers: HeaderPolicy,
    /// Time limits, health checks and load limits.
    pub settings: Settings,
    /// Version of the row.
    pub version: Version,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Store {
    /// Makes an app; it answers at `<name>.<zone>` on every zone.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the tenant, [`StoreError::Conflict`] `name_taken` or
    /// `name_quarantined`, [`StoreError::Invalid`], [`StoreError::TooMany`].
    pub async fn create_app(
        &self,
        actor: &Actor,
        access: Access,
        tenant: TenantId,
        new: NewApp,
    ) -> Result<App> {
        let name =
            Slug::parse_app_name(new.name.as_str()).map_err(|error| StoreError::invalid("name", error))?;
        check(&new.backends, &new.headers, &new.settings)?;
        let hostname = self.hostname(&name)?;
        let mut write = self.write(actor).await?;
        tenant::load(write.connection(), access, tenant).await?;
        free_name(&mut write, &name, tenant).await?;
        released::claim(&mut write, &(&hostname).into(), tenant, ("name", "name_quarantined")).await?;
        let now = write.now();
        let app = App {
            id: AppId::generate(now),
            tenant,
            name,
            hostname,
            backends: new.backends,
            headers: new.headers,
            settings: new.settings,
            version: Version::FIRST,
            created_at: now,
            updated_at: now,
        };
        insert(write.connection(), &app).await?;
        let details = json!({ "name": app.name, "backends": app.backends });
        finish(write, &app, "app.create", details).await?;
        Ok(app)
    }

    /// One app.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn app(&self, access: Access, id: AppId) -> Result<App> {
        let row = sqlx::query("SELECT * FROM apps WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.pool())
            .await?;
        self.allowed_app(access, id, row.as_ref())
    }

    /// A tenant's apps, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the tenant, [`StoreError::Invalid`] for a bad page.
    pub async fn apps(&self, access: Access, tenant: TenantId, page: &Page) -> Result<Paged<App>> {
        let (after, limit) = (page.after_text::<AppId>()?, page.rows()?);
        self.tenant(access, tenant).await?;
        let rows = sqlx::query("SELECT * FROM apps WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3")
            .bind(tenant.to_string())
            .bind(after)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        let apps = rows.iter().map(|row| self.read_app(row)).collect::<Result<Vec<_>>>()?;
        Ok(Paged::cut(apps, page, |app| app.id))
    }

    /// Changes an app.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Stale`] if `version` is not the row's,
    /// [`StoreError::Invalid`], [`StoreError::TooMany`].
    pub async fn update_app(
        &self,
        actor: &Actor,
        (access, id): (Access, AppId),
        patch: AppPatch,
        version: Option<Version>,
    ) -> Result<App> {
        let mut write = self.write(actor).await?;
        let mut app = self.load_app(write.connection(), access, id).await?;
        expect_version(("app", id), app.version, version)?;
        let before = variable(&app);
        app.backends = patch.backends.unwrap_or(app.backends);
        app.headers = patch.headers.unwrap_or(app.headers);
        app.settings = patch.settings.unwrap_or(app.settings);
        check(&app.backends, &app.headers, &app.settings)?;
        app.version = app.version.next();
        app.updated_at = write.now();
        update(write.connection(), &app).await?;
        let details = json!({ "from": before, "to": variable(&app) });
        finish(write, &app, "app.update", details).await?;
        Ok(app)
    }

    /// Deletes an app with its domains and certificates. Its name is kept for the tenant for
    /// [`crate::QUARANTINE`].
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Stale`] if `version` is not the row's; [`StoreError::Conflict`]
    /// `connection_working` while records of one of its domains are being set or taken back.
    pub async fn delete_app(
        &self,
        actor: &Actor,
        access: Access,
        id: AppId,
        version: Option<Version>,
    ) -> Result<()> {
        let mut write = self.write(actor).await?;
        let app = self.load_app(write.connection(), access, id).await?;
        expect_version(("app", id), app.version, version)?;
        connection::refuse_working(write.connection(), &id).await?;
        remove(&mut write, &app).await?;
        let details = json!({ "name": app.name });
        let event = Event { tenant: Some(app.tenant), action: "app.delete", target: id.to_string(), details };
        write.audit(event).await?;
        write.commit().await
    }

    fn hostname(&self, name: &Slug) -> Result<Host> {
        let zone = self.zones().first().ok_or_else(|| StoreError::invalid("zones", "there is no zone"))?;
        zone.with_label(name.as_str()).map_err(|error| StoreError::invalid("name", error))
    }

    pub(crate) fn read_app(&self, row: &AnyRow) -> Result<App> {
        let name = Slug::parse(&row.text("name")?).map_err(|error| StoreError::corrupt(error.to_string()))?;
        Ok(App {
            id: row.parsed("id")?,
            tenant: row.parsed("tenant_id")?,
            hostname: self.hostname(&name)?,
            name,
            backends: row.json("backends")?,
            headers: row.json("headers")?,
            settings: row.json("settings")?,
            version: Version(row.integer("version")?),
            created_at: row.moment("created_at")?,
            updated_at: row.moment("updated_at")?,
        })
    }

    fn allowed_app(&self, access: Access, id: AppId, row: Option<&AnyRow>) -> Result<App> {
        match row.map(|row| self.read_app(row)).transpose()? {
            Some(app) if access.allows(Some(app.tenant)) => Ok(app),
            _ => Err(StoreError::not_found("app", id)),
        }
    }

    pub(crate) async fn load_app(
        &self,
        connection: &mut AnyConnection,
        access: Access,
        id: AppId,
    ) -> Result<App> {
        let row = sqlx::query("SELECT * FROM apps WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(connection)
            .await?;
        self.allowed_app(access, id, row.as_ref())
    }

    /// The names of an app on the zones; a zone too long for the name is left out.
    pub(crate) fn zone_hosts(&self, name: &Slug) -> Vec<Host> {
        self.zones().iter().filter_map(|zone| zone.with_label(name.as_str()).ok()).collect()
    }

    /// The app as edges serve it, with its proved domains.
    pub(crate) fn site(&self, app: App, domains: Vec<SiteHost>) -> Site {
        let zone = |host: Host| SiteHost { host: host.into(), origin: HostOrigin::Zone, client_ca: None };
        let hosts = self.zone_hosts(&app.name).into_iter().map(zone).chain(domains).collect();
        Site {
            app: app.id,
            tenant: app.tenant,
            name: app.name,
            hosts,
            backends: app.backends,
            headers: app.headers,
            settings: app.settings,
        }
    }
}

/// Takes every app of the tenant away.
pub(crate) async fn remove_all_of_tenant(write: &mut Write, tenant: TenantId) -> Result<()> {
    let rows = sqlx::query("SELECT * FROM apps WHERE tenant_id = $1 ORDER BY id")
        .bind(tenant.to_string())
        .fetch_all(write.connection())
        .await?;
    for row in &rows {
        let app = write.store().read_app(row)?;
        remove(write, &app).await?;
    }
    Ok(())
}

async fn remove(write: &mut Write, app: &App) -> Result<()> {
    domain::remove_all_of_app(write, app.id).await?;
    certificate::remove_all_of_app(write, app.id).await?;
    sqlx::query("DELETE FROM apps WHERE id = $1")
        .bind(app.id.to_string())
        .execute(write.connection())
        .await?;
    released::keep(write, &(&app.hostname).into(), app.tenant).await?;
    write.point(&ObjectId::Site(app.id), Shape::Gone).await
}

fn variable(app: &App) -> Value {
    json!({ "backends": app.backends, "headers": app.headers, "settings": app.settings })
}

fn check(backends: &[Backend], headers: &HeaderPolicy, settings: &Settings) -> Result<()> {
    if backends.len() > MAX_PER_APP {
        return Err(StoreError::TooMany { what: "backends of an app", limit: MAX_PER_APP });
    }
    if let Some(backend) = backends.iter().find(|backend| backend.weight > MAX_WEIGHT) {
        let Backend { url, weight } = backend;
        let reason = format!("backend `{url}` has weight {weight}: it must be from 0 to {MAX_WEIGHT}");
        return Err(StoreError::invalid("backends", reason));
    }
    headers.content_security_policy.check().map_err(|error| StoreError::invalid("headers", error))?;
    settings.check().map_err(|error| StoreError::invalid("settings", error))
}

async fn free_name(write: &mut Write, name: &Slug, tenant: TenantId) -> Result<()> {
    let taken = sqlx::query("SELECT id FROM apps WHERE name = $1")
        .bind(name.as_str())
        .fetch_optional(write.connection())
        .await?;
    if taken.is_some() {
        return Err(StoreError::Conflict { field: "name", value: name.to_string(), code: "name_taken" });
    }
    let row = sqlx::query("SELECT COUNT(*) AS apps FROM apps WHERE tenant_id = $1")
        .bind(tenant.to_string())
        .fetch_one(write.connection())
        .await?;
    if usize::try_from(row.integer("apps")?).is_ok_and(|apps| apps >= MAX_APPS_PER_TENANT) {
        return Err(StoreError::TooMany { what: "apps of this tenant", limit: MAX_APPS_PER_TENANT });
    }
    Ok(())
}

async fn insert(connection: &mut AnyConnection, app: &App) -> Result<()> {
    sqlx::query(
        "INSERT INTO apps (id, tenant_id, name, backends, headers, settings, version, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
    )
    .bind(app.id.to_string())
    .bind(app.tenant.to_string())
    .bind(app.name.as_str())
    .bind(to_json(&app.backends)?)
    .bind(to_json(&app.headers)?)
    .bind(to_json(&app.settings)?)
    .bind(app.version.0)
    .bind(app.created_at.unix_millis())
    .execute(connection)
    .await?;
    Ok(())
}

async fn update(connection: &mut AnyConnection, app: &App) -> Result<()> {
    sqlx::query(
        "UPDATE apps SET backends = $2, headers = $3, settings = $4, version = $5, updated_at = $6 WHERE id = $1",
    )
    .bind(app.id.to_string())
    .bind(to_json(&app.backends)?)
    .bind(to_json(&app.headers)?)
    .bind(to_json(&app.settings)?)
    .bind(app.version.0)
    .bind(app.updated_at.unix_millis())
    .execute(connection)
    .await?;
    Ok(())
}

async fn finish(mut write: Write, app: &App, action: &'static str, details: Value) -> Result<()> {
    write.point(&ObjectId::Site(app.id), Shape::Present).await?;
    write.audit(Event { tenant: Some(app.tenant), action, target: app.id.to_string(), details }).await?;
    write.commit().await
}
