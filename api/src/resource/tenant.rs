//! Tenants.

use axum::extract::State;
use http::StatusCode;
use model::Timestamp;
use model::id::TenantId;
use model::tenant::{Slug, Standing};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{NewTenant, StoreError, TenantPatch, TenantRecord};
use utoipa::ToSchema;

use super::{Created, Seen, TRIES};
use crate::caller::{Member, Operator};
use crate::problem::{Answer, Fault, Problem};
use crate::request::precondition::stale;
use crate::request::{Id, IfMatch, Json, List, ListQuery, OptionalJson, Query, Tagged, merge};

/// A tenant: the unit that is limited, metered, billed and isolated.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
pub(crate) struct TenantView {
    /// Its id.
    #[schema(value_type = String, example = "t_01JD0Z6B3XQ4V8T9M2K7R5W1EP")]
    id: TenantId,
    /// What people call it.
    #[schema(example = "Ann's shop")]
    name: String,
    /// Its short name, unique over the platform.
    #[schema(value_type = String, example = "anns-shop")]
    slug: Slug,
    /// `active`, or `suspended`: its apps answer with a page that says so.
    #[schema(value_type = String, example = "active")]
    status: Standing,
    /// Why it is suspended.
    suspended_reason: Option<String>,
    /// The plan it is on; null: none.
    plan_id: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// A tenant to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenantBody {
    /// What people call it, 1 to 200 characters.
    #[schema(example = "Ann's shop")]
    name: String,
    /// Its short name: 1 to 40 of a-z, 0-9 and inner hyphens, unique over the platform.
    #[schema(example = "anns-shop")]
    slug: String,
}

/// What of a tenant may be changed; fields that are left out stay as they are.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantFields {
    /// What people call it, 1 to 200 characters.
    #[schema(required = false)]
    name: String,
    /// Its short name: 1 to 40 of a-z, 0-9 and inner hyphens, unique over the platform.
    #[schema(required = false)]
    slug: String,
}

/// Why a tenant is suspended.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SuspendBody {
    /// For operators and the creator, at most 200 characters.
    #[schema(example = "unpaid since October")]
    reason: Option<String>,
}

impl From<TenantRecord> for TenantView {
    fn from(tenant: TenantRecord) -> Self {
        Self {
            id: tenant.id,
            name: tenant.name,
            slug: tenant.slug,
            status: tenant.standing,
            suspended_reason: tenant.suspended_reason,
            plan_id: None,
            created_at: tenant.created_at,
            updated_at: tenant.updated_at,
        }
    }
}

fn tagged(tenant: TenantRecord) -> Tagged<TenantView> {
    Tagged(tenant.version, tenant.into())
}

fn slug(text: &str) -> Result<Slug, Problem> {
    Slug::parse(text).map_err(|error| Problem::faulty(vec![Fault::invalid("/slug", error)]))
}

/// Lists tenants, the oldest first. A tenant's key sees its own tenant only.
#[utoipa::path(get, path = "/v1/tenants", params(ListQuery),
    responses((status = 200, description = "A page of tenants.", body = List<TenantView>)))]
pub(crate) async fn list_tenants(
    State(state): State<crate::State>,
    member: Member,
    Query(query): Query<ListQuery>,
) -> Answer<Json<List<TenantView>>> {
    let page = state.store().tenants(member.access, &query.page()?).await?;
    Ok(Json(List::of(page, TenantView::from)))
}

/// Makes a tenant.
#[utoipa::path(post, path = "/v1/tenants", request_body = NewTenantBody,
    responses((status = 201, description = "The new tenant.", body = TenantView)))]
pub(crate) async fn create_tenant(
    State(state): State<crate::State>,
    operator: Operator,
    Json(body): Json<NewTenantBody>,
) -> Answer<Created<Tagged<TenantView>>> {
    let new = NewTenant { name: body.name, slug: slug(&body.slug)? };
    let tenant = state.store().create_tenant(&operator.actor, new).await?;
    Ok(Created(format!("/v1/tenants/{}", tenant.id), tagged(tenant)))
}

/// Gives one tenant.
#[utoipa::path(get, path = "/v1/tenants/{t}", params(("t" = String, Path, description = "Id of the tenant.")),
    responses((status = 200, description = "The tenant.", body = TenantView)))]
pub(crate) async fn get_tenant(Seen(tenant): Seen<TenantRecord>) -> Tagged<TenantView> {
    tagged(tenant)
}

/// Changes a tenant's names (JSON Merge Patch).
#[utoipa::path(patch, path = "/v1/tenants/{t}", params(("t" = String, Path, description = "Id of the tenant.")),
    request_body = TenantFields,
    responses((status = 200, description = "The changed tenant.", body = TenantView)))]
pub(crate) async fn update_tenant(
    State(state): State<crate::State>,
    (member, if_match): (Member, IfMatch),
    Seen(mut tenant): Seen<TenantRecord>,
    Json(patch): Json<Value>,
) -> Answer<Tagged<TenantView>> {
    for _ in 0..TRIES {
        if_match.check(tenant.version)?;
        let current = TenantFields { name: tenant.name.clone(), slug: tenant.slug.to_string() };
        let wanted = merge::apply(&current, &patch)?;
        if wanted == current {
            return Ok(tagged(tenant));
        }
        let patch = TenantPatch { name: Some(wanted.name), slug: Some(slug(&wanted.slug)?) };
        let place = (member.access, tenant.id);
        match state.store().update_tenant(&member.actor, place, patch, Some(tenant.version)).await {
            Err(StoreError::Stale { .. }) => tenant = state.store().tenant(member.access, tenant.id).await?,
            done => return Ok(tagged(done?)),
        }
    }
    Err(stale())
}

/// Deletes a tenant with its apps, domains, certificates and keys. What it used stays on record.
#[utoipa::path(delete, path = "/v1/tenants/{t}", params(("t" = String, Path, description = "Id of the tenant.")),
    responses((status = 204, description = "It is gone.")))]
pub(crate) async fn delete_tenant(
    State(state): State<crate::State>,
    (operator, if_match): (Operator, IfMatch),
    Id(id): Id<TenantId>,
) -> Answer<StatusCode> {
    let access = store::Access::Platform;
    let seen = async || Ok(state.store().tenant(access, id).await?.version);
    let version = if_match.version(seen).await?;
    state.store().delete_tenant(&operator.actor, access, id, version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stops serving a tenant's apps; nothing is deleted.
#[utoipa::path(post, path = "/v1/tenants/{t}/suspend",
    params(("t" = String, Path, description = "Id of the tenant.")), request_body = Option<SuspendBody>,
    responses((status = 200, description = "The suspended tenant.", body = TenantView)))]
pub(crate) async fn suspend_tenant(
    State(state): State<crate::State>,
    operator: Operator,
    Id(id): Id<TenantId>,
    OptionalJson(body): OptionalJson<SuspendBody>,
) -> Answer<Tagged<TenantView>> {
    let reason = body.reason.filter(|reason| !reason.is_empty());
    let reason = reason.as_deref().unwrap_or("suspended by an operator");
    Ok(tagged(state.store().suspend_tenant(&operator.actor, id, reason).await?))
}

/// Serves a tenant's apps again.
#[utoipa::path(post, path = "/v1/tenants/{t}/resume",
    params(("t" = String, Path, description = "Id of the tenant.")),
    responses((status = 200, description = "The active tenant.", body = TenantView)))]
pub(crate) async fn resume_tenant(
    State(state): State<crate::State>,
    operator: Operator,
    Id(id): Id<TenantId>,
) -> Answer<Tagged<TenantView>> {
    Ok(tagged(state.store().resume_tenant(&operator.actor, id).await?))
}
