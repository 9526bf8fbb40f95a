//! Apps: what visitors meet at `<name>.<zone>` and at the creator's own domains.

use axum::extract::State;
use http::StatusCode;
use model::backend::{Backend, BackendUrl};
use model::id::{AppId, TenantId};
use model::site::{HeaderPolicy, Settings};
use model::tenant::Slug;
use model::{Host, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{App, AppPatch, NewApp, StoreError, TenantRecord};
use utoipa::ToSchema;

use super::{Created, Seen, TRIES, policy};
use crate::caller::Member;
use crate::problem::{Answer, Fault, Problem};
use crate::request::precondition::stale;
use crate::request::{Id, IfMatch, Json, List, ListQuery, Query, Tagged, merge};

/// An app.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = App)]
pub(crate) struct AppView {
    /// Its id.
    #[schema(value_type = String, example = "a_01JD0Z6B3XQ4V8T9M2K7R5W1EP")]
    id: AppId,
    /// Whose it is.
    #[schema(value_type = String)]
    tenant_id: TenantId,
    /// The label of its host name.
    #[schema(value_type = String, example = "hello")]
    name: Slug,
    /// Where visitors find it.
    #[schema(value_type = String, example = "hello.apps.localhost")]
    hostname: Host,
    /// Where its requests go.
    backends: Vec<BackendFields>,
    /// Headers added to its answers.
    #[schema(value_type = policy::HeaderPolicy)]
    headers: HeaderPolicy,
    /// Time limits, health checks and load limits.
    #[schema(value_type = policy::Settings)]
    settings: Settings,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// A server that an app's requests go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Backend)]
pub(crate) struct BackendFields {
    /// Scheme (http, https, or h2c for cleartext HTTP/2), host and port; no path, no password. Or unix: and the
    /// path of a socket, below a directory that the operator lists.
    #[schema(example = "http://127.0.0.1:3000")]
    url: String,
    /// Its share of the requests relative to the others, 0 (none) to 1000.
    #[serde(default = "one")]
    #[schema(minimum = 0, maximum = 1000, default = 1)]
    weight: u16,
}

fn one() -> u16 {
    1
}

/// An app to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAppBody {
    /// The label of its host name: 1 to 40 of a-z, 0-9 and inner hyphens, unique, no reserved word.
    #[schema(example = "hello")]
    name: String,
    /// Where its requests go, at most 32; may come later.
    #[serde(default)]
    backends: Vec<BackendFields>,
    /// Headers added to its answers.
    #[serde(default)]
    #[schema(value_type = policy::HeaderPolicy)]
    headers: HeaderPolicy,
    /// Time limits, health checks and load limits.
    #[serde(default)]
    #[schema(value_type = policy::Settings)]
    settings: Settings,
}

/// What of an app may be changed; fields that are left out stay as they are, null sets the default.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
pub(crate) struct AppFields {
    /// All its backends anew.
    backends: Vec<BackendFields>,
    /// Headers added to its answers, merged field by field.
    #[schema(value_type = policy::HeaderPolicy)]
    headers: HeaderPolicy,
    /// Time limits, health checks and load limits, merged field by field.
    #[schema(value_type = policy::Settings)]
    settings: Settings,
}

impl From<App> for AppView {
    fn from(app: App) -> Self {
        Self {
            id: app.id,
            tenant_id: app.tenant,
            name: app.name,
            hostname: app.hostname,
            backends: app.backends.iter().map(BackendFields::from).collect(),
            headers: app.headers,
            settings: app.settings,
            created_at: app.created_at,
            updated_at: app.updated_at,
        }
    }
}

impl From<&Backend> for BackendFields {
    fn from(backend: &Backend) -> Self {
        Self { url: backend.url.to_string(), weight: backend.weight }
    }
}

fn tagged(app: App) -> Tagged<AppView> {
    Tagged(app.version, app.into())
}

/// Reads all backends; every one that cannot be is a fault of its own.
fn backends(given: Vec<BackendFields>, faults: &mut Vec<Fault>) -> Vec<Backend> {
    let mut backends = Vec::new();
    for (at, BackendFields { url, weight }) in given.into_iter().enumerate() {
        match url.parse::<BackendUrl>() {
            Ok(url) => backends.push(Backend { url, weight }),
            Err(error) => faults.push(Fault::invalid(format!("/backends/{at}/url"), error)),
        }
        if weight > model::backend::MAX_WEIGHT {
            let message = format!("weight is {weight}: it must be from 0 to {}", model::backend::MAX_WEIGHT);
            faults.push(Fault::invalid(format!("/backends/{at}/weight"), message));
        }
    }
    backends
}

/// What the values themselves tell, so that all faults are told at once.
fn check(headers: &HeaderPolicy, settings: &Settings, faults: &mut Vec<Fault>) {
    if let Err(error) = headers.content_security_policy.check() {
        faults.push(Fault::invalid("/headers/content_security_policy", error));
    }
    if let Err(error) = settings.check() {
        faults.push(Fault::invalid("/settings", error));
    }
}

impl NewAppBody {
    fn checked(self) -> Result<NewApp, Problem> {
        let mut faults = Vec::new();
        let name =
            Slug::parse_app_name(&self.name).map_err(|error| faults.push(Fault::invalid("/name", error)));
        let backends = backends(self.backends, &mut faults);
        check(&self.headers, &self.settings, &mut faults);
        match name {
            Ok(name) if faults.is_empty() => {
                Ok(NewApp { name, backends, headers: self.headers, settings: self.settings })
            }
            _ => Err(Problem::faulty(faults)),
        }
    }
}

impl AppFields {
    fn of(app: &App) -> Self {
        let backends = app.backends.iter().map(BackendFields::from).collect();
        Self { backends, headers: app.headers.clone(), settings: app.settings.clone() }
    }

    fn checked(self) -> Result<AppPatch, Problem> {
        let mut faults = Vec::new();
        let backends = backends(self.backends, &mut faults);
        check(&self.headers, &self.settings, &mut faults);
        if !faults.is_empty() {
            return Err(Problem::faulty(faults));
        }
        let (headers, settings) = (Some(self.headers), Some(self.settings));
        Ok(AppPatch { backends: Some(backends), headers, settings })
    }
}

/// Lists a tenant's apps, the oldest first.
#[utoipa::path(get, path = "/v1/tenants/{t}/apps",
    params(("t" = String, Path, description = "Id of the tenant."), ListQuery),
    responses((status = 200, description = "A page of apps.", body = List<AppView>)))]
pub(crate) async fn list_apps(
    State(state): State<crate::State>,
    member: Member,
    Id(tenant): Id<TenantId>,
    Query(query): Query<ListQuery>,
) -> Answer<Json<List<AppView>>> {
    let page = state.store().apps(member.access, tenant, &query.page()?).await?;
    Ok(Json(List::of(page, AppView::from)))
}

/// Makes an app; it answers at once at its host name on the marketplace.
#[utoipa::path(post, path = "/v1/tenants/{t}/apps", params(("t" = String, Path, description = "Id of the tenant.")),
    request_body = NewAppBody,
    responses((status = 201, description = "The new app.", body = AppView)))]
pub(crate) async fn create_app(
    State(state): State<crate::State>,
    member: Member,
    Seen(tenant): Seen<TenantRecord>,
    Json(body): Json<NewAppBody>,
) -> Answer<Created<Tagged<AppView>>> {
    let app = state.store().create_app(&member.actor, member.access, tenant.id, body.checked()?).await?;
    Ok(Created(format!("/v1/apps/{}", app.id), tagged(app)))
}

/// Gives one app.
#[utoipa::path(get, path = "/v1/apps/{a}", params(("a" = String, Path, description = "Id of the app.")),
    responses((status = 200, description = "The app.", body = AppView)))]
pub(crate) async fn get_app(Seen(app): Seen<App>) -> Tagged<AppView> {
    tagged(app)
}

/// Changes an app (JSON Merge Patch). Its name stays what it is.
#[utoipa::path(patch, path = "/v1/apps/{a}", params(("a" = String, Path, description = "Id of the app.")),
    request_body = AppFields,
    responses((status = 200, description = "The changed app.", body = AppView)))]
pub(crate) async fn update_app(
    State(state): State<crate::State>,
    (member, if_match): (Member, IfMatch),
    Seen(mut app): Seen<App>,
    Json(patch): Json<Value>,
) -> Answer<Tagged<AppView>> {
    for _ in 0..TRIES {
        if_match.check(app.version)?;
        let current = AppFields::of(&app);
        let wanted = merge::apply(&current, &patch)?;
        if wanted == current {
            return Ok(tagged(app));
        }
        let place = (member.access, app.id);
        match state.store().update_app(&member.actor, place, wanted.checked()?, Some(app.version)).await {
            Err(StoreError::Stale { .. }) => app = state.store().app(member.access, app.id).await?,
            done => return Ok(tagged(done?)),
        }
    }
    Err(stale())
}

/// Deletes an app with its domains and certificates.
#[utoipa::path(delete, path = "/v1/apps/{a}", params(("a" = String, Path, description = "Id of the app.")),
    responses((status = 204, description = "It is gone; records that were set at providers of its domains stay."),
        (status = 409, description = "`connection_working`: records of one of its domains are being set or taken back.")))]
pub(crate) async fn delete_app(
    State(state): State<crate::State>,
    (member, if_match): (Member, IfMatch),
    Id(app): Id<AppId>,
) -> Answer<StatusCode> {
    let seen = async || Ok(state.store().app(member.access, app).await?.version);
    let version = if_match.version(seen).await?;
    state.store().delete_app(&member.actor, member.access, app, version).await?;
    Ok(StatusCode::NO_CONTENT)
}
