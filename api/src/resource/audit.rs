//! The audit log: who changed what, each event chained to the one before by its hash.

use axum::extract::State;
use model::Timestamp;
use model::id::{EventId, KeyId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{Access, AuditEvent, AuditFilter};
use utoipa::ToSchema;

use crate::caller::Member;
use crate::problem::Answer;
use crate::request::{Json, List, ListQuery, Query, query};

/// One event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEvent)]
pub(crate) struct AuditEventView {
    /// Its id.
    #[schema(value_type = String, example = "evt_01JD0Z6B3XQ4V8T9M2K7R5W1EP")]
    id: EventId,
    /// 1, 2, 3 … over the whole platform, without gaps.
    sequence: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Who: the id of a key, or a part of the program.
    #[schema(example = "key_01JD0Z6B3XQ4V8T9M2K7R5W1EP")]
    actor: String,
    /// Where the request came from.
    #[schema(value_type = Option<String>)]
    ip: Option<std::net::IpAddr>,
    /// The request, as in its header `Request-Id`.
    request_id: Option<String>,
    /// Whose tenant it concerns; null: the platform.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// What was done.
    #[schema(example = "app.update")]
    action: String,
    /// Id or name of what was changed.
    target: String,
    /// What became of it: `from` and `to` of a change, the main values of something new.
    #[schema(value_type = Object)]
    diff: Value,
    /// Hash of the event before, hexadecimal.
    prev_hash: String,
    /// Hash of this event, hexadecimal.
    hash: String,
}

/// Which events.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Of this tenant.
    tenant: Option<String>,
    /// About the thing with this id or name.
    target: Option<String>,
    /// Of this action.
    #[param(example = "app.update")]
    action: Option<String>,
    /// Done with the key of this id.
    key: Option<String>,
    /// Most entries on the page, 1 to 200. Default 50.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// Where the page begins: `pagination.cursor` of the page before.
    cursor: Option<String>,
}

impl From<AuditEvent> for AuditEventView {
    fn from(event: AuditEvent) -> Self {
        Self {
            id: event.id,
            sequence: event.sequence,
            created_at: event.at,
            actor: event.actor.name,
            ip: event.actor.ip,
            request_id: event.actor.request.map(|request| request.to_string()),
            tenant_id: event.tenant,
            action: event.action,
            target: event.target,
            diff: event.details,
            prev_hash: event.prev_hash,
            hash: event.hash,
        }
    }
}

/// Lists audit events, the newest first. A tenant's key sees its own tenant's only.
#[utoipa::path(get, path = "/v1/audit-events", params(AuditQuery),
    responses((status = 200, description = "A page of events.", body = List<AuditEventView>)))]
pub(crate) async fn list_audit_events(
    State(state): State<crate::State>,
    member: Member,
    Query(asked): Query<AuditQuery>,
) -> Answer<Json<List<AuditEventView>>> {
    let tenant = query::read::<TenantId>("tenant", asked.tenant.as_ref())?;
    let key = query::read::<KeyId>("key", asked.key.as_ref())?;
    let page = ListQuery::new(asked.limit, asked.cursor).page()?;
    let Some(access) = narrow(member.access, tenant) else { return Ok(Json(List::whole(Vec::new()))) };
    let filter = AuditFilter { action: asked.action, target: asked.target, key };
    let events = state.store().audit_events(access, &filter, &page).await?;
    Ok(Json(List::of(events, AuditEventView::from)))
}

/// What the caller may see of the tenant that is asked for; none: nothing.
fn narrow(access: Access, tenant: Option<TenantId>) -> Option<Access> {
    match (access, tenant) {
        (access, None) => Some(access),
        (access, Some(tenant)) => access.allows(Some(tenant)).then_some(Access::Tenant(tenant)),
    }
}
