//! How much a tenant and its visitors may ask for. Operators set it, the tenant may read it.

use axum::extract::State;
use model::id::TenantId;
use model::limits::{Limits, Rate};
use serde::{Deserialize, Serialize};
use store::LimitsView;
use utoipa::ToSchema;

use crate::caller::{Member, Operator};
use crate::problem::{Answer, Fault, Problem};
use crate::request::{Id, Json};

/// A sustained rate with a burst.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Rate)]
pub(crate) struct RateFields {
    /// Requests a minute that may go on for ever.
    #[schema(minimum = 1, maximum = 60_000_000)]
    requests_per_minute: u32,
    /// Requests that may come at once after a quiet time.
    #[schema(minimum = 1, maximum = 60_000_000)]
    burst: u32,
}

/// Two rates.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = Rates)]
pub(crate) struct RatesView {
    /// All visitors of all apps of the tenant together, on one edge.
    tenant: RateFields,
    /// Each visitor: an IPv4 address, or an IPv6 network of 64 bits.
    visitor: RateFields,
}

/// A tenant's limits and where they come from.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TenantLimits)]
pub(crate) struct TenantLimitsView {
    /// What the edges apply.
    effective: RatesView,
    /// What was set for this tenant; null: the platform's default applies.
    r#override: Option<RatesView>,
}

/// Limits of a tenant's own; an empty object takes them away again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitsBody {
    /// All visitors of all apps of the tenant together, on one edge.
    tenant: Option<RateFields>,
    /// Each visitor: an IPv4 address, or an IPv6 network of 64 bits.
    visitor: Option<RateFields>,
}

impl From<Rate> for RateFields {
    fn from(rate: Rate) -> Self {
        Self { requests_per_minute: rate.requests_per_minute, burst: rate.burst }
    }
}

impl From<RateFields> for Rate {
    fn from(rate: RateFields) -> Self {
        Self { requests_per_minute: rate.requests_per_minute, burst: rate.burst }
    }
}

impl From<Limits> for RatesView {
    fn from(limits: Limits) -> Self {
        Self { tenant: limits.tenant.into(), visitor: limits.visitor.into() }
    }
}

impl From<LimitsView> for TenantLimitsView {
    fn from(view: LimitsView) -> Self {
        Self { effective: view.effective.into(), r#override: view.overridden.map(RatesView::from) }
    }
}

impl LimitsBody {
    fn checked(self) -> Result<Option<Limits>, Problem> {
        let missing = |pointer: &str| {
            let message = "give both `tenant` and `visitor`, or neither to go back to the default";
            Err(Problem::faulty(vec![Fault::new(pointer, "missing", message)]))
        };
        match (self.tenant, self.visitor) {
            (Some(tenant), Some(visitor)) => {
                Ok(Some(Limits { tenant: tenant.into(), visitor: visitor.into() }))
            }
            (None, None) => Ok(None),
            (None, Some(_)) => missing("/tenant"),
            (Some(_), None) => missing("/visitor"),
        }
    }
}

/// Gives a tenant's limits.
#[utoipa::path(get, path = "/v1/tenants/{t}/limits", params(("t" = String, Path, description = "Id of the tenant.")),
    responses((status = 200, description = "The limits.", body = TenantLimitsView)))]
pub(crate) async fn get_limits(
    State(state): State<crate::State>,
    member: Member,
    Id(tenant): Id<TenantId>,
) -> Answer<Json<TenantLimitsView>> {
    Ok(Json(state.store().tenant_limits(member.access, tenant).await?.into()))
}

/// Gives a tenant limits of its own, or with an empty object the platform's default.
#[utoipa::path(put, path = "/v1/tenants/{t}/limits", params(("t" = String, Path, description = "Id of the tenant.")),
    request_body = LimitsBody,
    responses((status = 200, description = "The limits as they now are.", body = TenantLimitsView)))]
pub(crate) async fn set_limits(
    State(state): State<crate::State>,
    operator: Operator,
    Id(tenant): Id<TenantId>,
    Json(body): Json<LimitsBody>,
) -> Answer<Json<TenantLimitsView>> {
    let limits = body.checked()?;
    Ok(Json(state.store().set_tenant_limits(&operator.actor, tenant, limits).await?.into()))
}
